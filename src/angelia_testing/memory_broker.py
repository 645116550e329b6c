"""A broker in memory: what streams are measured with, without the cost of a store."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace

from angelia.broker import ExchangeSettings, Gap, Replay
from angelia.model.event import Event, Position


class MemoryBroker:
    """`Broker` without durability; `first` is the sequence before the first event."""

    name = "memory"

    def __init__(self, exchanges: Mapping[str, ExchangeSettings], first: int = 0) -> None:
        self.exchanges = exchanges
        self._first = first
        self._events: dict[str, list[Event]] = {name: [] for name in exchanges}
        self._changed = asyncio.Event()

    async def publish(self, events: Sequence[Event]) -> None:
        """See Broker."""
        for event in events:
            held = self._events[event.exchange]
            held.append(replace(event, position=Position("memory", self._first + len(held) + 1)))
        self._changed.set()
        self._changed = asyncio.Event()

    async def head(self, exchange: str) -> Position:
        """See Broker."""
        return Position("memory", self._first + len(self._events[exchange]))

    async def follow(self, exchange: str, since: Position | None = None) -> AsyncGenerator[Sequence[Event] | Gap, None]:
        """See Broker."""
        at = since.sequence - self._first if since is not None else len(self._events[exchange])
        while True:
            changed = self._changed
            if found := self._events[exchange][at : at + 1_000]:
                at += len(found)
                yield found
            else:
                await changed.wait()

    async def replay(self, exchange: str, since: Position, limit: int = 10_000) -> Replay:
        """See Broker."""
        at = since.sequence - self._first
        found = self._events[exchange][at : at + limit]
        return Replay(found, True, Position("memory", since.sequence + len(found)))

    async def faults(self) -> dict[str, str]:
        """See Broker."""
        return {}

    async def close(self) -> None:
        """See Broker."""
