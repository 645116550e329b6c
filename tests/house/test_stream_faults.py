"""Live clients that are cut off, read nothing, or come all at once: what they miss and what others notice (figures R11, faults F48-F50)."""

import asyncio
import json
import random
import time
from pathlib import Path

import httpx2
import pytest
from tests.house.open_exchange import port, settings

from angelia.brokers import tail
from angelia.flow import streams as streams_room
from angelia.model.event import Event
from angelia_testing.hub import crowd as crowded
from angelia_testing.live import following
from angelia_testing.waiting import eventually

__all__ = ["port", "settings"]

BIND = {"bind": {"exchange": "open", "key": "#"}}
WITHIN = 60.0


async def publish(house, *bodies):
    await house.broker.publish([Event("open", "a.b", json.dumps(body).encode(), "application/json") for body in bodies])


async def drop_by_socket(port, since, count):
    """(numbers, cursor) of so many frames; then the connection is gone without a word."""
    seen = []
    async with following(port) as client:
        answer = await client.ask(BIND | ({"since": since} if since else {}))
        cursor = answer["cursor"]
        while len(seen) < count:
            frame = await client.next(WITHIN)
            assert "gap" not in frame, frame
            seen.append(frame["event"]["body"])
            cursor = frame["cursor"]
        client.socket.transport.abort()
    return seen, cursor


async def drop_by_events(port, since, count):
    """The same as server-sent events; the place is the last id."""
    seen, cursor, headers = [], since, {"Last-Event-ID": since} if since else {}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN, headers=headers) as api:
        async with api.stream("GET", "/api/v1/stream?exchange=open") as answer:
            async for line in answer.aiter_lines():
                assert line != "event: gap"
                if line.startswith("id: "):
                    cursor = line[4:]
                    # The id comes before its data: only with these is it ours.
                elif line.startswith('data: {"event"'):
                    seen.append(json.loads(line[6:])["event"]["body"])
                    if len(seen) == count:
                        break
    return seen, cursor


async def test_who_is_cut_off_at_random_gets_each_event_once(port, house):  # fault F50
    chance, total = random.Random(50), 600
    _, cursor = await drop_by_socket(port, "", 0)

    async def publish_on():
        number = 0
        while number < total:
            some = min(total - number, chance.randrange(1, 20))
            await publish(house, *range(number, number + some))
            number += some
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish_on())
    ledger = []
    while len(ledger) < total:
        drop = chance.choice((drop_by_socket, drop_by_events))
        seen, cursor = await drop(port, cursor, min(total - len(ledger), chance.randrange(1, 90)))
        ledger += seen
    await publishing
    assert ledger == list(range(total))


class Deaf:
    """A client that binds, and from then on takes nothing from its socket."""

    def __init__(self, port, head, after, answer):
        self.port, self.head, self.after, self.answer = port, head, after, answer

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2_048)
        self.writer.write(self.head)
        async with asyncio.timeout(WITHIN):
            await self.reader.readuntil(b"\r\n\r\n")
            self.writer.write(self.after)
            await self.reader.readuntil(self.answer)
        self.writer.transport.pause_reading()
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()


def deaf_socket(port):
    text = json.dumps(BIND).encode()
    handshake = (
        b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return Deaf(port, handshake, b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text, b'"bound"')


def deaf_events(port):
    return Deaf(port, b"GET /api/v1/stream?exchange=open HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"", b"event: bound")


def resident():
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def slowest(took):
    """The 99th of a hundred."""
    return sorted(took)[int(len(took) * 0.99)]


@pytest.mark.parametrize(("deaf", "count"), [(deaf_socket, 100), (deaf_events, 20)])
async def test_clients_that_never_read_are_cut_and_cost_little(port, house, monkeypatch, deaf, count):  # figure R11, fault F48
    monkeypatch.setattr(streams_room, "SLOW", 1.0)
    waits = []
    watched = streams_room.Streams.pause

    def pause(self, listener):
        watched(self, listener)
        transport = getattr(listener.write, "__self__", None)
        waits.append(transport.get_write_buffer_size() if hasattr(transport, "get_write_buffer_size") else transport._size)

    monkeypatch.setattr(streams_room.Streams, "pause", pause)
    async with following(port) as healthy:
        await healthy.ask(BIND)
        big = "x" * 100_000

        async def heard(first):
            """Seconds from the publishing of each of many big events until the healthy one has it."""
            took = []
            for number in range(first, first + 120):
                began = time.monotonic()
                await publish(house, [number, big])
                assert (await healthy.bodies(1, WITHIN))[0][0] == number
                took.append(time.monotonic() - began)
            return took

        # The hub remembers so many bytes of an exchange, whoever reads: from then on that costs no more.
        for _ in range(tail.MOST_BYTES // 2_000_000 + 1):
            await publish(house, *[["", big]] * 20)
            await healthy.bodies(20, WITHIN)
        alone, before = slowest(await heard(0)), resident()
        crowd = [deaf(port) for _ in range(count)]
        try:
            await asyncio.gather(*(each.__aenter__() for each in crowd))
            # The figure for a quiet machine is twice; where others work beside, a single delay is no sign of anything.
            assert slowest(await heard(120)) < max(2 * alone, 0.1 * crowded())
            assert resident() - before < 50_000_000
            await eventually(lambda: house.streams.listeners == 1)
            # A write is looked at after it was put on the pile, so one event more than the high water may lie there.
            assert len(waits) >= count
            assert max(waits) * count < 50_000_000
            await publish(house, "after")
            assert await healthy.bodies(1, WITHIN) == ["after"]
        finally:
            for each in crowd:
                await each.__aexit__()
    await eventually(lambda: not house.streams.listeners)


@pytest.mark.parametrize("last", ["0", "text", "-1", "open@zzz-5", "open@"])
async def test_an_event_stream_from_nowhere_begins_with_a_gap(port, house, last):  # catalogue E10.118
    headers = {"Last-Event-ID": last}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN, headers=headers) as api:
        async with api.stream("GET", "/api/v1/stream?exchange=open") as answer:
            lines = answer.aiter_lines()
            while not (line := await anext(lines)).startswith("event: gap"):
                assert not line.startswith('data: {"event"')
            await publish(house, 1)
            while not (line := await anext(lines)).startswith('data: {"event"'):
                pass
    assert json.loads(line[6:])["event"]["body"] == 1


async def test_all_who_come_back_at_once_cost_one_look_at_the_broker(port, house, monkeypatch):  # fault F49
    asked = []
    replay = house.broker.replay

    async def counted(*arguments):
        asked.append(arguments)
        return await replay(*arguments)

    async def come_back():
        async with following(port) as client:
            await client.ask(BIND | {"since": cursor})
            return await client.bodies(50, WITHIN)

    _, cursor = await drop_by_socket(port, "", 0)
    await publish(house, *range(50))
    # As after a restart of the hub: memory holds nothing of it.
    await house.streams.close()
    monkeypatch.setattr(house.broker, "replay", counted)
    for _ in range(2):
        found = await asyncio.gather(*(come_back() for _ in range(60)))
        assert all(bodies == list(range(50)) for bodies in found)
    assert len(asked) <= 2
