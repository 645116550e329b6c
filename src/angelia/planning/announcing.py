"""What the hub did, as events for whoever follows the exchange of its own doings: ids, types, states and times, never a text."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from angelia.model.delivery import State
from angelia.model.event import LONGEST_NAME
from angelia.model.job import Job
from angelia.model.moments import public_id, to_text

MOST_IDS = 500
"""Of one mark or answer: what is more is counted only."""


class Told(NamedTuple):
    """One event: its routing key, and its body as JSON."""

    key: str
    body: str


def accepted(message_id: int, message_type: str, source: str, at: datetime) -> Told:
    """A message is durable."""
    return _told(f"message.accepted.{message_type}", {"id": public_id("msg", message_id), "type": message_type, "source": source}, at)


def ended(delivery_id: int, agent: str, state: State, message_id: int | None, at: datetime) -> Told:
    """A delivery came to its end, by a try or because it came back later; without a message where it was a digest."""
    told = {"id": public_id("dlv", delivery_id), "agent": agent, "state": state.label}
    if message_id:
        told["message"] = public_id("msg", message_id)
    return _told(f"delivery.{state.label}.{agent}", told, at)


def answered(login: str, answer: str, message_ids: Collection[int], by: str, at: datetime) -> Told:
    """Somebody saw messages, or acknowledged them; by some means."""
    ids = [public_id("msg", key) for key in sorted(message_ids)[:MOST_IDS]]
    return _told(f"message.{answer}.{by}", {"login": login, "count": len(message_ids), "messages": ids}, at)


def marked(login: str, change: str, delivery_ids: Collection[int], at: datetime) -> Told:
    """Somebody read, archived, or took it back."""
    ids = [public_id("dlv", key) for key in sorted(delivery_ids)] if len(delivery_ids) <= MOST_IDS else None
    return _told(f"inbox.{change}", {"login": login, "count": len(delivery_ids), "deliveries": ids}, at)


def job_entered(job: Job, at: datetime) -> Told:
    """A job is in another state."""
    told = {"id": job.public_id, "instrument": job.instrument, "product": job.product, "state": job.state.label, "attempt": job.attempt}
    if job.reason:
        told["reason"] = str(job.reason)
    return _told(f"job.{job.state.label}.{job.instrument}", told, at)


def _told(key: str, told: dict[str, Any], at: datetime) -> Told:
    body = json.dumps(told | {"at": to_text(at)}, ensure_ascii=False, separators=(",", ":"))
    return Told(key.encode()[:LONGEST_NAME].decode(errors="ignore"), body)
