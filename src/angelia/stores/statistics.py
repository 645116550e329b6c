"""Numbers over time, in SQL. Ids hold the time, so each stretch is a range of the primary key: no index more, and intake pays nothing."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from sqlalchemy import Connection

from angelia.model.delivery import State
from angelia.model.moments import first_id, to_us
from angelia.store import Traffic
from angelia.stores.engine import SqlEngine, run

_MESSAGES = "SELECT type, source, count(*) FROM messages WHERE id >= ? AND id < ? GROUP BY type, source"
_DELIVERIES = "SELECT agent, state, count(*) FROM deliveries WHERE id >= ? AND id < ? GROUP BY agent, state"
_PEOPLE = "SELECT DISTINCT person_id FROM deliveries WHERE id >= ? AND id < ?"
_COUNTS = (
    "SELECT count(*), coalesce(sum(is_active), 0), (SELECT count(DISTINCT person_id) FROM sessions WHERE seen_us >= ?) "
    "FROM persons WHERE login NOT LIKE 'group:%'"
)


class StatisticsMixin:
    """StatisticsStore in SQL."""

    engine: SqlEngine

    async def traffic(self, edges: Sequence[datetime]) -> list[Traffic]:
        """See StatisticsStore. One short read a stretch: a reader is never held for long, and what is sorted for GROUP BY stays small."""
        found = []
        for start, end in pairwise(edges):
            ids = first_id(start), first_id(end)
            found.append(await self.engine.read(lambda connection, ids=ids: _traffic(connection, ids)))  # type: ignore[misc]
        return found

    async def seen_since(self, since: datetime) -> tuple[int, int, int]:
        """See StatisticsStore."""
        row = await self.engine.read(lambda connection: run(connection, _COUNTS, (to_us(since),)).one())
        return row[0], int(row[1]), row[2]


def _traffic(connection: Connection, ids: tuple[int, int]) -> Traffic:
    return Traffic(
        {(row[0], row[1]): row[2] for row in run(connection, _MESSAGES, ids)},
        {(row[0], State(row[1])): row[2] for row in run(connection, _DELIVERIES, ids)},
        frozenset(row[0] for row in run(connection, _PEOPLE, ids)),
    )
