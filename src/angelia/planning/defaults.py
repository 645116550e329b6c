"""What a type says for messages that say nothing themselves: severity, collapse key, thread. Pure.

The templates are names in braces and nothing more: no loops, no attributes, no `str.format`, so there is nothing to break out of.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from angelia.model.errors import InvalidInput
from angelia.model.message import Message, MessageType, ancestry

MOST_KEY = 255
FIELDS = ("actor", "object", "source", "subject", "thread", "type")
_PLACE = re.compile(r"\{([^{}]*)\}")

Defaults = Mapping[str, MessageType]
"""The types that say something, by key."""


def defaults_of(types: Iterable[MessageType]) -> dict[str, MessageType]:
    """Those that say something for messages without a word of their own."""
    return {entry.key: entry for entry in types if entry.default_severity is not None or entry.collapse_key or entry.thread_key}


def filled(message: Message, defaults: Defaults) -> Message:
    """The message with what its type, or the nearest type above it, says in its place; the same object where there is nothing to say."""
    if not defaults:
        return message
    scopes = [defaults[scope] for scope in ancestry(message.type) if scope in defaults]
    changes: dict[str, Any] = {}
    if not message.thread and (thread := rendered(next((s.thread_key for s in scopes if s.thread_key), ""), message)):
        changes["thread"] = thread
    if not message.collapse_key and (key := rendered(next((s.collapse_key for s in scopes if s.collapse_key), ""), message)):
        changes["collapse_key"] = key
    if not message.has_own_severity:
        severity = next((s.default_severity for s in scopes if s.default_severity is not None), None)
        if severity is not None:
            changes |= {"severity": severity, "has_own_severity": True}
    return replace(message, **changes) if changes else message


def rendered(template: str, message: Message) -> str:
    """The key that a template makes of a message; "" where a named value is missing: half a key would bind together what has nothing in common."""
    values: list[str] = []

    def value(found: re.Match[str]) -> str:
        values.append(_value(found[1], message))
        return values[-1]

    key = _PLACE.sub(value, template)
    if not all(values):
        return ""
    # A cut would make different keys equal.
    return key if len(key) <= MOST_KEY else f"{key[:200]}#{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _value(name: str, message: Message) -> str:
    kind, dot, rest = name.partition(".")
    if dot and kind == "params":
        found = message.params.get(rest, "")
        return found if isinstance(found, str) else ",".join(found)
    if dot and kind == "tags":
        return ",".join(value for tag, value in message.tags if tag == rest)
    return str(getattr(message, name)) if name in FIELDS else ""


def check_template(template: str, field: str) -> None:
    """InvalidInput where a template names what no message has."""
    names = _PLACE.findall(template)
    bad = [name for name in names if name not in FIELDS and (name.partition(".")[0] not in ("params", "tags") or not name.partition(".")[2])]
    if bad or set(_PLACE.sub("", template)) & {"{", "}"}:
        raise InvalidInput(f"in braces stands one of {', '.join(FIELDS)}, params.<name> or tags.<name>", field)
    if template and not names:
        raise InvalidInput("a template names at least one value in braces, or every message would have the same key", field)
