"""A message as the JSON text that the store keeps: one form for all inlets, written once and read by the planner."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from angelia.model.message import Message, Recipient, RecipientKind, Sender, Severity, Wish
from angelia.model.moments import from_us, to_text

_PLAIN = ("subject", "body", "body_format", "actor", "object", "object_url", "thread", "collapse_key", "supersedes", "language")


def message_of(message_id: int, source: str, received_us: int, payload: str) -> Message:
    """The message of a stored row. Keys left out have their defaults; the payload is ours, so it is not checked again."""
    fields: dict[str, Any] = json.loads(payload)
    received_at = from_us(received_us)
    sender = fields.get("sender", {})
    wish = fields.get("wish")
    return Message(
        message_id=message_id,
        source=source,
        type=fields["type"],
        received_at=received_at,
        occurred_at=_moment(fields.get("occurred_at")) or received_at,
        sender=Sender(sender.get("id", ""), sender.get("name", "")),
        recipients=tuple(_recipients(fields)),
        severity=Severity.named(fields.get("severity", "normal")),
        tags=tuple((name, value) for name, value in fields.get("tags", ())),
        params={name: value if isinstance(value, str) else tuple(value) for name, value in fields.get("params", {}).items()},
        expires_at=_moment(fields.get("expires_at")),
        not_before=_moment(fields.get("not_before")),
        wish=Wish(wish) if wish else None,
        is_test=fields.get("test", False),
        is_restricted=fields.get("restricted", False),
        access=tuple(fields.get("access", ())),
        **{name: fields[name] for name in _PLAIN if name in fields},
    )


def _recipients(fields: Mapping[str, Any]) -> list[Recipient]:
    return [
        Recipient(entry, kind) if isinstance(entry, str) else Recipient(entry["id"], kind, entry.get("reason", ""))
        for kind in RecipientKind
        for entry in fields.get(kind.value, ())
    ]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def payload_fields(message: Message) -> dict[str, object]:
    """The message as the JSON object that `message_of` reads: only what differs from the defaults, keys in one order."""
    fields: dict[str, object] = {"type": message.type}
    fields.update({name: value for name in _PLAIN if (value := getattr(message, name)) and (name, value) != ("body_format", "text")})
    if message.occurred_at != message.received_at:
        fields["occurred_at"] = to_text(message.occurred_at)
    if message.sender != Sender():
        fields["sender"] = {"id": message.sender.sender_id, "name": message.sender.name}
    for kind in RecipientKind:
        entries = [_entry(recipient) for recipient in message.recipients if recipient.kind is kind]
        if entries:
            fields[kind.value] = entries
    if message.severity is not Severity.NORMAL:
        fields["severity"] = message.severity.label
    if message.tags:
        fields["tags"] = [[name, value] for name, value in message.tags]
    if message.params:
        fields["params"] = {name: value if isinstance(value, str) else list(value) for name, value in message.params.items()}
    for name in ("expires_at", "not_before"):
        if (moment := getattr(message, name)) is not None:
            fields[name] = to_text(moment)
    if message.wish is not None:
        fields["wish"] = message.wish.value
    for name, flag in (("test", message.is_test), ("restricted", message.is_restricted)):
        if flag:
            fields[name] = True
    if message.access:
        fields["access"] = list(message.access)
    return fields


def _entry(recipient: Recipient) -> dict[str, str]:
    return {"id": recipient.principal} | ({"reason": recipient.reason} if recipient.reason else {})


def payload_of(message: Message) -> str:
    """The stored text of a message."""
    return json.dumps(payload_fields(message), ensure_ascii=False, separators=(",", ":"))
