"""What the filters of an inbox read of its entries, kept in memory: messages and reasons never change, what she did with them is read each time."""

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, compress
from operator import attrgetter, itemgetter
from sys import intern
from threading import Lock
from typing import Any, NamedTuple

from pydantic_core import SchemaValidator, core_schema
from sqlalchemy import Connection

from angelia.model.message import Message, Severity
from angelia.store import InboxQuery
from angelia.stores import rows as shape
from angelia.stores.engine import among, as_one, fetched

MOST_KEPT = 100_000
"""Entries in memory, over all people: some 30 MB."""
MOST_ON_SHELF = 50_000
MOST_SEARCHES = 4
MOST_LETTERS = 4_000_000
"""Of one person's texts that are kept once she searches; what comes beyond it the database looks over, search by search."""
LETTERS_AN_ENTRY = 300
"""So many take the place of an entry."""
FACETS = ("type", "source", "severity", "reason")

_HEADS = (
    "SELECT m.id, m.source, m.payload, l.because FROM messages AS m LEFT JOIN ledger AS l ON l.message_id = m.id AND l.person_id = ? WHERE m.id {ids}"
)
_OTHER = {"postgresql": " AND octet_length(payload) <> length(payload)", "sqlite": " AND length(CAST(payload AS BLOB)) <> length(payload)"}
_LIKELY = {
    "postgresql": ' AND (strpos(lower(payload COLLATE "C"), ?) > 0 OR octet_length(payload) <> length(payload))',
    "sqlite": " AND (instr(lower(payload), ?) > 0 OR length(CAST(payload AS BLOB)) <> length(payload))",
}
_ENTRY, _KINDS, _MESSAGE_ID = itemgetter(1), attrgetter("kinds"), itemgetter(1)
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
    """What is known of one person's inbox: entries by message id; subjects and bodies without regard to case, once she searches; and which of
    the other messages held the texts that she looked for last.
    """

    entries: dict[int, Entry] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    letters: int = 0
    searches: OrderedDict[str, dict[int, bool]] = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    @property
    def weight(self) -> int:
        """How many entries take as much memory."""
        return len(self.entries) + self.letters // LETTERS_AN_ENTRY

    def keep_text(self, message_id: int, fields: Mapping[str, Any]) -> None:
        """As long as there is room."""
        if self.letters < MOST_LETTERS and message_id not in self.texts:
            text = self.texts[message_id] = f"{fields.get('subject', '')}\0{fields.get('body', '')}".casefold()
            self.letters += len(text)

    def clear(self) -> None:
        """Begin anew."""
        self.entries.clear()
        self.texts.clear()
        self.letters = 0

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
            kept = sum(other.weight for other in self._shelves.values())
            while kept > self._most and self._shelves:
                kept -= self._shelves.popitem(last=False)[1].weight
            return shelf


def listed(connection: Connection, sql: str, before: tuple[object, ...], ids: Collection[int], after: tuple[object, ...] = ()) -> Sequence[Any]:
    """Rows of our SQL in which `{ids}` stands for a condition on many ids: one parameter, however many they are."""
    return fetched(connection, sql.format(ids=among(connection, "bigint")), (*before, as_one(connection, ids), *after))


def bodies(connection: Connection, message_ids: Collection[int]) -> dict[int, Message]:
    """Whole messages by id."""
    return {row[0]: shape.message_from(row) for row in listed(connection, _BODIES, (), message_ids)} if message_ids else {}


def sifted(connection: Connection, shelf: Shelf, person_id: int, query: InboxQuery, rows: Sequence[Row]) -> Sifted:
    """The rows that fit the view, and those that one facet alone keeps out."""
    pairs = _pairs(connection, shelf, person_id, rows, is_search=bool(query.text))
    for check in _needed(query):
        pairs = list(compress(pairs, _fits(check, pairs)))
    chosen = _chosen(query)
    nearly: dict[str, list[Pair]] = {}
    if chosen:
        # A byte for each facet and entry: an entry that fits has none but ones, one that a single facet keeps out has one zero.
        marks = [bytes(_fits(check, pairs)) for check in chosen.values()]
        sums = list(map(sum, zip(*marks, strict=True))) if len(marks) > 1 else marks[0]
        almost = len(marks) - 1
        nearly = {
            name: [pair for pair, total, mark in zip(pairs, sums, fitting, strict=True) if total == almost and not mark]
            for name, fitting in zip(chosen, marks, strict=True)
        }
        pairs = [pair for pair, total in zip(pairs, sums, strict=True) if total > almost]
    if query.text:
        holding = _holding(connection, shelf, query.text, [pair[0][MESSAGE] for some in (pairs, *nearly.values()) for pair in some])
        pairs = [pair for pair in pairs if pair[0][MESSAGE] in holding]
        nearly = {name: [pair for pair in some if pair[0][MESSAGE] in holding] for name, some in nearly.items()}
    return Sifted(pairs, nearly)


def _pairs(connection: Connection, shelf: Shelf, person_id: int, rows: Sequence[Row], *, is_search: bool) -> list[Pair]:
    ids = list(map(_MESSAGE_ID, rows))
    missing = set(ids) - shelf.entries.keys()
    if is_search and shelf.letters < MOST_LETTERS:
        missing |= set(ids) - shelf.texts.keys()
    if missing:
        if len(shelf.entries) + len(missing) > MOST_ON_SHELF:  # some of them are deleted or long past
            shelf.clear()
            missing = set(ids)
        _fill(connection, shelf, person_id, missing, is_search=is_search)
    return [(row, entry) for row, entry in zip(rows, map(shelf.entries.get, ids), strict=True) if entry is not None]


def _fill(connection: Connection, shelf: Shelf, person_id: int, missing: Iterable[int], *, is_search: bool) -> None:
    for ids in shape.chunks(sorted(missing)):
        for message_id, source, payload, because in listed(connection, _HEADS, (person_id,), ids):
            shelf.entries[message_id] = _entry(source, _head(payload), because)
            if is_search:
                shelf.keep_text(message_id, _text(payload))


def _reader(**fields: core_schema.CoreSchema) -> Callable[[str], dict[str, Any]]:
    """Reads these fields of a stored message. Of the rest the parser makes no objects, which were half of the time."""
    wanted = {name: core_schema.typed_dict_field(kind, required=False) for name, kind in fields.items()}
    return SchemaValidator(core_schema.typed_dict_schema(wanted)).validate_json


_TEXT, _ANY = core_schema.str_schema(), core_schema.any_schema()
_PAIR = core_schema.tuple_schema([_TEXT, _TEXT])
_TAGS = core_schema.tuple_schema([_PAIR], variadic_item_index=0)
_head = _reader(type=_TEXT, severity=_TEXT, object=_TEXT, thread=_TEXT, tags=_TAGS, restricted=_ANY, to=_ANY, cc=_ANY, access=_ANY)
_text = _reader(subject=_TEXT, body=_TEXT)
_SEVERITIES = {severity.label: severity for severity in Severity}


def _entry(source: str, head: Mapping[str, Any], because: str | None) -> Entry:
    """Only what filters read: making whole messages of thousands would cost as much again as reading them."""
    readers = None
    if head.get("restricted"):
        named = (*head.get("to", ()), *head.get("cc", ()))
        readers = frozenset(head.get("access") or [entry if isinstance(entry, str) else entry["id"] for entry in named])
    reasons, kinds = _reasons(because or "")
    return Entry(
        intern(head["type"]),
        intern(source),
        _SEVERITIES[head.get("severity", "normal")],
        intern(head.get("object", "")),
        intern(head.get("thread", "")),
        _same_tags(head.get("tags", ())),
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


class Check(NamedTuple):
    """What a view asks of one attribute of its entries. Thousands of entries share few values of most."""

    attribute: str
    fits: Callable[[Any], bool]


def _fits(check: Check, pairs: Sequence[Pair]) -> Iterable[bool]:
    """Of each entry. Each value is judged once; the rest is done in C."""
    values = list(map(attrgetter(check.attribute), map(_ENTRY, pairs)))
    return map({value for value in set(values) if check.fits(value)}.__contains__, values)


def _needed(query: InboxQuery) -> list[Check]:
    checks: list[Check] = []
    if query.seen_by is not None:
        principals = query.seen_by
        checks.append(Check("readers", lambda readers: readers is None or not principals.isdisjoint(readers)))
    if query.object_ref:
        checks.append(Check("object", query.object_ref.__eq__))
    if query.thread:
        checks.append(Check("thread", query.thread.__eq__))
    if query.tag:
        name, _, value = query.tag.partition("=")
        checks.append(Check("tags", lambda tags: (name, value) in tags))
    return checks


def _chosen(query: InboxQuery) -> dict[str, Check]:
    """By facet."""
    checks: dict[str, Check] = {}
    if query.subtree:
        above = f"{query.subtree}."
        checks["type"] = Check("type", lambda key: key == query.subtree or key.startswith(above))
    if query.source:
        checks["source"] = Check("source", query.source.__eq__)
    if query.min_severity > Severity.LOW:
        checks["severity"] = Check("severity", lambda severity: severity >= query.min_severity)
    if query.reason:
        kind = f"{query.reason}:"
        checks["reason"] = Check("because", lambda because: any(reason == query.reason or reason.startswith(kind) for reason in because))
    return checks


def _holding(connection: Connection, shelf: Shelf, text: str, message_ids: Sequence[int]) -> set[int]:
    """The messages whose subject or body holds a text, without regard to case."""
    folded, texts = text.casefold(), shelf.texts
    found = {message_id for message_id in message_ids if folded in texts.get(message_id, "")}
    others = [message_id for message_id in dict.fromkeys(message_ids) if message_id not in texts]
    return found | _looked_up(connection, shelf.search(folded), folded, others) if others else found


def _looked_up(connection: Connection, known: dict[int, bool], folded: str, message_ids: Sequence[int]) -> set[int]:
    """The same of messages whose texts are not kept. The database looks over their stored form and gives few: those that hold it in ASCII,
    and those that hold other letters, of which only Python knows which are alike (`ß` and `SS`).
    """
    stored = json.dumps(folded, ensure_ascii=False)[1:-1]
    likely, before = (_LIKELY[connection.dialect.name], (stored,)) if stored.isascii() else (_OTHER[connection.dialect.name], ())
    for ids in shape.chunks(message_id for message_id in message_ids if message_id not in known):
        held = {row[0] for row in listed(connection, _BODIES + likely, (), ids, before) if _is_in(folded, shape.message_from(row))}
        known.update((message_id, message_id in held) for message_id in ids)
    return {message_id for message_id in message_ids if known.get(message_id)}


def _is_in(folded: str, message: Message) -> bool:
    return folded in message.subject.casefold() or folded in message.body.casefold()


def key_of(group_by: str) -> Callable[[Entry], str]:
    """What the entries of a group share: object, thread, or their first value of a tag (`tag:<name>`); "" for one that stands by itself."""
    if not group_by.startswith("tag:"):
        return attrgetter(group_by)
    name = group_by[4:]
    return lambda entry: next((value for tag, value in entry.tags if tag == name), "")


def counted(pairs: Iterable[Pair], by: str) -> dict[str, int]:
    """How many entries there are by type, source, severity, reason, object, thread or `tag:<name>`. Counted in C: it is done for each page."""
    entries = map(_ENTRY, pairs)
    if by.startswith("tag:"):
        return dict(Counter(value for entry in entries for name, value in entry.tags if name == by[4:]))
    if by == "reason":
        return dict(Counter(chain.from_iterable(map(_KINDS, entries))))
    counts = Counter(map(attrgetter(by), entries))
    return {value.label if isinstance(value, Severity) else value: count for value, count in counts.items()}
