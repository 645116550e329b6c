"""Events as messages, told declaratively: rules of a mapping, templates, conditions. Pure; the caller remembers states."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from angelia.inlets.cloudevents import strict_json
from angelia.model.errors import BadSettings, InvalidInput
from angelia.model.event import Event
from angelia.planning.topic import matches

SHIPPED = resources.files("angelia.inlets") / "mappings"
_PLACE = re.compile(r"\{([^{}]*)\}")
_TEXTS = (
    "type", "subject", "body", "body_format", "object", "object_url", "thread", "severity", "actor", "collapse_key", "supersedes", "language",
    "occurred_at", "expires_at", "idempotency_key",
)  # fmt: skip
_LISTS = ("to", "cc", "access")
_TABLES = ("params", "tags")
_OWN = ("key", "exchange", "when", "unless", "changed", "drop", "restricted", "sender")
_LONGEST = {"subject": 255, "object": 255, "thread": 255, "actor": 255, "collapse_key": 255, "supersedes": 255, "body": 65_536}
LONGEST_STATE = 255
MOST_ENTRIES = 64
LONGEST_NAME = 64
Find = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: which events it takes, and templates for the fields of the message."""

    key: str
    exchange: str = ""
    when: Mapping[str, Any] = field(default_factory=dict)
    unless: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)
    is_dropped: bool = False
    is_restricted: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What an event becomes: the fields of a message, or None for nothing. `state` is what is to be remembered: (of what, which state)."""

    fields: dict[str, Any] | None
    state: tuple[str, str] | None = None
    is_known: bool = True
    """Did any rule speak of it?"""


@dataclass(frozen=True, slots=True)
class MessageMapping:
    """Rules in order; the first that fits decides."""

    name: str
    rules: tuple[Rule, ...]
    each: str = ""
    """The list of a body of which each entry is something that happened. Only webhooks are taken apart so."""

    def state_names(self, events: Sequence[Event]) -> set[str]:
        """Of what the states must be known to map these events."""
        names = set()
        for event in events:
            try:
                find = finder(event)
            except InvalidInput:
                continue
            names |= {filled(rule.changed["of"], find) for rule in self.rules if rule.changed and matches(rule.key, event.routing_key)}
        return {name for name in names if 0 < len(name) <= LONGEST_STATE}

    def mapped(self, event: Event, states: Mapping[str, str]) -> Mapped:
        """InvalidInput for a body that can't be read."""
        find = finder(event)
        for rule in self.rules:
            if rule.exchange and rule.exchange != event.exchange:
                continue
            if not matches(rule.key, event.routing_key) or not _all_hold(rule.when, find) or _any_holds(rule.unless, find):
                continue
            return _by(rule, find, states)
        return Mapped(None, is_known=False)


def _by(rule: Rule, find: Find, states: Mapping[str, str]) -> Mapped:
    state: tuple[str, str] | None = None
    if rule.changed:
        state = filled(rule.changed["of"], find), filled(rule.changed["value"], find)
        if max(map(len, state)) > LONGEST_STATE:
            raise InvalidInput(f"what changes, and what to, has at most {LONGEST_STATE} characters", "changed")
        if states.get(state[0]) == state[1]:
            return Mapped(None)
    if rule.is_dropped:
        return Mapped(None, state)
    return Mapped(message_of(rule, find), state)


def message_of(rule: Rule, find: Find) -> dict[str, Any]:
    """The fields of the message; what comes out empty is left out, what is too long is cut."""
    made: dict[str, Any] = {}
    for name, template in rule.fields.items():
        if name in _TABLES and isinstance(template, str):
            made[name] = _table(template, find)
        elif name in _TABLES:
            values = {key: filled(text, find)[:4_096] for key, text in template.items()}
            made[name] = {key: value for key, value in values.items() if value}
        elif name in _LISTS:
            found = dict.fromkeys(entry for text in template for entry in filled_list(text, find))
            made[name] = list(found)
        elif name == "sender":
            made[name] = {key: filled(text, find)[:255] for key, text in template.items()}
        else:
            made[name] = filled(template, find)[: _LONGEST.get(name)]
    if not made.get("object_url", "").startswith(("https://", "http://")):
        made.pop("object_url", None)  # what is no link must not cost the message
    made = {name: value for name, value in made.items() if value}
    if "severity" in made:
        made["severity"] = made["severity"].lower()
    if rule.is_restricted:
        made["restricted"] = True
    return made


def _table(template: str, find: Find) -> dict[str, str]:
    """All that a table of the event holds, as far as a message can: names with what they say."""
    place = _PLACE.fullmatch(template)
    value = _first(place[1], find) if place else None
    found = {text_of(key)[:LONGEST_NAME]: text_of(inner)[:4_096] for key, inner in value.items()} if isinstance(value, Mapping) else {}
    return dict([(key, text) for key, text in found.items() if key and key.isprintable() and text][:MOST_ENTRIES])


# ---- places


def finder(event: Event) -> Find:
    """Looks up places: `key`, `key.2`, `exchange`, `header.x`, `property.x`, `body.a.0.b`. InvalidInput where the body is no JSON."""
    words = event.routing_key.split(".")
    roots = {"header": event.headers, "property": event.properties, "body": _body(event)}

    def find(path: str) -> Any:
        root, _, rest = path.partition(".")
        if path == "key":
            return event.routing_key
        if path == "exchange":
            return event.exchange
        if root == "key":
            return words[int(rest)] if rest.isdigit() and int(rest) < len(words) else None
        return _below(roots.get(root), rest)

    return find


def _body(event: Event) -> Any:
    if not event.body:
        return None
    if event.content_type.startswith("text/"):
        return event.body.decode(errors="replace")
    return strict_json(event.body)


def _below(value: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, list) and part == "*":
            continue
        elif isinstance(value, list):
            value = [item.get(part) for item in value if isinstance(item, Mapping)]
        else:
            return None
    return value


def text_of(value: Any) -> str:
    """A value as it stands in a text. NUL has no place in one, nor half a character (a lone surrogate)."""
    text = _text(value)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\x00", "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(map(_text, value))
    return json.dumps(value, ensure_ascii=False)


def filled(template: str, find: Find) -> str:
    """A template with its places filled: `{body.name|body.desc|'a task'}` takes the first that is not empty."""
    return _PLACE.sub(lambda place: text_of(_first(place[1], find)), template)


def filled_list(template: str, find: Find) -> list[str]:
    """The same where several are wanted: a place that is all of the template may hold a list, or a table with its names."""
    place = _PLACE.fullmatch(template)
    value = _first(place[1], find) if place else filled(template, find)
    values = list(value) if isinstance(value, list | Mapping) else [value]
    return [text for item in values if (text := text_of(item))]


def _first(alternatives: str, find: Find) -> Any:
    for alternative in alternatives.split("|"):
        value = alternative[1:-1] if alternative[:1] == "'" else find(alternative.strip())
        if value not in (None, "", [], {}):
            return value
    return None


# ---- conditions


def _all_hold(conditions: Mapping[str, Any], find: Find) -> bool:
    return all(_holds(find(path), wanted) for path, wanted in conditions.items())


def _any_holds(conditions: Mapping[str, Any], find: Find) -> bool:
    return any(_holds(find(path), wanted) for path, wanted in conditions.items())


def _holds(value: Any, wanted: Any) -> bool:
    """`true`: there is something; else one of the texts, or of the patterns with a dot or `#`."""
    if wanted is True:
        return value not in (None, "", [], {})
    text = text_of(value)
    return text in ([text_of(item) for item in wanted] if isinstance(wanted, list) else [text_of(wanted)])


# ---- reading


def shipped() -> list[str]:
    """Names of the mappings that come with the hub."""
    return sorted(entry.name.removesuffix(".toml") for entry in SHIPPED.iterdir() if entry.name.endswith(".toml"))


@lru_cache(maxsize=32)
def load_mapping(name: str) -> MessageMapping:
    """A shipped one by name, or a file (`*.toml`); BadSettings says what is wrong with it."""
    try:
        text = Path(name).read_text("utf-8") if name.endswith(".toml") else (SHIPPED / f"{name}.toml").read_text("utf-8")
        return mapping_of(name, tomllib.loads(text))
    except (OSError, UnicodeError):
        raise BadSettings(f"there is no mapping {name!r}; there are {', '.join(shipped())}, or the path of a .toml file") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"the mapping {name} can't be read: {error}") from None


def mapping_of(name: str, document: Mapping[str, Any]) -> MessageMapping:
    """From a document with `[[rule]]` tables."""
    rules, each = document.get("rule"), document.get("each", "")
    if not isinstance(rules, list) or not rules or set(document) - {"each"} != {"rule"} or not isinstance(each, str):
        raise BadSettings(f"the mapping {name} holds [[rule]] tables, and nothing else but the name of a list in each")
    return MessageMapping(name, tuple(_rule(f"{name}, rule {number}", table) for number, table in enumerate(rules, 1)), each)


def _rule(place: str, table: Any) -> Rule:
    if not isinstance(table, Mapping):
        raise BadSettings(f"{place}: a rule is a table")
    for name, value in table.items():
        _check(place, name, value)
    if "key" not in table or not ("type" in table or table.get("drop")):
        raise BadSettings(f"{place}: a rule has a key, and a type or drop = true")
    changed = table.get("changed", {})
    if changed and set(changed) != {"of", "value"}:
        raise BadSettings(f"{place}: changed has of and value")
    fields = {name: value for name, value in table.items() if name not in _OWN or name == "sender"}
    flags = bool(table.get("drop")), bool(table.get("restricted"))
    return Rule(table["key"], table.get("exchange", ""), table.get("when", {}), table.get("unless", {}), changed, *flags, fields)


def _check(place: str, name: str, value: Any) -> None:
    if name in (*_TEXTS, "key", "exchange"):
        is_good = isinstance(value, str)
    elif name in _LISTS:
        is_good = isinstance(value, list) and all(isinstance(item, str) for item in value)
    elif name in _TABLES and isinstance(value, str):
        is_good = _PLACE.fullmatch(value) is not None
    elif name in (*_TABLES, "sender", "changed"):
        is_good = isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values())
    elif name in ("when", "unless"):
        is_good = isinstance(value, Mapping)
    elif name in ("drop", "restricted"):
        is_good = isinstance(value, bool)
    else:
        raise BadSettings(f"{place}: there is no field {name}; there are {', '.join(sorted((*_TEXTS, *_LISTS, *_TABLES, *_OWN)))}")
    if not is_good:
        raise BadSettings(f"{place}: {name} is of another kind")
