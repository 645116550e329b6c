"""Numbers over time, in SQL. Ids hold the time, so each stretch is a range of the primary key: no index more, and intake pays nothing."""

import random
from collections import Counter
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

PLACES = 4


class StatisticsMixin:
    """StatisticsStore in SQL."""

    engine: SqlEngine

    async def traffic(self, edges: Sequence[datetime], share: int = 1) -> list[Traffic]:
        """See StatisticsStore. One short read a stretch: a reader is never held for long, and what is sorted for GROUP BY stays small."""
        found = []
        for start, end in pairwise(edges):
            pieces = [(first_id(start), first_id(end))] if share == 1 else _pieces(first_id(start), first_id(end), share)
            found.append(await self.engine.read(lambda connection, pieces=pieces: _traffic(connection, pieces, share)))  # type: ignore[misc]
        return found

    async def seen_since(self, since: datetime) -> tuple[int, int, int]:
        """See StatisticsStore."""
        row = await self.engine.read(lambda connection: run(connection, _COUNTS, (to_us(since),)).one())
        return row[0], int(row[1]), row[2]


def _pieces(start: int, end: int, share: int) -> list[tuple[int, int]]:
    """A few small ranges, each somewhere in its part of the stretch, the same each time: what comes at full hours is met as often as the rest."""
    places = random.Random(start)  # noqa: S311 - no secret
    part = (end - start) // PLACES
    size = part // share
    begins = (start + part * place + places.randrange(max(1, part - size)) for place in range(PLACES))
    return [(begin, begin + size) for begin in begins]


def _traffic(connection: Connection, pieces: Sequence[tuple[int, int]], share: int) -> Traffic:
    messages: Counter[tuple[str, str]] = Counter()
    deliveries: Counter[tuple[str, State]] = Counter()
    people: set[int] = set()
    for ids in pieces:
        for kind, source, count in run(connection, _MESSAGES, ids):
            messages[kind, source] += count * share
        for agent, state, count in run(connection, _DELIVERIES, ids):
            deliveries[agent, State(state)] += count * share
        people.update(row[0] for row in run(connection, _PEOPLE, ids))
    return Traffic(dict(messages), dict(deliveries), frozenset(people))
