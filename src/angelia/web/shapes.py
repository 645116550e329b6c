"""What the API gives: plain shapes for JSON."""

from datetime import datetime
from typing import Any

from angelia.model.delivery import Delivery
from angelia.model.message import Message, MessageType
from angelia.model.moments import public_id, to_text
from angelia.model.payload import payload_fields
from angelia.model.person import Address, Person
from angelia.store import Feed, InboxItem, Source, Token


def moment_text(moment: datetime | None) -> str | None:
    """A time, null for none."""
    return None if moment is None else to_text(moment)


def message_out(message: Message) -> dict[str, Any]:
    """A message as posted, with what we added."""
    added = {
        "id": public_id("msg", message.message_id),
        "source": message.source,
        "received_at": to_text(message.received_at),
        "occurred_at": to_text(message.occurred_at),
        "severity": message.severity.label,
    }
    return payload_fields(message) | added


def person_out(person: Person) -> dict[str, Any]:
    """A person."""
    return {
        "login": person.login,
        "name": person.name,
        "time_zone": person.time_zone,
        "language": person.language,
        "is_active": person.is_active,
        "is_admin": person.is_admin,
    }


def address_out(address: Address) -> dict[str, Any]:
    """An address."""
    return {
        "id": address.address_id,
        "agent": address.agent,
        "value": address.value,
        "state": address.state.value,
        "is_default": address.is_default,
        "verified_at": moment_text(address.verified_at),
    }


def item_out(item: InboxItem) -> dict[str, Any]:
    """An inbox entry."""
    return {
        "id": public_id("dlv", item.delivery_id),
        "message": message_out(item.message),
        "because": list(item.because),
        "delivered_at": to_text(item.delivered_at),
        "read_at": moment_text(item.read_at),
        "archived_at": moment_text(item.archived_at),
        "snoozed_until": moment_text(item.snoozed_until),
    }


def delivery_out(delivery: Delivery) -> dict[str, Any]:
    """A delivery, for operators."""
    return {
        "id": public_id("dlv", delivery.delivery_id),
        "message": None if delivery.message_id is None else public_id("msg", delivery.message_id),
        "digest": None if delivery.digest_id is None else public_id("dig", delivery.digest_id),
        "person_id": delivery.person_id,
        "agent": delivery.agent,
        "state": delivery.state.label,
        "reason": delivery.reason.value,
        "due_at": to_text(delivery.due_at),
        "attempts": delivery.attempts,
        "ended_at": moment_text(delivery.ended_at),
        "last_error": delivery.fault,
        "receipt": delivery.receipt,
    }


def token_out(token: Token) -> dict[str, Any]:
    """A token without its secret."""
    return {
        "id": token.token_id,
        "owner": token.owner,
        "title": token.title,
        "scopes": sorted(token.scopes),
        "created_at": to_text(token.created_at),
        "expires_at": moment_text(token.expires_at),
        "last_used_at": moment_text(token.last_used_at),
        "is_revoked": token.is_revoked,
    }


def feed_out(feed: Feed) -> dict[str, Any]:
    """A feed without its secret."""
    times = {"created_at": to_text(feed.created_at), "last_read_at": moment_text(feed.last_read_at)}
    return {"id": feed.feed_id, "title": feed.title, "query": dict(feed.query)} | times


def source_out(source: Source) -> dict[str, Any]:
    """A source."""
    return {
        "name": source.name,
        "title": source.title,
        "subtrees": list(source.subtrees),
        "may_be_urgent": source.may_be_urgent,
        "rate_per_second": source.rate_per_second,
        "contact": source.contact,
        "is_active": source.is_active,
    }


def type_out(entry: MessageType) -> dict[str, Any]:
    """A registered type."""
    severity = entry.default_severity
    return {
        "key": entry.key,
        "first_seen_at": to_text(entry.first_seen_at),
        "last_seen_at": to_text(entry.last_seen_at),
        "labels": dict(entry.labels),
        "descriptions": dict(entry.descriptions),
        "default_severity": None if severity is None else severity.label,
        "collapse_key": entry.collapse_key,
        "thread_key": entry.thread_key,
        "retention_days": entry.retention_days,
        "aliases": list(entry.aliases),
        "is_public": entry.is_public,
        "state": entry.state,
    }
