"""Deliveries as they lie in the bytes of a broker, written by the library and read by us, cut at any place."""

import asyncio
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body, commands, frame, header, heartbeat

from angelia.amqp_deliveries import Delivery, Sieve, read_header

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC)),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)), max_leaves=8
)
NAMES = st.text(max_size=60).filter(lambda text: len(text.encode()) < 256)
MESSAGES = st.fixed_dictionaries(
    {
        "exchange": st.from_regex(r"[a-zA-Z0-9._:-]{0,40}", fullmatch=True),
        "key": NAMES,
        "tag": st.integers(1, 2**63 - 1),
        "again": st.booleans(),
        "parts": st.lists(st.binary(min_size=1, max_size=50), max_size=3),
        "headers": st.none() | st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4),
        "message_id": st.none() | NAMES.filter(bool),
        "content_type": st.none() | NAMES.filter(bool),
        "priority": st.none() | st.integers(0, 255),
        "timestamp": st.none() | st.integers(0, 2**32 - 1),
    }
)


def frames_of(message, channel=1):
    sent_at = None if message["timestamp"] is None else datetime.fromtimestamp(message["timestamp"], UTC)
    properties = commands.Basic.Properties(
        content_type=message["content_type"],
        headers=message["headers"],
        message_id=message["message_id"],
        priority=message["priority"],
        timestamp=sent_at,
    )
    deliver = commands.Basic.Deliver("tag", message["tag"], message["again"], message["exchange"], message["key"])
    yield frame.marshal(deliver, channel)
    yield frame.marshal(header.ContentHeader(body_size=sum(map(len, message["parts"])), properties=properties), channel)
    for part in message["parts"]:
        yield frame.marshal(body.ContentBody(part), channel)


def a_message(**fields):
    plain = {"exchange": "x", "key": "k", "tag": 1, "again": False, "parts": [b"text"], "headers": None, "message_id": None, "content_type": None}
    return plain | {"priority": None, "timestamp": None} | fields


class Bench:
    """A sieve, what came out of it for channel 1, and what it left for the library."""

    def __init__(self, loop):
        self.sieve = Sieve(loop)
        self.found: list[Delivery] = []
        self.groups: list[int] = []
        self.sieve.consume(1, self.take)

    def take(self, deliveries):
        self.found.extend(deliveries)
        self.groups.append(len(deliveries))

    def left(self):
        return bytes(self.sieve._buffer)


@pytest.fixture
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


@given(messages=st.lists(MESSAGES, max_size=4), data=st.data())
def test_what_was_written_is_read_wherever_it_is_cut(messages, data):
    loop = asyncio.new_event_loop()
    try:
        bench = Bench(loop)
        others = [frame.marshal(heartbeat.Heartbeat(), 0), frame.marshal(commands.Basic.Ack(3, True), 1), frame.marshal(commands.Channel.OpenOk(), 2)]
        stream, kept = b"", b""
        for message in messages:
            other = data.draw(st.sampled_from(others))
            stream, kept = stream + other + b"".join(frames_of(message)), kept + other
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            if end > begin:
                bench.sieve.feed_data(stream[begin:end])
        assert bench.left() == kept
        assert len(bench.found) == len(messages)
        for found, message in zip(bench.found, messages, strict=True):
            assert not found.fault
            assert (found.exchange, found.routing_key, found.delivery_tag) == (message["exchange"], message["key"], message["tag"])
            assert found.is_redelivered is message["again"]
            assert found.body == b"".join(message["parts"])
            assert found.headers == (message["headers"] or {})
            names = ("content_type", "message_id", "priority", "timestamp")
            assert found.properties == {name: message[name] for name in names if message[name] is not None}
    finally:
        loop.close()


def test_what_comes_together_is_given_together(loop):
    bench = Bench(loop)
    bench.sieve.feed_data(b"".join(b"".join(frames_of(a_message(tag=tag))) for tag in range(1, 8)))
    assert bench.groups == [7]


def test_channels_of_others_are_the_librarys(loop):
    bench = Bench(loop)
    foreign = b"".join(frames_of(a_message(), channel=2))
    bench.sieve.feed_data(foreign)
    assert bench.left() == foreign
    assert not bench.found


def test_a_channel_that_was_closed_is_the_librarys_again(loop):
    bench = Bench(loop)
    first, second = b"".join(frames_of(a_message())), b"".join(frames_of(a_message(tag=2)))
    closing = frame.marshal(commands.Channel.CloseOk(), 1)
    bench.sieve.feed_data(first + closing + second)
    assert [found.delivery_tag for found in bench.found] == [1]
    assert bench.left() == closing + second


def test_a_message_that_the_close_cut_off_is_forgotten(loop):
    bench = Bench(loop)
    begun, *_ = frames_of(a_message(tag=9))
    bench.sieve.feed_data(begun + frame.marshal(commands.Channel.CloseOk(), 1))
    bench.sieve.consume(1, bench.take)
    bench.sieve.feed_data(b"".join(frames_of(a_message(tag=1))))
    assert [found.delivery_tag for found in bench.found] == [1]


def test_a_broker_that_only_delivers_is_not_dead(loop, monkeypatch):
    bench = Bench(loop)
    now = loop.time()
    monkeypatch.setattr(bench.sieve, "_clock", lambda: now)
    for seconds in (0.5, 1.0, 1.1, 1.2, 2.4):
        monkeypatch.setattr(bench.sieve, "_clock", lambda seconds=seconds: now + seconds)
        bench.sieve.feed_data(b"".join(frames_of(a_message())))
    assert bench.left() == frame.marshal(heartbeat.Heartbeat(), 0) * 2


@pytest.mark.parametrize("begins", [b"AMQP\x00\x00\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_speaks_another_tongue_is_left_to_the_library(loop, begins):
    bench = Bench(loop)
    bench.sieve.feed_data(begins)
    bench.sieve.feed_data(b"more")
    assert bench.left() == begins + b"more"


def test_what_came_before_the_end_is_not_kept_back(loop):
    bench = Bench(loop)
    bench.sieve.feed_data(b"\x01\x00")
    bench.sieve.feed_eof()
    assert bench.left() == b"\x01\x00"


# ---- properties that no library of ours would write


def properties(flags, rest):
    delivery = Delivery("x", "k", 1, False)
    read_header(struct.pack(">HHQH", 60, 0, 4, flags) + rest, delivery)
    return delivery


def table(entries):
    return struct.pack(">I", len(entries)) + entries


def nested(depth):
    inner = table(b"")
    for _ in range(depth):
        inner = table(b"\x01aF" + inner)
    return inner


@pytest.mark.parametrize(("seconds", "kept"), [(0, 0), (2**32 - 1, 2**32 - 1), (1_700_000_000_000, 1_700_000_000), (2**63, None), (2**64 - 1, None)])
def test_times_are_seconds_or_nothing(seconds, kept):
    found = properties(1 << 6, struct.pack(">Q", seconds))
    assert not found.fault
    assert found.properties.get("timestamp") == kept


@pytest.mark.parametrize(
    ("entries", "headers"),
    [
        (b"\x02\xff\xfet\x01", {"\\xff\\xfe": True}),
        (b"\x01tT" + b"\xff" * 8, {"t": 2**64 - 1}),
        (b"\x01bS\x00\x00\x00\x02\xff\xfe", {"b": b"\xff\xfe"}),
        (b"\x01xx\x00\x00\x00\x01\x00", {"x": b"\x00"}),
        (b"\x01lL" + b"\xff" * 8 + b"\x01dD\x02\x00\x00\x00\x7b", {"l": -1, "d": pytest.approx(1.23)}),
    ],
)
def test_odd_headers_are_read(entries, headers):
    found = properties(1 << 13, table(entries))
    assert not found.fault
    assert {name: float(value) if name == "d" else value for name, value in found.headers.items()} == headers


def test_a_hundred_tables_in_each_other_are_read():
    assert not properties(1 << 13, nested(100)).fault


@pytest.mark.parametrize(
    ("flags", "rest"),
    [
        (1 << 13, nested(5_000)),
        (1 << 13, struct.pack(">I", 2**32 - 1)),
        (1 << 13, table(b"\x05a")),
        (1 << 13, table(b"\x01aS\xff\xff\xff\xff")),
        (1 << 13, table(b"\x01a?")),
        (1 << 13, table(b"\x01aA\xff\xff\xff\xff")),
        (1 << 7, b"\xffshort"),
        (1 << 11, b""),
        (1, b""),
    ],
)
def test_what_can_not_be_read_is_said_and_breaks_nothing(flags, rest):
    assert properties(flags, rest).fault.startswith("its properties can't be read")
