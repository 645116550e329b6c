"""What no WebSocket library would send, over plain sockets to a served house (catalogue E10); a second client must not notice."""

import asyncio
import json
import os
import zlib

import pytest
import uvicorn
from tests.house.open_exchange import port, settings

from angelia import telemetry
from angelia.model.event import Event
from angelia.wire import socket as wire
from angelia.wire.server import Server
from angelia_testing.live import following
from angelia_testing.waiting import eventually

__all__ = ["port", "settings"]

HEAD = (
    b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class Raw:
    """One connection of plain bytes."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def shaken(cls, port, more=b""):
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        raw.writer.write(HEAD + more + b"\r\n")
        raw.head = await raw.reader.readuntil(b"\r\n\r\n")
        return raw

    def send(self, *frames):
        for frame in frames:
            self.writer.write(frame)

    async def frame(self):
        """(opcode, payload) of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self):
        """Of the close frame that comes; None if the connection ends without."""
        try:
            async with asyncio.timeout(60):
                while True:
                    opcode, payload = await self.frame()
                    if opcode == 8:
                        return int.from_bytes(payload[:2], "big")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        finally:
            self.writer.close()


def frame(opcode, payload=b"", *, is_final=True, is_masked=True, reserved=0, size=None):
    """A frame as a client sends it, or as it should not."""
    mask = os.urandom(4) if is_masked else b""
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if is_masked else payload
    length = len(payload) if size is None else size
    first = bytes([(0x80 if is_final else 0) | reserved | opcode])
    bit = 0x80 if is_masked else 0
    if length < 126:
        head = bytes([bit | length])
    elif length < 65_536:
        head = bytes([bit | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([bit | 127]) + length.to_bytes(8, "big")
    return first + head + mask + masked


async def unharmed(port, house):
    """Does a client still get its events?"""
    async with following(port) as client:
        await client.ask({"bind": {"exchange": "open", "key": "#"}})
        await house.broker.publish([Event("open", "k", b"1", "application/json")])
        assert await client.bodies(1) == [1]


@pytest.mark.parametrize(
    "frames, code",
    [
        ([frame(1, size=10_000_000)], 1009),
        ([frame(1, b"x" * 40_000, is_final=False), frame(0, b"x" * 40_000)], 1009),
        ([frame(1, b'{"ping":1}', is_masked=False)], 1002),
        ([frame(1, b"{}", reserved=0x40)], 1002),
        ([frame(3, b"")], 1002),
        ([frame(9, b"x" * 126)], 1002),
        ([frame(9, b"", is_final=False)], 1002),
        ([frame(0, b"x")], 1002),
        ([frame(1, b"\xff\xfe")], 1007),
        ([frame(8, (999).to_bytes(2, "big"))], 1002),
        ([frame(8, b"\x03")], 1002),
        ([frame(9)] * 300, 1008),
        ([frame(1, b"", is_final=False)] + [frame(0, b"", is_final=False)] * 300, 1008),
        ([frame(1, b'{"ping":1}')] * 300, None),
    ],
    ids=["10 MB", "64 KiB in parts", "unmasked", "reserved bit", "opcode 3", "long ping", "ping in parts", "no beginning", "not UTF-8", "close 999", "close 1 byte",
         "ping flood", "empty parts", "command flood"],
)  # fmt: skip
async def test_a_bad_frame_ends_that_connection_alone(port, house, frames, code):  # E115, E119, checklist S11
    raw = await Raw.shaken(port)
    raw.send(*frames)
    found = await raw.close_code()
    assert found == code if code else found in (1008, 4429)
    await unharmed(port, house)


async def test_compression_is_never_agreed_to(port, house):
    """So there is nothing to inflate (E116): what looks compressed is a protocol error."""
    raw = await Raw.shaken(port, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
    assert b"101" in raw.head and b"extensions" not in raw.head.lower()
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw.send(frame(1, deflater.compress(b"x" * 10_000_000) + deflater.flush(zlib.Z_SYNC_FLUSH)[:-4], reserved=0x40))
    assert await raw.close_code() == 1002
    await unharmed(port, house)


@pytest.mark.parametrize(
    "head", [HEAD.replace(b": 13", b": 8"), HEAD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"x"), HEAD.replace(b"Sec-WebSocket-Key", b"X-Key")]
)
async def test_a_bad_handshake_is_refused(port, house, head):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + b"\r\n")
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer.split()[1] in (b"400", b"426") and b"problem+json" in answer
    writer.close()
    await unharmed(port, house)


async def test_who_answers_no_ping_is_cut(port, house, monkeypatch):
    monkeypatch.setattr(wire, "PING_EVERY", 1.0)
    raw = await Raw.shaken(port)
    raw.send(frame(1, json.dumps({"bind": {"exchange": "open"}}).encode()))
    opcodes = [(await asyncio.wait_for(raw.frame(), 60))[0] for _ in range(2)]
    assert opcodes == [1, 9], "an answer, then a ping"
    async with following(port, ping_interval=None) as client:
        await client.ask({"bind": {"exchange": "open", "key": "#"}})
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(raw.frame(), 60)
        await asyncio.sleep(2.5)
        assert await client.ask({"ping": 1}) == {"pong": True}, "who answers stays"
    raw.writer.close()


async def test_a_connection_that_is_given_up_does_not_wait_for_a_client_that_reads_nothing(port, house, monkeypatch):
    """After a protocol error there is nothing more to say: what is still unread must not hold the connection for as long as the client likes."""
    monkeypatch.setattr(wire, "CLOSE_WITHIN", 1.0)
    clients = telemetry.stream_clients.labels("websocket")._value
    before = clients.get()
    raw = await Raw.shaken(port)
    raw.send(frame(1, json.dumps({"bind": {"exchange": "open"}}).encode()))
    assert (await raw.frame())[0] == 1
    raw.writer.transport.pause_reading()
    while not house.streams._paused:
        await house.broker.publish([Event("open", "k", json.dumps("x" * 100_000).encode(), "application/json")])
    raw.send(frame(1, b"{}", is_masked=False))
    assert clients.get() == before + 1
    await eventually(lambda: clients.get() == before)
    raw.writer.transport.abort()
    await unharmed(port, house)


async def test_after_a_goodbye_no_event_comes(port, house):
    """A client that does not answer it, as one may whose rights are gone, learns nothing more."""
    raw = await Raw.shaken(port)
    raw.send(frame(1, json.dumps({"bind": {"exchange": "open"}}).encode()))
    assert (await raw.frame())[0] == 1
    raw.send(frame(1, b"no command"))
    assert (await raw.frame())[0] == 8
    await house.broker.publish([Event("open", "k", b"1", "application/json")])
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        raise AssertionError(await asyncio.wait_for(raw.frame(), 60))
    raw.writer.close()
    await unharmed(port, house)


async def test_who_is_sent_away_for_a_flood_can_say_goodbye(port, monkeypatch):
    monkeypatch.setattr(wire, "CLOSE_WITHIN", 600.0)
    raw = await Raw.shaken(port)
    raw.send(*[frame(1, b'{"ping":1}')] * 150)
    while (await asyncio.wait_for(raw.frame(), 60))[0] != 8:
        pass
    raw.send(frame(8, (1000).to_bytes(2, "big")))
    assert await asyncio.wait_for(raw.reader.read(), 60) == b"", "it is over, and nothing more was said"
    raw.writer.close()


async def test_an_empty_close_is_answered(port):
    raw = await Raw.shaken(port)
    raw.send(frame(8, (1000).to_bytes(2, "big")))
    assert await raw.close_code() == 1000


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 70_000])
def test_frames_of_all_sizes_can_be_read(size):
    framed = wire.text_frame(b"x" * size)
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(framed) == head + size and framed[0] == 0x81
    assert framed[1] == size if size < 126 else int.from_bytes(framed[2:head], "big") == size


async def test_what_holds_the_hub_up_is_no_debt_of_its_clients(monkeypatch):
    """A look that comes a minute late, while what was sent in time is unread, counts as two seconds."""
    looks, times = [], iter([100.0, 100.0, 101.0, 161.0])
    made = Server(uvicorn.Config(None))

    def look(connections, now, patience):
        looks.append((now, patience))
        made.should_exit = len(looks) == 3

    monkeypatch.setattr("angelia.wire.server.monotonic", lambda: next(times))
    monkeypatch.setattr("angelia.wire.server.check_all", look)
    await made.main_loop()
    assert looks == [(100.0, 100.0), (101.0, 101.0), (161.0, 103.0)]
