"""Digests: what is held for a slot, and the one delivery that stands for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from angelia.model.delivery import Delivery, Reason, State
from angelia.planning.digest import Digest


@dataclass(frozen=True, slots=True)
class Slot:
    """A digest that is due: the bucket and its slot."""

    person_id: int
    agent: str
    address_id: int
    schedule: str
    slot_at: datetime


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Deliveries of a slot that end without being in its digest, by why. `lost_ids` are those that she may not see any more, `unwanted`
    those that she does not want any more, by why.
    """

    expired_ids: Sequence[int] = ()
    superseded_ids: Sequence[int] = ()
    seen_ids: Sequence[int] = ()
    lost_ids: Sequence[int] = ()
    unwanted: Mapping[Reason, Sequence[int]] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return [delivery_id for _, _, ids in self.ends for delivery_id in ids]

    @property
    def ends(self) -> tuple[tuple[State, Reason, Sequence[int]], ...]:
        """How they end."""
        return (
            (State.EXPIRED, Reason.EXPIRED, self.expired_ids),
            (State.SUPPRESSED, Reason.SUPERSEDED, self.superseded_ids),
            (State.SUPPRESSED, Reason.SEEN, self.seen_ids),
            (State.SUPPRESSED, Reason.ACCESS_LOST, self.lost_ids),
            *((State.SUPPRESSED, reason, ids) for reason, ids in self.unwanted.items()),
        )


@dataclass(frozen=True, slots=True)
class NewDigest:
    """One digest for a slot. `item_ids` are the deliveries that it stands for."""

    digest_id: int
    slot: Slot
    content: Digest
    delivery: Delivery
    item_ids: Sequence[int] = ()
    left_out: LeftOut = LeftOut()


class DigestStore(Protocol):
    """Digests from their slot to their delivery."""

    async def due_slots(self, now: datetime, limit: int) -> list[Slot]:
        """Slots reached, oldest first. Which worker makes a digest is settled by `record_digest`."""

    async def held_items(self, slot: Slot, limit: int) -> list[Delivery]:
        """What is held for a slot, oldest message first."""

    async def record_digest(self, digest: NewDigest, now: datetime) -> bool:
        """Found-or-created by its slot: False where another worker made it first, or a listed item was no longer held; then nothing changed."""

    async def drop_items(self, left_out: LeftOut, now: datetime) -> None:
        """A slot with nothing to say: its items end, no digest is made."""

    async def move_items(self, delivery_ids: Collection[int], due_at: datetime) -> int:
        """Held items go to another slot of the same schedule; those no longer held stay. How many moved."""

    async def digests(self, digest_ids: Collection[int]) -> dict[int, NewDigest]:
        """Digests by id; their `content` as recorded, the delivery as it now stands."""

    async def digest_items(self, digest_id: int) -> list[Delivery]:
        """The deliveries for which a digest stands."""
