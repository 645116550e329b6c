"""Messages, deliveries and digests as the tests of a store need them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message
from angelia.model.moments import to_us
from angelia.model.payload import payload_of
from angelia.planning.decision import Decision, Verdict
from angelia.planning.digest import DigestItem, assemble
from angelia.store import ClaimedMessage, LedgerRow, LeftOut, NewDigest, NewMessage, Plan, Slot, Store

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(seconds=60)
MINUTE = timedelta(minutes=1)


def message(number: int, kind: str = "obs.build.fail", at: datetime = NOW, **fields: Any) -> Message:
    """A message of the source ci."""
    return Message(message_id=number, source="ci", type=kind, received_at=at, occurred_at=at, **fields)


def row(
    number: int,
    key: str | None = None,
    fingerprint: bytes = b"f",
    kind: str = "obs.build.fail",
    source: str = "ci",
    at: datetime = NOW,
    **fields: Any,
) -> NewMessage:
    """A message as intake hands it to the store."""
    return NewMessage(number, source, kind, to_us(at), payload_of(message(number, kind, at, **fields)), key, fingerprint if key else b"")


def delivery(
    number: int,
    message_id: int | None = None,
    agent: str = "mail",
    state: State = State.DUE,
    due_at: datetime = NOW,
    person_id: int = 1,
    **fields: Any,
) -> Delivery:
    """A delivery to person 1."""
    return Delivery(delivery_id=number, person_id=person_id, agent=agent, address_id=0, state=state, due_at=due_at, message_id=message_id,
                    **fields)  # fmt: skip


def claimed_at_birth(made: Delivery) -> Delivery:
    """As a planner hands it to the store for a relay of its own process."""
    return replace(made, state=State.SENDING, fence=1, attempts=1, first_tried_at=NOW)


async def planned(store: Store, number: int, deliveries: Sequence[Delivery], person_id: int = 1, **fields: Any) -> ClaimedMessage:
    """A message with its plan recorded."""
    await store.add_messages([row(number, **fields)])
    (claimed,) = await store.claim_messages(10, LEASE, NOW)
    decided = tuple(Decision(d.agent, Verdict.NOW, Reason.CHOSEN, "site:*") for d in deliveries)
    ledger = [LedgerRow(number, person_id, ("to", "role:maintainer"), decided, NOW)]
    assert await store.record_plans([Plan(claimed.message, claimed.fence, ledger, deliveries)], [], [], NOW) == 1
    return claimed


def a_digest(number: int, slot: Slot, item_ids: Sequence[int], **ends: Any) -> NewDigest:
    """A digest of these items, and its delivery."""
    content = assemble([DigestItem(delivery_id=n, message_id=n, type="a.b", subject="s", occurred_at=NOW) for n in item_ids], NOW).digest
    assert content is not None
    made = delivery(number + 1, digest_id=number, schedule=slot.schedule)
    return NewDigest(number, slot, content, made, item_ids, LeftOut(**ends))
