"""Rules, presets and statements of a document: what is wanted of which messages."""

import hashlib
import json
from collections.abc import Mapping

import re2

from angelia.model.errors import InvalidInput
from angelia.model.preference import ANY_TYPE, NOW, Condition, ConditionKind, Preset, Rule, Statements, Treatment
from angelia.planning import fields

MAX_RULES = 1_000
MAX_SCOPES = 2_000
MAX_VALUES = 1_000
FORMS = frozenset({"full", "short"})
_RULE_KEYS = frozenset(["id", "name", "type", "when", "role", "min_severity", "include_own", "final", "enabled", "do", "origin", "note"])


def scopes(value: object, path: str, names: frozenset[str] | None) -> dict[str, Statements]:
    """What is said for each scope, by agent."""
    table = fields.table(value, path)
    if len(table) > MAX_SCOPES:
        raise InvalidInput(f"at most {MAX_SCOPES} scopes", path)
    return {fields.scope(key, path): statements(inner, f"{path}.{key}", names) for key, inner in table.items()}


def statements(value: object, path: str, names: frozenset[str] | None) -> dict[str, tuple[Treatment, ...]]:
    """What is said for each agent, or for an address of hers; `names` are the schedules that may be named, None for any."""
    found: dict[str, tuple[Treatment, ...]] = {}
    for target, wish in fields.table(value, path).items():
        agent, colon, address = target.partition(":")
        if not agent or (colon and not address):
            raise InvalidInput("names an agent (mail), or an agent and an address of hers (mail:alice@example.org)", f"{path}.{target}")
        when, form = _wish(wish, f"{path}.{target}")
        if names is not None and when not in names:
            choices = ", ".join(sorted(names))
            raise InvalidInput(f"{when!r} is neither off, now nor a known schedule; known: {choices}", f"{path}.{target}")
        found[agent] = (*found.get(agent, ()), Treatment(when, address, form))
    return found


def _wish(value: object, path: str) -> tuple[str, str]:
    if isinstance(value, str):
        return value, ""
    table = fields.table(value, path)
    fields.only(table, frozenset({"when", "form"}), path)
    form = fields.text(table.get("form", ""), f"{path}.form")
    if form and form not in FORMS:
        raise InvalidInput(f"form is one of {', '.join(sorted(FORMS))}", f"{path}.form")
    return fields.text(table.get("when", NOW), f"{path}.when"), form


def rules_of(value: object, path: str, names: frozenset[str] | None) -> tuple[Rule, ...]:
    """Rules in their order, first match first."""
    if not isinstance(value, list | tuple):
        raise InvalidInput("rules are a list, first match first", path)
    if len(value) > MAX_RULES:
        raise InvalidInput(f"at most {MAX_RULES} rules", path)
    rules = tuple(parse_rule(item, f"{path}.{index}", names, str(index + 1)) for index, item in enumerate(value))
    if len({rule.rule_id for rule in rules}) != len(rules):
        raise InvalidInput("each rule needs an id of its own", path)
    return rules


def parse_rule(value: object, path: str, names: frozenset[str] | None, rule_id: str) -> Rule:
    """One rule of a document; `rule_id` serves where the rule has no id of its own."""
    table = fields.table(value, path)
    fields.only(table, _RULE_KEYS, path)
    pattern = fields.text(table.get("type", ANY_TYPE), f"{path}.type").lower()
    if not set(pattern) & {"*", "#"}:
        pattern = fields.scope(pattern, f"{path}.type")
    conditions = fields.table(table.get("when", {}), f"{path}.when")
    return Rule(
        rule_id=fields.text(table.get("id", rule_id), f"{path}.id"),
        is_numbered="id" not in table,
        name=fields.text(table.get("name", ""), f"{path}.name"),
        type=pattern,
        when=tuple(_condition(name, test, f"{path}.when.{name}") for name, test in conditions.items()),
        role=fields.text(table.get("role", "") or "", f"{path}.role"),
        min_severity=fields.severity(table.get("min_severity", "low"), f"{path}.min_severity"),
        includes_own=fields.flag(table.get("include_own", False), f"{path}.include_own"),
        is_final=fields.flag(table.get("final", True), f"{path}.final"),
        is_enabled=fields.flag(table.get("enabled", True), f"{path}.enabled"),
        statements=statements(table.get("do", {}), f"{path}.do", names),
        origin=fields.text(table.get("origin", "manual"), f"{path}.origin"),
        note=fields.text(table.get("note", ""), f"{path}.note"),
    )


def mark_of(rule: Rule) -> str:
    """By what a rule is known wherever it stands: short, and the same as long as it speaks of the same messages, whatever it does with them."""
    tests = sorted((test.name, str(test.kind), sorted(test.values)) for test in rule.when)
    said = [rule.type, tests, rule.role, int(rule.min_severity), rule.includes_own, rule.is_final]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def _condition(name: str, test: object, path: str) -> Condition:
    kind, values = ConditionKind.ONEOF, test
    if isinstance(test, Mapping):
        if len(test) != 1:
            raise InvalidInput("a condition has one operator: oneof, not, contains or regexp", path)
        (operator, values), *_ = test.items()
        kind = fields.enum(ConditionKind, operator, path)
    texts = (values,) if isinstance(values, str) else tuple(fields.texts(values, path))
    if not 0 < len(texts) <= MAX_VALUES:
        raise InvalidInput(f"a condition has 1 to {MAX_VALUES} values", path)
    if kind is ConditionKind.REGEXP:
        for text in texts:
            checked_regexp(text, path)
    return Condition(name, texts, kind)


def checked_regexp(text: str, path: str = "") -> None:
    """Refuse what RE2 can't run in linear time: Python's `re` would let one person's filter freeze the process."""
    if len(text) > 1_000:
        raise InvalidInput("a regular expression has at most 1,000 characters", path)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        re2.compile(text, options)
    except (re2.error, UnicodeError):
        raise InvalidInput("not a regular expression that RE2 can run (no back-references, no look-around)", path) from None


def preset(key: str, value: object, names: frozenset[str] | None) -> Preset:
    """A rule that the site offers, by its key."""
    path = f"presets.{key}"
    table = fields.table(value, path)
    fields.only(table, frozenset({"title", "explanation", "group", "rule"}), path)
    rule = parse_rule(table.get("rule", {}), f"{path}.rule", names, f"preset-{key}")
    return Preset(
        preset_id=key,
        title=fields.text(table.get("title", key), f"{path}.title"),
        explanation=fields.text(table.get("explanation", ""), f"{path}.explanation"),
        group=fields.text(table.get("group", ""), f"{path}.group"),
        rule=rule,
    )
