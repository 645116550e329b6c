"""The newest events of one exchange in memory: followers and those who catch up read them without asking anybody."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from angelia import telemetry
from angelia.broker import Gap, Replay
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event, Position

CHUNK = 1_000
RETRY_EVERY = 0.25  # seconds
MOST_EVENTS = 20_000
MOST_BYTES = 33_554_432


class Tail:
    """Events `start` < sequence <= `head` of one epoch, in order. Who waits is woken by each change; it is bounded, and the oldest go first."""

    def __init__(self, head: Position, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._changed = asyncio.Event()
        self.reset(head)

    def reset(self, head: Position) -> None:
        """Forget all, and go on from there."""
        self.start = self.head = head
        self._events: list[Event] = []
        self._bytes = 0
        self.wake()

    def extend(self, events: Sequence[Event], head: Position | None = None) -> None:
        """Add what follows the head."""
        self._events.extend(events)
        self._bytes += sum(len(event.body) for event in events)
        last = head or events[-1].position
        assert last is not None
        self.head = last
        if len(self._events) > self._most_events or self._bytes > self._most_bytes:
            self._shrink()
        self.wake()

    def _shrink(self) -> None:
        """To three quarters at once: cutting a list costs its length."""
        count = 0
        while len(self._events) - count > self._most_events * 3 // 4 or self._bytes > self._most_bytes * 3 // 4:
            self._bytes -= len(self._events[count].body)
            count += 1
        position = self._events[count - 1].position
        assert position is not None
        self.start = position
        del self._events[:count]

    def after(self, cursor: Position, limit: int) -> Sequence[Event] | None:
        """What follows the cursor; None where this memory does not say."""
        if cursor.epoch != self.head.epoch or not self.start.sequence <= cursor.sequence <= self.head.sequence:
            return None
        low = self._index(cursor.sequence)
        return self._events[low : low + limit]

    def _index(self, sequence: int) -> int:
        """Of the first event above a sequence. Bisection: on a broker's stream there may be holes."""
        low, high = 0, len(self._events)
        while low < high:
            middle = (low + high) // 2
            position = self._events[middle].position
            assert position is not None
            if position.sequence <= sequence:
                low = middle + 1
            else:
                high = middle
        return low

    def wake(self) -> None:
        """Let all who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set by the next change. Take it before looking: a change between the look and the wait is then not missed."""
        return self._changed


async def followed(
    exchange: str,
    tail: Tail,
    replay: Callable[[str, Position, int], Awaitable[Replay]],
    since: Position | None,
    is_closed: Callable[[], bool],
) -> AsyncGenerator[Sequence[Event] | Gap, None]:
    """What follows `since`: from the tail as far as it reaches, else by replay; what neither has is told as a gap."""
    cursor = since or tail.head
    while not is_closed():
        changed = tail.changed
        found = tail.after(cursor, CHUNK)
        if found is None:
            try:
                missed = await replay(exchange, cursor, CHUNK)
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_EVERY)
                continue
            if not missed.is_complete:
                telemetry.broker_gaps.labels(exchange).inc()
                yield Gap(_before(missed))
            found, cursor = missed.events, missed.until
        elif found:
            cursor = position_of(found[-1])
        else:
            # Where only what is no event went by, the cursor keeps up, so that it never falls behind the memory.
            cursor = tail.head
            await changed.wait()
        if found:
            telemetry.broker_followed.labels(exchange).inc(len(found))
            yield found


def position_of(event: Event) -> Position:
    """Of one that came from a broker."""
    assert event.position is not None
    return event.position


def _before(replay: Replay) -> Position:
    """Where the events of an incomplete replay begin."""
    if not replay.events:
        return replay.until
    first = position_of(replay.events[0])
    return Position(first.epoch, first.sequence - 1)
