"""Transitions from a testbed's exchanges, which are not as clean as the forms say: what can be understood is, what can't is told apart."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from angelia.model.errors import InvalidInput
from angelia.model.experiment import Transition
from angelia.wire.transitions import EVENT_TYPES, transition_from

OBJECT_TYPES = frozenset({"experiment", "compute", "network", "storage", "site_link"})
_LATEST = 7_258_118_400
_PATH = re.compile(r"/[^\s\x00-\x1f\x7f]{0,254}\Z")
_NO_WORD = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Remark:
    """What a tool inside an experiment says on its key, in a form of its own: no transition, but words for its users."""

    at: datetime
    sender: str
    text: str


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a routing key says: `<source>.<objectType>.<eventType>[.<state>[.<substate>]]`; empty where it says nothing."""

    source: str = ""
    object_type: str = ""
    event_type: str = ""
    state: str = ""


def key_parts(routing_key: str) -> KeyParts:
    """The parts of a routing key, a source with dots in its name included. A key that is a secret says nothing."""
    words = routing_key.split(".")
    for place in range(1, len(words) - 1):
        if words[place] in OBJECT_TYPES and words[place + 1] in EVENT_TYPES:
            return KeyParts(".".join(words[:place]), words[place], words[place + 1], ".".join(words[place + 2 :][:2]))
    return KeyParts()


def transition_of(routing_key: str, body: bytes, now: datetime) -> Transition | Remark | None:
    """What an event says: a transition, a remark, or None where it is neither, which is no fault of a feed that others write, too.

    InvalidInput where it would be a transition and one of its parts can't be used. The body counts; what it leaves out says the key. `now`
    stands for a time that is missing or that can't be.
    """
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    parts = key_parts(routing_key)
    if isinstance(fields.get("path"), str) and "objectId" not in fields:
        return _from_simple(fields, parts, now)
    if isinstance(fields.get("objectId"), str):
        return _from_detailed(fields, parts, now)
    if isinstance(fields.get("Message"), str):
        sender = fields.get("From")
        return Remark(_moment(fields.get("Timestamp"), now), sender if isinstance(sender, str) else "", fields["Message"])
    return None


def _from_simple(fields: Mapping[str, Any], parts: KeyParts, now: datetime) -> Transition | None:
    object_type, status = _word(fields.get("type")) or parts.object_type, _state(fields.get("status")) or parts.state or parts.event_type
    if not (object_type and status):
        return None
    path = _path(fields["path"], "path")
    return transition_from({"timestamp": _seconds(fields.get("timestamp"), now), "type": object_type, "status": status, "path": path}, now)


def _from_detailed(fields: Mapping[str, Any], parts: KeyParts, now: datetime) -> Transition | None:
    object_type = _word(fields.get("objectType")) or parts.object_type
    event_type = _word(fields.get("eventType")).lower() or parts.event_type
    state = _full_state(fields) or (parts.state if event_type in ("state", "") else "")
    event_type = event_type or ("state" if state else "")
    if not object_type or event_type not in EVENT_TYPES:
        return None
    data = fields.get("objectData")
    known = {name: value for name, value in data.items() if value is not None and value != "null"} if isinstance(data, dict) else {}
    taken = {
        "timestamp": _seconds(fields.get("timestamp"), now),
        "objectType": object_type,
        "eventType": event_type,
        "objectId": _path(fields["objectId"], "objectId"),
        "source": _word(fields.get("source")) or _word(parts.source),
        "groupId": _name(fields.get("groupId")),
        "userId": _name(fields.get("userId")),
        "state": state,
        "objectData": known,
    }
    return transition_from(taken, now)


def _path(text: str, field: str) -> str:
    path = text if text.startswith("/") else f"/{text}"
    if _PATH.match(path) is None or not path.isprintable():
        raise InvalidInput("this is no path", field)
    return path


def _word(value: Any) -> str:
    """A word of a routing key; what a key could not hold is written with dashes."""
    return _NO_WORD.sub("-", value)[:64] if isinstance(value, str) and value != "null" else ""


def _state(value: Any) -> str:
    """`stopped` or `stopped.done`."""
    return ".".join(filter(None, (_word(part) for part in value.split(".")[:2]))) if isinstance(value, str) else ""


def _full_state(fields: Mapping[str, Any]) -> str:
    state = _state(fields.get("state"))
    substate = _word(fields.get("substate"))
    return f"{state}.{substate}" if state and substate and "." not in state else state


def _name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value[:255] if isinstance(value, str) and value != "null" and value.isprintable() else ""


def _seconds(value: Any, now: datetime) -> float:
    return _moment(value, now).timestamp()


def _moment(value: Any, now: datetime) -> datetime:
    """Seconds since 1970 as a number or as text; now for what is neither."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return now
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < _LATEST else now
