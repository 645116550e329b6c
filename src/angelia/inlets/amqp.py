"""Messages from exchanges: a queue on RabbitMQ, or an exchange of the hub's own; acknowledged once they are durable."""

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiormq.abc import AbstractChannel
from pamqp import commands as spec

from angelia import telemetry
from angelia.amqp import Link, asked, event_of, pause, shut
from angelia.amqp_deliveries import Delivery
from angelia.broker import Broker, Gap
from angelia.inlet import Accept
from angelia.inlets.receiving import MOST_TRIES, Outcome, Receiving, Result
from angelia.model.errors import BrokerUnavailable, StoreUnavailable
from angelia.model.event import Event, Position
from angelia.planning.topic import matches
from angelia.store import EventStore

DEAD = "angelia.dead"
"""Exchange and queue of what could not be read; the header `x-angelia-reason` says why."""
SETTLE_WITHIN = 30.0
REASON = 200


@dataclass(frozen=True, slots=True)
class Binding:
    """What an inlet listens to. An empty `queue` is one that the server names, and that goes with the connection."""

    exchange: str
    keys: tuple[str, ...]
    queue: str
    declare: bool
    prefetch: int


class AmqpInlet:
    """`Inlet` on a queue of RabbitMQ. At most `prefetch` deliveries are in hand; whatever waits is stored in one go."""

    def __init__(self, receiver: Receiving, url: str, binding: Binding) -> None:
        self.name = receiver.name
        self.fault = ""
        self._receiver = receiver
        self._binding = binding
        self._link = Link(url, f"angelia inlet {receiver.name}")

    async def run(self, accept: Accept) -> None:
        """See Inlet. Comes back by itself, whatever the broker does."""
        failures = 0
        try:
            while True:
                try:
                    await self._consume(accept)
                    failures = 0
                except BrokerUnavailable as error:
                    failures += 1
                    self.fault = str(error)
                    telemetry.log.warning("inlet_not_fed", inlet=self.name, error=str(error), failures=failures)
                await asyncio.sleep(pause(failures))
        finally:
            await self._link.close()

    async def _consume(self, accept: Accept) -> None:
        channel = await self._link.channel(confirms=True)
        try:
            queue = await self._declared(channel)
            await asked(channel.basic_qos(prefetch_count=self._binding.prefetch))
            inflow = await self._link.consume(channel, queue)
            self.fault = ""
            while (first := await inflow.get()) is not None:
                group = [*first]
                while not inflow.empty():
                    if (following := inflow.get_nowait()) is None:
                        return
                    group.extend(following)
                await self._settle(channel, group, accept)
        finally:
            await shut(channel)

    async def _settle(self, channel: AbstractChannel, group: Sequence[Delivery], accept: Accept) -> None:
        """Durable first, then acknowledged: all of the group with one frame, as it is in the order of the channel."""
        for delivery in group:
            if delivery.fault:
                await self._put_aside(channel, delivery, delivery.fault)
        readable = [delivery for delivery in group if not delivery.fault]
        events = [event_of(delivery, delivery.exchange) or _bare(delivery) for delivery in readable]
        for delivery, outcome in zip(readable, await self._taken(events, accept), strict=True):
            if outcome.result is Result.POISON:
                await self._put_aside(channel, delivery, outcome.why)
        await asked(channel.basic_ack(group[-1].delivery_tag, multiple=True, wait=False))

    async def _taken(self, events: Sequence[Event], accept: Accept) -> list[Outcome]:
        """Again and again while the store takes nothing: meanwhile the prefetch bounds what is in hand."""
        failures = 0
        while True:
            try:
                outcomes = await self._receiver.take(events, accept)
            except StoreUnavailable as error:
                failures += 1
                self.fault = str(error)
                await asyncio.sleep(pause(failures))
            else:
                self.fault = ""
                return outcomes

    async def _put_aside(self, channel: AbstractChannel, delivery: Delivery, why: str) -> None:
        telemetry.log.warning("event_put_aside", inlet=self.name, key=delivery.routing_key, why=why)
        about: dict[str, Any] = {"x-angelia-reason": why[:REASON], "x-angelia-inlet": self.name, "x-angelia-exchange": delivery.exchange}
        kept: dict[str, Any] = {name: delivery.properties.get(name) for name in ("content_type", "content_encoding", "message_id")}
        given = {name: value for name, value in delivery.headers.items() if name != "x-delivery-count"}
        for headers in (given | about, about):
            properties = spec.Basic.Properties(**kept, delivery_mode=2, headers=headers)
            publishing = channel.basic_publish(delivery.body, exchange=DEAD, routing_key=delivery.routing_key, properties=properties, mandatory=True)
            try:
                await asked(publishing, SETTLE_WITHIN)
            except (TypeError, ValueError, struct.error):
                # A header that can be read can't always be written again: it stays behind, the message does not.
                continue
            return

    async def _declared(self, channel: AbstractChannel) -> str:
        """The queue's name; each thing that may be refused on a throw-away channel."""
        binding = self._binding
        await self._declare_dead()
        if not binding.queue:
            queue = str((await asked(channel.queue_declare("", exclusive=True, auto_delete=True))).queue)
        else:
            queue = binding.queue
            other = await self._link.channel()
            try:
                arguments: Any = {"x-queue-type": "quorum", "x-delivery-limit": MOST_TRIES, "x-dead-letter-exchange": DEAD}
                # What tells of one thing comes in its order: of several processes one takes, and another goes on when that one is gone.
                arguments |= {"x-single-active-consumer": True}
                passive = not binding.declare
                await asked(other.queue_declare(queue, passive=passive, durable=True, arguments=None if passive else arguments))
            finally:
                await shut(other)
        if binding.declare or not binding.queue:
            for key in binding.keys:
                await asked(channel.queue_bind(queue, binding.exchange, routing_key=key))
        return queue

    async def _declare_dead(self) -> None:
        channel = await self._link.channel()
        try:
            await asked(channel.exchange_declare(DEAD, exchange_type="fanout", durable=True))
            await asked(channel.queue_declare(DEAD, durable=True))
            await asked(channel.queue_bind(DEAD, DEAD))
        finally:
            await shut(channel)


class ExchangeInlet:
    """`Inlet` on an exchange that the hub follows itself. Where it stands is stored after what it took: a crash repeats, and repeats are known."""

    def __init__(self, receiver: Receiving, broker: Broker, binding: Binding, store: EventStore) -> None:
        self.name = receiver.name
        self.fault = ""
        self._receiver = receiver
        self._broker = broker
        self._binding = binding
        self._store = store

    async def run(self, accept: Accept) -> None:
        """See Inlet."""
        failures = 0
        while True:
            try:
                await self._follow(accept)
            except (BrokerUnavailable, StoreUnavailable) as error:
                failures += 1
                self.fault = str(error)
                telemetry.log.warning("inlet_not_fed", inlet=self.name, error=str(error), failures=failures)
            await asyncio.sleep(pause(failures))

    async def _follow(self, accept: Accept) -> None:
        exchange, place = self._binding.exchange, f"inlet:{self.name}"
        since = await self._reached(place)
        if since is None:
            # Noted before anything has come: else what comes while the hub is away would lie before its next start.
            since = await self._broker.head(exchange)
            await self._store.put_last_states({place: str(since)}, self._receiver.now())
        async with contextlib.aclosing(self._broker.follow(exchange, since)) as following:
            async for some in following:
                if isinstance(some, Gap):
                    telemetry.log.warning("events_lost", inlet=self.name, exchange=exchange)
                    continue
                # Of several processes that follow one takes: what another has taken meanwhile would be told out of its order here.
                fresh = _after(some, await self._reached(place))
                if not fresh:
                    continue
                wanted = [event for event in fresh if any(matches(key, event.routing_key) for key in self._binding.keys)]
                if wanted:
                    for event, outcome in zip(wanted, await self._receiver.take(wanted, accept), strict=True):
                        if outcome.result is Result.POISON:
                            telemetry.log.warning("event_put_aside", inlet=self.name, key=event.routing_key, at=str(event.position), why=outcome.why)
                await self._store.put_last_states({place: str(fresh[-1].position)}, self._receiver.now())
                self.fault = ""

    async def _reached(self, place: str) -> Position | None:
        """How far this inlet is, whoever runs it."""
        return Position.parse((await self._store.last_states([place])).get(place, ""))


def _after(events: Sequence[Event], reached: Position | None) -> Sequence[Event]:
    if reached is None:
        return events
    return [event for event in events if event.position and (event.position.epoch != reached.epoch or event.position.sequence > reached.sequence)]


def _bare(delivery: Delivery) -> Event:
    """One that was put into the queue directly."""
    return Event("", delivery.routing_key, delivery.body, delivery.properties.get("content_type", ""))
