"""The inbox in SQL: what was delivered to a pull medium, as the person sees it."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, text, update

from angelia.model.delivery import State
from angelia.model.message import Message
from angelia.model.moments import from_us, to_us
from angelia.store import InboxItem, InboxQuery
from angelia.stores import rows as shape
from angelia.stores.engine import SqlEngine
from angelia.stores.messages import below
from angelia.stores.tables import deliveries, ledger, messages

_d = deliveries.c
# Word by word the condition of the partial index: with a parameter in its place, neither database would know that the index holds all.
_READABLE = text(f"deliveries.state = {State.DELIVERED:d} AND deliveries.agent IN ('web', 'feed')")
PAGE = 500
MOST_SCANNED = 20_000
"""How many entries one call looks at when a filter reads the payload; the next page goes on from there."""


class InboxMixin:
    """InboxStore in SQL."""

    engine: SqlEngine

    async def inbox(self, person_id: int, query: InboxQuery) -> list[InboxItem]:
        """See InboxStore."""

        def work(connection: Connection) -> list[InboxItem]:
            found: list[InboxItem] = []
            for row in _rows(connection, person_id, query):
                item = _item(row)
                if _fits(item.message, query):
                    found.append(item)
                    if len(found) == query.limit:
                        break
            return found

        return await self.engine.read(work)

    async def inbox_counts(self, person_id: int, query: InboxQuery, group_by: str = "") -> dict[str, int]:
        """See InboxStore."""

        def work(connection: Connection) -> dict[str, int]:
            if not group_by and not _reads_payload(query):
                return _totals(connection, person_id, query)
            # Nothing found is none, not no answer.
            counts: Counter[str] = Counter() if group_by else Counter(total=0, unread=0)
            for row in _rows(connection, person_id, query):
                item = _item(row)
                if _fits(item.message, query):
                    counts.update(_groups(item, group_by))
            return dict(counts)

        return await self.engine.read(work)

    async def mark(self, person_id: int, query: InboxQuery, delivery_ids: Collection[int] | None, change: str, now: datetime) -> int:
        """See InboxStore."""
        values, applies = _change(change, to_us(now))

        def work(connection: Connection) -> int:
            chosen = [row.id for row in _rows(connection, person_id, query, delivery_ids) if _fits(_item(row).message, query)]
            return sum(
                connection.execute(update(deliveries).where(_d.id.in_(ids), applies).values(**values)).rowcount for ids in shape.chunks(chosen)
            )

        return await self.engine.write(work)


def _statement(person_id: int, query: InboxQuery) -> Select[Any]:
    statement = (
        select(
            _d.id,
            _d.message_id,
            messages.c.source,
            messages.c.received_us,
            messages.c.payload,
            _d.ended_us,
            _d.read_us,
            _d.archived_us,
            ledger.c.because,
        )
        .join(messages, messages.c.id == _d.message_id)
        .outerjoin(ledger, and_(ledger.c.message_id == _d.message_id, ledger.c.person_id == _d.person_id))
        .where(*_conditions(person_id, query))
    )
    order = _d.id.desc() if query.is_newest_first else _d.id.asc()
    return statement.order_by(order)


def _conditions(person_id: int, query: InboxQuery) -> list[Any]:
    conditions: list[Any] = [_d.person_id == person_id, _d.agent == query.agent, _READABLE]
    match query.state:
        case "unread":
            conditions += [_d.read_us.is_(None), _d.archived_us.is_(None)]
        case "read":
            conditions += [_d.read_us.is_not(None), _d.archived_us.is_(None)]
        case "archived":
            conditions.append(_d.archived_us.is_not(None))
        case "":
            conditions.append(_d.archived_us.is_(None))
    if query.subtree:
        conditions.append(below(query.subtree))
    if query.source:
        conditions.append(messages.c.source == query.source)
    if query.before_id is not None:
        conditions.append(_d.id < query.before_id)
    if query.after_id is not None:
        conditions.append(_d.id > query.after_id)
    return conditions


def _rows(connection: Connection, person_id: int, query: InboxQuery, delivery_ids: Collection[int] | None = None) -> Iterator[Row[Any]]:
    """Rows of the view, page by page, so that a short answer reads little."""
    statement = _statement(person_id, query)
    if delivery_ids is not None:
        for ids in shape.chunks(delivery_ids):
            yield from connection.execute(statement.where(_d.id.in_(ids)))
        return
    scanned, last = 0, None
    while scanned < MOST_SCANNED:
        page = statement.limit(min(PAGE, max(query.limit, 50)) if not scanned else PAGE)
        if last is not None:
            page = page.where(_d.id < last if query.is_newest_first else _d.id > last)
        found = connection.execute(page).all()
        yield from found
        if not found:
            return
        scanned, last = scanned + len(found), found[-1].id


def _item(row: Row[Any]) -> InboxItem:
    message = shape.message_from(row[1:5])
    because = tuple(row.because.split("\n")) if row.because else ()
    return InboxItem(row.id, message, because, from_us(row.ended_us or row.received_us), shape.moment(row.read_us), shape.moment(row.archived_us))


def _reads_payload(query: InboxQuery) -> bool:
    return bool(query.tag or query.object_ref or query.thread or query.text or query.min_severity > 1)


def _fits(message: Message, query: InboxQuery) -> bool:
    """The filters that read what is inside a message; alike on both databases because they run here."""
    if message.severity < query.min_severity:
        return False
    if query.object_ref and message.object != query.object_ref:
        return False
    if query.thread and message.thread != query.thread:
        return False
    if query.tag:
        name, _, value = query.tag.partition("=")
        if (name, value) not in message.tags:
            return False
    if query.text:
        text = query.text.casefold()
        return text in message.subject.casefold() or text in message.body.casefold()
    return True


def _totals(connection: Connection, person_id: int, query: InboxQuery) -> dict[str, int]:
    joined = deliveries.join(messages, messages.c.id == _d.message_id)
    statement = select(func.count(), func.count(_d.read_us)).select_from(joined).where(*_conditions(person_id, query))
    total, read = connection.execute(statement).one()
    return {"total": total, "unread": total - read}


def _groups(item: InboxItem, group_by: str) -> list[str]:
    message = item.message
    if group_by.startswith("tag:"):
        return [value for name, value in message.tags if name == group_by[4:]]
    match group_by:
        case "":
            return ["total", "unread"] if item.read_at is None else ["total"]
        case "type" | "source" | "object" | "thread":
            return [getattr(message, group_by)]
        case "severity":
            return [message.severity.label]
    return []


def _change(change: str, now_us: int) -> tuple[dict[str, int | None], ColumnElement[bool]]:
    match change:
        case "read":
            return {"read_us": now_us}, _d.read_us.is_(None)
        case "unread":
            return {"read_us": None}, _d.read_us.is_not(None)
        case "archive":
            return {"archived_us": now_us}, _d.archived_us.is_(None)
        case "unarchive":
            return {"archived_us": None}, _d.archived_us.is_not(None)
    raise ValueError(change)
