"""The ledger in SQL: what was decided, for explain and for trying changes on history."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, tuple_

from angelia.model.delivery import Delivery
from angelia.model.message import Message
from angelia.model.moments import first_id, from_us, to_us
from angelia.planning.estimate import Count
from angelia.store import LedgerRow
from angelia.stores import rows as shape
from angelia.stores.engine import SqlEngine
from angelia.stores.tables import deliveries, ledger, messages


class LedgerMixin:
    """LedgerStore in SQL."""

    engine: SqlEngine

    async def ledger_row(self, message_id: int, person_id: int) -> LedgerRow | None:
        """See LedgerStore."""
        return (await self.ledger_of([(message_id, person_id)])).get((message_id, person_id))

    async def ledger_of(self, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], LedgerRow]:
        """See LedgerStore."""
        wanted = list(pairs)

        def work(connection: Connection) -> dict[tuple[int, int], LedgerRow]:
            found: dict[tuple[int, int], LedgerRow] = {}
            for start in range(0, len(wanted), 2_000):
                condition = tuple_(ledger.c.message_id, ledger.c.person_id).in_(wanted[start : start + 2_000])
                for row in connection.execute(select(ledger).where(condition)):
                    found[row.message_id, row.person_id] = _row(row)
            return found

        return await self.engine.read(work)

    async def ledger_rows(self, message_id: int, after_person_id: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """See LedgerStore."""
        statement = (
            select(ledger).where(ledger.c.message_id == message_id, ledger.c.person_id > after_person_id).order_by(ledger.c.person_id).limit(limit)
        )
        return [_row(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def history(self, person_id: int, since: datetime, limit: int) -> list[tuple[Message, LedgerRow]]:
        """See LedgerStore."""
        statement = (
            select(ledger, *shape.MESSAGE_COLUMNS)
            .join(messages, messages.c.id == ledger.c.message_id)
            .where(ledger.c.person_id == person_id, messages.c.received_us >= to_us(since))
            .order_by(ledger.c.message_id.desc())
            .limit(limit)
        )
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [(shape.message_from(row[5:]), _row(row)) for row in found]

    async def counts_since(self, person_id: int, since: datetime, limit: int) -> list[Count]:
        """See LedgerStore. Ids sort by time, so the index on her rows ends where `since` begins."""
        newest = (
            select(ledger.c.message_id, ledger.c.because)
            .where(ledger.c.person_id == person_id, ledger.c.message_id >= first_id(since))
            .order_by(ledger.c.message_id.desc())
            .limit(limit)
            .subquery()
        )
        statement = (
            select(messages.c.type, newest.c.because, func.count())
            .join(messages, messages.c.id == newest.c.message_id)
            .group_by(messages.c.type, newest.c.because)
            .order_by(messages.c.type, newest.c.because)
        )
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [Count(kind, tuple(because.split("\n")) if because else (), number) for kind, because, number in found]

    async def trail(self, message_id: int, person_id: int) -> list[Delivery]:
        """See LedgerStore."""

        def work(connection: Connection) -> list[Delivery]:
            own = select(*shape.DELIVERY_SELECT).where(deliveries.c.message_id == message_id, deliveries.c.person_id == person_id)
            found = [shape.delivery_from(row) for row in connection.execute(own)]
            carried = {delivery.digest_id for delivery in found if delivery.digest_id is not None}
            if carried:
                digests = select(*shape.DELIVERY_SELECT).where(and_(deliveries.c.digest_id.in_(carried), or_(deliveries.c.message_id.is_(None))))
                found += [shape.delivery_from(row) for row in connection.execute(digests)]
            return sorted(found, key=lambda delivery: delivery.delivery_id)

        return await self.engine.read(work)


def _row(row: Row[Any]) -> LedgerRow:
    because = tuple(row.because.split("\n")) if row.because else ()
    return LedgerRow(row.message_id, row.person_id, because, shape.decisions_from(row.decisions), from_us(row.decided_us))
