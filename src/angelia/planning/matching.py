"""Does a rule speak for a message?"""

from collections.abc import Iterable

import re2

from angelia.model.message import Message
from angelia.model.preference import ANY_TYPE, Condition, ConditionKind, Rule
from angelia.planning.topic import matches

FIELDS = {"message.source": "source", "message.object": "object", "message.actor": "actor", "message.subject": "subject"}
"""What a condition may ask of the message itself, beside its parameters and tags."""


def rule_matches(rule: Rule, message: Message, roles: frozenset[str]) -> bool:
    """Does it speak for a message on whose object she has these roles? Her other rules aside."""
    if not may_match(rule, message.type) or message.severity < rule.min_severity or (rule.role and rule.role not in roles):
        return False
    for condition in rule.when:  # noqa: SIM110 - a generator for each rule costs more than what it asks
        if not _holds(condition, message):
            return False
    return True


def deciding(rules: Iterable[Rule], message: Message, roles: frozenset[str], agent: str) -> Rule | None:
    """The rule that says what this agent does with a message, top-down to the first final one; None where none of them says it."""
    for rule in rules:
        if rule_matches(rule, message, roles):
            if agent in rule.statements:
                return rule
            if rule.is_final:
                break
    return None


def may_match(rule: Rule, key: str) -> bool:
    """Can it speak for messages of this type at all?"""
    pattern = rule.type
    return rule.is_enabled and (pattern in (key, ANY_TYPE) or key.startswith(pattern + ".") or _is_matching_pattern(pattern, key))


def _is_matching_pattern(pattern: str, key: str) -> bool:
    return ("*" in pattern or "#" in pattern) and matches(pattern, key)


def _holds(condition: Condition, message: Message) -> bool:
    found = _values(condition.name, message)
    match condition.kind:
        case ConditionKind.ONEOF if len(found) == 1:
            return found[0] in condition.values
        case ConditionKind.ONEOF:
            return any(value in condition.values for value in found)
        case ConditionKind.NOT:
            return not any(value in condition.values for value in found)
        case ConditionKind.CONTAINS:
            return any(wanted in value for value in found for wanted in condition.values)
        case ConditionKind.REGEXP:
            return any(re2.search(pattern, value) is not None for value in found for pattern in condition.values)


def _values(name: str, message: Message) -> tuple[str, ...]:
    """What is the message's own is never looked up in its parameters, where its sender may write any name."""
    if name.startswith("tag."):
        return tuple(value for tag, value in message.tags if tag == name[4:])
    if name.startswith("message."):
        return (str(getattr(message, FIELDS[name])),) if name in FIELDS else ()
    found = message.params.get(name, ())
    return (found,) if isinstance(found, str) else tuple(found)
