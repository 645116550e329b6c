"""What an AMQP broker delivers, read without the library: it needs three tasks' turns and 170 us for a message, this needs 15 us."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
DELIVER, CLOSE, CLOSE_OK = b"\x00\x3c\x00\x3c", b"\x00\x14\x00\x28", b"\x00\x14\x00\x29"
_BEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_BEAT_EVERY = 1.0  # seconds
_DEEPEST = 128
_LAST_SECOND = 253_402_300_799  # of the year 9999
_PROPERTIES = (
    ("content_type", 15), ("content_encoding", 14), ("headers", 13), ("delivery_mode", 12), ("priority", 11), ("correlation_id", 10),
    ("reply_to", 9), ("expiration", 8), ("message_id", 7), ("timestamp", 6), ("message_type", 5), ("user_id", 4), ("app_id", 3), ("cluster_id", 2),
)  # fmt: skip
_FLAGS = tuple((name, 1 << bit) for name, bit in _PROPERTIES)
_NUMBERS = {
    0x62: struct.Struct(">b"),
    0x42: struct.Struct(">B"),
    0x73: struct.Struct(">h"),
    0x55: struct.Struct(">h"),
    0x75: struct.Struct(">H"),
    0x49: struct.Struct(">i"),
    0x69: struct.Struct(">I"),
    0x6C: struct.Struct(">q"),
    0x4C: struct.Struct(">q"),
    0x66: struct.Struct(">f"),
    0x64: struct.Struct(">d"),
}


@dataclass(slots=True)
class Delivery:
    """One message as it came. `properties` are those that are set (snake case, the type as `message_type`, `timestamp` in whole seconds),
    `headers` its table. `fault` says what could not be read; the rest is as far as it could be.
    """

    exchange: str
    routing_key: str
    delivery_tag: int
    is_redelivered: bool
    properties: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""


Take = Callable[[Sequence[Delivery]], None]


# ---- one message


def read_delivery(payload: bytes) -> Delivery:
    """From the frame that begins it (AMQP 0-9-1, basic.deliver)."""
    at = 5 + payload[4]
    tag = int.from_bytes(payload[at : at + 8], "big")
    is_redelivered = bool(payload[at + 8] & 1)
    at += 9
    middle = at + 1 + payload[at]
    exchange = payload[at + 1 : middle]
    key = payload[middle + 1 : middle + 1 + payload[middle]]
    return Delivery(exchange.decode("utf-8", "replace"), key.decode("utf-8", "replace"), tag, is_redelivered)


def read_header(payload: bytes, delivery: Delivery) -> int:
    """Properties from the frame after it, into the delivery; how many bytes the body will have."""
    size = int.from_bytes(payload[4:12], "big")
    try:
        _read_properties(payload, delivery)
    except (struct.error, IndexError, ValueError, RecursionError) as error:
        delivery.fault = f"its properties can't be read: {error}"
    return size


def _read_properties(payload: bytes, delivery: Delivery) -> None:
    flags, at = int.from_bytes(payload[12:14], "big"), 14
    if flags & 1:
        raise ValueError("more flags than there are properties")
    properties = delivery.properties
    for name in _set_in(flags):
        if name == "headers":
            delivery.headers, at = _table(payload, at, 0)
        elif name in ("delivery_mode", "priority"):
            properties[name], at = payload[at], at + 1
        elif name == "timestamp":
            seconds, at = int.from_bytes(payload[at : at + 8], "big"), at + 8
            # What lies so far ahead was meant in milliseconds, or means nothing.
            seconds = seconds // 1_000 if seconds > 0xFFFF_FFFF else seconds
            if seconds <= _LAST_SECOND:
                properties[name] = seconds
        else:
            end = at + 1 + payload[at]
            if end > len(payload):
                raise ValueError("it ends too early")
            properties[name], at = payload[at + 1 : end].decode("utf-8", "replace"), end


@lru_cache(maxsize=1_024)
def _set_in(flags: int) -> tuple[str, ...]:
    """Which properties these flags say there are, in the order of the wire: a publisher mostly sets the same."""
    return tuple(name for name, flag in _FLAGS if flags & flag)


def _table(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    if end > len(data) or depth > _DEEPEST:
        raise ValueError("a table is longer or deeper than it may be")
    at += 4
    found: dict[str, Any] = {}
    while at < end:
        begin, at = at + 1, at + 1 + data[at]
        name = data[begin:at].decode("utf-8", "backslashreplace")
        found[name], at = _value(data, at, depth)
    return found, end


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, at = data[at], at + 1
    if (number := _NUMBERS.get(kind)) is not None:
        return number.unpack_from(data, at)[0], at + number.size
    match chr(kind):
        case "S" | "x":
            begin, at = at + 4, at + 4 + int.from_bytes(data[at : at + 4], "big")
            if at > len(data):
                raise ValueError("it ends too early")
            return (_text(data[begin:at]) if kind == 0x53 else data[begin:at]), at
        case "t":
            return bool(data[at]), at + 1
        case "V":
            return None, at
        case "T":
            return _moment(int.from_bytes(data[at : at + 8], "big")), at + 8
        case "F":
            return _table(data, at, depth + 1)
        case "A":
            return _array(data, at, depth + 1)
        case "D":
            return Decimal(int.from_bytes(data[at + 1 : at + 5], "big", signed=True)).scaleb(-data[at]), at + 5
    raise ValueError(f"a value is of no known kind ({kind})")


def _array(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    if end > len(data) or depth > _DEEPEST:
        raise ValueError("a list is longer or deeper than it may be")
    at += 4
    found: list[Any] = []
    while at < end:
        value, at = _value(data, at, depth)
        found.append(value)
    return found, end


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _moment(seconds: int) -> datetime | int:
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _LAST_SECOND else seconds


# ---- between the socket and the library


class _Half:
    """A message of which not all has come."""

    __slots__ = ("delivery", "left", "parts")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.left = -1
        self.parts: list[bytes] = []


class Sieve(asyncio.StreamReader):
    """Takes deliveries out of what the library reads, and gives them to who consumes on their channel: all that came together, together.

    Everything else, so also what ends a channel, goes to the library as it came.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._clock = loop.time
        self._beaten_at = loop.time()
        self._rest = b""
        self._is_broken = False
        self._takers: dict[int, Take] = {}
        self._halves: dict[int, _Half] = {}
        self._whole: dict[int, list[Delivery]] = {}

    def consume(self, channel: int, take: Take) -> None:
        """From now on, until the channel is closed; before the broker is asked, since it answers with the first deliveries."""
        self._takers[channel] = take
        self._halves.pop(channel, None)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """See StreamReader."""
        if self._is_broken:
            super().feed_data(data)
            return
        data = self._rest + data if self._rest else bytes(data)
        others: list[bytes] = []
        at, begin, size = 0, 0, len(data)
        while size - at >= 8:
            end = at + 8 + int.from_bytes(data[at + 3 : at + 7], "big")
            if data[at] not in (METHOD, HEADER, BODY, HEARTBEAT):
                self._is_broken, at = True, size
                break
            if end > size:
                break
            if self._takers and data[at] == METHOD and (whole := self._take_whole(data, at, end)):
                if begin < at:
                    others.append(data[begin:at])
                begin = at = whole
                continue
            if self._takers and self._is_taken(data, at, end):
                others.append(data[begin:at])
                begin = end
            at = end
        others.append(data[begin:at])
        self._rest = data[at:]
        self._pass_on(b"".join(others))
        self._hand_over()

    def feed_eof(self) -> None:
        """See StreamReader."""
        if self._rest:
            super().feed_data(self._rest)
            self._rest = b""
        super().feed_eof()

    def _pass_on(self, data: bytes) -> None:
        if data:
            super().feed_data(data)
            self._beaten_at = self._clock()
        elif self._whole and self._clock() - self._beaten_at > _BEAT_EVERY:
            # A broker that delivers sends no heartbeats; the library would take it for dead.
            super().feed_data(_BEAT)
            self._beaten_at = self._clock()

    def _take_whole(self, data: bytes, at: int, header: int) -> int:
        """Where a delivery ends of which all three frames lie here one after the other, as nearly all do: it is taken. 0 for anything else, which
        is looked at frame by frame. `header` is where the first frame ends.
        """
        mark = data[at + 1 : at + 3]
        channel = mark[0] << 8 | mark[1]
        if data[at + 7 : at + 11] != DELIVER or channel not in self._takers or channel in self._halves:
            return 0
        body = header + 8 + int.from_bytes(data[header + 3 : header + 7], "big")
        end = body + 8 + int.from_bytes(data[body + 3 : body + 7], "big")
        if (
            end > len(data)
            or data[header] != HEADER
            or data[body] != BODY
            or data[header + 1 : header + 3] != mark
            or data[body + 1 : body + 3] != mark
        ):
            return 0
        delivery = read_delivery(data[at + 7 : header - 1])
        if read_header(data[header + 7 : body - 1], delivery) != end - body - 8:
            return 0
        delivery.body = data[body + 7 : end - 1]
        if (waiting := self._whole.get(channel)) is None:
            self._whole[channel] = [delivery]
        else:
            waiting.append(delivery)
        return end

    def _is_taken(self, data: bytes, at: int, end: int) -> bool:
        """Is this frame part of a delivery to one of ours?"""
        kind, channel = data[at], data[at + 1] << 8 | data[at + 2]
        if channel not in self._takers:
            return False
        half = self._halves.get(channel)
        if kind == METHOD:
            name = data[at + 7 : at + 11]
            if name == DELIVER:
                self._halves[channel] = _Half(read_delivery(data[at + 7 : end - 1]))
                return True
            if name in (CLOSE, CLOSE_OK):
                self._hand_over()
                self._takers.pop(channel)
                self._halves.pop(channel, None)
            return False
        if half is None:
            return False
        if kind == HEADER:
            half.left = read_header(data[at + 7 : end - 1], half.delivery)
        else:
            half.parts.append(data[at + 7 : end - 1])
            half.left -= end - at - 8
        if half.left <= 0:
            del self._halves[channel]
            half.delivery.body = half.parts[0] if len(half.parts) == 1 else b"".join(half.parts)
            self._whole.setdefault(channel, []).append(half.delivery)
        return True

    def _hand_over(self) -> None:
        whole, self._whole = self._whole, {}
        for channel, deliveries in whole.items():
            if (take := self._takers.get(channel)) is not None:
                take(deliveries)


class Opening(TransportFactory):
    """Opens a connection whose deliveries go through a sieve."""

    def __init__(self) -> None:
        self.sieve: Sieve | None = None

    async def create(self, url: Any, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See TransportFactory."""
        provider = kwargs.pop("ssl_context_provider")
        loop = asyncio.get_running_loop()
        sieve = self.sieve = Sieve(loop)
        protocol = asyncio.StreamReaderProtocol(sieve, loop=loop)
        try:
            context = await provider.get_context() if url.scheme == "amqps" else None
            transport, _ = await loop.create_connection(lambda: protocol, url.host, url.port, ssl=context, **kwargs)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return sieve, asyncio.StreamWriter(transport, protocol, sieve, loop)
