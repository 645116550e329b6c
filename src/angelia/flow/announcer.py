"""What the hub does, told on an exchange to whoever follows: after the fact, in order, never lost before its bound, and never in anybody's way."""

from datetime import datetime, timedelta

from angelia import telemetry
from angelia.broker import Broker
from angelia.model.errors import AngeliaError, BrokerUnavailable
from angelia.model.event import Event
from angelia.store import Announcement, Store

LEASE = timedelta(seconds=60)
AT_ONCE = 500
"""So many are published with one call: as many may come twice where the hub dies between publishing and writing that down."""


class Announcer:
    """The stage that publishes what was written with `planning.announcing`; the broker's confirm comes before it is forgotten.

    While the broker is away all waits in the store. Beyond `most_kept` the oldest is dropped, and counted: who comes late needs the newest.
    """

    name = "announcer"

    def __init__(self, store: Store, broker: Broker, exchange: str, most_kept: int) -> None:
        self._store, self._broker = store, broker
        self._exchange, self._most_kept = exchange, most_kept
        self._is_away = False

    def is_restless(self) -> bool:
        """The broker may be back at any time, and nobody says so."""
        return self._is_away

    async def drain(self) -> None:
        """All that waits is in the store."""

    async def turn(self, now: datetime) -> int:
        """Publish some; 0 while the broker takes nothing."""
        found = await self._store.claim_announcements(AT_ONCE, LEASE, now)
        if not found:
            telemetry.announcements_waiting.set(0 if not self._is_away else await self._store.announcements_waiting())
            return 0
        try:
            await self._publish(found)
        except BrokerUnavailable as error:
            await self._store.settle_announcements([])
            if not self._is_away:
                telemetry.log.warning("announcements_wait", error=str(error))
            self._is_away = True
            await self._bound()
            return 0
        self._is_away = False
        await self._store.settle_announcements([one.number for one in found])
        if len(found) == AT_ONCE:
            await self._bound()
        return len(found)

    async def _publish(self, found: list[Announcement]) -> None:
        events = [event_of(one, self._exchange) for one in found]
        try:
            await self._broker.publish(events)
        except BrokerUnavailable:
            raise
        except AngeliaError:
            # One that no broker takes must not hold up all others for ever.
            for event in events:
                await self._publish_alone(event)

    async def _publish_alone(self, event: Event) -> None:
        try:
            await self._broker.publish([event])
        except BrokerUnavailable:
            raise
        except AngeliaError as error:
            telemetry.log.warning("not_announced", key=event.routing_key, error=str(error))
            self._drop(1)

    async def _bound(self) -> None:
        self._drop(await self._store.trim_announcements(self._most_kept))
        telemetry.announcements_waiting.set(await self._store.announcements_waiting())

    def _drop(self, count: int) -> None:
        if count:
            telemetry.broker_published.labels(self._exchange, "dropped").inc(count)


def event_of(one: Announcement, exchange: str) -> Event:
    """`message_id` is the same whenever it is published again, so a reader can tell a repeat."""
    properties = {"app_id": "angelia", "message_id": f"{one.number}-{one.at_us:x}", "timestamp": one.at_us // 1_000_000}
    return Event(exchange, one.key, one.body.encode(), "application/json", properties=properties)
