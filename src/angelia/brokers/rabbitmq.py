"""RabbitMQ: exchanges of a broker beside the hub. A stream queue for each is the memory; its offsets are our sequences.

The name of a stream holds its epoch, which the store keeps: a stream that was deleted comes back under another name, so nobody can take its
offsets for the old ones. Two connections: one that publishes is not read while an alarm blocks it, and must not stop those who follow.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence

from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelNotFoundEntity, PublishError
from pamqp import commands as spec

from angelia import telemetry
from angelia.amqp import Down, Inflow, Link, Missing, asked, event_of, offset_of, pause, properties_of, shut
from angelia.amqp_deliveries import Delivery
from angelia.broker import ExchangeSettings, Gap, Replay, missing_exchange
from angelia.brokers.room import Room, refuse
from angelia.brokers.tail import followed
from angelia.model.errors import BrokerUnavailable, InvalidInput, StoreUnavailable
from angelia.model.event import Event, Position, check_event
from angelia.store import EventStore

PUBLISH_WITHIN = 10.0
FAULTS_WITHIN = 4.0  # seconds: whoever asks whether we are ready does not wait for long
DOWN_FOR = 30.0  # seconds that a stream may be out of reach while its broker answers, before another takes its place
CHECK_EVERY = 3.0  # seconds between two looks whether exchange and stream are still there
PREFETCH = 2_000
ACK_EVERY = 200
AT_ONCE = 500
NO_EXCHANGE = "there is no such exchange on the broker yet; it is looked for every few seconds"
MOST_BYTES = 67_108_864


class RabbitMQBroker:
    """`Broker` on RabbitMQ 3.9 or later. Connects when it is first used, and again by itself."""

    name = "rabbitmq"

    def __init__(self, url: str, exchanges: Mapping[str, ExchangeSettings], store: EventStore) -> None:
        self.exchanges = exchanges
        self._store = store
        self._is_closed = False
        self._reading, self._writing = Link(url, "angelia follows"), Link(url, "angelia publishes")
        self._rooms = {name: Room(name, settings, url) for name, settings in exchanges.items()}

    def _room(self, exchange: str) -> Room:
        if exchange not in self._rooms:
            raise missing_exchange(exchange)
        return self._rooms[exchange]

    # ---- publishing

    async def publish(self, events: Sequence[Event]) -> None:
        """See Broker."""
        by_room: dict[str, list[Event]] = {}
        for event in events:
            self._room(event.exchange)
            check_event(event)
            by_room.setdefault(event.exchange, []).append(event)
        for name, some in by_room.items():
            result = "failed"
            try:
                async with asyncio.timeout(PUBLISH_WITHIN):
                    for start in range(0, len(some), AT_ONCE):
                        await self._send_all(self._rooms[name], some[start : start + AT_ONCE])
                result = "stored"
            except TimeoutError:
                raise BrokerUnavailable(f"the broker confirms nothing within {PUBLISH_WITHIN:g} s: is it blocked by an alarm?") from None
            finally:
                telemetry.broker_published.labels(name, result).inc(len(some))

    async def _send_all(self, room: Room, events: Sequence[Event]) -> None:
        """What comes back unroutable, or finds no exchange, shows that the stream or the exchange was deleted: they are made anew once."""
        for is_last in (False, True):
            channel = await self._publishing(room)
            key = room.key_for_all
            sending = [
                channel.basic_publish(
                    event.body, exchange=room.name, routing_key=event.routing_key, properties=properties_of(event, key), mandatory=True
                )
                for event in events
            ]
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
            failed = [(event, outcome) for event, outcome in zip(events, outcomes, strict=True) if isinstance(outcome, BaseException)]
            if not failed:
                return
            first = failed[0][1]
            if isinstance(first, TypeError | ValueError):
                raise InvalidInput("a header holds what AMQP has no form for", "headers")
            if is_last or not all(isinstance(outcome, PublishError | ChannelNotFoundEntity) for _, outcome in failed):
                await room.close_publishing()
                raise BrokerUnavailable(f"the broker did not confirm: {type(first).__name__}")
            await room.close_publishing()
            events = [event for event, _ in failed]

    async def _publishing(self, room: Room) -> AbstractChannel:
        """One channel for each exchange: a missing one closes its channel, and must not take others with it."""
        async with room.lock:
            if self._is_closed:
                raise BrokerUnavailable("the broker is closed; publish again in a few seconds")
            if room.publishing is None or room.publishing.is_closed:
                await self._prepare(room)
                room.publishing = await self._writing.channel(confirms=True)
            return room.publishing

    # ---- what must be there

    async def _prepare(self, room: Room) -> None:
        """Exchange, stream and bindings are there, on a throw-away channel. BrokerUnavailable tells what is not.

        One at a time: a stream that two declare at once is there for one of them before the broker can find it.
        """
        async with room.preparing:
            await self._prepare_alone(room)

    async def _prepare_alone(self, room: Room) -> None:
        try:
            await self._with_exchange(room)
            epoch = await self._store.exchange_epoch(room.stored_as)
            if not await self._has_stream(room, epoch):
                epoch = await self._store.exchange_epoch(room.stored_as, lost=epoch)
                await self._declare_stream(room, epoch)
            channel = await self._reading.channel()
            try:
                for key in room.bindings:
                    await asked(channel.queue_bind(room.queue(epoch), room.name, routing_key=key))
            finally:
                await shut(channel)
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error), error.retry_after) from None
        except BrokerUnavailable as error:
            room.fault = str(error)
            raise
        room.epoch, room.fault = epoch, ""

    async def _with_exchange(self, room: Room) -> None:
        channel = await self._reading.channel()
        settings = room.settings
        try:
            await asked(channel.exchange_declare(room.name, exchange_type=settings.kind, durable=True, passive=not settings.declare))
        except Missing:
            room.missing.set()
            raise BrokerUnavailable(NO_EXCHANGE) from None
        finally:
            await shut(channel)
        room.missing.clear()

    async def _has_stream(self, room: Room, epoch: str) -> bool:
        channel = await self._reading.channel()
        try:
            await asked(channel.queue_declare(room.queue(epoch), passive=True))
        except Missing:
            return False
        except Down:
            # A stream whose node was killed just after its birth never comes back: better a gap that is told than no events for ever.
            if room.is_down_for(DOWN_FOR):
                telemetry.log.warning("stream_given_up", exchange=room.name, queue=room.queue(epoch))
                return False
            raise
        finally:
            await shut(channel)
        room.down_since = None
        return True

    async def _declare_stream(self, room: Room, epoch: str) -> None:
        channel = await self._reading.channel()
        try:
            await asked(channel.queue_declare(room.queue(epoch), durable=True, arguments=room.stream_arguments))
        finally:
            await shut(channel)

    # ---- the shared consumer

    async def _consuming(self, room: Room) -> None:
        """Until it follows; the consumer is started by the first who needs it."""
        if self._is_closed:
            raise BrokerUnavailable("the broker is closed; ask again in a few seconds")
        if room.consumer is None:
            room.consumer = asyncio.create_task(self._consume(room), name=f"follow {room.name}")
        try:
            async with asyncio.timeout(PUBLISH_WITHIN):
                await room.found_out()
        except TimeoutError:
            raise BrokerUnavailable(room.fault or "the broker does not answer") from None
        if not room.established.is_set():
            # A broker that is away may be back in a moment; what it does not have is told at once.
            raise BrokerUnavailable(NO_EXCHANGE)
        if self._is_closed:
            raise BrokerUnavailable("the broker is closed; ask again in a few seconds")

    async def _consume(self, room: Room) -> None:
        failures = 0
        while not self._is_closed:
            try:
                await self._consume_once(room)
                failures = 0
            except BrokerUnavailable as error:
                room.fault = str(error)
                failures += 1
                telemetry.log.warning("exchange_not_followed", exchange=room.name, error=str(error), failures=failures)
            except Exception as error:  # noqa: BLE001 - followers wait for this task: it must live
                room.fault = str(error)
                failures += 1
                telemetry.log.exception("exchange_not_followed", exchange=room.name, error=str(error), failures=failures)
            await asyncio.sleep(pause(failures))

    async def _consume_once(self, room: Room) -> None:
        """From where the tail ends; returns when the consumer is gone."""
        await self._prepare(room)
        epoch = room.epoch
        channel = await self._reading.channel()
        pouring: asyncio.Task[None] | None = None
        try:
            await asked(channel.basic_qos(prefetch_count=PREFETCH))
            offset = room.tail.head.sequence + 1 if room.tail.head.epoch == epoch else "next"
            inflow = await self._reading.consume(channel, room.queue(epoch), {"x-stream-offset": offset})
            pouring = asyncio.create_task(_pour(room, epoch, channel, inflow))
            if offset == "next":
                # Something must come through it, to tell where the stream stands.
                await self._put_mark(room, epoch)
            while not pouring.done() and room.epoch == epoch:
                await asyncio.wait([pouring], timeout=CHECK_EVERY)
                if not pouring.done():
                    with contextlib.suppress(BrokerUnavailable):
                        await self._prepare(room)
        finally:
            if pouring is not None:
                pouring.cancel()
                await asyncio.gather(pouring, return_exceptions=True)
            await shut(channel)
            telemetry.log.info("consumer_ended", exchange=room.name)

    async def _put_mark(self, room: Room, epoch: str) -> str:
        """Put an entry that is no event into the stream. What was confirmed before lies before it."""
        name = room.next_mark()
        channel = await self._publishing(room)
        properties = spec.Basic.Properties(message_id=name, delivery_mode=2)
        publishing = channel.basic_publish(b"", exchange="", routing_key=room.queue(epoch), properties=properties, mandatory=True)
        await asked(publishing)
        return name

    # ---- following

    async def head(self, exchange: str) -> Position:
        """See Broker. One mark serves all who asked before it was put."""
        room = self._room(exchange)
        await self._consuming(room)
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        room.asking.append(future)
        if room.asker is None or room.asker.done():
            room.asker = asyncio.create_task(self._ask_heads(room))
        return await future

    async def _ask_heads(self, room: Room) -> None:
        while room.asking:
            asking, room.asking = room.asking, []
            try:
                found = await room.mark_seen(await self._put_mark(room, room.epoch))
                for future in asking:
                    if not future.done():
                        future.set_result(found)
            except Exception as error:  # noqa: BLE001 - it goes to those who wait
                told = error if isinstance(error, BrokerUnavailable) else BrokerUnavailable("the broker does not say where the exchange stands")
                refuse(asking, told)
            finally:
                # Closing cancels this task: nobody must be left waiting.
                refuse(asking, BrokerUnavailable("the broker is closed; ask again in a few seconds"))

    async def follow(self, exchange: str, since: Position | None = None) -> AsyncGenerator[Sequence[Event] | Gap, None]:
        """See Broker."""
        room = self._room(exchange)
        while not self._is_closed:
            with contextlib.suppress(BrokerUnavailable):
                await self._consuming(room)
                break
        async with contextlib.aclosing(followed(exchange, room.tail, self.replay, since, lambda: self._is_closed)) as found:
            async for some in found:
                yield some

    async def replay(self, exchange: str, since: Position, limit: int = 10_000) -> Replay:
        """See Broker."""
        room = self._room(exchange)
        head = await self.head(exchange)
        if since.epoch == head.epoch and since.sequence >= head.sequence:
            return Replay((), since.sequence == head.sequence, head)
        remembered = room.tail.after(since, limit)
        if remembered is not None:
            last = remembered[-1].position if len(remembered) == limit else None
            until = last or room.tail.head
            return Replay(remembered, True, until, until.sequence < head.sequence)
        is_same = since.epoch == head.epoch
        entries = await self._read(room, head, since.sequence + 1 if is_same else "first", limit)
        is_complete = is_same and bool(entries) and offset_of(entries[0]) == since.sequence + 1
        events = [event for entry in entries if (event := event_of(entry, room.name, head.epoch)) is not None]
        reached = Position(head.epoch, offset_of(entries[-1])) if entries else head
        return Replay(events[:limit], is_complete, reached, reached.sequence < head.sequence)

    async def _read(self, room: Room, head: Position, offset: int | str, limit: int) -> list[Delivery]:
        """Entries of the stream up to the head, so many at most, by a consumer of its own."""
        entries: list[Delivery] = []
        channel = await self._reading.channel()
        size = acknowledged = 0
        try:
            await asked(channel.basic_qos(prefetch_count=PREFETCH))
            inflow = await self._reading.consume(channel, room.queue(head.epoch), {"x-stream-offset": offset})
            while (group := await asked(inflow.get(), PUBLISH_WITHIN)) is not None:
                for entry in group:
                    entries.append(entry)
                    size += len(entry.body)
                    if offset_of(entry) >= head.sequence or len(entries) >= limit or size > MOST_BYTES:
                        return entries
                if len(entries) - acknowledged >= ACK_EVERY:
                    acknowledged = len(entries)
                    await asked(channel.basic_ack(group[-1].delivery_tag, multiple=True, wait=False))
        finally:
            await shut(channel)
        return entries

    # ---- upkeep

    async def faults(self) -> dict[str, str]:
        """See Broker. Exchanges that nobody follows are looked at now."""
        try:
            async with asyncio.timeout(FAULTS_WITHIN):
                for room in self._rooms.values():
                    if room.consumer is None and room.is_to_be_checked(CHECK_EVERY):
                        with contextlib.suppress(BrokerUnavailable):
                            await self._prepare(room)
        except TimeoutError:
            return {"": f"the broker does not answer within {FAULTS_WITHIN:g} s"}
        if self._reading.fault:
            return {"": self._reading.fault}
        faults = {name: room.fault for name, room in self._rooms.items() if room.fault}
        if len(faults) == len(self._rooms) > 1 and len(set(faults.values())) == 1:
            return {"": next(iter(faults.values()))}
        return faults

    async def close(self) -> None:
        """See Broker."""
        self._is_closed = True
        await asyncio.gather(*(room.close() for room in self._rooms.values()))
        await asyncio.gather(self._reading.close(), self._writing.close())


async def _pour(room: Room, epoch: str, channel: AbstractChannel, inflow: Inflow) -> None:
    """What one consumer gets goes into the tail, all that came together in one go."""
    taken = 0
    while (group := await inflow.get()) is not None:
        room.pour(group, epoch)
        taken += len(group)
        if taken >= ACK_EVERY:
            taken = 0
            await asked(channel.basic_ack(group[-1].delivery_tag, multiple=True, wait=False))
