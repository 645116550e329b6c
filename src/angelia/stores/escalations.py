"""Escalations in SQL: claimed under a lease, each step written once with all that belongs to it."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from angelia.model.moments import from_us, to_us
from angelia.model.preference import Escalation, Until
from angelia.planning.escalation import plan_from, plan_text
from angelia.store import DueEscalation, Escalated, NewEscalation, Step
from angelia.stores import rows as shape
from angelia.stores.engine import SqlEngine, run
from angelia.stores.successors import add, decisions_under_lock
from angelia.stores.tables import escalations

_BEGIN = "INSERT INTO escalations (message_id, person_id, plan, due_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_IS_DUE = "SELECT 1 FROM escalations WHERE ended_us IS NULL AND due_us <= ? LIMIT 1"
_DUE = "SELECT message_id, person_id, plan, step, fence FROM escalations WHERE ended_us IS NULL AND due_us <= ? ORDER BY due_us LIMIT ?{lock}"
_CLAIM = "UPDATE escalations SET due_us = ?, fence = fence + 1 WHERE message_id = ? AND person_id = ?"
_STEP = "UPDATE escalations SET step = ?, due_us = ?, fence = fence + 1 WHERE message_id = ? AND person_id = ? AND fence = ? AND ended_us IS NULL"
_END = "UPDATE escalations SET ended_us = ?, ending = ?, fence = fence + 1 WHERE message_id = ? AND person_id = ? AND fence = ? AND ended_us IS NULL"
_ANSWERED = "SELECT 1 FROM answers WHERE message_id = ?{hers}{acknowledged} LIMIT 1"
_READ = "SELECT 1 FROM deliveries WHERE message_id = ?{hers} AND read_us IS NOT NULL LIMIT 1"
_CANDIDATE = (
    "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING person_id"
)


class EscalationsMixin:
    """EscalationStore in SQL."""

    engine: SqlEngine

    async def due_escalations(self, limit: int, lease: timedelta, now: datetime) -> list[DueEscalation]:
        """See EscalationStore."""
        now_us, until_us = to_us(now), to_us(now + lease)
        if await self.engine.read(lambda connection: run(connection, _IS_DUE, (now_us,)).first()) is None:
            return []
        statement = _DUE.format(lock=" FOR UPDATE SKIP LOCKED" if self.engine.dialect == "postgresql" else "")

        def work(connection: Connection) -> list[DueEscalation]:
            return [_claimed(connection, row, until_us, now_us) for row in run(connection, statement, (now_us, limit)).all()]

        return await self.engine.write(work)

    async def record_step(self, step: Step, now: datetime) -> str:
        """See EscalationStore."""
        return await self.engine.write(lambda connection: _record(connection, step, to_us(now)))

    async def escalation(self, message_id: int, person_id: int) -> Escalated | None:
        """See EscalationStore."""
        statement = select(escalations).where(escalations.c.message_id == message_id, escalations.c.person_id == person_id)

        def found(connection: Connection) -> Escalated | None:
            row = connection.execute(statement).first()
            if row is None:
                return None
            chain = plan_from(row.plan)
            ending = row.ending if row.ended_us is not None else _answered(connection, message_id, person_id, chain)
            return Escalated(chain, row.step, from_us(row.due_us), shape.moment(row.ended_us), ending)

        return await self.engine.read(found)


def begin(connection: Connection, begun: Iterable[NewEscalation]) -> None:
    """Written with the plan of the message."""
    values = [(one.message_id, one.person_id, plan_text(one.chain), to_us(one.due_at)) for one in begun]
    if values:
        run(connection, _BEGIN, values)


def _claimed(connection: Connection, row: tuple[int, int, str, int, int], until_us: int, now_us: int) -> DueEscalation:
    message_id, person_id, plan, step, fence = row
    chain = plan_from(plan)
    ending = _answered(connection, message_id, person_id, chain)
    if ending:
        run(connection, _END, (now_us, ending, message_id, person_id, fence)).close()
    else:
        run(connection, _CLAIM, (until_us, message_id, person_id)).close()
    return DueEscalation(message_id, person_id, chain, step, fence + 1, ending)


def _answered(connection: Connection, message_id: int, person_id: int, chain: Escalation) -> str:
    """How it was answered so that this chain ends; "" where it was not."""
    hers = "" if chain.by_anybody else " AND person_id = ?"
    bound = (message_id,) if chain.by_anybody else (message_id, person_id)
    if run(connection, _ANSWERED.format(hers=hers, acknowledged=" AND acknowledged_us IS NOT NULL"), bound).first() is not None:
        return Until.ACKNOWLEDGED.value
    if chain.until is Until.ACKNOWLEDGED:
        return ""
    told, read = _ANSWERED.format(hers=hers, acknowledged=""), _READ.format(hers=hers)
    return Until.SEEN.value if any(run(connection, sql, bound).first() is not None for sql in (told, read)) else ""


def _record(connection: Connection, step: Step, now_us: int) -> str:
    due = step.due
    place = (due.message_id, due.person_id, due.fence)
    ending = _answered(connection, due.message_id, due.person_id, due.chain) or step.ending
    if ending and not step.own and not step.others:
        applied = run(connection, _END, (now_us, ending, *place)).rowcount
        return ending if applied else "stale"
    if ending:
        return _record(connection, Step(due, due.step, step.due_at, ending=ending), now_us)
    if not run(connection, _STEP, (step.step, to_us(step.due_at), *place)).rowcount:
        return "stale"
    for one in step.own:
        decisions = decisions_under_lock(connection, one.pair)
        if decisions is not None:
            add(connection, one.pair, decisions, one)
    called = []
    for row, deliveries in step.others:
        values = (row.message_id, row.person_id, "\n".join(row.because), shape.decisions_text(row.decisions), now_us)
        if run(connection, _CANDIDATE, values).first() is not None:
            shape.INSERT_DELIVERIES(connection, [shape.delivery_values(delivery) for delivery in deliveries])
            called.append(row.person_id)
    if called:
        kind = run(connection, "SELECT type FROM messages WHERE id = ?", (due.message_id,)).scalar()
        shape.INSERT_USER_TYPES(connection, [(person_id, kind, now_us, now_us, 1) for person_id in sorted(called)])
    return "told"
