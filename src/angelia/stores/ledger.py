"""The ledger in SQL: what was decided, for explain and for trying changes on history."""

import json
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from angelia.model.delivery import Delivery
from angelia.model.message import Message
from angelia.model.moments import first_id, from_us
from angelia.planning.estimate import Count
from angelia.store import LedgerRow, RuleHits
from angelia.stores import rows as shape
from angelia.stores.engine import PAIRS, SqlEngine, as_columns, fetched, read_rows, run
from angelia.stores.messages import below
from angelia.stores.tables import deliveries, ledger, messages

_OF_PAIRS = (
    "SELECT l.message_id, l.person_id, l.because, l.decisions, l.decided_us "
    "FROM {pairs} CROSS JOIN ledger AS l WHERE l.message_id = w.message_id AND l.person_id = w.person_id"
)
_RECENT = (
    "SELECT m.id, m.source, m.received_us, m.payload, l.because FROM messages AS m "
    "LEFT JOIN ledger AS l ON l.message_id = m.id AND l.person_id = ? WHERE m.id >= ?{before} ORDER BY m.id DESC LIMIT ?"
)
_decisions = lru_cache(maxsize=1_000)(shape.decisions_from)
"""Most decisions of a day are the same text."""


class LedgerMixin:
    """LedgerStore in SQL."""

    engine: SqlEngine

    async def ledger_row(self, message_id: int, person_id: int) -> LedgerRow | None:
        """See LedgerStore."""
        return (await self.ledger_of([(message_id, person_id)])).get((message_id, person_id))

    async def ledger_of(self, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], LedgerRow]:
        """See LedgerStore."""
        wanted = sorted(pairs)
        if not wanted:
            return {}
        statement = _OF_PAIRS.format(pairs=PAIRS[self.engine.dialect])

        def work(connection: Connection) -> dict[tuple[int, int], LedgerRow]:
            rows = run(connection, statement, as_columns(connection, wanted))
            return {(row[0], row[1]): LedgerRow(row[0], row[1], _reasons(row[2]), _decisions(row[3]), from_us(row[4])) for row in rows}

        return await read_rows(self.engine, len(wanted), work)

    async def ledger_rows(self, message_id: int, after_person_id: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """See LedgerStore."""
        statement = (
            select(ledger).where(ledger.c.message_id == message_id, ledger.c.person_id > after_person_id).order_by(ledger.c.person_id).limit(limit)
        )
        return [_row(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def history(
        self, person_id: int, since: datetime, limit: int, *, subtree: str = "", rule_id: str = "", before_id: int | None = None
    ) -> list[tuple[Message, LedgerRow]]:
        """See LedgerStore."""
        conditions = [*_hers(person_id, since), *([ledger.c.message_id < before_id] if before_id is not None else [])]
        if subtree:
            conditions.append(below(subtree))
        if rule_id:
            conditions.append(_mentions(f"rule:{rule_id}"))
        statement = (
            select(ledger, *shape.MESSAGE_COLUMNS)
            .join(messages, messages.c.id == ledger.c.message_id)
            .where(*conditions)
            .order_by(ledger.c.message_id.desc())
            .limit(limit)
        )
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        pairs = [(shape.message_from(row[5:]), _row(row)) for row in found]
        return [(message, row) for message, row in pairs if not rule_id or rule_id in rules_in(row)]

    async def recent(self, person_id: int, since: datetime, limit: int, before_id: int | None = None) -> list[tuple[Message, tuple[str, ...] | None]]:
        """See LedgerStore."""
        bound = (person_id, first_id(since), *(() if before_id is None else (before_id,)), limit)
        sql = _RECENT.format(before="" if before_id is None else " AND m.id < ?")
        found = await self.engine.read(lambda connection: fetched(connection, sql, bound))
        return [(shape.message_from(row), None if row[4] is None else _reasons(row[4])) for row in found]

    async def rule_hits(self, person_id: int, since: datetime, counted_from: datetime, limit: int) -> dict[str, RuleHits]:
        """See LedgerStore."""
        statement = select(ledger).where(*_hers(person_id, since), _mentions("rule:")).order_by(ledger.c.message_id.desc()).limit(limit)
        counts: Counter[str] = Counter()
        last: dict[str, datetime] = {}
        for found in await self.engine.read(lambda connection: connection.execute(statement).all()):
            row = _row(found)
            for rule_id in rules_in(row):
                last.setdefault(rule_id, row.decided_at)
                counts[rule_id] += row.decided_at >= counted_from
        return {rule_id: RuleHits(counts[rule_id], at) for rule_id, at in last.items()}

    async def counts_since(self, person_id: int, since: datetime, limit: int) -> list[Count]:
        """See LedgerStore. Ids sort by time, so the index on her rows ends where `since` begins."""
        newest = (
            select(ledger.c.message_id, ledger.c.because)
            .where(ledger.c.person_id == person_id, ledger.c.message_id >= first_id(since))
            .order_by(ledger.c.message_id.desc())
            .limit(limit)
            .subquery()
        )
        statement = (
            select(messages.c.type, newest.c.because, func.count())
            .join(messages, messages.c.id == newest.c.message_id)
            .group_by(messages.c.type, newest.c.because)
            .order_by(messages.c.type, newest.c.because)
        )
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [Count(kind, tuple(because.split("\n")) if because else (), number) for kind, because, number in found]

    async def trail(self, message_id: int, person_id: int) -> list[Delivery]:
        """See LedgerStore."""

        def work(connection: Connection) -> list[Delivery]:
            own = select(*shape.DELIVERY_SELECT).where(deliveries.c.message_id == message_id, deliveries.c.person_id == person_id)
            found = [shape.delivery_from(row) for row in connection.execute(own)]
            carried = {delivery.digest_id for delivery in found if delivery.digest_id is not None}
            if carried:
                digests = select(*shape.DELIVERY_SELECT).where(and_(deliveries.c.digest_id.in_(carried), or_(deliveries.c.message_id.is_(None))))
                found += [shape.delivery_from(row) for row in connection.execute(digests)]
            return sorted(found, key=lambda delivery: delivery.delivery_id)

        return await self.engine.read(work)


def rules_in(row: LedgerRow) -> set[str]:
    """The ids of the rules that spoke: as a reason why she is a candidate, or by what they decided."""
    said = (*row.because, *(decision.decided_by for decision in row.decisions))
    return {text[5:] for text in said if text.startswith("rule:")}


def _hers(person_id: int, since: datetime) -> list[ColumnElement[bool]]:
    """Of one person, from then on: a range of the index by person and message, whose ids sort by time."""
    return [ledger.c.person_id == person_id, ledger.c.message_id >= first_id(since)]


def _mentions(text: str) -> ColumnElement[bool]:
    """The text stands among the reasons or decisions; a first sieve that keeps most rows in the database."""
    written = json.dumps(text, ensure_ascii=False)[1:-1]
    return or_(ledger.c.because.contains(text, autoescape=True), ledger.c.decisions.contains(written, autoescape=True))


def _reasons(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def _row(row: Row[Any]) -> LedgerRow:
    return LedgerRow(row.message_id, row.person_id, _reasons(row.because), shape.decisions_from(row.decisions), from_us(row.decided_us))
