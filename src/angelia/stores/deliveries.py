"""Deliveries in SQL: claims under leases, settlements under fences, the backlog and its bookkeeping."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, literal_column, or_, select, update

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message
from angelia.model.moments import first_id, from_us, to_us
from angelia.planning.announcing import ended
from angelia.planning.retry import Breaker
from angelia.store import Backlog, Settlement, Successor
from angelia.stores import rows as shape
from angelia.stores.announcements import AnnouncementsMixin, tell
from angelia.stores.engine import PAIRS, as_columns, as_one, read_rows, run
from angelia.stores.messages import below
from angelia.stores.successors import succeed
from angelia.stores.tables import breakers, deliveries, messages, pauses
from angelia.stores.traces import keep_traces, storable

_d = deliveries.c

# The states stand in these texts as numbers: a bound parameter would keep SQLite from using the partial indexes.
_DUE_AGENTS = "SELECT value FROM {agents} WHERE EXISTS (SELECT 1 FROM deliveries WHERE state = 2 AND agent = value AND due_us <= ?)"
_AGENTS = {"postgresql": "unnest(CAST(? AS text[])) AS agents(value)", "sqlite": "json_each(?)"}
_CLAIM = (
    "UPDATE deliveries SET state = 3, lease_us = ?, fence = fence + 1, attempts = attempts + 1, "
    "first_tried_us = COALESCE(first_tried_us, ?) WHERE id IN (SELECT id FROM deliveries WHERE state = 2 AND agent = ? "
    "AND due_us <= ?{urgent} ORDER BY due_us, id LIMIT ?{lock}) RETURNING " + shape.RETURNING
)
_ANY_URGENT = "SELECT 1 FROM deliveries WHERE state = 2 AND is_urgent = 1 AND agent = ? AND due_us <= ? LIMIT 1"
# Of what is given back and was never tried nor put off, no lifetime has begun: it may be days until it is claimed again, as after a pause.
_SETTLE = (
    "UPDATE deliveries SET state = s.state, reason = s.reason, due_us = COALESCE(s.due_us, deliveries.due_us), attempts = attempts - s.back, "
    "first_tried_us = CASE WHEN attempts = s.back AND last_error = '' AND s.error = '' THEN NULL ELSE first_tried_us END, "
    "last_error = CASE WHEN s.back = 1 AND s.error = '' THEN last_error ELSE s.error END, ended_us = s.ended_us FROM {outcomes} "
    "WHERE deliveries.id = s.id AND deliveries.fence = s.fence AND deliveries.state = 3 "
    "RETURNING deliveries.id, deliveries.fence, digest_id, message_id, deliveries.state, deliveries.reason, deliveries.ended_us, agent"
)
# The items of a digest end with it. PostgreSQL does that in the same statement, which is a way to the server and back for all.
_SETTLE_WITH_ITEMS = (
    "WITH applied AS (" + _SETTLE + "), items AS (UPDATE deliveries AS i SET state = a.state, reason = a.reason, ended_us = a.ended_us "
    f"FROM applied AS a WHERE a.message_id IS NULL AND a.state >= {State.DELIVERED:d} "
    f"AND i.digest_id = a.digest_id AND i.state = {State.DIGESTED:d}) SELECT * FROM applied"
)
# Counted without GROUP BY, here and in `conservation`: for that SQLite would sort all rows in memory.
_WAITING = (
    "SELECT agent, {state}, (SELECT count(*) FROM deliveries AS d WHERE d.state = {state} AND d.agent = a.agent), "
    "(SELECT min(due_us) FROM deliveries AS d WHERE d.state = {state} AND d.agent = a.agent) "
    "FROM (SELECT DISTINCT agent FROM deliveries WHERE state = {state}) AS a"
)
_COUNTS = "SELECT " + ", ".join(f"sum(CASE WHEN state = {state:d} THEN 1 ELSE 0 END)" for state in State) + " FROM deliveries"
_OUTCOME = {
    "id": "bigint", "fence": "bigint", "state": "smallint", "reason": "text", "due_us": "bigint", "back": "smallint", "error": "text",
    "ended_us": "bigint",
}  # fmt: skip
"""What is recorded of a try, with the PostgreSQL type of each."""
_KEYS = 2
"""So many of these say which delivery it is."""
_OUTCOMES = "(SELECT " + ", ".join(f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate(_OUTCOME)) + " FROM json_each(?)) AS s"
_SEEN = (
    "SELECT w.message_id, w.person_id FROM {pairs} WHERE EXISTS (SELECT 1 FROM deliveries AS d WHERE d.message_id = w.message_id "
    "AND d.person_id = w.person_id AND d.read_us IS NOT NULL) OR EXISTS (SELECT 1 FROM answers AS a WHERE a.message_id = w.message_id "
    "AND a.person_id = w.person_id)"
)
_END_ITEMS = "UPDATE deliveries SET state = ?, reason = ?, ended_us = ? WHERE digest_id = ? AND state = 4"
# The fence is raised: a worker that has it in hand says no other end later.
_BOUNCE = (
    f"UPDATE deliveries SET state = {State.BOUNCED:d}, reason = 'came_back', last_error = ?, ended_us = ?, fence = fence + 1 "
    f"WHERE id = ? AND state IN ({State.SENDING:d}, {State.DELIVERED:d}) RETURNING digest_id, message_id, agent"
)
_BOUNCE_ITEMS = (
    f"UPDATE deliveries SET state = {State.BOUNCED:d}, reason = 'came_back', ended_us = ? "
    f"WHERE digest_id = ? AND message_id IS NOT NULL AND state IN ({State.DIGESTED:d}, {State.DELIVERED:d})"
)
# By the person's ledger, which is short: deliveries have no index by address. What was held came as a message long before.
_HAS_REACHED = (
    "SELECT 1 FROM ledger AS l JOIN deliveries AS d ON d.message_id = l.message_id AND d.person_id = l.person_id "
    f"WHERE l.person_id = ? AND l.message_id >= ? AND d.agent = ? AND d.address_id = ? AND d.state = {State.DELIVERED:d} AND d.ended_us >= ? LIMIT 1"
)
_HELD_AT_MOST = timedelta(days=90)
_HAS_REACHED_OTHERS = (
    "SELECT 1 FROM (SELECT agent, address_id, state, ended_us FROM deliveries ORDER BY id DESC LIMIT 5000) AS d "
    f"WHERE agent = ? AND address_id <> ? AND state = {State.DELIVERED:d} AND ended_us >= ? LIMIT 1"
)
_FAILED: ColumnElement[bool] = literal_column(f"deliveries.state IN ({State.BOUNCED:d}, {State.DEAD:d})")
_EACH_WAITING: tuple[ColumnElement[bool], ...] = (
    literal_column(f"deliveries.state = {State.HELD:d}"),
    literal_column(f"deliveries.state = {State.DUE:d}"),
)


def claim_text(dialect: str, urgent: str = "") -> str:
    """The statement of a claim: lease until, now, agent, now, limit."""
    return _CLAIM.format(lock=" FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else "", urgent=urgent)


class DeliveriesMixin(AnnouncementsMixin):
    """DeliveryStore in SQL."""

    async def due_agents(self, agents: Collection[str], now: datetime) -> frozenset[str]:
        """See DeliveryStore."""
        statement = _DUE_AGENTS.format(agents=_AGENTS[self.engine.dialect])

        def work(connection: Connection) -> frozenset[str]:
            return frozenset(row[0] for row in run(connection, statement, (as_one(connection, agents), to_us(now))).all())

        return await self.engine.glance(work)

    async def claim_deliveries(self, agents: Collection[str], limit: int, lease: timedelta, now: datetime) -> list[Delivery]:
        """See DeliveryStore."""
        now_us, until_us = to_us(now), to_us(now + lease)
        # Urgent ones do not stand in a queue: they have an index of their own, which is nearly always empty.
        claims = [claim_text(self.engine.dialect, urgent) for urgent in (" AND is_urgent = 1", "")]

        def work(connection: Connection) -> list[Delivery]:
            found: list[Delivery] = []
            for claim in claims:
                for agent in agents:
                    if len(found) < limit:
                        rows = run(connection, claim, (until_us, now_us, agent, now_us, limit - len(found)))
                        found += [shape.delivery_from(row) for row in rows]
            return _in_order(found)

        def without_urgent(connection: Connection) -> list[Delivery] | None:
            """One agent's, where none of them presses, as nearly always: one statement. None where some do."""
            (agent,) = agents
            if run(connection, _ANY_URGENT, (agent, now_us)).first() is not None:
                return None
            return _in_order([shape.delivery_from(row) for row in run(connection, claims[1], (until_us, now_us, agent, now_us, limit))])

        if self.engine.dialect == "postgresql" and len(agents) == 1 and limit > 0:
            claimed = await self.engine.write_once(without_urgent)
            if claimed is not None:
                return claimed
        return await self.engine.write(work)

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> int:
        """See DeliveryStore."""
        is_one_statement = not (self.is_announcing or any(one.successors or one.trace for one in settlements))
        write = self.engine.write_once if is_one_statement else self.engine.write

        def work(connection: Connection) -> int:
            applied = _settle(connection, settlements, to_us(now))
            if self.is_announcing:
                over = [(row[0], row[7], State(row[4]), row[3]) for row in applied if row[6] is not None]
                tell(connection, [ended(*row, now) for row in over], now)
            return len(applied)

        count = await write(work)
        self.announced()
        return count

    async def bounce(self, delivery_id: int, why: str, successors: Sequence[Successor], now: datetime) -> bool:
        """See DeliveryStore."""

        def work(connection: Connection) -> bool:
            row = _bounce(connection, delivery_id, why, successors, to_us(now))
            if self.is_announcing and row is not None:
                tell(connection, [ended(delivery_id, row[2], State.BOUNCED, row[1], now)], now)
            return row is not None

        is_news = await self.engine.write(work)
        self.announced()
        return is_news

    async def is_cut_off(self, delivery: Delivery, since: datetime) -> bool:
        """See DeliveryStore."""
        since_us, place = to_us(since), (delivery.agent, delivery.address_id)

        def work(connection: Connection) -> bool:
            if run(connection, _HAS_REACHED_OTHERS, (*place, since_us)).first() is None:
                return False
            oldest = first_id(since - _HELD_AT_MOST)
            return run(connection, _HAS_REACHED, (delivery.person_id, oldest, *place, since_us)).first() is None

        return await self.engine.read(work)

    async def requeue_expired_leases(self, now: datetime) -> int:
        """See DeliveryStore. Claims of messages need nothing: their lease is the time before which nobody else may claim them."""
        statement = (
            update(deliveries).where(_d.state == State.SENDING.value, _d.lease_us < to_us(now)).values(state=State.DUE.value, fence=_d.fence + 1)
        )
        late = select(_d.id).where(_d.state == State.SENDING.value, _d.lease_us < to_us(now)).limit(1)
        if await self.engine.read(lambda connection: connection.execute(late).first()) is None:
            return 0
        return await self.engine.write(lambda connection: connection.execute(statement).rowcount)

    async def seen(self, pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """See DeliveryStore."""
        wanted = sorted(pairs)
        statement = _SEEN.format(pairs=PAIRS[self.engine.dialect])

        def work(connection: Connection) -> set[tuple[int, int]]:
            return {(row[0], row[1]) for row in run(connection, statement, as_columns(connection, wanted))}

        return await read_rows(self.engine, len(wanted), work) if wanted else set()

    async def deliveries(self, delivery_ids: Collection[int]) -> dict[int, Delivery]:
        """See DeliveryStore."""

        def work(connection: Connection) -> dict[int, Delivery]:
            found: dict[int, Delivery] = {}
            for ids in shape.chunks(delivery_ids):
                rows = connection.execute(select(*shape.DELIVERY_SELECT).where(_d.id.in_(ids)))
                found.update({row[0]: shape.delivery_from(row) for row in rows})
            return found

        return await self.engine.read(work)

    async def list_deliveries(
        self,
        *,
        states: Collection[State],
        agent: str = "",
        person_id: int | None = None,
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """See DeliveryStore."""
        statement = select(*shape.DELIVERY_SELECT).order_by(_d.id.desc()).limit(limit)
        statement = statement.where(_d.state.in_([state.value for state in states]))
        if set(states) <= {State.BOUNCED, State.DEAD}:
            statement = statement.where(_FAILED)
        if agent:
            statement = statement.where(_d.agent == agent)
        if person_id is not None:
            statement = statement.where(_d.person_id == person_id)
        if before_id is not None:
            statement = statement.where(_d.id < before_id)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [shape.delivery_from(row) for row in found]

    async def replay(self, delivery_ids: Collection[int], now: datetime) -> int:
        """See DeliveryStore."""
        ended = (State.DEAD.value, State.BOUNCED.value)
        fresh = {"reason": Reason.CHOSEN.value, "attempts": 0, "first_tried_us": None, "ended_us": None, "last_error": ""}

        def work(connection: Connection) -> int:
            replayed = 0
            for ids in shape.chunks(delivery_ids):
                # An item of a digest is replayed through its digest, never by itself.
                alone = or_(_d.message_id.is_(None), _d.digest_id.is_(None))
                chosen = and_(_d.id.in_(ids), _d.state.in_(ended), alone)
                digest_ids = connection.scalars(select(_d.digest_id).where(chosen, _d.message_id.is_(None), _d.digest_id.is_not(None))).all()
                again = update(deliveries).where(chosen)
                replayed += connection.execute(again.values(state=State.DUE.value, due_us=to_us(now), **fresh)).rowcount
                items = and_(_d.digest_id.in_(digest_ids), _d.message_id.is_not(None), _d.state.in_(ended))
                connection.execute(update(deliveries).where(items).values(state=State.DIGESTED.value, ended_us=None))
            return replayed

        return await self.engine.write(work)

    async def cancel_waiting(
        self,
        person_id: int,
        *,
        agent: str = "",
        subtree: str = "",
        about: Callable[[Message], bool] | None = None,
        reason: Reason,
        now: datetime,
    ) -> int:
        """See DeliveryStore. What it is about stands in the payload: it is read here, of what waits for one person."""

        def work(connection: Connection) -> int:
            waiting = _d.state.in_((State.HELD.value, State.DUE.value))
            statement = (
                select(_d.id, *shape.MESSAGE_COLUMNS)
                .join(messages, messages.c.id == _d.message_id)
                .where(_d.person_id == person_id, _d.is_locked == 0)
            )
            if agent:
                statement = statement.where(_d.agent == agent)
            if subtree:
                statement = statement.where(below(subtree))
            # One state after the other, so that each runs on its partial index: what waits is little beside what was delivered.
            found = [row for state in _EACH_WAITING for row in connection.execute(statement.where(state))]
            ids = [row[0] for row in found if about is None or about(shape.message_from(row[1:]))]
            ended = {"state": State.SUPPRESSED.value, "reason": reason.value, "ended_us": to_us(now)}
            return sum(connection.execute(update(deliveries).where(_d.id.in_(some), waiting).values(**ended)).rowcount for some in shape.chunks(ids))

        return await self.engine.write(work)

    async def backlog(self) -> list[Backlog]:
        """See DeliveryStore."""
        pending = (State.HELD.value, State.DUE.value, State.SENDING.value)
        texts = [_WAITING.format(state=f"{state:d}") for state in pending]  # constants: each runs on its partial index

        def work(connection: Connection) -> dict[str, dict[int, tuple[int, int]]]:
            found: dict[str, dict[int, tuple[int, int]]] = {}
            for text in texts:
                for agent, state, count, oldest in run(connection, text):
                    found.setdefault(agent, {})[state] = count, oldest
            return found

        counts = await self.engine.read(work)
        return [_backlog(agent, counts[agent]) for agent in sorted(counts)]

    async def conservation(self) -> dict[State, int]:
        """See DeliveryStore."""
        row = await self.engine.read(lambda connection: run(connection, _COUNTS).one())
        return {state: count for state, count in zip(State, row, strict=True) if count}

    async def paused_agents(self) -> frozenset[str]:
        """See DeliveryStore."""
        return await self.engine.read(lambda connection: frozenset(connection.scalars(select(pauses.c.agent))))

    async def pause_agent(self, agent: str, is_paused: bool) -> None:
        """See DeliveryStore."""

        def work(connection: Connection) -> None:
            connection.execute(delete(pauses).where(pauses.c.agent == agent))
            if is_paused:
                run(connection, "INSERT INTO pauses (agent) VALUES (?)", (agent,))

        await self.engine.write(work)

    async def breakers(self) -> dict[str, Breaker]:
        """See DeliveryStore."""
        found = await self.engine.read(lambda connection: connection.execute(select(breakers)).all())
        return {row.destination: _breaker_from(row.breaker) for row in found}

    async def put_breakers(self, changed: Mapping[str, Breaker]) -> None:
        """See DeliveryStore."""

        def work(connection: Connection) -> None:
            connection.execute(delete(breakers).where(breakers.c.destination.in_(list(changed))))
            kept = [(name, _breaker_text(breaker)) for name, breaker in changed.items() if breaker != Breaker()]
            if kept:
                run(connection, "INSERT INTO breakers (destination, breaker) VALUES (?, ?) ON CONFLICT DO NOTHING", kept)

        await self.engine.write(work)


def _in_order(claimed: list[Delivery]) -> list[Delivery]:
    return sorted(claimed, key=lambda delivery: (not delivery.is_urgent, delivery.due_at, delivery.delivery_id))


def _settle(connection: Connection, settlements: Sequence[Settlement], now_us: int) -> Sequence[Any]:
    """The rows that were changed. One statement for all, in the order of ids: where two workers meet, they wait in one direction only."""
    values = [_settlement_values(settlement, now_us) for settlement in sorted(settlements, key=lambda one: one.delivery_id)]
    if not values:
        return ()
    is_apart = connection.dialect.name == "sqlite"
    outcomes, parameters = (_OUTCOMES, as_columns(connection, values)) if is_apart else _by_columns(values)
    statement = (_SETTLE if is_apart else _SETTLE_WITH_ITEMS).format(outcomes=outcomes)
    applied: Sequence[Any] = run(connection, statement, parameters).all()
    digests = [(row[4], row[5], row[6], row[2]) for row in applied if row[2] is not None and row[3] is None and row[4] >= State.DELIVERED]
    if digests and is_apart:
        run(connection, _END_ITEMS, digests)
    settled = {(row[0], row[1]) for row in applied}
    succeed(connection, [one for s in settlements if s.successors and (s.delivery_id, s.fence) in settled for one in s.successors])
    keep_traces(connection, settlements, settled)
    return applied


def _by_columns(values: Sequence[tuple[object, ...]]) -> tuple[str, tuple[object, ...]]:
    """Outcomes for PostgreSQL: what is the same in all goes once. The driver takes a third of the time of a settlement to write eight arrays,
    and of most tries comes the same.
    """
    columns = list(zip(*values, strict=True))
    is_alike = tuple(index >= _KEYS and all(value == column[0] for value in column) for index, column in enumerate(columns))
    once = [column[0] for column, is_once in zip(columns, is_alike, strict=True) if is_once]
    return _outcomes(is_alike), (*once, *(list(column) for column, is_once in zip(columns, is_alike, strict=True) if not is_once))


@lru_cache(maxsize=64)
def _outcomes(is_alike: tuple[bool, ...]) -> str:
    named = list(zip(_OUTCOME.items(), is_alike, strict=True))
    columns = ", ".join(f"CAST(? AS {kind}) AS {name}" if is_once else name for (name, kind), is_once in named)
    arrays = ", ".join(f"CAST(? AS {kind}[])" for (_, kind), is_once in named if not is_once)
    names = ", ".join(name for (name, _), is_once in named if not is_once)
    return "(SELECT " + columns + " FROM unnest(" + arrays + ") AS u(" + names + ")) AS s"


def _bounce(connection: Connection, delivery_id: int, why: str, successors: Sequence[Successor], now_us: int) -> Any:
    row = run(connection, _BOUNCE, (storable(why), now_us, delivery_id)).first()
    if row is None:
        return None
    if row[1] is None:
        run(connection, _BOUNCE_ITEMS, (now_us, row[0])).close()
    succeed(connection, successors)
    return row


def _settlement_values(settlement: Settlement, now_us: int) -> tuple[object, ...]:
    """In the order of _OUTCOME."""
    return (
        settlement.delivery_id,
        settlement.fence,
        settlement.state.value,
        settlement.reason.value,
        shape.stamp(settlement.due_at),
        0 if settlement.is_attempt else 1,
        storable(settlement.error),
        now_us if settlement.state.is_final else None,
    )


def _backlog(agent: str, counts: Mapping[int, tuple[int, int]]) -> Backlog:
    def count(state: State) -> int:
        return counts.get(state.value, (0, 0))[0]

    oldest = counts.get(State.DUE.value)
    return Backlog(agent, count(State.DUE), count(State.HELD), count(State.SENDING), from_us(oldest[1]) if oldest is not None else None)


def _breaker_text(breaker: Breaker) -> str:
    return json.dumps([breaker.failures, shape.stamp(breaker.rests_until), shape.stamp(breaker.probe_until)])


def _breaker_from(text: str) -> Breaker:
    values: list[Any] = json.loads(text)
    return Breaker(values[0], shape.moment(values[1]), shape.moment(values[2]))
