"""A message as the JSON text that the store keeps: one form for all inlets, written once and read by the planner."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from angelia.model.message import Attachment, Message, Recipient, RecipientKind, Sender, Severity, Wish
from angelia.model.moments import from_us, to_text

_NOBODY = Sender()
_PLAIN = ("subject", "body", "body_format", "actor", "object", "object_url", "thread", "collapse_key", "supersedes", "language")


def message_of(message_id: int, source: str, received_us: int, payload: str) -> Message:
    """The message of a stored row. Keys left out have their defaults; the payload is ours, so it is not checked again."""
    fields: dict[str, Any] = json.loads(payload)
    received_at = from_us(received_us)
    sender = fields.get("sender")
    wish, attachment = fields.get("wish"), fields.get("attachment")
    return Message(
        message_id=message_id,
        source=source,
        type=fields["type"],
        received_at=received_at,
        occurred_at=_moment(fields.get("occurred_at")) or received_at,
        sender=Sender(sender.get("id", ""), sender.get("name", "")) if sender else _NOBODY,
        recipients=tuple(_recipients(fields)) if "to" in fields or "cc" in fields else (),
        severity=Severity.named(fields.get("severity", "normal")),
        has_own_severity="severity" in fields,
        tags=tuple((name, value) for name, value in fields.get("tags", ())),
        params={name: value if isinstance(value, str) else tuple(value) for name, value in fields.get("params", {}).items()},
        expires_at=_moment(fields.get("expires_at")),
        not_before=_moment(fields.get("not_before")),
        wish=Wish(wish) if wish else None,
        is_test=fields.get("test", False),
        is_restricted=fields.get("restricted", False),
        access=tuple(fields.get("access", ())),
        attachment=Attachment(attachment["name"], attachment["text"]) if attachment else None,
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
