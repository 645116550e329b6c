"""Expectations in SQL: each change of one is made under its lock, with its line in the history."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from angelia.model.errors import Conflict
from angelia.model.expectation import Expectation, ExpectationState, Listening, Moment, Sign, SignKind
from angelia.model.message import Severity
from angelia.model.moments import from_us, to_us
from angelia.planning.expecting import after_sign, alarm_at, begun_anew, fallen_silent, is_news
from angelia.store.expectations import ExpectationNews
from angelia.stores import rows as shape
from angelia.stores.changes import end_turn, take_turn, touch
from angelia.stores.engine import SqlEngine, run, run_among

KEPT = 100
"""Lines of each history."""
_TURN = "expectations"
_COLUMNS = "id, person_id, terms, state, is_paused, created_us, since_us, seen_us, started_us"
_OF_E = ", ".join(f"e.{name}" for name in _COLUMNS.split(", "))
_ONE = "SELECT " + _COLUMNS + " FROM expectations WHERE id = ?"
_ADD = (
    "INSERT INTO expectations (person_id, terms, secret_hash, hears, state, is_paused, created_us, since_us, alarm_us) "
    "VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?) RETURNING id"
)
_PUT = "UPDATE expectations SET terms = ?, hears = ?, alarm_us = ? WHERE id = ?"
_MOVE = "UPDATE expectations SET state = ?, is_paused = ?, since_us = ?, seen_us = ?, started_us = ?, alarm_us = ? WHERE id = ?"
_LINE = (
    "INSERT INTO expectation_history (expectation_id, at_us, kind, state_before, state_after, since_us, took_us, exit_code, said, to_tell) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# What is still to be told is never forgotten, however many pings come after it.
_FORGET = (
    "DELETE FROM expectation_history WHERE expectation_id = ? AND to_tell = 0 AND id <= "
    "(SELECT id FROM expectation_history WHERE expectation_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_LINES = "h.id, h.expectation_id, h.at_us, h.kind, h.state_before, h.state_after, h.since_us, h.took_us, h.exit_code, h.said"
_UNTOLD = "SELECT 1 FROM expectation_history WHERE to_tell = 1 LIMIT 1"
_TO_TELL = (
    "SELECT " + _LINES + ", " + _OF_E + ", p.login FROM expectation_history h JOIN expectations e ON e.id = h.expectation_id "
    "JOIN persons p ON p.id = e.person_id WHERE h.to_tell = 1 ORDER BY h.id LIMIT ?"
)
_OVERDUE = (
    "SELECT " + _COLUMNS + ", alarm_us FROM expectations WHERE alarm_us IS NOT NULL AND alarm_us <= ? AND (alarm_us, id) > (?, ?) "
    "ORDER BY alarm_us, id LIMIT ?"
)
# What was postponed has been looked at: its sign is noted.
_WAITING = "SELECT source, type, min(received_us) FROM messages WHERE plan_state = 0 AND plan_error IS NULL GROUP BY source, type"
_GROUPS = "SELECT e.id, g.name FROM expectations e JOIN members m ON m.person_id = e.person_id JOIN groups g ON g.id = m.group_id WHERE e.hears = 1"


class ExpectationsMixin:
    """ExpectationStore in SQL."""

    engine: SqlEngine

    async def add_expectation(self, one: Expectation, secret_hash: str, most: int) -> Expectation:
        """See ExpectationStore."""

        def work(connection: Connection) -> Expectation:
            # First of all, since it holds her row: two at once must not both be the last that she may have.
            touch(connection, [one.person_id])
            count = run(connection, "SELECT count(*) FROM expectations WHERE person_id = ?", (one.person_id,)).scalar()
            if count >= most:
                raise Conflict(f"nobody has more than {most} expectations; remove one first")
            values = (one.person_id, _terms(one), secret_hash, int(one.hears_messages), int(one.state))
            times = to_us(one.created_at), to_us(one.since), shape.stamp(alarm_at(one))
            return replace(one, expectation_id=run(connection, _ADD, (*values, *times)).scalar_one())

        return await self.engine.write(work)

    async def put_expectation(self, one: Expectation) -> Expectation | None:
        """See ExpectationStore."""

        def work(connection: Connection) -> Expectation | None:
            found = _locked(connection, one.expectation_id)
            if found is None or found.person_id != one.person_id:
                return None
            stands = ("created_at", "since", "state", "is_paused", "seen_at", "started_at")
            new = replace(one, **{name: getattr(found, name) for name in stands})
            run(connection, _PUT, (_terms(new), int(new.hears_messages), shape.stamp(alarm_at(new)), new.expectation_id)).close()
            touch(connection, [new.person_id])
            return new

        return await self.engine.write(work)

    async def expectation(self, expectation_id: int) -> Expectation | None:
        """See ExpectationStore."""
        row = await self.engine.read(lambda connection: run(connection, _ONE, (expectation_id,)).first())
        return None if row is None else _expectation(row)

    async def list_expectations(self, person_id: int | None, after_id: int = 0, limit: int = 1_000) -> list[tuple[Expectation, str]]:
        """See ExpectationStore."""
        hers, values = ("", ()) if person_id is None else (" AND e.person_id = ?", (person_id,))
        statement = "SELECT " + _OF_E + ", p.login FROM expectations e JOIN persons p ON p.id = e.person_id WHERE e.id > ?" + hers
        statement += " ORDER BY e.id LIMIT ?"
        found = await self.engine.read(lambda connection: run(connection, statement, (after_id, *values, limit)).all())
        return [(_expectation(row), row[-1]) for row in found]

    async def remove_expectation(self, expectation_id: int) -> bool:
        """See ExpectationStore."""

        def work(connection: Connection) -> bool:
            found = _locked(connection, expectation_id)
            if found is None:
                return False
            run(connection, "DELETE FROM expectation_history WHERE expectation_id = ?", (expectation_id,)).close()
            run(connection, "DELETE FROM expectations WHERE id = ?", (expectation_id,)).close()
            touch(connection, [found.person_id])
            return True

        return await self.engine.write(work)

    async def pause_expectation(self, expectation_id: int, now: datetime, *, is_paused: bool) -> Expectation | None:
        """See ExpectationStore."""

        def work(connection: Connection) -> Expectation | None:
            found = _locked(connection, expectation_id)
            if found is None or found.is_paused is is_paused:
                return found
            new = replace(found, is_paused=True) if is_paused else begun_anew(found, now)
            _move(connection, new)
            _write(connection, found, new, "pause" if is_paused else "resume", now)
            return new

        return await self.engine.write(work)

    async def rotate_expectation(self, expectation_id: int, secret_hash: str | None) -> bool:
        """See ExpectationStore."""
        statement = "UPDATE expectations SET secret_hash = ? WHERE id = ?"
        return await self.engine.write(lambda connection: bool(run(connection, statement, (secret_hash, expectation_id)).rowcount))

    async def expectation_at(self, secret_hash: str) -> int | None:
        """See ExpectationStore."""
        statement = "SELECT id FROM expectations WHERE secret_hash = ?"
        found: int | None = await self.engine.glance(lambda connection: run(connection, statement, (secret_hash,)).scalar())
        return found

    async def note_signs(self, signs: Mapping[int, Sign]) -> int:
        """See ExpectationStore."""
        return await self.engine.write(lambda connection: hear(connection, signs))

    async def expectation_history(self, expectation_id: int, before: int | None = None, limit: int = 100) -> list[Moment]:
        """See ExpectationStore."""
        below, values = ("", ()) if before is None else (" AND h.id < ?", (before,))
        statement = "SELECT " + _LINES + " FROM expectation_history h WHERE h.expectation_id = ?" + below + " ORDER BY h.id DESC LIMIT ?"
        found = await self.engine.read(lambda connection: run(connection, statement, (expectation_id, *values, limit)).all())
        return [_moment(row) for row in found]

    async def listening(self) -> list[Listening]:
        """See ExpectationStore."""

        def work(connection: Connection) -> list[Listening]:
            names: dict[int, set[str]] = {}
            for number, group in run(connection, _GROUPS).all():
                names.setdefault(number, set()).add(f"group:{group}")
            found = []
            hears = "SELECT e.id, e.terms, p.login FROM expectations e JOIN persons p ON p.id = e.person_id WHERE e.hears = 1 ORDER BY e.id"
            for number, terms, login in run(connection, hears).all():
                said = json.loads(terms)
                readers = frozenset({login, *names.get(number, ())})
                found.append(Listening(number, said["source"], said["type"], said["object"], readers))
            return found

        return await self.engine.read(work)

    async def find_silences(self, limit: int, now: datetime) -> int:
        """See ExpectationStore."""
        now_us = to_us(now)
        due = "SELECT max(hears) FROM expectations WHERE alarm_us IS NOT NULL AND alarm_us <= ?"
        hears = await self.engine.glance(lambda connection: run(connection, due, (now_us,)).scalar())
        if hears is None:
            return 0
        # Read before what is overdue: what is planned between the two has moved its alarm.
        waiting = await self.engine.read(lambda connection: run(connection, _WAITING).all()) if hears else ()

        def work(connection: Connection) -> int:
            count = 0
            for one, alarm_us in _overdue(connection, now_us, limit):
                if one.hears_messages and _may_have_spoken(one, alarm_us, waiting):
                    continue
                new = fallen_silent(one)
                _move(connection, new)
                _write(connection, one, new, "silence", now)
                count += 1
                if count == limit:
                    break
            return count

        return await self.engine.write(work)

    async def claim_expectation_news(self, limit: int, lease: timedelta, now: datetime) -> list[ExpectationNews]:
        """See ExpectationStore."""
        if await self.engine.glance(lambda connection: run(connection, _UNTOLD).first()) is None:
            return []

        def work(connection: Connection) -> list[ExpectationNews]:
            if not take_turn(connection, _TURN, to_us(now + lease), to_us(now)):
                return []
            width = len(_LINES.split(", "))
            return [ExpectationNews(_moment(row), _expectation(row[width:]), row[-1]) for row in run(connection, _TO_TELL, (limit,)).all()]

        return await self.engine.write(work)

    async def settle_expectation_news(self, numbers: Collection[int]) -> None:
        """See ExpectationStore."""

        def work(connection: Connection) -> None:
            if numbers:
                run_among(connection, "UPDATE expectation_history SET to_tell = 0 WHERE id {among}", numbers, "bigint").close()
            end_turn(connection, _TURN)

        await self.engine.write(work)


def hear(connection: Connection, signs: Mapping[int, Sign]) -> int:
    """Note them in this transaction; in the order of their ids, so that two workers can't wait for each other."""
    count = 0
    for number in sorted(signs):
        one, sign = _locked(connection, number), signs[number]
        if one is None:
            continue
        new = after_sign(one, sign)
        if new == one:
            continue
        _move(connection, new)
        if sign.kind is not SignKind.MESSAGE or new.state is not one.state:
            _write(connection, one, new, sign.kind.value, sign.at, sign)
        count += 1
    return count


def put_right(connection: Connection, now: datetime, ahead: datetime) -> None:
    """What was heard beyond `ahead` was heard under a clock that went back since: it counts as heard now."""
    statement = "SELECT " + _COLUMNS + " FROM expectations WHERE since_us > ? OR seen_us > ? ORDER BY id"
    for row in run(connection, statement, (to_us(ahead), to_us(ahead))).all():
        one = _expectation(row)
        seen, started = (None if at is None else min(at, now) for at in (one.seen_at, one.started_at))
        _move(connection, replace(one, since=min(one.since, now), seen_at=seen, started_at=started))


def _overdue(connection: Connection, now_us: int, limit: int) -> Iterator[tuple[Expectation, int]]:
    """All whose silence is to be told, with the time of that, page by page: those that are passed over leave no less room for the others."""
    lock = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    alarm_us, number = -1, 0
    while rows := run(connection, _OVERDUE + lock, (now_us, alarm_us, number, limit)).all():
        for row in rows:
            number, alarm_us = row[0], row[-1]
            yield _expectation(row), alarm_us


def _may_have_spoken(one: Expectation, alarm_us: int, waiting: Sequence[Any]) -> bool:
    """Waits a message that may be its sign, and came in time, to be planned? Its object stands in the message alone, so any object will do."""
    return any(
        first_us <= alarm_us and one.source in ("", source) and (not one.type or one.type == kind or kind.startswith(f"{one.type}."))
        for source, kind, first_us in waiting
    )


def _locked(connection: Connection, number: int) -> Expectation | None:
    row = run(connection, _ONE + (" FOR UPDATE" if connection.dialect.name == "postgresql" else ""), (number,)).first()
    return None if row is None else _expectation(row)


def _move(connection: Connection, one: Expectation) -> None:
    """Where it stands now, and when its silence will be told."""
    times = to_us(one.since), shape.stamp(one.seen_at), shape.stamp(one.started_at), shape.stamp(alarm_at(one))
    run(connection, _MOVE, (int(one.state), int(one.is_paused), *times, one.expectation_id)).close()


def _write(connection: Connection, old: Expectation, new: Expectation, kind: str, at: datetime, sign: Sign | None = None) -> None:
    ends_run = sign is not None and sign.kind in (SignKind.SUCCESS, SignKind.FAIL) and old.started_at is not None
    took_us = to_us(at) - to_us(old.started_at) if ends_run and old.started_at is not None else None
    code, said = (None, "") if sign is None else (sign.exit_code, sign.text)
    states = int(old.state), int(new.state)
    values = (old.expectation_id, to_us(at), kind, *states, to_us(old.since), took_us, code, said, int(is_news(old.state, new.state)))
    run(connection, _LINE, values).close()
    run(connection, _FORGET, (old.expectation_id, old.expectation_id, KEPT)).close()


def _terms(one: Expectation) -> str:
    said: dict[str, Any] = {name: getattr(one, name) for name in ("title", "cron", "zone", "source", "type", "object", "to")}
    lengths = {"every": None if one.every is None else one.every.total_seconds(), "grace": one.grace.total_seconds()}
    return json.dumps(said | lengths | {"severity": one.severity.label}, ensure_ascii=False, separators=(",", ":"))


def _expectation(row: Any) -> Expectation:
    """From _COLUMNS, in order."""
    said = json.loads(row[2])
    every, grace, severity, to = (said.pop(name) for name in ("every", "grace", "severity", "to"))
    return Expectation(
        expectation_id=row[0],
        person_id=row[1],
        every=None if every is None else timedelta(seconds=every),
        grace=timedelta(seconds=grace),
        severity=Severity.named(severity),
        to=tuple(to),
        state=ExpectationState(row[3]),
        is_paused=bool(row[4]),
        created_at=from_us(row[5]),
        since=from_us(row[6]),
        seen_at=shape.moment(row[7]),
        started_at=shape.moment(row[8]),
        **said,
    )


def _moment(row: Any) -> Moment:
    """From _LINES, in order."""
    took = None if row[7] is None else timedelta(microseconds=row[7])
    return Moment(row[0], row[1], from_us(row[2]), row[3], ExpectationState(row[4]), ExpectationState(row[5]), from_us(row[6]), took, row[8], row[9])
