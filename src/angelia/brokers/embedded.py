"""The broker in this process: events are kept in the store, so other processes on the same store are part of it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from angelia import telemetry
from angelia.broker import ExchangeSettings, Gap, Replay, missing_exchange
from angelia.brokers.tail import Tail, followed, position_of
from angelia.model.errors import BrokerUnavailable, StoreUnavailable
from angelia.model.event import Event, Position, check_event
from angelia.store import EventStore, ExchangeMark, Upkeep

POLL = 0.25  # seconds; a hint is faster, but SQLite has none, and hints may be lost
PUBLISH_WITHIN = 10.0
CLOSE_WITHIN = 3.0
MOST_WAITING = 67_108_864
"""Bytes of events that may wait for the store at once."""
CHUNK = 1_000
CHUNK_BYTES = 8_388_608
PRUNE_BATCH = 1_000
TOPIC = "events"


class EventRoom(EventStore, Upkeep, Protocol):
    """What this broker needs of the store."""


_Waiting = tuple[Sequence[Event], "asyncio.Future[None]"]


class EmbeddedBroker:
    """`Broker` on the hub's own store. Nothing runs while nobody follows or publishes."""

    name = "embedded"

    def __init__(self, store: EventRoom, exchanges: Mapping[str, ExchangeSettings], now: Callable[[], datetime]) -> None:
        self.exchanges = exchanges
        self._store = store
        self._now = now
        self._is_closed = False
        self._fault = ""
        self._tails: dict[str, Tail] = {}
        self._followers: dict[str, int] = {}
        self._marked: set[str] = set()
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None
        self._hint = asyncio.Event()
        store.hear(self._heard)

    def _heard(self, topic: str) -> None:
        if topic == TOPIC:
            self._hint.set()

    # ---- publishing

    async def publish(self, events: Sequence[Event]) -> None:
        """See Broker. All who wait are written in one transaction, in the order in which they came."""
        if self._is_closed:
            raise BrokerUnavailable("the broker is closed; publish again in a few seconds")
        for event in events:
            self._check(event.exchange)
            check_event(event)
        if not events:
            return
        size = sum(len(event.body) for event in events)
        if self._waiting_bytes and self._waiting_bytes + size > MOST_WAITING:
            raise BrokerUnavailable("too many events wait to be stored; publish again in a few seconds")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, future))
        self._waiting_bytes += size
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        try:
            async with asyncio.timeout(PUBLISH_WITHIN):
                await future
        except TimeoutError:
            raise BrokerUnavailable("the store takes no events right now; publish again in a few seconds") from None

    async def _write(self) -> None:
        while self._waiting:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            # Who gave up waiting gets nothing published behind its back, as far as that can still be helped.
            waiting = [entry for entry in waiting if not entry[1].done()]
            events = [event for some, _ in waiting for event in some]
            if not events:
                continue
            try:
                placed = await self._append(events)
            except Exception as error:  # noqa: BLE001 - it goes to those who wait, and the writer lives
                self._answer(waiting, error)
                continue
            self._show(placed)
            self._answer(waiting, None)
            self._store.wake(TOPIC)

    async def _append(self, events: Sequence[Event]) -> list[Event]:
        names = {event.exchange for event in events}
        if not names <= self._marked:
            await self._store.exchange_marks(names)
            self._marked |= names
        positions = await self._store.append_events(events, self._now())
        return [replace(event, position=position) for event, position in zip(events, positions, strict=True)]

    @staticmethod
    def _answer(waiting: Sequence[_Waiting], error: Exception | None) -> None:
        if isinstance(error, StoreUnavailable):
            error = BrokerUnavailable(str(error), error.retry_after)
        for events, future in waiting:
            for event in events:
                telemetry.broker_published.labels(event.exchange, "failed" if error else "stored").inc()
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _show(self, placed: Sequence[Event]) -> None:
        """To followers in this process at once; where another process was first, the poller brings the order."""
        by_exchange: dict[str, list[Event]] = {}
        for event in placed:
            by_exchange.setdefault(event.exchange, []).append(event)
        for name, events in by_exchange.items():
            tail, first = self._tails.get(name), events[0].position
            assert first is not None
            if tail is None:
                continue
            if first == Position(tail.head.epoch, tail.head.sequence + 1):
                tail.extend(events)
            else:
                self._hint.set()

    # ---- following

    async def head(self, exchange: str) -> Position:
        """See Broker."""
        mark = await self._mark(exchange)
        return Position(mark.epoch, mark.head)

    def follow(self, exchange: str, since: Position | None = None) -> AsyncGenerator[Sequence[Event] | Gap, None]:
        """See Broker."""
        return self._following(exchange, since)

    async def _following(self, exchange: str, since: Position | None) -> AsyncGenerator[Sequence[Event] | Gap, None]:
        """Counts who follows: the last one lets the tail go."""
        self._check(exchange)
        self._followers[exchange] = self._followers.get(exchange, 0) + 1
        try:
            tail = await self._tail(exchange)
            async with contextlib.aclosing(followed(exchange, tail, self.replay, since, lambda: self._is_closed)) as found:
                async for some in found:
                    yield some
        finally:
            self._followers[exchange] -= 1
            if not self._followers[exchange]:
                self._tails.pop(exchange, None)

    async def _tail(self, exchange: str) -> Tail:
        """The exchange's tail, kept up to date from now on."""
        while exchange not in self._tails and not self._is_closed:
            try:
                head = await self.head(exchange)
            except BrokerUnavailable:
                await asyncio.sleep(POLL)
                continue
            self._tails.setdefault(exchange, Tail(head))
        if self._is_closed:
            return Tail(Position("closed", 0))
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        return self._tails[exchange]

    async def _poll(self) -> None:
        """What other processes published, as long as anybody follows."""
        while self._tails and not self._is_closed:
            try:
                marks = await self._store.exchange_marks(list(self._tails))
                for name, mark in marks.items():
                    await self._catch_up(name, mark)
                self._fault = ""
            except StoreUnavailable as error:
                self._fault = str(error)
            except Exception as error:  # noqa: BLE001 - followers wait for this task: it must live
                self._fault = str(error)
                telemetry.log.exception("events_not_read", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._hint.wait()
            self._hint.clear()

    async def _catch_up(self, name: str, mark: ExchangeMark) -> None:
        while (tail := self._tails.get(name)) is not None:
            if tail.head.epoch != mark.epoch or tail.head.sequence < mark.pruned:
                tail.reset(Position(mark.epoch, mark.head))
            at = tail.head
            if at.sequence >= mark.head:
                return
            found = await self._store.read_events(name, mark.epoch, at.sequence, CHUNK, CHUNK_BYTES)
            # Meanwhile our own writer may have gone on, or the oldest may have been forgotten.
            if tail.head != at or self._tails.get(name) is not tail:
                continue
            if not found or position_of(found[0]).sequence != at.sequence + 1:
                tail.reset(Position(mark.epoch, mark.head))
                return
            tail.extend(found)

    async def replay(self, exchange: str, since: Position, limit: int = 10_000) -> Replay:
        """See Broker."""
        mark = await self._mark(exchange)
        head = Position(mark.epoch, mark.head)
        if since.epoch == mark.epoch and since.sequence > mark.head:
            return Replay((), False, head)
        begin = max(since.sequence, mark.pruned) if since.epoch == mark.epoch else mark.pruned
        is_complete = since.epoch == mark.epoch and since.sequence >= mark.pruned
        tail = self._tails.get(exchange)
        remembered = tail.after(Position(mark.epoch, begin), limit) if tail is not None and tail.head.sequence >= mark.head else None
        if remembered is not None:
            until = position_of(remembered[-1]) if remembered else Position(mark.epoch, begin)
            return Replay(remembered, is_complete, until, until.sequence < mark.head)
        events: list[Event] = []
        at, size = begin, 0
        while len(events) < limit and at < mark.head and size < MOST_WAITING:
            found = await self._read(exchange, mark.epoch, at, min(CHUNK, limit - len(events)))
            if not found:
                break
            if position_of(found[0]).sequence != at + 1:  # forgotten while we read
                is_complete, events = False, []
            events += found
            size += sum(len(event.body) for event in found)
            at = position_of(found[-1]).sequence
        if not events and at < mark.head:
            return Replay((), False, head)
        return Replay(events, is_complete, Position(mark.epoch, at), at < mark.head)

    async def _read(self, exchange: str, epoch: str, after: int, limit: int) -> list[Event]:
        try:
            return await self._store.read_events(exchange, epoch, after, limit, CHUNK_BYTES)
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error), error.retry_after) from None

    async def _mark(self, exchange: str) -> ExchangeMark:
        self._check(exchange)
        if self._is_closed:
            raise BrokerUnavailable("the broker is closed; ask again in a few seconds")
        try:
            return (await self._store.exchange_marks([exchange]))[exchange]
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error), error.retry_after) from None

    def _check(self, exchange: str) -> None:
        if exchange not in self.exchanges:
            raise missing_exchange(exchange)

    # ---- upkeep

    async def faults(self) -> dict[str, str]:
        """See Broker."""
        return {"": self._fault} if self._fault else {}

    async def prune(self, now: datetime) -> None:
        """Forget what is too old or too much, in slices: whoever waits to write gets a turn between two of them."""
        for name, entry in self.exchanges.items():
            before = now - timedelta(seconds=entry.keep_seconds)
            while await self._store.prune_events(name, before, entry.keep_bytes, PRUNE_BATCH) == PRUNE_BATCH:
                pass

    async def close(self) -> None:
        """See Broker. What was handed over is still written."""
        self._is_closed = True
        self._hint.set()
        for tail in self._tails.values():
            tail.wake()
        for task in (self._writer, self._poller):
            if task is not None:
                await asyncio.wait([task], timeout=CLOSE_WITHIN)
