"""Jobs in SQL: made once for each content hash, held under leases, changed along the table of their states only."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select

from angelia.model.declaration import ProductKind
from angelia.model.errors import RateLimited
from angelia.model.job import HistoryRow, Job, JobChange, JobReason, JobState, Product, after, canonical
from angelia.model.moments import from_us, to_us
from angelia.planning.announcing import job_entered
from angelia.store.jobs import MOST_HISTORY, AddedJob, ClaimedJob, JobQuery, Joined
from angelia.stores import rows as shape
from angelia.stores.announcements import AnnouncementsMixin, tell
from angelia.stores.campaigns import CampaignsMixin, forget_empty, look_at
from angelia.stores.engine import SqlEngine, run, run_among
from angelia.stores.job_rows import COLUMNS, NAMES, SELECT, all_of, history_row, job_of, one_of, row_of
from angelia.stores.job_tables import job_history, job_people, job_products, jobs

_j, _p, _h, _o = jobs.c, job_people.c, job_history.c, job_products.c
_MAKE = (
    "INSERT INTO jobs (" + COLUMNS + ", is_current) VALUES (" + ", ".join("?" * len(NAMES)) + ", 1) "
    "ON CONFLICT (content_hash) WHERE is_current = 1 DO NOTHING"
)  # fmt: skip
_CURRENT = "SELECT " + COLUMNS + " FROM jobs WHERE content_hash = ? AND is_current = 1"
_ONE = "SELECT " + COLUMNS + " FROM jobs WHERE id = ?"
_SOME = "SELECT " + COLUMNS + " FROM jobs WHERE id {among}"
_RETIRE = "UPDATE jobs SET is_current = 0 WHERE id = ?"
_SHARED = "UPDATE jobs SET is_shared = 1 WHERE id = ?"
_TAKEN_OVER = "UPDATE jobs SET owner = ? WHERE id = ?"
_WAITING = "SELECT count(*) FROM (SELECT 1 FROM job_people WHERE login = ? AND state < 10 LIMIT ?) AS waiting"
_JOIN = (
    "INSERT INTO job_people (job_id, login, state, alias, session, campaign, joined_us) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (job_id, login) DO UPDATE SET alias = CASE WHEN excluded.alias = '' THEN job_people.alias ELSE excluded.alias END, "
    "session = CASE WHEN excluded.session = '' THEN job_people.session ELSE excluded.session END, "
    "campaign = CASE WHEN excluded.campaign = '' THEN job_people.campaign ELSE excluded.campaign END"
)
_CAMPAIGN = "SELECT campaign FROM job_people WHERE job_id = ? AND login = ?"
_CHANGED = (
    "UPDATE jobs SET state = ?, due_us = ?, fence = ?, attempt = ?, tries = ?, changed_us = ?, started_us = ?, ended_us = ?, deadline_us = ?, "
    "progress = ?, message = ?, reason = ?, handle = ?, report_sequence = ?, output_bytes = ?, rows_kept = rows_kept + ? WHERE id = ?"
)
_PEOPLE_STATE = "UPDATE job_people SET state = ? WHERE job_id = ?"
_HISTORY = (
    "INSERT INTO job_history (job_id, at_us, state, by_whom, attempt, progress, message, reason, report, to_tell) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LAST_REPORT = "SELECT report FROM job_history WHERE job_id = ? AND report <> '' ORDER BY id DESC LIMIT 1"
_UNTOLD = (
    "SELECT id, job_id, at_us, state, by_whom, attempt, progress, message, reason, report FROM job_history WHERE to_tell = 1 AND (state >= 10 OR "
    "at_us <= ? OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job_history.job_id AND jobs.state >= 10)) ORDER BY id LIMIT ?"
)
_EVER = (1 << 63) - 1
_IN_CAMPAIGN = "SELECT job_id, login FROM job_people WHERE job_id {among} AND campaign <> '' ORDER BY login"
_TOLD = "UPDATE job_history SET to_tell = 0 WHERE id = ?"
_UNBEGUN = frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.SUBMITTED})
_JOINED = "SELECT login, joined_us FROM job_people WHERE job_id = ?"
_ONE_MORE_ROW = "UPDATE jobs SET rows_kept = rows_kept + 1 WHERE id = ?"
_ASKED_BEFORE = "SELECT at_us FROM job_history WHERE job_id = ? AND id < ? AND state = 1 AND by_whom = ? ORDER BY id DESC LIMIT 50"
_QUEUED = "SELECT attempt, by_whom, at_us FROM job_history WHERE job_id = ? AND state = 1 ORDER BY id"
_PRODUCT = (
    "INSERT INTO job_products (job_id, name, position, kind, title, content_type, size, sha256, meta, path, content) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PRODUCTS = "SELECT name, kind, title, content_type, size, sha256, meta, path, content FROM job_products WHERE job_id = ? ORDER BY position"
_NO_PRODUCTS = "DELETE FROM job_products WHERE job_id = ?"
_WAITING_IDS = "SELECT id FROM jobs WHERE instrument = ? AND state = 1 AND due_us <= ? ORDER BY due_us, id LIMIT ?"
_HELD_IDS = "SELECT id FROM jobs WHERE instrument = ? AND state > 1 AND state < 10 AND due_us <= ? ORDER BY due_us, id LIMIT ?"
_TAKE = "UPDATE jobs SET due_us = ?, fence = fence + 1, changed_us = CASE WHEN state = 1 THEN ? ELSE changed_us END, state = CASE WHEN state = 1 THEN 2 ELSE state END WHERE id = ?"  # noqa: E501
_RENEW = "UPDATE jobs SET due_us = ? WHERE id = ? AND fence = ? AND state > 1 AND state < 10 RETURNING id"
# Written out, so that the database sees which part of an index they ask for: they look at what is under way, and not at a long history.
_OLD = "SELECT id FROM jobs WHERE state >= 10 AND ended_us < ? ORDER BY ended_us LIMIT ?"
_COUNTS = (
    "SELECT instrument, state, count(*) FROM jobs WHERE state = 1 GROUP BY instrument, state",
    "SELECT instrument, state, count(*) FROM jobs WHERE state > 1 AND state < 10 GROUP BY instrument, state",
)


class JobsMixin(CampaignsMixin, AnnouncementsMixin):
    """JobStore in SQL."""

    engine: SqlEngine

    async def add_job(
        self, job: Job, now: datetime, *, is_fresh: bool = False, most_waiting: int = 0, lease: timedelta | None = None, is_told_again: bool = False
    ) -> AddedJob:
        """See JobStore."""
        waiting, taken = row_of(job), job if lease is None else replace(job, state=JobState.SUBMITTING, fence=job.fence + 1, due_at=now + lease)
        held = row_of(taken)

        def work(connection: Connection) -> AddedJob:
            is_taken = lease is not None and run(connection, _WAITING_IDS, (job.instrument, to_us(now), 1)).first() is None
            # Once more where the one that counted is forgotten, or retired, between two looks.
            while not run(connection, _MAKE, held if is_taken else waiting).rowcount:
                found = run(connection, _CURRENT + _lock(connection), (job.content_hash,)).first()
                if found is None:
                    continue
                there = job_of(found)
                if is_fresh and there.state is JobState.DONE:
                    run(connection, _RETIRE, (there.job_id,)).close()
                    continue
                joined = _join(connection, there, job, now, most_waiting, is_told_again=is_told_again)
                self._tell_job(connection, joined.job if joined.joined is Joined.RETRIED else None, now)
                return joined
            _check_room(connection, job.owner, most_waiting)
            _write_history(connection, job, job.owner, now, is_to_tell=True)
            run(connection, _JOIN, _asking(job.job_id, taken.state if is_taken else job.state, job, now)).close()
            look_at(connection, job.owner, job.campaign, now)
            self._tell_job(connection, job, now)
            return AddedJob(job, Joined.NEW, taken if is_taken else None)

        added = await self.engine.write(work)
        self.announced()
        return added

    def _tell_job(self, connection: Connection, job: Job | None, now: datetime) -> None:
        if self.is_announcing and job is not None:
            tell(connection, [job_entered(job, now)], now)

    async def job(self, job_id: int) -> Job | None:
        """See JobStore."""
        return await self.engine.glance(lambda connection: one_of(connection, run(connection, _ONE, (job_id,)).first()))

    async def jobs_by_id(self, job_ids: Collection[int]) -> dict[int, Job]:
        """See JobStore."""
        if len(job_ids) == 1:
            one = await self.job(next(iter(job_ids)))
            return {} if one is None else {one.job_id: one}

        def work(connection: Connection) -> dict[int, Job]:
            found = run_among(connection, _SOME, job_ids, "bigint").all()
            return {job.job_id: job for job in all_of(connection, found)}

        return await self.engine.read(work)

    async def job_by_alias(self, alias: str, login: str | None = None) -> Job | None:
        """See JobStore."""
        statement = select(_p.job_id).where(_p.alias == alias, _p.alias != "").order_by(_p.job_id.desc()).limit(1)
        if login is not None:
            statement = statement.where(_p.login == login)

        def work(connection: Connection) -> Job | None:
            found = connection.scalar(statement)
            return None if found is None else one_of(connection, run(connection, _ONE, (found,)).first())

        return await self.engine.read(work)

    async def jobs(self, query: JobQuery) -> list[Job]:
        """See JobStore."""
        if query.login is None:
            statement, ids = select(*SELECT), _j.id
            if query.states:
                statement = statement.where(_j.state.in_(sorted(query.states)))
        else:
            statement, ids = select(*SELECT).join(job_people, _p.job_id == _j.id).where(_p.login == query.login), _p.job_id
            if query.states:
                statement = statement.where(_p.state.in_(sorted(query.states)))
            if query.session:
                statement = statement.where(_p.session == query.session)
            if query.campaign:
                statement = statement.where(_p.campaign == query.campaign)
        if query.instrument:
            statement = statement.where(_j.instrument == query.instrument)
        if query.before_id is not None:
            statement = statement.where(ids < query.before_id)
        statement = statement.order_by(ids.desc()).limit(query.limit)

        def work(connection: Connection) -> list[Job]:
            return all_of(connection, connection.execute(statement).all())

        return await self.engine.read(work)

    async def job_ids(self, login: str | None, limit: int) -> list[int]:
        """See JobStore."""
        statement = select(_j.id).order_by(_j.id.desc())
        if login is not None:
            statement = select(_p.job_id).where(_p.login == login).order_by(_p.job_id.desc())
        return await self.engine.read(lambda connection: list(connection.scalars(statement.limit(limit))))

    async def claim_jobs(self, rooms: Mapping[str, int], lease: timedelta, now: datetime, limit: int) -> list[ClaimedJob]:
        """See JobStore."""
        now_us = to_us(now)

        def due(connection: Connection) -> bool:
            return any(
                (room > 0 and run(connection, _WAITING_IDS, (name, now_us, 1)).first()) or run(connection, _HELD_IDS, (name, now_us, 1)).first()
                for name, room in rooms.items()
            )

        # Most looks find nothing: they cost no write.
        if not rooms or not await self.engine.glance(due):
            return []

        def work(connection: Connection) -> list[ClaimedJob]:
            claimed: list[ClaimedJob] = []
            skip = "" if connection.dialect.name == "sqlite" else " FOR UPDATE SKIP LOCKED"
            for name, room in rooms.items():
                held = run(connection, _HELD_IDS + skip, (name, now_us, limit)).scalars().all()
                waiting = run(connection, _WAITING_IDS + skip, (name, now_us, min(room, limit))).scalars().all() if room > 0 else []
                claimed += _taken(connection, held, waiting, now, lease)
            return claimed

        return await self.engine.write(work)

    async def renew_jobs(self, held: Mapping[int, int], until: datetime) -> set[int]:
        """See JobStore."""
        until_us = to_us(until)

        def work(connection: Connection) -> set[int]:
            return {
                job_id for job_id, fence in sorted(held.items()) if run(connection, _RENEW, (until_us, job_id, fence)).first() is not None
            }  # fmt: skip

        return await self.engine.write(work) if held else set()

    async def change_job(self, job_id: int, change: JobChange, now: datetime) -> Job | None:
        """See JobStore."""

        def work(connection: Connection) -> Job | None:
            found = run(connection, _ONE + _lock(connection), (job_id,)).first()
            job = one_of(connection, found)
            changed = None if job is None else after(job, change, now)
            if job is None or changed is None:
                return None
            _write(connection, job, changed, change, now)
            self._tell_job(connection, changed if changed.state is not job.state else None, now)
            return changed

        changed = await self.engine.write(work)
        self.announced()
        return changed

    async def leave_job(self, job_id: int, login: str, now: datetime) -> bool:
        """See JobStore."""

        def work(connection: Connection) -> bool:
            run(connection, _ONE + _lock(connection), (job_id,)).close()
            others = connection.scalars(select(_p.login).where(_p.job_id == job_id, _p.login != login).order_by(_p.joined_us, _p.login)).all()
            if not others:
                return True
            campaign = run(connection, _CAMPAIGN, (job_id, login)).scalar() or ""
            connection.execute(delete(job_people).where(_p.job_id == job_id, _p.login == login))
            look_at(connection, login, campaign, now)
            connection.execute(jobs.update().where(_j.id == job_id, _j.owner == login).values(owner=others[0]))
            return False

        return await self.engine.write(work)

    async def job_history(self, job_id: int) -> list[HistoryRow]:
        """See JobStore."""
        statement = select(job_history).where(_h.job_id == job_id).order_by(_h.id)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [history_row(number, row) for number, row in enumerate(found, 1)]

    async def untold_jobs(self, limit: int, before: datetime | None = None) -> list[tuple[int, Job, HistoryRow]]:
        """See JobStore."""

        def work(connection: Connection) -> list[tuple[int, Job, HistoryRow]]:
            found = run(connection, _UNTOLD, (_EVER if before is None else to_us(before), limit)).all()
            ids = sorted({row.job_id for row in found})
            there = {job.job_id: job for job in all_of(connection, run_among(connection, _SOME, ids, "bigint").all())} if ids else {}
            for job_id, login in run_among(connection, _IN_CAMPAIGN, ids, "bigint") if ids else ():
                there[job_id] = replace(there[job_id], in_campaign=(*there[job_id].in_campaign, login))
            for job_id, job in there.items():
                if job.attempt > 1:
                    there[job_id] = replace(job, asked_at=_asked_at(connection, job_id))
                if job.shared_with:
                    joined = run(connection, _JOINED, (job_id,)).all()
                    there[job_id] = replace(there[job_id], joined_at={row.login: from_us(row.joined_us) for row in joined})
            return [(row.id, there[row.job_id], _told_row(connection, row, there[row.job_id])) for row in found if row.job_id in there]

        return await self.engine.read(work)

    async def told_jobs(self, numbers: Collection[int]) -> None:
        """See JobStore."""
        if numbers:
            await self.engine.write(lambda connection: run(connection, _TOLD, [(number,) for number in sorted(numbers)]).close())

    async def job_products(self, job_id: int) -> list[Product]:
        """See JobStore."""
        found = await self.engine.glance(lambda connection: run(connection, _PRODUCTS, (job_id,)).all())
        return [
            Product(row.name, ProductKind(row.kind), row.title, row.content_type, row.size, row.sha256, json.loads(row.meta), row.path, row.content)
            for row in found
        ]  # fmt: skip

    async def old_jobs(self, before: datetime, limit: int) -> list[int]:
        """See JobStore."""
        return await self.engine.read(lambda connection: list(run(connection, _OLD, (to_us(before), limit)).scalars()))

    async def forget_jobs(self, job_ids: Collection[int]) -> None:
        """See JobStore."""

        def work(connection: Connection) -> None:
            for some in shape.chunks(sorted(job_ids), 1_000):
                for column in (_h.job_id, _o.job_id, _p.job_id, _j.id):
                    connection.execute(delete(column.table).where(column.in_(some)))
            forget_empty(connection)

        await self.engine.write(work)

    async def job_counts(self) -> dict[tuple[str, JobState], int]:
        """See JobStore."""

        def work(connection: Connection) -> list[Any]:
            return [row for statement in _COUNTS for row in run(connection, statement).all()]

        return {(row[0], JobState(row[1])): int(row[2]) for row in await self.engine.read(work)}

    async def kept_bytes(self, login: str) -> int:
        """See JobStore."""
        statement = select(func.coalesce(func.sum(_j.output_bytes), 0)).where(_j.owner == login)
        return await self.engine.read(lambda connection: int(connection.scalar(statement) or 0))


def _lock(connection: Connection) -> str:
    return "" if connection.dialect.name == "sqlite" else " FOR UPDATE"


def _check_room(connection: Connection, login: str, most: int) -> None:
    if most and run(connection, _WAITING, (login, most)).scalar_one() >= most:
        raise RateLimited(f"{most} jobs of yours have not ended yet; submit again when one has", retry_after=30)


def _join(connection: Connection, there: Job, asked: Job, now: datetime, most_waiting: int, *, is_told_again: bool) -> AddedJob:
    """The run of one that was asked before; where it came to no result, it runs again."""
    joined = Joined.JOINED
    # Those who cancelled it don't want to hear of it again.
    is_unwanted = there.state is JobState.CANCELLED
    if is_unwanted:
        run(connection, "DELETE FROM job_people WHERE job_id = ?", (there.job_id,)).close()
    if there.state in (JobState.FAILED, JobState.CANCELLED, JobState.LOST):
        _check_room(connection, asked.owner, most_waiting)
        change = JobChange(by=asked.owner, state=JobState.QUEUED, due_at=now, deadline_at=asked.deadline_at)
        again = after(there, change, now)
        assert again is not None
        _write(connection, there, again, change, now)
        there, joined = again, Joined.RETRIED
    before = run(connection, _CAMPAIGN, (there.job_id, asked.owner)).scalar()
    is_to_tell = joined is Joined.JOINED and there.state in _UNBEGUN and asked.owner != "" and (before is None or is_told_again)
    if is_to_tell and _kept(connection, there.job_id) < MOST_HISTORY:
        run(connection, _ONE_MORE_ROW, (there.job_id,)).close()
        row = replace(there, owner=asked.owner, state=JobState.QUEUED, progress=0.0, message="", reason=JobReason.ASKED)
        _write_history(connection, row, asked.owner, now, is_to_tell=True)
    run(connection, _JOIN, _asking(there.job_id, there.state, asked, now)).close()
    for campaign in sorted({before or "", asked.campaign}) if asked.campaign else ():
        look_at(connection, asked.owner, campaign, now)
    if asked.owner != there.owner:
        run(connection, *((_TAKEN_OVER, (asked.owner, there.job_id)) if is_unwanted else (_SHARED, (there.job_id,)))).close()
    found = one_of(connection, run(connection, _ONE, (there.job_id,)).first())
    assert found is not None
    return AddedJob(found, joined)


def _asking(job_id: int, state: JobState, asked: Job, now: datetime) -> tuple[Any, ...]:
    return job_id, asked.owner, int(state), asked.alias, asked.session, asked.campaign, to_us(now)


def _taken(connection: Connection, held: Collection[int], waiting: Collection[int], now: datetime, lease: timedelta) -> list[ClaimedJob]:
    ids = [*held, *waiting]
    if not ids:
        return []
    run(connection, _TAKE, [(to_us(now + lease), to_us(now), job_id) for job_id in ids]).close()
    if waiting:
        run(connection, _PEOPLE_STATE, [(int(JobState.SUBMITTING), job_id) for job_id in waiting]).close()
    first = frozenset(waiting)
    taken = all_of(connection, run_among(connection, _SOME, ids, "bigint").all())
    return [ClaimedJob(job, job.job_id in first) for job in taken]


def _write(connection: Connection, old: Job, new: Job, change: JobChange, now: datetime) -> None:
    is_step = new.state is not old.state
    report = canonical(dict(change.report)) if change.report else ""
    if report and not change.sequence and not is_step and run(connection, _LAST_REPORT, (old.job_id,)).scalar() == report:
        report = ""  # the sender does not count, and says the same again
    says_something = bool(report) or is_step or (new.progress, new.message) != (old.progress, old.message)
    is_kept = is_step or (says_something and _kept(connection, old.job_id) < MOST_HISTORY)
    run(connection, _CHANGED, (
        int(new.state), to_us(new.due_at) if new.due_at else 0, new.fence, new.attempt, new.tries, to_us(new.changed_at),
        shape.stamp(new.started_at), shape.stamp(new.ended_at), shape.stamp(new.deadline_at), new.progress, new.message, str(new.reason),
        new.handle, new.report_sequence, new.output_bytes, int(is_kept), new.job_id,
    )).close()  # fmt: skip
    if is_step:
        asked = run(connection, _PEOPLE_STATE + " RETURNING login, campaign", (int(new.state), new.job_id)).all()
        for login, campaign in sorted(map(tuple, asked)) if new.state.is_final is not old.state.is_final else ():
            look_at(connection, login, campaign, now)
    has_no_result = new.state.is_final and new.state is not JobState.DONE
    if change.products is not None or new.attempt != old.attempt or has_no_result:
        run(connection, _NO_PRODUCTS, (new.job_id,)).close()
    if change.products:
        run(connection, _PRODUCT, [
            (new.job_id, product.name, position, product.kind.value, product.title, product.content_type, product.size, product.sha256,
             canonical(dict(product.meta)), product.path, product.content)
            for position, product in enumerate(change.products)
        ]).close()  # fmt: skip
    if is_kept:
        # What certainly did not start and waits again is no news.
        is_news = is_step and (new.state.is_final or (new.state is JobState.QUEUED and old.state is not JobState.SUBMITTING))
        _write_history(connection, new, change.by, now, report, is_to_tell=is_news)


def _told_row(connection: Connection, row: Any, job: Job) -> HistoryRow:
    """With the times at which its person had asked before: only a second question has any."""
    told = history_row(0, row)
    if told.state is not JobState.QUEUED or told.at == job.created_at:
        return told
    asked = run(connection, _ASKED_BEFORE, (row.job_id, row.id, row.by_whom)).scalars().all()
    return replace(told, asked_before=tuple((row.at_us - at_us) / 1e6 for at_us in reversed(asked)))


def _asked_at(connection: Connection, job_id: int) -> datetime | None:
    """When somebody last wanted it to run: a start that the dispatcher wanted by itself belongs to the question before."""
    first: dict[int, Any] = {}
    for row in run(connection, _QUEUED, (job_id,)).all():
        first.setdefault(row.attempt, row)
    wanted = [row.at_us for row in first.values() if row.by_whom not in ("dispatcher", "instrument")]
    return from_us(wanted[-1]) if wanted else None


def _kept(connection: Connection, job_id: int) -> int:
    return int(run(connection, "SELECT rows_kept FROM jobs WHERE id = ?", (job_id,)).scalar() or 0)


def _write_history(connection: Connection, job: Job, by: str, now: datetime, report: str = "", *, is_to_tell: bool = False) -> None:
    row = (
        job.job_id, to_us(now), int(job.state), by, job.attempt, job.progress, job.message, str(job.reason), report,
        int(is_to_tell and any(job.people)),
    )  # fmt: skip
    run(connection, _HISTORY, row).close()
