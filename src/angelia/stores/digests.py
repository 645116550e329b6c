"""Digests in SQL: slots that are due, and one digest for each, whoever makes it first."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, update

from angelia.model.delivery import Delivery, State
from angelia.model.moments import from_us, to_us
from angelia.store import LeftOut, NewDigest, Slot
from angelia.stores import rows as shape
from angelia.stores.engine import SqlEngine, run
from angelia.stores.tables import deliveries, digests

_d = deliveries.c
_SLOTS = (
    "SELECT person_id, agent, address_id, schedule, due_us FROM deliveries WHERE state = 1 AND due_us <= ? "
    "GROUP BY due_us, person_id, agent, address_id, schedule ORDER BY due_us, person_id, agent, address_id, schedule LIMIT ?"
)
_INSERT = (
    "INSERT INTO digests (id, person_id, agent, address_id, schedule, slot_us, content) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING id"
)
_JOIN = "UPDATE deliveries SET state = 4, digest_id = ? WHERE id = ? AND state = 1"
_END = "UPDATE deliveries SET state = ?, reason = ?, ended_us = ? WHERE id = ? AND state = 1"


class DigestsMixin:
    """DigestStore in SQL."""

    engine: SqlEngine

    async def due_slots(self, now: datetime, limit: int) -> list[Slot]:
        """See DigestStore."""
        found = await self.engine.read(lambda connection: run(connection, _SLOTS, (to_us(now), limit)).all())
        return [Slot(row[0], row[1], row[2], row[3], from_us(row[4])) for row in found]

    async def held_items(self, slot: Slot, limit: int) -> list[Delivery]:
        """See DigestStore."""
        statement = (
            select(*shape.DELIVERY_SELECT)
            .where(
                _d.state == State.HELD.value,
                _d.due_us == to_us(slot.slot_at),
                _d.person_id == slot.person_id,
                _d.agent == slot.agent,
                _d.address_id == slot.address_id,
                _d.schedule == slot.schedule,
                _d.message_id.is_not(None),
            )
            .order_by(_d.message_id)
            .limit(limit)
        )
        return await self._deliveries_of(statement)

    async def digest_items(self, digest_id: int) -> list[Delivery]:
        """See DigestStore."""
        statement = select(*shape.DELIVERY_SELECT).where(_d.digest_id == digest_id, _d.message_id.is_not(None)).order_by(_d.message_id)
        return await self._deliveries_of(statement)

    async def _deliveries_of(self, statement: Select[Any]) -> list[Delivery]:
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [shape.delivery_from(row) for row in found]

    async def record_digest(self, digest: NewDigest, now: datetime) -> bool:
        """See DigestStore."""

        def work(connection: Connection) -> bool:
            slot = digest.slot
            everything = [*digest.item_ids, *digest.left_out.ids]
            if len(_still_held(connection, everything)) != len(everything):
                return False
            values = (digest.digest_id, slot.person_id, slot.agent, slot.address_id, slot.schedule, to_us(slot.slot_at))
            if run(connection, _INSERT, (*values, shape.digest_text(digest.content))).first() is None:
                return False
            shape.INSERT_DELIVERIES(connection, [shape.delivery_values(digest.delivery)])
            run(connection, _JOIN, [(digest.digest_id, item_id) for item_id in digest.item_ids])
            _end(connection, digest.left_out, now)
            return True

        return await self.engine.write(work)

    async def drop_items(self, left_out: LeftOut, now: datetime) -> None:
        """See DigestStore."""
        await self.engine.write(lambda connection: _end(connection, left_out, now))

    async def move_items(self, delivery_ids: Collection[int], due_at: datetime) -> int:
        """See DigestStore."""

        def work(connection: Connection) -> int:
            return sum(
                connection.execute(update(deliveries).where(_d.id.in_(ids), _d.state == State.HELD.value).values(due_us=to_us(due_at))).rowcount
                for ids in shape.chunks(delivery_ids)
            )

        return await self.engine.write(work)

    async def digests(self, digest_ids: Collection[int]) -> dict[int, NewDigest]:
        """See DigestStore."""

        def work(connection: Connection) -> dict[int, NewDigest]:
            found: dict[int, NewDigest] = {}
            statement = (
                select(digests, *shape.DELIVERY_SELECT)
                .join(deliveries, _d.digest_id == digests.c.id)
                .where(digests.c.id.in_(list(digest_ids)), _d.message_id.is_(None))
            )
            for row in connection.execute(statement):
                digest_id, person_id, agent, address_id, schedule, slot_us, content = row[:7]
                slot = Slot(person_id, agent, address_id, schedule, from_us(slot_us))
                found[digest_id] = NewDigest(digest_id, slot, shape.digest_from(content), shape.delivery_from(row[7:]))
            return found

        return await self.engine.read(work)


def _still_held(connection: Connection, delivery_ids: Collection[int]) -> set[int]:
    found: set[int] = set()
    for ids in shape.chunks(delivery_ids):
        statement = select(_d.id).where(_d.id.in_(ids), _d.state == State.HELD.value).order_by(_d.id).with_for_update()
        found.update(connection.scalars(statement))
    return found


def _end(connection: Connection, left_out: LeftOut, now: datetime) -> None:
    ends = [(state.value, reason.value, to_us(now), key) for state, reason, ids in left_out.ends for key in ids]
    if ends:
        run(connection, _END, ends)
