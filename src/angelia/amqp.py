"""One connection to an AMQP broker, as the rooms that speak AMQP share it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity
from pamqp import commands as spec

from angelia.amqp_deliveries import Delivery, Opening
from angelia.model.errors import AngeliaError, BrokerUnavailable
from angelia.model.event import Event, Position, plain

T = TypeVar("T")
Inflow = asyncio.Queue[Sequence[Delivery] | None]
HEARTBEAT = 10
"""Seconds; a peer that says nothing for three of them is taken for gone (fault F21)."""
CONNECT_WITHIN = 5.0
ASK_WITHIN = 5.0
LONGEST_PAUSE = 3.0  # seconds between two tries to come back (figure R8)


class Missing(BrokerUnavailable):
    """The broker answers, and has no such exchange or queue."""


class Down(BrokerUnavailable):
    """The broker knows it, and cannot reach the node that holds it."""


async def asked(asking: Awaitable[T], seconds: float = ASK_WITHIN) -> T:
    """What the broker answers within its time; whatever the library raises becomes BrokerUnavailable, Missing or Down."""
    try:
        async with asyncio.timeout(seconds):
            return await asking
    except ChannelNotFoundEntity as error:
        raise (Missing if is_gone(error) else Down)(told(error)) from None
    except TimeoutError:
        raise BrokerUnavailable(f"the broker does not answer within {seconds:g} s") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        # The library cancels what waits when it loses its connection; that is no wish of ours.
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("the connection to the broker was lost") from None
    except (AMQPError, OSError, RuntimeError) as error:
        raise BrokerUnavailable(told(error)) from None


def is_gone(error: BaseException) -> bool:
    """Does the broker say that it knows no such thing? The same code 404 stands for one whose node is starting: that one mostly comes back."""
    return isinstance(error, ChannelNotFoundEntity) and any(str(part).startswith("NOT_FOUND - no ") for part in error.args)


def told(error: BaseException) -> str:
    """What the broker said, for an operator; never the URL, which holds a password."""
    text = next((str(part) for part in reversed(error.args) if isinstance(part, str) and part), "") or type(error).__name__
    return f"the broker refuses or is away: {text[:300]}"


def pause(failures: int) -> float:
    """Seconds to wait before the next try."""
    return min(LONGEST_PAUSE, 0.1 * float(1 << min(failures, 10)))


class Link:
    """A connection that is made when it is needed, and made anew after it was lost. Channels belong to who opened them."""

    def __init__(self, url: str, title: str) -> None:
        parts = urlsplit(url)
        query: dict[str, Any] = {"heartbeat": HEARTBEAT, "name": title} | dict(parse_qsl(parts.query))
        self._url = urlunsplit(parts._replace(query=urlencode(query)))
        self._connection: AbstractConnection | None = None
        self._opening = Opening()
        self._lock = asyncio.Lock()
        self._is_closed = False
        self.fault = ""
        """Why there was no connection when one was wanted last."""

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """A new channel; BrokerUnavailable if there is none to be had now."""
        connection = await self._open()
        return await asked(connection.channel(publisher_confirms=confirms, on_return_raises=True))

    async def _open(self) -> AbstractConnection:
        async with self._lock:
            if self._is_closed:
                raise BrokerUnavailable("the broker's connection is closed")
            if self._connection is None or self._connection.is_closed:
                opening = Opening()
                try:
                    self._connection = await asked(aiormq.connect(self._url, transport_factory=opening), CONNECT_WITHIN)
                except BrokerUnavailable as error:
                    self.fault = str(error)
                    raise
                self._opening = opening
                self.fault = ""
            return self._connection

    async def consume(self, channel: AbstractChannel, queue: str, arguments: Mapping[str, Any] | None = None) -> Inflow:
        """What comes on this channel from now on, in the groups in which it came, to be acknowledged by whoever reads it; None is the end.

        The channel is used for nothing else that delivers.
        """
        if channel.connection is not self._connection or self._opening.sieve is None:
            raise BrokerUnavailable("the connection to the broker was lost")
        inflow: Inflow = asyncio.Queue()
        channel.on_consumer_cancel_callbacks.add(lambda _: inflow.put_nowait(None))
        channel.closing.add_done_callback(lambda _: inflow.put_nowait(None))
        self._opening.sieve.consume(channel.number, inflow.put_nowait)
        await asked(channel.basic_consume(queue, _taken_already, arguments=dict(arguments or {})))
        return inflow

    async def close(self) -> None:
        """Give it back; it is not opened again."""
        self._is_closed = True
        if self._connection is not None:
            await shut(self._connection)


async def _taken_already(_: object) -> None:
    """The library wants somebody to give deliveries to; none reach it."""


async def shut(thing: AbstractChannel | AbstractConnection) -> None:
    """Close a channel or a connection that may be gone already."""
    with contextlib.suppress(AngeliaError):
        await asked(thing.close(), 2.0)


# ---- events as AMQP has them

_NAMES = (
    "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration", "message_id", "timestamp", "message_type",
    "user_id", "app_id",
)  # fmt: skip
_KNOWN = frozenset(_NAMES)
_OFFSET = "x-stream-offset"


def properties_of(event: Event, key_for_all: str = "") -> spec.Basic.Properties:
    """Of an event that is to be published; the broker removes BCC before anybody sees it."""
    fields = {name: value for name, value in event.properties.items() if name in _NAMES}
    if isinstance(fields.get("timestamp"), int):
        fields["timestamp"] = datetime.fromtimestamp(fields["timestamp"], UTC)
    headers: dict[str, Any] = dict(event.headers)
    if key_for_all:
        headers["BCC"] = [key_for_all]
    return spec.Basic.Properties(**({"delivery_mode": 2} | fields), content_type=event.content_type or None, headers=headers or None)


def offset_of(delivery: Delivery) -> int:
    """Where it is in its stream."""
    return int(delivery.headers[_OFFSET])


def event_of(delivery: Delivery, exchange: str, epoch: str = "") -> Event | None:
    """The event of a delivery, with its place if it came from a stream of that epoch; None for a mark, which came over no exchange."""
    if not delivery.exchange:
        return None
    headers, properties = delivery.headers, delivery.properties
    return Event(
        exchange,
        delivery.routing_key,
        delivery.body,
        properties.get("content_type", ""),
        {name: plain(value) for name, value in headers.items() if name != _OFFSET},
        {name: value for name, value in properties.items() if name in _KNOWN},
        Position(epoch, offset_of(delivery)) if epoch else None,
        delivery.is_redelivered,
    )
