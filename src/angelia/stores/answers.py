"""Answers in SQL: one row a message and person, what came first stays."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from angelia.model.moments import from_us, to_us
from angelia.planning.announcing import answered
from angelia.store.answers import Answer
from angelia.stores import rows as shape
from angelia.stores.announcements import AnnouncementsMixin, login_of, tell
from angelia.stores.changes import next_number
from angelia.stores.entries import listed
from angelia.stores.tables import answers

# Only for messages that concern her: what is in the ledger.
_SEEN = (
    "INSERT INTO answers (message_id, person_id, seen_us, seen_by) "
    "SELECT message_id, person_id, CAST(? AS bigint), CAST(? AS text) FROM ledger WHERE person_id = ? AND message_id {ids} "
    "ON CONFLICT (message_id, person_id) DO NOTHING RETURNING message_id"
)
_ACKNOWLEDGED = (
    "UPDATE answers SET acknowledged_us = ?, acknowledged_by = ? "
    "WHERE person_id = ? AND message_id {ids} AND acknowledged_us IS NULL RETURNING message_id"
)
_READ = "UPDATE deliveries SET read_us = ? WHERE person_id = ? AND message_id {ids} AND agent IN ('web', 'feed') AND read_us IS NULL RETURNING id"
_a = answers.c


class AnswersMixin(AnnouncementsMixin):
    """AnswerStore in SQL."""

    async def answer(self, person_id: int, message_ids: Sequence[int], by: str, now: datetime, *, is_acknowledged: bool) -> list[int]:
        """See AnswerStore."""
        wanted = sorted(set(message_ids))

        def work(connection: Connection) -> list[int]:
            changed = [key for some in shape.chunks(wanted) for key in _answer(connection, person_id, some, by, to_us(now), is_acknowledged)]
            if self.is_announcing and changed:
                word = "acknowledged" if is_acknowledged else "seen"
                tell(connection, [answered(login, word, changed, by, now) for login in login_of(connection, person_id)], now)
            return changed

        found = await self.engine.write(work) if wanted else []
        self.announced()
        return found

    async def answers(self, message_ids: Collection[int]) -> dict[int, list[Answer]]:
        """See AnswerStore."""

        def work(connection: Connection) -> dict[int, list[Answer]]:
            found: dict[int, list[Answer]] = {}
            for some in shape.chunks(message_ids):
                rows = (
                    select(answers)
                    .where(_a.message_id.in_(some))
                    .order_by(_a.acknowledged_us.is_(None), _a.acknowledged_us, _a.seen_us, _a.person_id)
                )
                for row in connection.execute(rows):
                    answer = Answer(
                        row.message_id, row.person_id, from_us(row.seen_us), row.seen_by, shape.moment(row.acknowledged_us), row.acknowledged_by
                    )
                    found.setdefault(row.message_id, []).append(answer)
            return found

        return await self.engine.read(work)


def _answer(connection: Connection, person_id: int, message_ids: Sequence[int], by: str, now_us: int, is_acknowledged: bool) -> list[int]:
    changed = [row[0] for row in listed(connection, _SEEN, (now_us, by, person_id), message_ids)]
    if is_acknowledged:
        changed = [row[0] for row in listed(connection, _ACKNOWLEDGED, (now_us, by, person_id), message_ids)]
    if listed(connection, _READ, (now_us, person_id), message_ids):
        next_number(connection, f"inbox:{person_id}")
    return sorted(changed)
