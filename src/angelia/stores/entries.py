"""What the filters of an inbox read of its entries, kept in memory: messages and reasons never change, what she did with them is read each time."""

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import attrgetter, itemgetter
from sys import intern
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import Connection

from angelia.model.message import Message, Severity
from angelia.store import InboxQuery
from angelia.stores import rows as shape
from angelia.stores.engine import among, as_one, run

MOST_KEPT = 100_000
"""Entries in memory, over all people: some 30 MB."""
MOST_ON_SHELF = 50_000
MOST_SEARCHES = 4
FACETS = ("type", "source", "severity", "reason")

_HEADS = (
    "SELECT m.id, m.source, m.payload, l.because FROM messages AS m LEFT JOIN ledger AS l ON l.message_id = m.id AND l.person_id = ? WHERE m.id {ids}"
)
_OTHER = {"postgresql": " AND octet_length(payload) <> length(payload)", "sqlite": " AND length(CAST(payload AS BLOB)) <> length(payload)"}
_LIKELY = {
    "postgresql": ' AND (strpos(lower(payload COLLATE "C"), ?) > 0 OR octet_length(payload) <> length(payload))',
    "sqlite": " AND (instr(lower(payload), ?) > 0 OR length(CAST(payload AS BLOB)) <> length(payload))",
}
_ENTRY, _KINDS = itemgetter(1), attrgetter("kinds")
_BODIES = "SELECT id, source, received_us, payload FROM messages WHERE id {ids}"


class Entry(NamedTuple):
    """One message as it came to one person. `kinds` are those of its reasons: `role` of `role:maintainer`."""

    type: str
    source: str
    severity: Severity
    object: str
    thread: str
    tags: tuple[tuple[str, str], ...]
    readers: frozenset[str] | None
    because: tuple[str, ...]
    kinds: tuple[str, ...]


Row = Sequence[Any]
"""A delivery of an inbox, as the database has it now: its id, its message's id, and when it was read, archived and delivered, in microseconds."""
DELIVERY, MESSAGE, READ, ARCHIVED, ENDED = range(5)
Pair = tuple[Row, Entry]


class Sifted(NamedTuple):
    """What fits a view, in order; and by facet, what would fit but for that one filter of the view."""

    fitting: list[Pair]
    nearly: dict[str, list[Pair]]


@dataclass(slots=True)
class Shelf:
    """What is known of one person's inbox: entries by message id, and which messages held the texts that she looked for last."""

    entries: dict[int, Entry] = field(default_factory=dict)
    searches: OrderedDict[str, dict[int, bool]] = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    def search(self, text: str) -> dict[int, bool]:
        """What is known of a text, by message id; the oldest is forgotten for a new one."""
        with self.lock:
            known = self.searches.setdefault(text, {})
            self.searches.move_to_end(text)
            while len(self.searches) > MOST_SEARCHES:
                self.searches.popitem(last=False)
            return known


class Shelves:
    """Shelves of those who looked last; used by several threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._shelves: OrderedDict[int, Shelf] = OrderedDict()
        self._lock = Lock()

    def of(self, person_id: int) -> Shelf:
        """Hers; others go where there are too many."""
        with self._lock:
            shelf = self._shelves.setdefault(person_id, Shelf())
            self._shelves.move_to_end(person_id)
            kept = sum(len(other.entries) for other in self._shelves.values())
            while kept > self._most and self._shelves:
                kept -= len(self._shelves.popitem(last=False)[1].entries)
            return shelf


def listed(connection: Connection, sql: str, before: tuple[object, ...], ids: Collection[int], after: tuple[object, ...] = ()) -> Sequence[Any]:
    """Rows of our SQL in which `{ids}` stands for a condition on many ids: one parameter, however many they are."""
    found: Sequence[Any] = run(connection, sql.format(ids=among(connection, "bigint")), (*before, as_one(connection, ids), *after)).all()
    return found


def bodies(connection: Connection, message_ids: Collection[int]) -> dict[int, Message]:
    """Whole messages by id."""
    return {row[0]: shape.message_from(row) for row in listed(connection, _BODIES, (), message_ids)} if message_ids else {}


def sifted(connection: Connection, shelf: Shelf, person_id: int, query: InboxQuery, rows: Sequence[Row]) -> Sifted:
    """The rows that fit the view, and those that one facet alone keeps out."""
    _fill(connection, shelf, person_id, rows)
    entries = shelf.entries
    pairs: list[Pair] = [(row, entry) for row in rows if (entry := entries.get(row[MESSAGE])) is not None]
    for fits in _needed(query):
        pairs = [pair for pair in pairs if fits(pair[1])]
    facets = _chosen(query)
    nearly: dict[str, list[Pair]] = {name: [] for name, _ in facets}
    if facets:
        candidates, pairs = pairs, []
        for pair in candidates:
            failed = [name for name, fits in facets if not fits(pair[1])]
            if len(failed) < 2:
                (nearly[failed[0]] if failed else pairs).append(pair)
    if query.text:
        holding = _holding(connection, shelf, query.text, [pair[0][MESSAGE] for some in (pairs, *nearly.values()) for pair in some])
        pairs = [pair for pair in pairs if pair[0][MESSAGE] in holding]
        nearly = {name: [pair for pair in some if pair[0][MESSAGE] in holding] for name, some in nearly.items()}
    return Sifted(pairs, nearly)


def _fill(connection: Connection, shelf: Shelf, person_id: int, rows: Iterable[Row]) -> None:
    known = shelf.entries
    missing = {row[MESSAGE] for row in rows if row[MESSAGE] not in known}
    if len(known) + len(missing) > MOST_ON_SHELF:  # some of them are deleted or long past
        known.clear()
        missing = {row[MESSAGE] for row in rows}
    for ids in shape.chunks(sorted(missing)):
        for message_id, source, payload, because in listed(connection, _HEADS, (person_id,), ids):
            known[message_id] = _entry(source, payload, because)


def _entry(source: str, payload: str, because: str | None) -> Entry:
    """Only what filters read: making whole messages of thousands would cost as much again as reading them."""
    fields: dict[str, Any] = json.loads(payload)
    readers = None
    if fields.get("restricted"):
        named = (*fields.get("to", ()), *fields.get("cc", ()))
        readers = frozenset(fields.get("access") or [entry if isinstance(entry, str) else entry["id"] for entry in named])
    reasons, kinds = _reasons(because or "")
    return Entry(
        intern(fields["type"]),
        intern(source),
        Severity.named(fields.get("severity", "normal")),
        intern(fields.get("object", "")),
        intern(fields.get("thread", "")),
        _same_tags(tuple(map(tuple, fields.get("tags", ())))),
        readers,
        reasons,
        kinds,
    )


@lru_cache(maxsize=4096)
def _reasons(because: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The reasons as they stand in the ledger, and their kinds. Many entries share them."""
    reasons = tuple(because.split("\n")) if because else ()
    return reasons, tuple({reason.partition(":")[0]: None for reason in reasons})


@lru_cache(maxsize=4096)
def _same_tags(tags: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """One object for equal tags."""
    return tags


def _needed(query: InboxQuery) -> list[Callable[[Entry], bool]]:
    checks: list[Callable[[Entry], bool]] = []
    if query.seen_by is not None:
        principals = query.seen_by
        checks.append(lambda entry: entry.readers is None or not principals.isdisjoint(entry.readers))
    if query.object_ref:
        checks.append(lambda entry: entry.object == query.object_ref)
    if query.thread:
        checks.append(lambda entry: entry.thread == query.thread)
    if query.tag:
        name, _, value = query.tag.partition("=")
        checks.append(lambda entry: (name, value) in entry.tags)
    return checks


def _chosen(query: InboxQuery) -> list[tuple[str, Callable[[Entry], bool]]]:
    checks: list[tuple[str, Callable[[Entry], bool]]] = []
    if query.subtree:
        above = f"{query.subtree}."
        checks.append(("type", lambda entry: entry.type == query.subtree or entry.type.startswith(above)))
    if query.source:
        checks.append(("source", lambda entry: entry.source == query.source))
    if query.min_severity > Severity.LOW:
        checks.append(("severity", lambda entry: entry.severity >= query.min_severity))
    if query.reason:
        kind = f"{query.reason}:"
        checks.append(("reason", lambda entry: any(reason == query.reason or reason.startswith(kind) for reason in entry.because)))
    return checks


def _holding(connection: Connection, shelf: Shelf, text: str, message_ids: Sequence[int]) -> set[int]:
    """The messages whose subject or body holds a text. The database looks over their stored form and gives few: those that hold it in ASCII,
    and those that hold other letters, of which only Python knows which are alike (`ß` and `SS`).
    """
    folded = text.casefold()
    known = shelf.search(folded)
    stored = json.dumps(folded, ensure_ascii=False)[1:-1]
    likely, before = (_LIKELY[connection.dialect.name], (stored,)) if stored.isascii() else (_OTHER[connection.dialect.name], ())
    for ids in shape.chunks(dict.fromkeys(message_id for message_id in message_ids if message_id not in known)):
        held = {row[0] for row in listed(connection, _BODIES + likely, (), ids, before) if _is_in(folded, shape.message_from(row))}
        known.update((message_id, message_id in held) for message_id in ids)
    return {message_id for message_id in message_ids if known.get(message_id)}


def _is_in(folded: str, message: Message) -> bool:
    return folded in message.subject.casefold() or folded in message.body.casefold()


def counted(pairs: Iterable[Pair], by: str) -> dict[str, int]:
    """How many entries there are by type, source, severity, reason, object, thread or `tag:<name>`. Counted in C: it is done for each page."""
    entries = map(_ENTRY, pairs)
    if by.startswith("tag:"):
        return dict(Counter(value for entry in entries for name, value in entry.tags if name == by[4:]))
    if by == "reason":
        return dict(Counter(chain.from_iterable(map(_KINDS, entries))))
    counts = Counter(map(attrgetter(by), entries))
    return {value.label if isinstance(value, Severity) else value: count for value, count in counts.items()}
