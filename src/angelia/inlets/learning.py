"""What a binding would produce: live events as messages, shown and not kept."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from angelia.amqp import Link, asked, event_of, shut
from angelia.broker import Broker, Gap
from angelia.inlets.mapping import MessageMapping
from angelia.inlets.receiving import check_form, plain_fields
from angelia.model.errors import BrokerUnavailable, InvalidInput
from angelia.model.event import Event
from angelia.planning.topic import matches
from angelia.wire.fields import parse_fields


class Learner:
    """Tries events one by one; what changed is remembered for as long as it lives."""

    def __init__(self, mapping: MessageMapping | None) -> None:
        self._mapping = mapping
        self._states: dict[str, str] = {}

    def learnt(self, event: Event) -> dict[str, Any]:
        """`key`, and one of `message`, `nothing` (why) or `poison` (why)."""
        shown: dict[str, Any] = {"exchange": event.exchange, "key": event.routing_key}
        try:
            check_form(event)
            if self._mapping is None:
                return shown | {"message": plain_fields(event)}
            mapped = self._mapping.mapped(event, self._states)
            if mapped.state is not None:
                self._states[mapped.state[0]] = mapped.state[1]
            if mapped.fields is None:
                return shown | {"nothing": "a rule drops it, or nothing changed" if mapped.is_known else "no rule speaks of it"}
            return shown | {"message": parse_fields(mapped.fields)}
        except InvalidInput as error:
            return shown | {"poison": f"{error.field}: {error}" if error.field else str(error)}


async def live_events(url: str, exchange: str, key: str) -> AsyncIterator[Event]:
    """What comes by, through a queue of our own that goes with us. Ends when the broker takes it away."""
    link = Link(url, "angelia learns")
    try:
        channel = await link.channel()
        queue = str((await asked(channel.queue_declare("", exclusive=True, auto_delete=True))).queue)
        await asked(channel.queue_bind(queue, exchange, routing_key=key))
        await asked(channel.basic_qos(prefetch_count=100))
        inflow = await link.consume(channel, queue)
        while (group := await inflow.get()) is not None:
            for delivery in group:
                event = event_of(delivery, delivery.exchange)
                if event is not None:
                    yield event
            await asked(channel.basic_ack(group[-1].delivery_tag, multiple=True, wait=False))
        await shut(channel)
        raise BrokerUnavailable("the broker ended it: was the exchange or the connection closed?")
    finally:
        await link.close()


async def own_events(broker: Broker, exchange: str, key: str) -> AsyncIterator[Event]:
    """The same from an exchange of the hub's own."""
    async with contextlib.aclosing(broker.follow(exchange)) as following:
        async for some in following:
            if not isinstance(some, Gap):
                for event in some:
                    if matches(key, event.routing_key):
                        yield event
