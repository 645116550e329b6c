"""Messages in SQL: group commit, claims, plans."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, compress, repeat
from operator import itemgetter

from sqlalchemy import ColumnElement, Connection, and_, exists, literal_column, or_, select, update

from angelia.inlet import Receipt, Taken
from angelia.model.delivery import Delivery
from angelia.model.expectation import Sign, SignKind
from angelia.model.message import Message, ancestry
from angelia.model.moments import from_us, to_us
from angelia.model.payload import payload_of
from angelia.planning.announcing import accepted
from angelia.store import ClaimedMessage, FloodMark, LedgerRow, NewEscalation, NewMessage, ParkedMessage, Plan, RepeatMark, Shared
from angelia.stores import rows as shape
from angelia.stores.announcements import AnnouncementsMixin, tell
from angelia.stores.engine import Insert, as_columns, fetched_among, read_rows, run, run_among
from angelia.stores.entries import bodies
from angelia.stores.escalations import begin
from angelia.stores.expectations import hear
from angelia.stores.group_commit import GroupCommit
from angelia.stores.tables import ACCEPTED, PARKED, PLANNED, ledger, messages, repeat_marks

_INSERT = Insert(
    "messages",
    {
        "id": "bigint", "source": "text", "type": "text", "received_us": "bigint", "payload": "text", "idem_key": "text", "fingerprint": "bytea",
        "plan_due_us": "bigint", "plan_fence": "bigint", "plan_attempts": "smallint",
    },
)  # fmt: skip
"""Its columns stand as the fields of a NewMessage do: one is a row as it is."""
_ID = itemgetter(0)
_LOCK_KEYS = (
    "SELECT count(pg_advisory_xact_lock(lock)) FROM (SELECT DISTINCT hashtextextended(name, 0) & 255 AS lock "
    "FROM unnest(CAST(? AS text[])) AS names(name) ORDER BY 1) AS locks"
)
_IS_PARKED = messages.c.plan_state == literal_column(f"{PARKED:d}")
"""As the index of its name has it: with a parameter in its place, neither database would know that the index holds all."""
_NEW_TYPE = "INSERT INTO types (key, first_us, last_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_LEDGER = Insert(
    "ledger",
    {"message_id": "bigint", "person_id": "bigint", "because": "text", "decisions": "text", "decided_us": "bigint"},
    "ON CONFLICT DO NOTHING",
)
_LEDGER_AGAIN = {
    "postgresql": "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) SELECT * FROM unnest(CAST(? AS bigint[]), "
    "CAST(? AS bigint[]), CAST(? AS text[]), CAST(? AS text[]), CAST(? AS bigint[])) ON CONFLICT DO NOTHING RETURNING message_id, person_id",
    "sqlite": "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) SELECT json_extract(value, '$[0]'), "
    "json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'), json_extract(value, '$[4]') FROM json_each(?) "
    "WHERE true ON CONFLICT DO NOTHING RETURNING message_id, person_id",
}
"""The same, slower, for what may be there already: it says what was not. Its rows come `as_columns`."""
_FENCES = f"SELECT id, plan_fence FROM messages WHERE id {{among}} AND plan_state = {ACCEPTED:d} ORDER BY id"
_TOLD = 1 << 32
"""What `sent` has beside the number, once for each time that she was told: so it is added in one step, as the number is."""
_FLOOD = (
    "INSERT INTO flood_marks (person_id, agent, window_us, sent) VALUES (?, ?, ?, ?) ON CONFLICT (person_id, agent) DO UPDATE SET "
    "sent = excluded.sent + CASE WHEN flood_marks.window_us = excluded.window_us THEN flood_marks.sent ELSE 0 END, window_us = excluded.window_us"
)
_REPEAT = (
    "INSERT INTO repeat_marks (person_id, agent, key, sent_us) VALUES (?, ?, ?, ?) ON CONFLICT (person_id, agent, key) "
    "DO UPDATE SET sent_us = excluded.sent_us"
)


class MessagesMixin(AnnouncementsMixin):
    """MessageStore in SQL."""

    def __init__(self) -> None:
        self._known_types: set[str] = set()
        self._group = GroupCommit(self.engine, self._add, self._committed)

    async def add_messages(self, rows: Sequence[NewMessage]) -> list[Receipt]:
        """See MessageStore."""
        return await self._group.put(rows)

    def _committed(self, fresh: set[str]) -> None:
        """Types count as known once they are committed."""
        if len(self._known_types) < 100_000:
            self._known_types.update(fresh)
        self.announced()

    def _add(self, connection: Connection, rows: Sequence[NewMessage], fresh: set[str]) -> list[Receipt]:
        fresh.clear()  # a transaction that lost against another runs again
        new, receipts = rows, None
        if [True for row in rows if row.idempotency_key is not None]:
            new, receipts = _recognise(connection, rows)
        unknown = {row.type for row in new} - self._known_types
        if unknown:
            fresh |= {scope for key in unknown for scope in ancestry(key)} - self._known_types
            now_us = new[0].received_us
            run(connection, _NEW_TYPE, [(key, now_us, now_us) for key in sorted(fresh)])
        if self.is_announcing and new:
            # Before them: the driver's quickest way, which they take, is to be the last of a transaction.
            told = [accepted(row.message_id, row.type, row.source, from_us(row.received_us)) for row in new]
            tell(connection, told, from_us(new[0].received_us))
        if new:
            _INSERT(connection, new)
        return receipts if receipts is not None else list(map(Receipt._make, zip(map(_ID, rows), repeat(Taken.NEW))))

    async def claim_messages(self, limit: int, lease: timedelta, now: datetime) -> list[ClaimedMessage]:
        """See MessageStore."""
        now_us, until_us = to_us(now), to_us(now + lease)
        skip = " FOR UPDATE SKIP LOCKED" if self.engine.dialect == "postgresql" else ""
        statement = (
            "UPDATE messages SET plan_due_us = ?, plan_fence = plan_fence + 1, plan_attempts = plan_attempts + 1 WHERE id IN ("
            "SELECT id FROM messages WHERE plan_state = 0 AND plan_due_us <= ? ORDER BY id LIMIT ?" + skip + ") "
            "RETURNING id, source, received_us, payload, plan_fence, plan_attempts"
        )

        def work(connection: Connection) -> list[ClaimedMessage]:
            claimed = run(connection, statement, (until_us, now_us, limit)).all()
            return [ClaimedMessage(shape.message_from(row), row[4], row[5]) for row in sorted(claimed, key=lambda row: row[0])]

        if not await self.engine.glance(lambda connection: _any_unplanned(connection, now_us)):
            return []
        return await self.engine.write(work)

    async def oldest_undecided(self, now: datetime) -> datetime | None:
        """See MessageStore."""
        statement = "SELECT received_us FROM messages WHERE plan_state = 0 AND plan_due_us <= ? AND COALESCE(plan_error, '') = '' ORDER BY id LIMIT 1"
        return shape.moment(await self.engine.read(lambda connection: run(connection, statement, (to_us(now),)).scalar()))

    async def record_plans(self, plans: Sequence[Plan], flood: Sequence[FloodMark], repeats: Sequence[RepeatMark], now: datetime) -> int:
        """See MessageStore."""
        return await self.engine.write(lambda connection: len(_record(connection, plans, flood, repeats, now)))

    async def record_and_claim(
        self, plans: Sequence[Plan], flood: Sequence[FloodMark], repeats: Sequence[RepeatMark], lease: timedelta, now: datetime
    ) -> frozenset[int]:
        """See MessageStore."""
        lease_us = to_us(now + lease)
        claimed = [shape.claimed_values(delivery, lease_us) for plan in plans for delivery in plan.claimed]

        def work(connection: Connection) -> frozenset[int]:
            valid = {delivery.delivery_id for plan in _record(connection, plans, flood, repeats, now) for delivery in plan.claimed}
            shape.INSERT_CLAIMED(connection, [row for row in claimed if row[0] in valid])
            ids = [row[0] for row in claimed]
            return frozenset(row[0] for row in fetched_among(connection, "SELECT id FROM deliveries WHERE id {among}", ids, "bigint"))

        return await self.engine.write(work)

    async def postpone_message(self, message_id: int, fence: int, until: datetime, why: str) -> None:
        """See MessageStore."""
        await self._set_plan(message_id, fence, plan_due_us=to_us(until), plan_error=why[:1000])

    async def park_message(self, message_id: int, fence: int, why: str) -> None:
        """See MessageStore."""
        await self._set_plan(message_id, fence, plan_state=PARKED, plan_error=why[:1000])

    async def _set_plan(self, message_id: int, fence: int, **values: object) -> None:
        statement = (
            update(messages).where(messages.c.id == message_id, messages.c.plan_fence == fence, messages.c.plan_state == ACCEPTED).values(**values)
        )
        await self.engine.write(lambda connection: connection.execute(statement).close())

    async def parked_messages(self, limit: int) -> list[ParkedMessage]:
        """See MessageStore."""
        statement = (
            select(*shape.MESSAGE_COLUMNS, messages.c.plan_attempts, messages.c.plan_error).where(_IS_PARKED).order_by(messages.c.id).limit(limit)
        )
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [ParkedMessage(shape.message_from(row), row[4], row[5] or "") for row in found]

    async def unpark_messages(self, message_ids: Collection[int]) -> int:
        """See MessageStore."""
        again = update(messages).where(_IS_PARKED).values(plan_state=ACCEPTED, plan_due_us=0, plan_attempts=0)
        return await self.engine.write(
            lambda connection: sum(connection.execute(again.where(messages.c.id.in_(ids))).rowcount for ids in shape.chunks(message_ids))
        )

    async def flood_marks(
        self, pairs: Collection[tuple[int, str]], keys: Collection[tuple[int, str, str]]
    ) -> tuple[dict[tuple[int, str], FloodMark], dict[tuple[int, str, str], RepeatMark]]:
        """See MessageStore."""
        if not pairs:
            return {}, {}
        return await read_rows(self.engine, len(pairs) + len(keys), lambda connection: (_flood(connection, pairs), _repeats(connection, keys)))

    async def messages(self, message_ids: Collection[int]) -> dict[int, Message]:
        """See MessageStore."""
        return await read_rows(self.engine, len(message_ids), lambda connection: bodies(connection, message_ids))

    async def list_messages(
        self, *, person_id: int | None, subtree: str = "", source: str = "", before_id: int | None = None, limit: int = 100
    ) -> list[Message]:
        """See MessageStore."""
        statement = select(*shape.MESSAGE_COLUMNS).order_by(messages.c.id.desc()).limit(limit)
        if person_id is not None:
            mine = exists().where(and_(ledger.c.person_id == person_id, ledger.c.message_id == messages.c.id))
            statement = statement.where(mine)
        if subtree:
            statement = statement.where(below(subtree))
        if source:
            statement = statement.where(messages.c.source == source)
        if before_id is not None:
            statement = statement.where(messages.c.id < before_id)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [shape.message_from(row) for row in found]


def below(subtree: str) -> ColumnElement[bool]:
    """The condition: this type, or one below it. A range, not LIKE: types hold underscores."""
    return or_(messages.c.type == subtree, and_(messages.c.type >= f"{subtree}.", messages.c.type < f"{subtree}/"))


def _any_unplanned(connection: Connection, now_us: int) -> bool:
    found = run(connection, "SELECT 1 FROM messages WHERE plan_state = 0 AND plan_due_us <= ? LIMIT 1", (now_us,))
    return found.first() is not None


def _recognise(connection: Connection, rows: Sequence[NewMessage]) -> tuple[list[NewMessage], list[Receipt]]:
    """Promise P9: the same key of a source names one message; other content under it is a conflict."""
    keyed = {(row.source, row.idempotency_key) for row in rows if row.idempotency_key is not None}
    if connection.dialect.name == "postgresql":
        # Two hubs with one key at once: the second waits here until the first has committed, then sees its row.
        # 256 locks serve all keys: one statement takes them in order, so two can't wait for each other.
        run(connection, _LOCK_KEYS, ([f"{source}\n{key}" for source, key in keyed],)).close()
    known: dict[tuple[str, str | None], tuple[int, bytes]] = {}
    for source in sorted({source for source, _ in keyed}):
        keys = [key for owner, key in keyed if owner == source]
        for start in range(0, len(keys), 5_000):
            found = connection.execute(
                select(messages.c.idem_key, messages.c.id, messages.c.fingerprint).where(
                    messages.c.source == source, messages.c.idem_key.in_(keys[start : start + 5_000])
                )
            )
            known.update({(source, row[0]): (row[1], bytes(row[2] or b"")) for row in found})
    new, receipts = [], []
    for row in rows:
        place = (row.source, row.idempotency_key)
        if row.idempotency_key is not None and place in known:
            message_id, fingerprint = known[place]
            receipts.append(Receipt(message_id, Taken.REPEAT if fingerprint == row.fingerprint else Taken.CONFLICT))
            continue
        if row.idempotency_key is not None:
            known[place] = row.message_id, row.fingerprint
        new.append(row)
        receipts.append(Receipt(row.message_id, Taken.NEW))
    return new, receipts


def _record(
    connection: Connection, plans: Sequence[Plan], flood: Sequence[FloodMark], repeats: Sequence[RepeatMark], now: datetime
) -> Sequence[Plan]:
    """The plans that still held their fence, without those whom an earlier plan served; what they claim is not written."""
    fences = _fences(connection, [plan.message.message_id for plan in plans])
    valid = [plan for plan in plans if fences.get(plan.message.message_id) == plan.fence]
    now_us = to_us(now)
    served = _write_ledger(connection, valid, now_us)
    if served:
        valid = [_without(plan, served) for plan in valid]
    values = [shape.delivery_values(delivery) for plan in valid for delivery in plan.deliveries]
    for copies, person_ids in ((copies, shared.person_ids) for plan in valid for shared in plan.shared for copies in shared.copies):
        values += shape.copied_values(copies, person_ids)
    shape.INSERT_DELIVERIES(connection, values)
    begin(connection, chain.from_iterable(plan.escalations for plan in valid))
    # The newest of each: of a source that says much, one is as good as all.
    signs = {number: Sign(SignKind.MESSAGE, plan.message.received_at) for plan in valid for number in plan.hearing}
    if signs:
        hear(connection, signs)
    _see(connection, valid, now_us)
    lost = {plan.message.message_id for plan in plans} - {plan.message.message_id for plan in valid}
    _mark_flood(connection, [one for one in flood if one.message_id not in lost and (one.message_id, one.person_id) not in served])
    _mark_repeats(connection, [one for one in repeats if one.message_id not in lost and (one.message_id, one.person_id) not in served])
    filled = [(payload_of(plan.message), plan.message.message_id) for plan in valid if plan.is_filled]
    if filled:
        run(connection, "UPDATE messages SET payload = ? WHERE id = ?", filled)
    done = [(PLANNED, plan.message.message_id) for plan in valid if plan.is_complete]
    if done:
        run(connection, "UPDATE messages SET plan_state = ?, plan_error = NULL WHERE id = ?", done)
    return valid


def _write_ledger(connection: Connection, plans: Sequence[Plan], now_us: int) -> frozenset[tuple[int, int]]:
    """Message and person of the rows that were there already, which stand as they are."""
    values = _ledger_values(plans, now_us)
    if not values or all(plan.fence == 1 for plan in plans):  # nobody had claimed them before
        _LEDGER(connection, values)
        return frozenset()
    new = run(connection, _LEDGER_AGAIN[connection.dialect.name], as_columns(connection, values)).all()
    pairs = [(row.message_id, row.person_id) for plan in plans for row in plan.ledger]
    pairs += [(plan.message.message_id, person_id) for plan in plans for shared in plan.shared for person_id in shared.person_ids]
    return frozenset(pairs) - {(row[0], row[1]) for row in new}


def _without(plan: Plan, served: Collection[tuple[int, int]]) -> Plan:
    """The plan for those who were no candidates of its message before."""

    def is_new(one: LedgerRow | Delivery | NewEscalation) -> bool:
        return (plan.message.message_id, one.person_id) not in served

    return replace(
        plan,
        ledger=list(filter(is_new, plan.ledger)),
        deliveries=list(filter(is_new, plan.deliveries)),
        claimed=list(filter(is_new, plan.claimed)),
        escalations=list(filter(is_new, plan.escalations)),
        shared=[_shared_without(one, [(plan.message.message_id, person_id) not in served for person_id in one.person_ids]) for one in plan.shared],
    )


def _shared_without(shared: Shared, are_new: Sequence[bool]) -> Shared:
    copies = [
        replace(one, delivery_ids=list(compress(one.delivery_ids, are_new)), address_ids=list(compress(one.address_ids, are_new)))
        for one in shared.copies
    ]
    return replace(shared, person_ids=list(compress(shared.person_ids, are_new)), copies=copies)


def _mark_flood(connection: Connection, marks: Iterable[FloodMark]) -> None:
    """Added in the database: others may have counted since the marks were read. Sorted, so that two workers can't deadlock."""
    sent: Counter[tuple[int, str, int]] = Counter()
    for one in marks:
        sent[one.person_id, one.agent, to_us(one.window_started_at)] += one.sent + _TOLD * one.is_told
    if sent:
        run(connection, _FLOOD, [(*key, sent[key]) for key in sorted(sent)])


def _mark_repeats(connection: Connection, marks: Iterable[RepeatMark]) -> None:
    newest = {(one.person_id, one.agent, one.key): to_us(one.sent_at) for one in marks}
    if newest:
        run(connection, _REPEAT, [(*key, newest[key]) for key in sorted(newest)])


def _ledger_values(plans: Sequence[Plan], now_us: int) -> list[tuple[object, ...]]:
    """Rows for `_LEDGER`. The followers of one thing are mostly decided for alike: equal decisions are written as text once."""
    texts: dict[int, str] = {}  # by identity: the plans hold them, and to compare is dearer than to write once more
    values: list[tuple[object, ...]] = []
    for plan in plans:
        for shared in plan.shared:
            same = "\n".join(shared.because), shape.decisions_text(shared.decisions), now_us
            values += zip(repeat(plan.message.message_id), shared.person_ids, *map(repeat, same), strict=False)
    for row in chain.from_iterable(plan.ledger for plan in plans):
        text = texts.get(id(row.decisions))
        if text is None:
            text = texts[id(row.decisions)] = shape.decisions_text(row.decisions)
        values.append((row.message_id, row.person_id, "\n".join(row.because), text, now_us))
    return values


def _fences(connection: Connection, message_ids: Collection[int]) -> dict[int, int]:
    """The fences of messages still to be planned, their rows held until commit."""
    statement = _FENCES + (" FOR UPDATE" if connection.dialect.name == "postgresql" else "")
    return {row[0]: row[1] for row in fetched_among(connection, statement, message_ids, "bigint")}


def _see(connection: Connection, plans: Sequence[Plan], now_us: int) -> None:
    """Requirement H-40: every type shows up in the lists of all its candidates. Sorted, so that two workers can't deadlock."""
    seen: Counter[tuple[int, str]] = Counter()
    for plan in plans:
        seen.update([(row.person_id, plan.message.type) for row in plan.ledger if row.person_id])
        for shared in plan.shared:
            seen.update(zip(shared.person_ids, repeat(plan.message.type), strict=False))
    if seen:
        shape.INSERT_USER_TYPES(connection, [(*key, now_us, now_us, seen[key]) for key in sorted(seen)])


def _flood(connection: Connection, pairs: Collection[tuple[int, str]]) -> dict[tuple[int, str], FloodMark]:
    found: dict[tuple[int, str], FloodMark] = {}
    for ids in shape.chunks({person_id for person_id, _ in pairs}):
        rows = run_among(connection, "SELECT person_id, agent, window_us, sent FROM flood_marks WHERE person_id {among}", ids, "bigint")
        found.update({(row[0], row[1]): FloodMark(row[0], row[1], from_us(row[2]), row[3] % _TOLD, row[3] >= _TOLD) for row in rows})
    return found


def _repeats(connection: Connection, keys: Collection[tuple[int, str, str]]) -> dict[tuple[int, str, str], RepeatMark]:
    found: dict[tuple[int, str, str], RepeatMark] = {}
    wanted = sorted({key for _, _, key in keys})
    for ids in shape.chunks({person_id for person_id, _, _ in keys}, 2_000):
        for start in range(0, len(wanted), 2_000):
            statement = select(repeat_marks).where(repeat_marks.c.person_id.in_(ids), repeat_marks.c.key.in_(wanted[start : start + 2_000]))
            for row in connection.execute(statement):
                found[row.person_id, row.agent, row.key] = RepeatMark(row.person_id, row.agent, row.key, from_us(row.sent_us))
    return found
