"""The inbox in SQL: what was delivered to a pull medium, as the person sees it."""

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, zip_longest

from sqlalchemy import Connection

from angelia.model.delivery import State
from angelia.model.errors import InvalidInput
from angelia.model.moments import from_us, to_us
from angelia.planning.announcing import marked
from angelia.store import InboxGroup, InboxItem, InboxPage, InboxPart, InboxQuery
from angelia.stores import rows as shape
from angelia.stores import snoozes
from angelia.stores.announcements import AnnouncementsMixin, login_of, tell
from angelia.stores.changes import next_number
from angelia.stores.engine import fetched, run
from angelia.stores.entries import (
    ARCHIVED,
    DELIVERY,
    ENDED,
    FACETS,
    MESSAGE,
    READ,
    Pair,
    Row,
    Shelves,
    Sifted,
    bodies,
    counted,
    key_of,
    listed,
    sifted,
)

# Word by word the condition of the partial index: with a parameter in its place, neither database would know that the index holds all.
_READABLE = f"state = {State.DELIVERED:d} AND agent IN ('web', 'feed')"
_ROWS = (
    "SELECT id, message_id, read_us, archived_us, ended_us FROM deliveries WHERE person_id = ? AND agent = ? AND "
    + _READABLE
    + " AND message_id IS NOT NULL{conditions}"
)
_NEWEST = "SELECT max(id) FROM deliveries WHERE person_id = ? AND agent = 'web' AND " + _READABLE
_HERE = " AND archived_us IS NULL AND id NOT IN " + snoozes.PENDING
_STATES = {
    "": _HERE,
    "unread": " AND read_us IS NULL" + _HERE,
    "read": " AND read_us IS NOT NULL" + _HERE,
    "archived": " AND archived_us IS NOT NULL",
    "snoozed": " AND archived_us IS NULL AND id IN " + snoozes.PENDING,
    "back": " AND archived_us IS NULL AND id IN " + snoozes.BACK,
    "all": "",
}
_MARK = "UPDATE deliveries SET {column} = ? WHERE person_id = ? AND id {{ids}} AND {column} IS {old} RETURNING id"
_MARKS = {
    "read": _MARK.format(column="read_us", old="NULL"),
    "unread": _MARK.format(column="read_us", old="NOT NULL"),
    "archive": _MARK.format(column="archived_us", old="NULL"),
    "unarchive": _MARK.format(column="archived_us", old="NOT NULL"),
}
_BACK = {"read": "unread", "unread": "read", "archive": "unarchive", "unarchive": "archive", "snooze": "unsnooze"}
_KEEP = (
    "INSERT INTO documents (name, document, version) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET document = excluded.document, version = excluded.version"
)
_TAKE = "DELETE FROM documents WHERE name = ? AND version = ? RETURNING document"
PAGE = 500
MOST_SCANNED = 20_000
"""How many entries one look goes over; the next page goes on from there."""

Place = tuple[int, int]
"""Where an entry stands in the order of a view: its severity (0 where that does not matter) and its id."""
Cursors = tuple[Place | None, Place | None]
"""Of the view's `before_id` and `after_id`."""


class InboxMixin(AnnouncementsMixin):
    """InboxStore in SQL."""

    def __init__(self) -> None:
        self._shelves = Shelves()

    async def inbox(self, person_id: int, query: InboxQuery) -> list[InboxItem]:
        """See InboxStore."""

        def work(connection: Connection) -> list[InboxItem]:
            found, _ = self._found(connection, person_id, query)
            return _items(connection, person_id, found[: query.limit])

        return await self.engine.read(work)

    async def inbox_part(self, person_id: int, query: InboxQuery) -> InboxPart:
        """See InboxStore."""

        def work(connection: Connection) -> InboxPart:
            found, last_seen = self._found(connection, person_id, replace(query, limit=query.limit + 1))
            shown = found[: query.limit]
            return InboxPart(_items(connection, person_id, shown), shown[-1][0][DELIVERY] if len(found) > query.limit else last_seen)

        return await self.engine.read(work)

    async def inbox_page(self, person_id: int, query: InboxQuery, group_by: str = "", shown: int = 3) -> InboxPage:
        """See InboxStore."""

        def work(connection: Connection) -> InboxPage:
            rows, is_cut = _look(connection, person_id, query, is_whole=True)
            found = sifted(connection, self._shelves.of(person_id), person_id, query, rows)
            fitting = _in_order(found.fitting, query)
            cursors = self._cursors(connection, person_id, query)
            bundles, has_more, has_fewer = _bundles(fitting, query, group_by, cursors)
            if not bundles and is_cut and cursors != (None, None):  # beyond what one look goes over
                rows, is_cut = _look(connection, person_id, query)
                bundles, has_more, has_fewer = _bundles(self._fitting(connection, person_id, query, rows), query, group_by, cursors)
            next_id = bundles[-1][0][0][DELIVERY] if bundles and has_more else rows[-1][DELIVERY] if is_cut else None
            items = {item.delivery_id: item for item in _items(connection, person_id, [one for bundle in bundles for one in bundle[:shown]])}
            groups = tuple(_group(bundle, group_by, [items[row[DELIVERY]] for row, _ in bundle[:shown]]) for bundle in bundles)
            unread = [row[READ] for row, _ in fitting].count(None)
            back = snoozes.back(connection, person_id)
            return InboxPage(groups, len(fitting), unread, _facets(found), has_more or is_cut, has_fewer, back, next_id)

        return await self.engine.read(work)

    async def inbox_entry(self, person_id: int, delivery_id: int, seen_by: frozenset[str] | None = None) -> InboxItem | None:
        """See InboxStore."""
        query = InboxQuery(state="all", seen_by=seen_by)

        def work(connection: Connection) -> InboxItem | None:
            rows = _rows(connection, person_id, query, [delivery_id])
            found = self._fitting(connection, person_id, query, rows)
            return _items(connection, person_id, found)[0] if found else None

        return await self.engine.read(work)

    async def inbox_counts(self, person_id: int, query: InboxQuery, group_by: str = "") -> dict[str, int]:
        """See InboxStore."""

        def work(connection: Connection) -> dict[str, int]:
            rows, is_cut = _look(connection, person_id, query)
            found = self._fitting(connection, person_id, query, rows)
            unread = sum(row[READ] is None for row, _ in found)
            counts = counted(found, group_by) if group_by else {"total": len(found), "unread": unread}
            return counts | {"is_at_least": True} if is_cut else counts

        return await self.engine.read(work)

    async def inbox_stamp(self, person_id: int) -> str:
        """See InboxStore."""

        def work(connection: Connection) -> str:
            newest = run(connection, _NEWEST, (person_id,)).scalar() or 0
            marks = run(connection, "SELECT value FROM counters WHERE name = ?", (_name(person_id),)).scalar() or 0
            return f"{newest:x}.{marks:x}"

        return await self.engine.read(work)

    async def newest_in_inbox(self, person_id: int) -> tuple[int, int]:
        """See InboxStore."""

        def work(connection: Connection) -> tuple[int, int]:
            removed = int(run(connection, "SELECT value FROM counters WHERE name = ?", (removed_name(person_id),)).scalar() or 0)
            return max(removed, int(run(connection, _NEWEST, (person_id,)).scalar() or 0)), removed

        return await self.engine.read(work)

    async def mark(
        self,
        person_id: int,
        query: InboxQuery,
        delivery_ids: Collection[int] | None,
        change: str,
        now: datetime,
        *,
        is_undoable: bool = True,
        until: datetime | None = None,
    ) -> int:
        """See InboxStore."""
        done: dict[int, int | None] = {}

        def work(connection: Connection) -> tuple[dict[int, int | None], int | None]:
            rows, is_cut = _look(connection, person_id, scope, delivery_ids)
            were = {row[DELIVERY]: _was(row, change) for row, _ in self._fitting(connection, person_id, scope, rows)}
            changed = _mark(connection, person_id, change, list(were), now, until)
            self._tell_marks(connection, person_id, change, changed, now)
            fresh = {delivery_id: were[delivery_id] for delivery_id in changed}
            if fresh and is_undoable and change in _BACK:
                _keep(connection, person_id, change, done | fresh, now)
            return fresh, rows[-1][DELIVERY] if is_cut else None

        # By age each look begins where the one before ended; by severity there is but one, and its cursors mean something else.
        has_cursor = query.before_id is not None or query.after_id is not None
        scope = query if query.is_by_severity and has_cursor else replace(query, is_by_severity=False, is_newest_first=True)
        is_going_on = True
        while is_going_on:
            fresh, last = await self.engine.write(work)
            done |= fresh
            is_going_on = last is not None
            scope = replace(scope, before_id=last)
        self.announced()
        return len(done)

    async def wake_snoozed(self, now: datetime) -> frozenset[int]:
        """See InboxStore."""

        def work(connection: Connection) -> frozenset[int]:
            awake = snoozes.wake(connection, now)
            for person_id in awake:
                next_number(connection, _name(person_id))
            return awake

        return await self.engine.write(work)

    async def undo_mark(self, person_id: int, marked_at: datetime, now: datetime) -> int | None:
        """See InboxStore."""

        def work(connection: Connection) -> int | None:
            kept = run(connection, _TAKE, (_name(person_id), to_us(marked_at))).scalar()
            if kept is None:
                return None
            made = json.loads(kept)
            changed = []
            for was, ids in _by_time(made["ids"], made.get("were", []), to_us(now)):
                changed += _mark(connection, person_id, _BACK[made["change"]], ids, from_us(was))
            self._tell_marks(connection, person_id, _BACK[made["change"]], changed, now)
            return len(changed)

        count = await self.engine.write(work)
        self.announced()
        return count

    def _tell_marks(self, connection: Connection, person_id: int, change: str, changed: Sequence[int], now: datetime) -> None:
        if self.is_announcing and changed:
            tell(connection, [marked(login, change, changed, now) for login in login_of(connection, person_id)], now)

    def _found(self, connection: Connection, person_id: int, query: InboxQuery) -> tuple[list[Pair], int | None]:
        """What fits, up to the limit of the view; and the last entry that was looked at, where more may stand beyond what one look goes over."""
        found: list[Pair] = []
        last = None
        for rows, is_end in _in_pages(connection, person_id, query):
            found += self._fitting(connection, person_id, query, rows)
            if is_end or len(found) >= query.limit:
                return found, None
            last = rows[-1][DELIVERY]
        return found, last

    def _fitting(self, connection: Connection, person_id: int, query: InboxQuery, rows: Sequence[Row]) -> list[Pair]:
        found = _in_order(sifted(connection, self._shelves.of(person_id), person_id, query, rows).fitting, query)
        if not query.is_by_severity:  # the rows begin at the cursor
            return found
        before, after = self._cursors(connection, person_id, query)
        places = [(pair, _place(pair, query)) for pair in found]
        return [pair for pair, place in places if (before is None or place < before) and (after is None or place > after)]

    def _cursors(self, connection: Connection, person_id: int, query: InboxQuery) -> Cursors:
        def place(delivery_id: int | None) -> Place | None:
            if delivery_id is None or not query.is_by_severity:
                return None if delivery_id is None else (0, delivery_id)
            anything = InboxQuery(state="all", agent=query.agent)  # it may have left the view by now
            rows = _rows(connection, person_id, anything, [delivery_id])
            found = self._fitting(connection, person_id, anything, rows)
            if not found:
                raise InvalidInput("the entry of this cursor is gone: begin again with the first page")
            return _place(found[0], query)

        return place(query.before_id), place(query.after_id)


def _place(pair: Pair, query: InboxQuery) -> Place:
    return (pair[1].severity if query.is_by_severity else 0, pair[0][DELIVERY])


def _in_order(found: list[Pair], query: InboxQuery) -> list[Pair]:
    """Rows come by their age: of equal severity they stay so."""
    if not query.is_by_severity:
        return found
    falling = sorted(found, key=lambda pair: pair[1].severity, reverse=True)
    return falling if query.is_newest_first else falling[::-1]


def removed_name(person_id: int) -> str:
    """Of the counter that holds the newest id that was removed from an inbox."""
    return f"removed:{person_id}"


def _name(person_id: int) -> str:
    return f"inbox:{person_id}"


def _rows(
    connection: Connection, person_id: int, query: InboxQuery, ids: Collection[int] | None = None, *, limit: int = 0, is_whole: bool = False
) -> list[Row]:
    """Rows in the state of the view, by age in its order, from its cursor on; `is_whole`, or to be ordered by severity: from the first, the newest
    of all. Chosen ids come as a list of theirs.
    """
    is_whole = is_whole or query.is_by_severity
    conditions, bound = _STATES[query.state], [person_id, query.agent]
    bound += [person_id] * conditions.count("?")
    for condition, cursor in ((" AND id < ?", query.before_id), (" AND id > ?", query.after_id)):
        if cursor is not None and not is_whole:
            conditions += condition
            bound.append(cursor)
    if ids is not None:
        sql = _ROWS.format(conditions=f"{conditions} AND id {{ids}}")
        return [row for some in shape.chunks(ids) for row in listed(connection, sql, tuple(bound), some)]
    order = "DESC" if query.is_newest_first or query.is_by_severity else "ASC"
    sql = _ROWS.format(conditions=f"{conditions} ORDER BY id {order} LIMIT ?")
    return fetched(connection, sql, (*bound, limit))


def _look(
    connection: Connection, person_id: int, query: InboxQuery, ids: Collection[int] | None = None, *, is_whole: bool = False
) -> tuple[list[Row], bool]:
    """As many rows as one look goes over, and whether the next one goes on from the last of them; by severity there is no next one."""
    if ids is not None:
        return _rows(connection, person_id, query, ids), False
    rows = _rows(connection, person_id, query, limit=MOST_SCANNED + 1, is_whole=is_whole)
    return rows[:MOST_SCANNED], len(rows) > MOST_SCANNED and not query.is_by_severity


def _in_pages(connection: Connection, person_id: int, query: InboxQuery) -> Iterator[tuple[list[Row], bool]]:
    """Rows of the view, page by page, so that a short answer reads little; and is there nothing after them? What is most severe may be anywhere: it
    needs all at once.
    """
    if query.is_by_severity:
        yield _rows(connection, person_id, query, limit=MOST_SCANNED), True
        return
    scanned, start = 0, query
    while scanned < MOST_SCANNED:
        size = PAGE if scanned else min(PAGE, max(query.limit, 50))
        rows = _rows(connection, person_id, start, limit=size)
        yield rows, len(rows) < size
        if len(rows) < size:
            return
        scanned, last = scanned + len(rows), rows[-1][DELIVERY]
        start = replace(start, before_id=last) if query.is_newest_first else replace(start, after_id=last)


def _items(connection: Connection, person_id: int, found: Sequence[Pair]) -> list[InboxItem]:
    until = snoozes.pending(connection, person_id)
    messages = bodies(connection, {row[MESSAGE] for row, _ in found})
    return [
        InboxItem(
            row[DELIVERY],
            messages[row[MESSAGE]],
            entry.because,
            messages[row[MESSAGE]].received_at if row[ENDED] is None else from_us(row[ENDED]),
            shape.moment(row[READ]),
            shape.moment(row[ARCHIVED]),
            shape.moment(until.get(row[DELIVERY])),
        )
        for row, entry in found
        if row[MESSAGE] in messages
    ]


def _bundles(found: Sequence[Pair], query: InboxQuery, group_by: str, cursors: Cursors) -> tuple[list[list[Pair]], bool, bool]:
    """The page's groups, in the order of their first entries, and whether there are groups after and before them."""
    bundles = _grouped(found, group_by) if group_by else []
    firsts = [bundle[0] for bundle in bundles] if group_by else found
    forward, backward = cursors if query.is_newest_first else cursors[::-1]
    sign = -1 if query.is_newest_first else 1

    def rank(pair: Pair) -> Place:
        """What rises along the view."""
        return _turned(_place(pair, query), sign)

    start, end = 0, len(firsts)
    if forward is not None:
        start = bisect_right(firsts, _turned(forward, sign), key=rank)
    if backward is not None:
        end = bisect_left(firsts, _turned(backward, sign), key=rank)
    if backward is not None and forward is None:
        start = max(0, end - query.limit)
    end = min(end, start + query.limit)
    page = bundles[start:end] if group_by else [[pair] for pair in found[start:end]]
    return page, end < len(firsts), start > 0


def _turned(place: Place, sign: int) -> Place:
    return (place[0] * sign, place[1] * sign)


def _grouped(found: Sequence[Pair], group_by: str) -> list[list[Pair]]:
    grouped: defaultdict[object, list[Pair]] = defaultdict(list)
    key = key_of(group_by)
    for pair in found:
        grouped[key(pair[1]) or pair[0][DELIVERY]].append(pair)
    return list(grouped.values())


def _group(bundle: Sequence[Pair], group_by: str, items: Sequence[InboxItem]) -> InboxGroup:
    row, entry = bundle[0]
    key = key_of(group_by)(entry) if group_by else ""
    return InboxGroup(key, row[DELIVERY], len(bundle), sum(row[READ] is None for row, _ in bundle), tuple(items))


def _facets(found: Sifted) -> dict[str, dict[str, int]]:
    return {name: counted(chain(found.fitting, found.nearly.get(name, ())), name) for name in FACETS}


def _mark(connection: Connection, person_id: int, change: str, ids: Sequence[int], now: datetime, until: datetime | None = None) -> list[int]:
    if change == "snooze" and until is not None:
        changed = snoozes.put_off(connection, person_id, sorted(ids), until)
    elif change == "unsnooze":
        changed = snoozes.take_back(connection, person_id, sorted(ids))
    elif change in _MARKS:
        value = to_us(now) if change in ("read", "archive") else None
        changed = [row[0] for some in shape.chunks(sorted(ids)) for row in listed(connection, _MARKS[change], (value, person_id), some)]
        if change in ("read", "archive"):
            snoozes.take_back(connection, person_id, changed, only_back=change == "read")
    else:
        raise ValueError(change)
    if changed:
        next_number(connection, _name(person_id))
    return changed


def _was(row: Row, change: str) -> int | None:
    """What a change takes away: since when it is read, or archived."""
    found: int | None = row[READ] if change == "unread" else row[ARCHIVED] if change == "unarchive" else None
    return found


def _keep(connection: Connection, person_id: int, change: str, done: Mapping[int, int | None], now: datetime) -> None:
    """For taking it back: the entries, and the times that are no longer theirs."""
    kept = {"change": change, "ids": list(done)} | ({"were": list(done.values())} if any(done.values()) else {})
    run(connection, _KEEP, (_name(person_id), json.dumps(kept), to_us(now)))


def _by_time(ids: Sequence[int], were: Sequence[int | None], otherwise: int) -> Iterator[tuple[int, list[int]]]:
    """Entries by the time that each had; many were marked at once."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for delivery_id, was in zip_longest(ids, were):
        alike[was or otherwise].append(delivery_id)
    yield from alike.items()
