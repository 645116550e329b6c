"""One exchange in use: its recent events in memory, who has bound what, and the writes that an event with a certain key needs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from angelia import telemetry
from angelia.broker import Replay
from angelia.model.event import Event, Position
from angelia.planning.topic import PatternIndex, matches

MOST_ROUTES = 20_000
Write = Callable[[bytes], None]


class Form(Protocol):
    """How events look to a kind of client. The bytes are ready for the wire and the same for all clients of one form and one set of exchanges.

    `has_repeats`: an event that matches two bindings of a client comes twice.
    """

    has_repeats: bool

    def event(self, event: Event, cursor: str) -> bytes:
        """One event; `cursor` stands for all that the client has with it."""

    def gap(self, exchange: str, cursor: str) -> bytes:
        """Events of an exchange were lost to the client before `cursor`; b"" where the form has no word for that."""


class Listener:
    """One live client. It gets what is published on its bindings while it is live; else `positions` say how far it is."""

    __slots__ = ("bindings", "cut", "form", "is_catching_up", "is_paused", "name", "number", "paused_at", "positions", "trunks", "write")

    def __init__(self, form: Form, write: Write, cut: Callable[[], None], name: str = "") -> None:
        self.form = form
        self.name = name
        self.write = write
        self.cut = cut
        self.bindings: dict[tuple[str, str], int] = {}
        self.trunks: tuple[str, ...] = ()
        self.positions: dict[str, Position] | None = None
        self.number = 0
        self.is_paused = False
        self.is_catching_up = False
        self.paused_at = 0.0

    def patterns(self, exchange: str) -> list[str]:
        """Its patterns on one exchange, one for each binding."""
        return [pattern for (name, pattern), count in self.bindings.items() if name == exchange for _ in range(count)]


class Follower(NamedTuple):
    """Who follows one exchange, as operators see it. `is_behind`: it takes less than comes, or is just being caught up."""

    name: str
    keys: tuple[str, ...]
    is_behind: bool


@dataclass(slots=True)
class Group:
    """Listeners who get the very same bytes: of one form, on the same exchanges. `times`: once for each binding that matches."""

    form: Form
    trunks: tuple[str, ...]
    times: int
    writes: list[Write] = field(default_factory=list)


Route = list[Group]


class Trunk:
    """What is kept for one exchange. Events from `start` (exclusive) to `head` are in memory."""

    def __init__(self, exchange: str, head: Position, most: int, most_bytes: int) -> None:
        self.exchange = exchange
        self.head = head
        self.start = head
        self.index = PatternIndex()
        self.written = telemetry.stream_written.labels(label_of(exchange))
        self.used_at = 0.0
        self._most = most
        self._most_bytes = most_bytes
        self._ring: deque[Event] = deque()
        self._bytes = 0
        # Before this there is nothing to be read again: told from memory, so that a thousand old cursors cost one look at the broker.
        self._lost_before: Position | None = None
        self._routes: dict[str, Route] = {}
        self._known: dict[bytes, Route] = {}

    def remember(self, events: Sequence[Event]) -> None:
        """Events that go out now; the oldest make room."""
        for event in events:
            assert event.position is not None
            self.head = event.position
            self._ring.append(event)
            self._bytes += len(event.body) + 200
            while len(self._ring) > self._most or self._bytes > self._most_bytes:
                gone = self._ring.popleft()
                assert gone.position is not None
                self.start = gone.position
                self._bytes -= len(gone.body) + 200

    def restart(self, at: Position) -> None:
        """Events were lost: what is in memory no longer joins with what comes."""
        self._ring.clear()
        self._bytes = 0
        self.start = self.head = self._lost_before = at

    def reaches(self, position: Position) -> bool:
        """Is everything after this position in memory?"""
        return position.epoch == self.start.epoch and self.start.sequence <= position.sequence <= self.head.sequence

    def is_lost(self, position: Position) -> bool:
        """Is it known that not everything after this position can be had?"""
        if position.epoch != self.head.epoch or position.sequence > self.head.sequence:
            return True
        return self._lost_before is not None and position.sequence < self._lost_before.sequence

    def extend(self, since: Position, replay: Replay) -> None:
        """Older events, read again up to where memory begins."""
        older = [event for event in replay.events if event.position is not None and event.position.sequence <= self.start.sequence]
        size = sum(len(event.body) + 200 for event in older)
        if len(older) + len(self._ring) > self._most or size + self._bytes > self._most_bytes:
            return
        begins = since
        if not replay.is_complete:
            first = older[0].position if older else None
            begins = Position(first.epoch, first.sequence - 1) if first is not None else self.start
            self._lost_before = begins
        if begins.epoch == self.head.epoch:
            self._ring.extendleft(reversed(older))
            self._bytes += size
            self.start = begins

    def oldest(self) -> Position:
        """From where everything can be had, as far as is known."""
        return self._lost_before if self._lost_before is not None and self._lost_before.epoch == self.head.epoch else self.start

    def after(self, position: Position) -> Iterator[Event]:
        """Events in memory after a position, in order."""
        found: list[Event] = []
        for event in reversed(self._ring):
            assert event.position is not None
            if event.position.sequence <= position.sequence:
                break
            found.append(event)
        return reversed(found)

    def forget_routes(self) -> None:
        """Somebody bound, left, or no longer keeps up."""
        self._routes.clear()
        self._known.clear()

    def route(self, key: str, listeners: dict[int, Listener]) -> Route:
        """Whom an event with this key goes to; keys that concern the same listeners share one route."""
        route = self._routes.get(key)
        if route is None:
            numbers = self.index.find(key, {})
            mark = numbers.tobytes()
            route = self._known.get(mark)
            if route is None:
                route = self._known[mark] = _grouped(numbers, listeners)
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route


def _grouped(numbers: Sequence[int], listeners: dict[int, Listener]) -> Route:
    counts: dict[int, int] = {}
    for number in numbers:
        counts[number] = counts.get(number, 0) + 1
    groups: dict[tuple[int, tuple[str, ...], int], Group] = {}
    for number, count in counts.items():
        listener = listeners[number]
        times = count if listener.form.has_repeats else 1
        mark = id(listener.form), listener.trunks, times
        group = groups.get(mark)
        if group is None:
            group = groups[mark] = Group(listener.form, listener.trunks, times)
        group.writes.append(listener.write)
    return list(groups.values())


def label_of(exchange: str) -> str:
    """What metrics call it. Those of persons count as one: there are as many as people."""
    return "me" if exchange.startswith("me/") else exchange


def times(listener: Listener, patterns: Sequence[str], key: str) -> int:
    """How often an event with this key comes to a listener with these patterns."""
    if listener.form.has_repeats:
        return sum(matches(pattern, key) for pattern in patterns)
    return int(any(matches(pattern, key) for pattern in patterns))
