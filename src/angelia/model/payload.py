"""A message as the JSON text that the store keeps: one form for all inlets, written once and read by the planner."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from angelia.model.message import Attachment, Message, Recipient, RecipientKind, Sender, Severity, Wish
from angelia.model.moments import from_us, to_text

_PLAIN = ("subject", "body", "body_format", "actor", "object", "object_url", "thread", "collapse_key", "supersedes", "language")


def message_of(message_id: int, source: str, received_us: int, payload: str) -> Message:
    """The message of a stored row. Keys left out have their defaults; the payload is ours, so it is not checked again."""
    fields = _fields(payload)
    received_at = from_us(received_us)
    given: dict[str, Any] = {"message_id": message_id, "source": source, "received_at": received_at, "occurred_at": received_at}
    # Most messages have few of all fields: only those that are there cost something, where thousands are read.
    for name, value in fields.items():
        if name in _AS_THEY_ARE:
            given[_AS_THEY_ARE[name]] = value
        elif name in _READ:
            given[name] = _READ[name](value)
    if "to" in fields or "cc" in fields:
        given["recipients"] = tuple(_recipients(fields))
    given["has_own_severity"] = "severity" in fields
    return Message(**given)


def _fields(payload: str) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = from_json(payload, cache_strings="keys")  # in half of the time of Python's own
    except ValueError:  # half a character, which this one does not take
        fields = json.loads(payload)
    return fields


def _recipients(fields: Mapping[str, Any]) -> list[Recipient]:
    return [
        Recipient(entry, kind) if isinstance(entry, str) else Recipient(entry["id"], kind, entry.get("reason", ""))
        for kind in RecipientKind
        for entry in fields.get(kind.value, ())
    ]


def _params(value: Mapping[str, Any]) -> dict[str, str | tuple[str, ...]]:
    return {name: one if isinstance(one, str) else tuple(one) for name, one in value.items()}


_AS_THEY_ARE: Mapping[str, str] = {name: name for name in ("type", *_PLAIN)} | {"test": "is_test", "restricted": "is_restricted"}
"""Key of the payload -> field of the message that holds the same."""
_READ: Mapping[str, Callable[[Any], Any]] = {
    "occurred_at": datetime.fromisoformat,
    "sender": lambda value: Sender(value.get("id", ""), value.get("name", "")),
    "severity": Severity.named,
    "tags": lambda value: tuple(map(tuple, value)),
    "params": _params,
    "expires_at": datetime.fromisoformat,
    "not_before": datetime.fromisoformat,
    "wish": Wish,
    "access": tuple,
    "attachment": lambda value: Attachment(value["name"], value["text"]),
}


def payload_fields(message: Message) -> dict[str, object]:
    """The message as the JSON object that `message_of` reads: only what differs from the defaults, keys in one order."""
    fields: dict[str, object] = {"type": message.type}
    fields |= {name: value for name in _PLAIN if (value := getattr(message, name)) and (name, value) != ("body_format", "text")}
    occurred_at = message.occurred_at if message.occurred_at != message.received_at else None
    sender = message.sender
    entries = {kind.value: [_entry(recipient) for recipient in message.recipients if recipient.kind is kind] for kind in RecipientKind}
    rest: dict[str, object] = {
        "occurred_at": _written(occurred_at),
        "sender": {"id": sender.sender_id, "name": sender.name} if sender != Sender() else None,
        **entries,
        "severity": message.severity.label if message.has_own_severity or message.severity is not Severity.NORMAL else None,
        "tags": [[name, value] for name, value in message.tags],
        "params": {name: value if isinstance(value, str) else list(value) for name, value in message.params.items()},
        "expires_at": _written(message.expires_at),
        "not_before": _written(message.not_before),
        "wish": message.wish.value if message.wish is not None else None,
        "test": message.is_test,
        "restricted": message.is_restricted,
        "access": list(message.access),
        "attachment": {"name": message.attachment.name, "text": message.attachment.text} if message.attachment is not None else None,
    }
    return fields | {name: value for name, value in rest.items() if value}


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)


def _entry(recipient: Recipient) -> dict[str, str]:
    return {"id": recipient.principal} | ({"reason": recipient.reason} if recipient.reason else {})


def payload_of(message: Message) -> str:
    """The stored text of a message."""
    return json.dumps(payload_fields(message), ensure_ascii=False, separators=(",", ":"))
