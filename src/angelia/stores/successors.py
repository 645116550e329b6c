"""Successors in SQL: what goes another way is written where the failure, or the next step, is recorded; once, whoever records it."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from angelia.model.delivery import State
from angelia.planning.decision import Decision
from angelia.planning.fallback import still_to_try
from angelia.store import Successor
from angelia.stores import rows as shape
from angelia.stores.engine import run
from angelia.stores.tables import answers, deliveries, ledger

_d = deliveries.c
_HURRY = (
    "UPDATE deliveries SET state = 2, due_us = ?, reason = ?, schedule = '' "
    "WHERE message_id = ? AND person_id = ? AND agent = ? AND address_id = ? AND state IN (1, 2)"
)
_DECIDE = "UPDATE ledger SET decisions = ? WHERE message_id = ? AND person_id = ?"


def succeed(connection: Connection, successors: Iterable[Successor]) -> int:
    """For each message and person the first that may still be tried; how many were written."""
    offered: dict[tuple[int, int], list[Successor]] = {}
    for one in successors:
        offered.setdefault(one.pair, []).append(one)
    # In order, and each under the lock of its row in the ledger: of two failures of one message the second sees what came of the first.
    return sum(_succeed(connection, pair, offered[pair]) for pair in sorted(offered))


def _succeed(connection: Connection, pair: tuple[int, int], offered: Sequence[Successor]) -> int:
    decisions = decisions_under_lock(connection, pair)
    if decisions is None or is_seen(connection, pair):
        return 0
    trail = select(_d.agent, _d.state).where(_d.message_id == pair[0], _d.person_id == pair[1])
    tried = [(row.agent, State(row.state)) for row in connection.execute(trail)]
    open_agents = still_to_try(tried, [one.delivery.agent for one in offered])
    if not open_agents:
        return 0
    chosen = next(one for one in offered if one.delivery.agent == open_agents[0])
    add(connection, pair, decisions, chosen)
    return 1


def decisions_under_lock(connection: Connection, pair: tuple[int, int]) -> tuple[Decision, ...] | None:
    """What was decided for her, its row held until commit; None where it is kept no more."""
    statement = select(ledger.c.decisions).where(ledger.c.message_id == pair[0], ledger.c.person_id == pair[1]).with_for_update()
    found = connection.execute(statement).scalar()
    return None if found is None else shape.decisions_from(found)


def is_seen(connection: Connection, pair: tuple[int, int]) -> bool:
    """Has she read or answered it by any agent?"""
    told = select(answers.c.message_id).where(answers.c.message_id == pair[0], answers.c.person_id == pair[1])
    read = select(_d.id).where(_d.message_id == pair[0], _d.person_id == pair[1], _d.read_us.is_not(None)).limit(1)
    return connection.execute(told).first() is not None or connection.execute(read).first() is not None


def add(connection: Connection, pair: tuple[int, int], decisions: tuple[Decision, ...], chosen: Successor) -> tuple[Decision, ...]:
    """The delivery, and its decision in the ledger: what was decided and what is there stay equal in number. One that waits goes now instead."""
    one, decision = chosen.delivery, chosen.decision
    values = (shape.stamp(one.due_at), one.reason.value, *pair, one.agent, one.address_id)
    is_moved = run(connection, _HURRY, values).rowcount > 0
    if not is_moved:
        shape.INSERT_DELIVERIES(connection, [shape.delivery_values(one)])
    kept = [old for old in decisions if old.agent != one.agent or (old.verdict.is_delivery and not _is_same(old, decision, is_moved=is_moved))]
    made = (*kept, decision)
    run(connection, _DECIDE, (shape.decisions_text(made), *pair)).close()
    return made


def _is_same(old: Decision, new: Decision, *, is_moved: bool) -> bool:
    return is_moved and (old.address, old.agent) == (new.address, new.agent)
