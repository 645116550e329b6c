"""A person's own deliveries as a stream: what her web inbox gets, beside the exchanges of the broker.

Nothing is kept twice: replay reads the inbox. Positions are the ids of deliveries, which grow with time. Where several workers write, one may
commit a delivery later than another commits a younger one: who follows looks back so far that it is found all the same.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any

from angelia.broker import Broker, ExchangeSettings, Gap, Replay
from angelia.flow.rights import is_open_to
from angelia.model.errors import BrokerUnavailable, StoreUnavailable
from angelia.model.event import Event, Position
from angelia.model.moments import ids_of
from angelia.store import InboxItem, InboxQuery, Store

PREFIX = "me/"
POLL = 1.0  # seconds
PAGE = 500
_EPOCH = "inbox"
LONGEST_WRITE = timedelta(seconds=10)
"""From an id until what has it is committed, where several processes write."""


class WithInboxes:
    """A Broker whose exchanges `me/<person id>` are inboxes; all others are those of the broker within."""

    def __init__(
        self, broker: Broker, store: Store, body_of: Callable[[InboxItem], bytes], is_new: Callable[[int], None] = lambda _: None,
        looks_back: timedelta = timedelta(),
    ) -> None:  # fmt: skip
        """`looks_back` is 0 where one process writes."""
        self._looks_back = ids_of(looks_back)
        self._is_new = is_new  # told the person before those who follow her are: what was remembered of her inbox is old
        self.name = broker.name
        self.exchanges: Mapping[str, ExchangeSettings] = broker.exchanges
        self._broker = broker
        self._store = store
        self._body_of = body_of
        self._hint = asyncio.Event()

    def look(self) -> None:
        """A hint: something was delivered. All who follow an inbox look at once."""
        self._hint.set()
        self._hint = asyncio.Event()

    async def publish(self, events: Sequence[Event]) -> None:
        """See Broker."""
        await self._broker.publish(events)

    async def head(self, exchange: str) -> Position:
        """See Broker."""
        if not exchange.startswith(PREFIX):
            return await self._broker.head(exchange)
        newest, _ = await self._ends(exchange)
        return Position(_EPOCH, newest)

    async def follow(self, exchange: str, since: Position | None = None) -> AsyncGenerator[Sequence[Event] | Gap, None]:
        """See Broker."""
        if not exchange.startswith(PREFIX):
            async for found in self._broker.follow(exchange, since):
                yield found
            return
        at, person_id, stamp = since or await self.head(exchange), int(exchange[len(PREFIX) :]), ""
        late = _Late(lambda at: self._around(exchange, at), is_needed=self._looks_back > 0)
        while True:
            hint = self._hint  # before the look: a hint that comes meanwhile counts
            try:
                seen = await self._store.inbox_stamp(person_id)
                if missed := await late.since_then(at, is_news=seen != stamp):
                    self._is_new(person_id)
                    yield missed
                while seen != stamp:
                    replay = await self._next(exchange, at, is_here=bool(stamp))
                    at = replay.until
                    if not replay.has_more:
                        stamp = seen
                    if not replay.is_complete:
                        yield Gap(at)
                    if replay.events:
                        late.saw(replay.events)
                        self._is_new(person_id)
                        yield replay.events
            except (StoreUnavailable, BrokerUnavailable):
                pass
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await hint.wait()

    async def _around(self, exchange: str, at: Position) -> dict[int, Event]:
        """What is there at a place and shortly before it, by id. As an event each is at that place: a cursor goes forwards only."""
        if at.epoch != _EPOCH:
            return {}
        query = InboxQuery(state="all", before_id=at.sequence + 1, limit=PAGE, seen_by=await self._names(exchange))
        shortly = at.sequence - self._looks_back
        items = [item for item in reversed(await self._items(exchange, query)) if item.delivery_id > shortly]
        return {item.delivery_id: replace(self._event(item), position=at) for item in items}

    async def replay(self, exchange: str, since: Position, limit: int = 10_000) -> Replay:
        """See Broker."""
        if not exchange.startswith(PREFIX):
            return await self._broker.replay(exchange, since, limit)
        if since.epoch != _EPOCH:
            return Replay((), False, await self.head(exchange))
        events, until, has_more = await self._events(exchange, since, limit)
        newest, removed = await self._ends(exchange)
        if since.sequence > newest:
            # A place that is none (any more), as after a backup was put back: who waits there would wait for ever.
            return Replay((), False, Position(_EPOCH, newest))
        if not has_more and until.sequence < removed:
            until = Position(_EPOCH, removed)
        return Replay(events, since.sequence >= removed, until, has_more=has_more)

    async def _next(self, exchange: str, since: Position, *, is_here: bool) -> Replay:
        """The same. Of what comes to somebody who is here already nothing can have been removed: that is not asked for each delivery."""
        if is_here:
            events, until, has_more = await self._events(exchange, since, PAGE)
            if until != since:
                return Replay(events, True, until, has_more=has_more)
        return await self.replay(exchange, since)

    async def _events(self, exchange: str, since: Position, limit: int) -> tuple[list[Event], Position, bool]:
        """After a place, oldest first; where to go on from, and are there more? What she may not see is passed over, however much it is."""
        query = InboxQuery(state="all", is_newest_first=False, after_id=since.sequence, limit=min(limit, PAGE))
        names = await self._names(exchange)
        items = await self._items(exchange, query)
        until = Position(_EPOCH, items[-1].delivery_id) if items else since
        return [self._event(item) for item in items if is_open_to(item.message, names)], until, len(items) == query.limit

    async def _ends(self, exchange: str) -> tuple[int, int]:
        """The newest id, and the newest that retention removed."""
        try:
            return await self._store.newest_in_inbox(int(exchange[len(PREFIX) :]))
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error), error.retry_after) from None

    async def _items(self, exchange: str, query: InboxQuery) -> list[InboxItem]:
        try:
            return await self._store.inbox(int(exchange[len(PREFIX) :]), query)
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error), error.retry_after) from None

    async def _names(self, exchange: str) -> frozenset[str]:
        """Her rights as they are now: what is restricted to others is no longer shown (promise P14)."""
        try:
            return await self._store.names_of(int(exchange[len(PREFIX) :]))
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error), error.retry_after) from None

    def _event(self, item: InboxItem) -> Event:
        properties: dict[str, Any] = {"timestamp": int(item.delivered_at.timestamp())}
        return Event("me", item.message.type, self._body_of(item), "application/json", {}, properties, Position(_EPOCH, item.delivery_id))

    async def faults(self) -> dict[str, str]:
        """See Broker."""
        return await self._broker.faults()

    async def close(self) -> None:
        """The broker within is closed by whoever opened it."""


class _Late:
    """What is committed late, below a place where somebody is already: looked for as long after news as a write may take."""

    def __init__(self, around: Callable[[Position], Awaitable[Mapping[int, Event]]], *, is_needed: bool) -> None:
        self._around, self._is_needed = around, is_needed
        self._known: set[int] | None = None
        self._news_at = monotonic()

    async def since_then(self, at: Position, *, is_news: bool) -> Sequence[Event]:
        """What is there now and was not at the last look; the first look finds what was there before, which is no news."""
        if is_news:
            self._news_at = monotonic()
        if not self._is_needed or monotonic() - self._news_at > LONGEST_WRITE.total_seconds():
            return ()
        before, found = self._known, await self._around(at)
        self._known = set(found)
        return () if before is None else [event for number, event in found.items() if number not in before]

    def saw(self, events: Sequence[Event]) -> None:
        """These came the usual way."""
        if self._known is not None:
            self._known |= {event.position.sequence for event in events if event.position is not None}
