"""The state of the store itself: schema, durability, retention, checks, backup, hints between processes."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, not_, or_, select
from sqlalchemy.engine import make_url

from angelia import telemetry
from angelia.model.delivery import State
from angelia.model.errors import SchemaMismatch, StoreUnavailable
from angelia.model.moments import first_id, next_id, to_us
from angelia.stores import rows as shape
from angelia.stores.ear_tables import receipts
from angelia.stores.engine import Listener, SqlEngine, run
from angelia.stores.expectations import put_right
from angelia.stores.inbox import removed_name
from angelia.stores.messages import below
from angelia.stores.tables import PLANNED, answers, deliveries, digests, escalations, ledger, messages, types
from angelia.stores.types_document import retention_of

KEYS_KEPT = timedelta(days=7)
MARKS_KEPT = timedelta(days=1)
CLOCK_MAY_JUMP = timedelta(days=1)
"""By so much the time in an id may be ahead of the clock, after the clock went back."""

_OLD_KEYS = "SELECT id FROM messages WHERE id > ? AND id < ? AND idem_key IS NOT NULL AND received_us < ? ORDER BY id LIMIT ?"
_FORGET_MARKS = (
    "DELETE FROM repeat_marks WHERE (person_id, agent, key) IN "
    "(SELECT person_id, agent, key FROM repeat_marks WHERE sent_us < ? ORDER BY sent_us LIMIT ?)"
)
_ANY_RESTLESS = (
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM messages WHERE plan_state = 0) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM transitions WHERE to_publish = 1) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM transitions WHERE to_tell = 1) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM jobs WHERE state = 1) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM jobs WHERE state > 1 AND state < 10) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM job_history WHERE to_tell = 1) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM job_campaigns WHERE to_tell = 1) UNION ALL "
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM expectation_history WHERE to_tell = 1)"
)
_NEXT_DELIVERY = "SELECT min(due_us) FROM deliveries WHERE state = 2 AND agent = ?"
_NEXT_SLOT = "SELECT min(due_us) FROM deliveries WHERE state = 1"
_NEXT_ESCALATION = "SELECT min(due_us) FROM escalations WHERE ended_us IS NULL"
AWAY = timedelta(hours=1)
"""So long nobody worked where the hub was stopped, and not only begun anew."""
_REMOVED = (
    "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > counters.value"
)
_ATTENDED = "INSERT INTO counters (name, value) VALUES ('attended', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_NEXT_SILENCE = "SELECT min(alarm_us) FROM expectations WHERE alarm_us IS NOT NULL"
AHEAD = timedelta(minutes=5)
"""More than clocks of several machines differ, and than a claim lasts."""
_d = deliveries.c


class UpkeepMixin:
    """Upkeep in SQL, and retention."""

    engine: SqlEngine
    url: str

    def __init__(self) -> None:
        self._hints: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1_000)
        self._ears: list[Callable[[str], None]] = []
        self._listener: Listener | None = None
        self._to_wake: set[str] = set()
        self._waker: asyncio.Task[None] | None = None
        self._forgotten_to = 0  # ids below hold no key any more: each pass starts where the last one ended

    async def open(self) -> None:
        """See Upkeep."""
        # First, since it says why there is no connection: `engine` has one answer for whoever posts.
        self._listener = self._listener or await self.engine.listen(self._heard)
        found = await self.engine.read(_schema)
        if found != HEAD:
            raise mismatch(found)
        await self.engine.read(_assert_durable)

    def _heard(self, topic: str) -> None:
        for ear in self._ears:
            ear(topic)
        if not self._hints.full():
            self._hints.put_nowait(topic)

    def hear(self, ear: Callable[[str], None]) -> None:
        """See Upkeep."""
        self._ears.append(ear)

    async def close(self) -> None:
        """See Upkeep."""
        if not self._hints.full():
            self._hints.put_nowait(None)
        if self._waker is not None:
            self._waker.cancel()
        if self._listener is not None:
            await self._listener.close()
        await self.engine.close()

    def wake(self, topic: str) -> None:
        """See Upkeep."""
        if self._listener is None:
            return
        self._to_wake.add(topic)
        if self._waker is None or self._waker.done():
            self._waker = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        """One after another: a connection does one thing at a time."""
        try:
            if self._listener is not None and self._listener.is_closed():
                self._listener = await self.engine.listen(self._heard)
            while self._to_wake and self._listener is not None:
                await self._listener.tell(self._to_wake.pop())
        except StoreUnavailable as error:
            telemetry.log.debug("hint_lost", error=str(error))

    async def hints(self) -> AsyncIterator[str]:
        """See Upkeep. A listener that was lost is made anew; meanwhile the clock guarantees."""
        while (topic := await self._next_hint()) is not None:
            yield topic

    async def _next_hint(self) -> str | None:
        while True:
            try:
                async with asyncio.timeout(5):
                    return await self._hints.get()
            except TimeoutError:
                pass
            if self._listener is not None and self._listener.is_closed():
                try:
                    self._listener = await self.engine.listen(self._heard)
                except StoreUnavailable as error:
                    telemetry.log.warning("listener_lost", error=str(error))

    async def release_leases(self) -> int:
        """See Upkeep. A message that was postponed keeps its time: it has a reason."""

        def work(connection: Connection) -> int:
            claimed = "UPDATE messages SET plan_due_us = 0 WHERE plan_state = 0 AND plan_error IS NULL AND plan_due_us > 0"
            sending = "UPDATE deliveries SET state = 2, fence = fence + 1 WHERE state = 3"
            run(connection, "UPDATE jobs SET due_us = 0 WHERE state > 1 AND state < 10").close()
            turns = "'transitions.publish', 'transitions.tell', 'announcements', 'expectations'"
            run(connection, "UPDATE counters SET value = 0 WHERE name IN (" + turns + ")").close()
            run(connection, "UPDATE ears SET lease_us = 0").close()
            return int(run(connection, claimed).rowcount) + int(run(connection, sending).rowcount)

        return await self.engine.write(work)

    async def forget_future(self, now: datetime) -> int:
        """See Upkeep. A try, or an id, that lies ahead of now was made under another clock. Claims of messages last half a minute."""
        now_us, ahead_us = to_us(now), to_us(now + AHEAD)
        created = next_id(ahead_us, 0, 0)
        due = (
            "UPDATE deliveries SET due_us = ? WHERE state = 2 AND due_us > ? "
            "AND (first_tried_us > ? OR (attempts = 0 AND id > ? AND reason NOT IN ('quiet_hours', 'not_before')))"
        )
        claimed = "UPDATE messages SET plan_due_us = 0 WHERE plan_state = 0 AND plan_due_us > ?"
        going_on = "UPDATE escalations SET due_us = ? WHERE ended_us IS NULL AND message_id > ?"
        looked_after = "UPDATE jobs SET due_us = ? WHERE state < 10 AND due_us > ?"
        heard = "UPDATE ears SET lease_us = 0 WHERE lease_us > ?"

        def work(connection: Connection) -> int:
            back = run(connection, due, (now_us, ahead_us, ahead_us, created)).rowcount + run(connection, claimed, (ahead_us,)).rowcount
            leases = "UPDATE deliveries SET state = 2, fence = fence + 1 WHERE state = 3 AND lease_us > ?"
            run(connection, looked_after, (now_us, ahead_us)).close()
            run(connection, going_on, (now_us, created)).close()
            run(connection, heard, (ahead_us,)).close()
            put_right(connection, now, now + AHEAD)
            return int(back + run(connection, leases, (ahead_us,)).rowcount)

        return await self.engine.write(work)

    async def attend(self, now: datetime, *, is_back: bool) -> timedelta:
        """See Upkeep. Of two that come at once the second finds the mark of the first."""
        now_us = to_us(now)

        def work(connection: Connection) -> int:
            lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
            last = run(connection, "SELECT value FROM counters WHERE name = 'attended'" + lock).scalar()
            away = 0 if last is None else now_us - int(last)
            if is_back and abs(away) >= AWAY // timedelta(microseconds=1):
                for state in (State.DUE, State.SENDING):
                    older = f"UPDATE deliveries SET first_tried_us = first_tried_us + ? WHERE state = {state:d} AND first_tried_us IS NOT NULL"
                    run(connection, older, (away,)).close()
            run(connection, _ATTENDED, (now_us,)).close()
            return away

        return timedelta(microseconds=await self.engine.write(work))

    async def pulse(self) -> int:
        """See Upkeep."""
        return await self.engine.pulse()

    async def next_due_at(self, agents: Collection[str], now: datetime) -> datetime | None:
        """See Upkeep."""

        def work(connection: Connection) -> int | None:
            if run(connection, _ANY_RESTLESS).first() is not None:
                return to_us(now)
            stamps = [run(connection, _NEXT_DELIVERY, (agent,)).scalar() for agent in agents]
            stamps += [run(connection, statement).scalar() for statement in (_NEXT_SLOT, _NEXT_ESCALATION, _NEXT_SILENCE)]
            return min((stamp for stamp in stamps if stamp is not None), default=None)

        return shape.moment(await self.engine.read(work))

    async def ping(self) -> None:
        """See Upkeep."""
        put = "INSERT INTO counters (name, value) VALUES ('ping', 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1"
        try:
            async with asyncio.timeout(2):
                await self.engine.write(lambda connection: run(connection, put).close())
                found = await self.engine.read(_schema)
        except TimeoutError:
            raise StoreUnavailable("the database does not answer within 2 s") from None
        if found != HEAD:
            raise StoreUnavailable(str(mismatch(found)))

    async def check(self) -> list[str]:
        """See Upkeep."""
        return await self.engine.read(_faults)

    async def backup(self, path: str) -> None:
        """See Upkeep."""
        if Path(path).exists():
            raise StoreUnavailable(f"{path} exists; a backup goes into a new file")
        if self.engine.dialect == "sqlite":
            await self.engine.read(lambda connection: _vacuum_into(connection, path))
            return
        program = shutil.which("pg_dump")
        if program is None:
            raise StoreUnavailable("pg_dump is not on PATH; install PostgreSQL's client programs")
        # The password goes by the environment: a command line is there for everybody to read.
        parsed = make_url(self.url).set(drivername="postgresql")
        secret = {"PGPASSWORD": str(parsed.password)} if parsed.password else {}
        url = parsed._replace(password=None).render_as_string()
        process = await asyncio.create_subprocess_exec(
            program,
            "--format=custom",
            f"--file={path}",
            f"--dbname={url}",
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | secret,
            umask=0o077,
        )
        _, complaint = await process.communicate()
        if process.returncode:
            raise StoreUnavailable(f"pg_dump failed: {complaint.decode(errors='replace').strip()[:300]}")

    async def purge(self, now: datetime, default_retention: timedelta, limit: int) -> int:
        """See DeliveryStore."""

        def work(connection: Connection) -> int:
            pending = exists().where(_d.message_id == messages.c.id, _d.state < State.DELIVERED.value)
            old = select(messages.c.id).where(_is_old(connection, now, default_retention), not_(pending), messages.c.plan_state == PLANNED)
            ids = list(connection.scalars(old.order_by(messages.c.id).limit(limit)))
            for some in shape.chunks(ids, 1_000):
                _note_removed(connection, _d.message_id.in_(some))
                connection.execute(delete(receipts).where(receipts.c.id.in_(select(_d.id).where(_d.message_id.in_(some)))))
                connection.execute(delete(deliveries).where(_d.message_id.in_(some)))
                for beside in (ledger, answers, escalations):
                    connection.execute(delete(beside).where(beside.c.message_id.in_(some)))
                connection.execute(delete(messages).where(messages.c.id.in_(some)))
            return max(len(ids), _purge_digests(connection, now - default_retention, limit))

        return await self.engine.write(work)

    async def forget(self, now: datetime, limit: int) -> int:
        """See DeliveryStore."""
        before, seen_to = now - KEYS_KEPT, self._forgotten_to

        def work(connection: Connection) -> tuple[int, int]:
            keyed = run(connection, _OLD_KEYS, (seen_to, first_id(before + CLOCK_MAY_JUMP), to_us(before), limit)).scalars().all()
            if keyed:
                run(connection, "UPDATE messages SET idem_key = NULL, fingerprint = NULL WHERE id = ?", [(key,) for key in keyed]).close()
            marks = run(connection, _FORGET_MARKS, (to_us(now - MARKS_KEPT), limit)).rowcount
            run(connection, "DELETE FROM link_codes WHERE expires_us < ?", (to_us(now),)).close()
            return max(len(keyed), marks), keyed[-1] if len(keyed) == limit else first_id(before)

        count, self._forgotten_to = await self.engine.write(work)
        return count


HEAD = "0019"


def mismatch(found: str) -> SchemaMismatch:
    """What an operator is told, by where the database stands; revisions are numbers that grow."""
    if not found:
        return SchemaMismatch("the database holds no schema of Angelia: run `angelia db upgrade`")
    if found < HEAD:
        return SchemaMismatch(
            f"the database is at schema {found}, this version of Angelia needs {HEAD}: "
            "stop all processes of the hub, make a backup, then run `angelia db upgrade`"
        )
    return SchemaMismatch(
        f"the database is at schema {found}, newer than {HEAD}, which this version of Angelia speaks: "
        "run the version that upgraded it, or put back the backup from before"
    )


def _is_old(connection: Connection, now: datetime, default: timedelta) -> Any:
    """Each type keeps to the nearest ancestor that says how long. Ids sort by time: they say where to look."""
    kept = {key: days for key, text in connection.execute(select(types.c.key, types.c.document)) if (days := retention_of(text))}
    conditions = []
    for key, days in kept.items():
        deeper = [below(other) for other in kept if other.startswith(f"{key}.")]
        here = and_(below(key), not_(or_(*deeper))) if deeper else below(key)
        conditions.append(and_(here, messages.c.received_us < to_us(now - timedelta(days=days))))
    rest = messages.c.received_us < to_us(now - default)
    if kept:
        rest = and_(rest, not_(or_(*(below(key) for key in kept))))
    shortest = min([default, *(timedelta(days=days) for days in kept.values())])
    return and_(messages.c.id < first_id(now - shortest + CLOCK_MAY_JUMP), or_(rest, *conditions))


def _note_removed(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Who comes back to an inbox with an older place is told that something is missing."""
    newest = select(_d.person_id, func.max(_d.id)).where(condition, _d.agent == "web").group_by(_d.person_id)
    rows = [(removed_name(person_id), number) for person_id, number in connection.execute(newest)]
    if rows:
        run(connection, _REMOVED, rows).close()


def _purge_digests(connection: Connection, before: datetime, limit: int) -> int:
    ended = select(digests.c.id).join(deliveries, _d.digest_id == digests.c.id).where(_d.message_id.is_(None), _d.ended_us < to_us(before))
    ended = ended.where(digests.c.id < first_id(before + CLOCK_MAY_JUMP)).order_by(digests.c.id).limit(limit)
    ids = list(connection.scalars(ended))
    for some in shape.chunks(ids, 1_000):
        connection.execute(delete(digests).where(digests.c.id.in_(some)))
        of_digests = and_(_d.digest_id.in_(some), _d.message_id.is_(None))
        _note_removed(connection, of_digests)
        connection.execute(delete(receipts).where(receipts.c.id.in_(select(_d.id).where(of_digests))))
        connection.execute(delete(deliveries).where(of_digests))
    return len(ids)


def _schema(connection: Connection) -> str:
    found = (
        "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.dialect.name == "sqlite"
        else "SELECT 1 FROM pg_tables WHERE tablename = 'alembic_version' AND schemaname = current_schema()"
    )
    if run(connection, found).first() is None:
        return ""
    return str(run(connection, "SELECT version_num FROM alembic_version").scalar() or "")


def _assert_durable(connection: Connection) -> None:
    """Promise P1 rests on these settings; a store that lacks them is refused."""
    if connection.dialect.name == "sqlite":
        mode = run(connection, "PRAGMA journal_mode").scalar()
        if mode != "wal" or run(connection, "PRAGMA synchronous").scalar() != 2:
            raise StoreUnavailable(f"SQLite is in journal mode {mode!r} and not set to flush: refused")
    elif run(connection, "SHOW fsync").scalar() != "on":
        raise StoreUnavailable("PostgreSQL's fsync is off: refused, since a power cut would lose accepted messages")
    elif run(connection, "SHOW synchronous_commit").scalar() not in ("on", "remote_apply", "remote_write"):
        raise StoreUnavailable("PostgreSQL's synchronous_commit is not on: refused, since a power cut would lose accepted messages")


def _faults(connection: Connection) -> list[str]:
    """Promise P3 as a check: what was decided to be delivered is there, and what is in a digest has one."""
    faults: list[str] = []
    if connection.dialect.name == "sqlite":
        found = run(connection, "PRAGMA quick_check").scalar()
        if found != "ok":
            faults.append(f"the database file is damaged: {found}")
    there = select(func.count()).where(_d.message_id == ledger.c.message_id, _d.person_id == ledger.c.person_id).scalar_subquery()
    for row in connection.execute(select(ledger, there.label("there")).order_by(ledger.c.message_id, ledger.c.person_id)):
        promised = sum(decision.verdict.is_delivery for decision in shape.decisions_from(row.decisions))
        if promised != row.there:
            faults.append(f"message {row.message_id} for person {row.person_id}: {promised} deliveries decided, {row.there} there")
    orphans = select(_d.id).where(_d.state == State.DIGESTED.value, not_(exists().where(digests.c.id == _d.digest_id)))
    faults += [f"delivery {key} is in a digest that does not exist" for key in connection.scalars(orphans)]
    ended = select(_d.id).where(_d.state >= State.DELIVERED.value, _d.ended_us.is_(None)).limit(100)
    faults += [f"delivery {key} ended, but nobody knows when" for key in connection.scalars(ended)]
    return faults


def _vacuum_into(connection: Connection, path: str) -> None:
    """Under another name until it is whole and flushed: a backup that was killed is none."""
    raw = connection.connection.driver_connection
    assert raw is not None
    part = Path(f"{path}.part")
    part.unlink(missing_ok=True)
    part.touch(0o600)  # it holds what people were told: for nobody else, whatever the umask
    raw.execute("ROLLBACK")
    try:
        raw.execute("VACUUM INTO ?", (str(part),))
    finally:
        raw.execute("BEGIN")
    copy = sqlite3.connect(part)
    try:
        copy.execute("PRAGMA journal_mode=WAL")  # as a hub wants it; VACUUM does not copy the mode
    finally:
        copy.close()
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(path)
