"""Announcements in SQL: rows beside what they tell of, in the same transaction."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from angelia.model.moments import to_us
from angelia.planning.announcing import Told
from angelia.store.announcements import Announcement
from angelia.stores.changes import end_turn, take_turn
from angelia.stores.engine import Insert, SqlEngine, run, run_among

_TURN = "announcements"
# Not copied in: others follow it in its transaction, and who it is that it conflicts with nobody asks.
_INSERT = Insert("announcements", {"routing_key": "text", "body": "text", "at_us": "bigint"}, "ON CONFLICT DO NOTHING")
_OLDEST = "SELECT id, routing_key, body, at_us FROM announcements ORDER BY id LIMIT ?"
_TOLD = "DELETE FROM announcements WHERE id {among}"
# Two looks at the ends of the primary key, where `count` would read all that waits.
_WAITING = "SELECT (SELECT max(id) FROM announcements) - (SELECT min(id) FROM announcements) + 1"
_TRIM = "DELETE FROM announcements WHERE id <= (SELECT max(id) FROM announcements) - ?"


class AnnouncementsMixin:
    """AnnouncementStore in SQL."""

    engine: SqlEngine

    def __init__(self) -> None:
        self.is_announcing = False
        self.announced: Callable[[], None] = lambda: None

    def announce(self, written: Callable[[], None]) -> None:
        """See AnnouncementStore."""
        self.is_announcing, self.announced = True, written

    async def claim_announcements(self, limit: int, lease: timedelta, now: datetime) -> list[Announcement]:
        """See AnnouncementStore."""
        if await self.engine.glance(lambda connection: run(connection, _OLDEST, (1,)).first()) is None:
            return []

        def work(connection: Connection) -> list[Announcement]:
            if not take_turn(connection, _TURN, to_us(now + lease), to_us(now)):
                return []
            return [Announcement(*row) for row in run(connection, _OLDEST, (limit,)).all()]

        return await self.engine.write(work)

    async def settle_announcements(self, numbers: Collection[int]) -> None:
        """See AnnouncementStore. By their numbers, not up to the last: a lower one may be committed later than a higher one."""

        def work(connection: Connection) -> None:
            if numbers:
                run_among(connection, _TOLD, numbers, "bigint").close()
            end_turn(connection, _TURN)

        await self.engine.write(work)

    async def trim_announcements(self, keep: int) -> int:
        """See AnnouncementStore."""
        if await self.announcements_waiting() <= keep:
            return 0
        return await self.engine.write(lambda connection: int(run(connection, _TRIM, (keep,)).rowcount))

    async def announcements_waiting(self) -> int:
        """See AnnouncementStore."""
        return int(await self.engine.glance(lambda connection: run(connection, _WAITING).scalar()) or 0)


def tell(connection: Connection, told: Sequence[Told], now: datetime) -> None:
    """Write them, in order."""
    at_us = to_us(now)
    _INSERT(connection, [(one.key, one.body, at_us) for one in told])


def login_of(connection: Connection, person_id: int) -> list[str]:
    """Hers; none where she is gone meanwhile."""
    return list(run(connection, "SELECT login FROM persons WHERE id = ?", (person_id,)).scalars())
