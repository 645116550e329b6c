"""What one node knows of one exchange on a broker: its stream, its tail, who waits for it."""

import asyncio
import secrets
from collections.abc import Sequence
from hashlib import sha256
from time import monotonic
from typing import Any

from aiormq.abc import AbstractChannel

from angelia.amqp import asked, event_of, offset_of, shut
from angelia.amqp_deliveries import Delivery
from angelia.broker import ExchangeSettings
from angelia.brokers.tail import Tail
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Position

_SEGMENT = 16_777_216
_NOWHERE = Position("none", 0)


class Room:
    """State of one exchange; it asks nobody."""

    def __init__(self, name: str, settings: ExchangeSettings, secret: str) -> None:
        """`secret` is one that all nodes of the hub have, and no reader of the exchange."""
        self.name, self.settings = name, settings
        self._mark = sha256(f"{secret} {name}".encode()).hexdigest()[:32]
        self.stored_as = f"amqp:{name}"
        self.epoch = ""
        self.fault = ""
        self.tail = Tail(_NOWHERE)
        self.established, self.missing = asyncio.Event(), asyncio.Event()
        self.lock = asyncio.Lock()
        self.preparing = asyncio.Lock()
        self.publishing: AbstractChannel | None = None
        self.consumer: asyncio.Task[None] | None = None
        self.asking: list[asyncio.Future[Position]] = []
        self.asker: asyncio.Task[None] | None = None
        self._marks: dict[str, asyncio.Future[Position]] = {}
        self._checked_at = float("-inf")
        self.down_since: float | None = None

    def queue(self, epoch: str) -> str:
        """The stream of an epoch."""
        return f"angelia.{self.name}.{epoch}"

    @property
    def key_for_all(self) -> str:
        """On a direct exchange the key by which each event of ours also reaches the stream. Whoever could guess it could bind with it, and read
        all events, whatever their keys.
        """
        return f"angelia.{self._mark}" if self.settings.kind == "direct" else ""

    @property
    def bindings(self) -> list[str]:
        """Keys by which the stream is bound."""
        if self.settings.kind == "topic":
            return ["#"]
        return [self.key_for_all, *filter(None, (key.strip() for key in self.settings.keys.split(",")))]

    @property
    def stream_arguments(self) -> dict[str, Any]:
        """A stream forgets whole segments: so small ones, a quarter of what is kept at most."""
        return {
            "x-queue-type": "stream",
            "x-max-length-bytes": self.settings.keep_bytes,
            "x-max-age": f"{self.settings.keep_seconds}s",
            "x-stream-max-segment-size-bytes": max(65_536, min(_SEGMENT, self.settings.keep_bytes // 4)),
        }

    def is_to_be_checked(self, every: float) -> bool:
        """Is it time to look again?"""
        if monotonic() - self._checked_at < every:
            return False
        self._checked_at = monotonic()
        return True

    def is_down_for(self, seconds: float) -> bool:
        """Has its stream been out of reach for so long? The first look starts the time."""
        if self.down_since is None:
            self.down_since = monotonic()
        if monotonic() - self.down_since < seconds:
            return False
        self.down_since = None
        return True

    async def found_out(self) -> None:
        """Until it is followed for the first time, or the broker says that it has no such exchange."""
        if not self.established.is_set():
            waiting = [asyncio.ensure_future(event.wait()) for event in (self.established, self.missing)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()

    def next_mark(self) -> str:
        """The name of a new mark, which will be waited for."""
        name = secrets.token_hex(8)
        self._marks[name] = asyncio.get_running_loop().create_future()
        return name

    async def mark_seen(self, name: str) -> Position:
        """Where the mark came by; BrokerUnavailable if it does not within a while."""
        try:
            return await asked(self._marks[name])
        finally:
            self._marks.pop(name, None)

    def pour(self, entries: Sequence[Delivery], epoch: str) -> None:
        """Entries that came, in order. Those that another epoch's consumer left behind are nothing any more."""
        if not entries or epoch != self.epoch:
            return
        first, last = offset_of(entries[0]), Position(epoch, offset_of(entries[-1]))
        if self.tail.head != Position(epoch, first - 1):
            self.tail.reset(Position(epoch, first - 1))
        events = [event for entry in entries if (event := event_of(entry, self.name, epoch)) is not None]
        self.tail.extend(events, last)
        self.established.set()
        if len(events) < len(entries):
            self._see_marks(entries, epoch)

    def _see_marks(self, entries: Sequence[Delivery], epoch: str) -> None:
        for entry in entries:
            future = self._marks.get(entry.properties.get("message_id", ""))
            if future is not None and not entry.exchange and not future.done():
                future.set_result(Position(epoch, offset_of(entry)))
        # The first mark of a consumer is waited for by nobody.
        self._marks = {name: future for name, future in self._marks.items() if not future.done()} if len(self._marks) > 1_000 else self._marks

    async def close_publishing(self) -> None:
        """The next who publishes opens another channel, and looks whether all is there."""
        channel, self.publishing = self.publishing, None
        if channel is not None and not channel.is_closed:
            await shut(channel)

    async def close(self) -> None:
        """End what runs for it, and whoever waits for it."""
        self.established.set()
        self.tail.wake()
        for task in (self.consumer, self.asker):
            # The library swallows a cancellation now and then: it is said again until it is heard.
            while task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.5)
        refuse(self.asking, BrokerUnavailable("the broker is closed; ask again in a few seconds"))


def refuse(asking: Sequence[asyncio.Future[Position]], error: BrokerUnavailable) -> None:
    """Tell those who still wait."""
    for future in asking:
        if not future.done():
            future.set_exception(error)
