"""Files as answers over real connections: whole, in ranges, one after another; and clients that dawdle, leave, or are told less than was promised."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest
from starlette.middleware.base import BaseHTTPMiddleware

from angelia.wire import file_sending
from angelia.wire.connection import Limits
from angelia.wire.file_answer import FileAnswer
from angelia_testing.live import served

SIZE = 24 << 20
"""More than all buffers between two processes of one machine."""


@pytest.fixture(scope="module")
def content():
    return os.urandom(1 << 20) * (SIZE >> 20)


@pytest.fixture
def path(tmp_path, content):
    made = tmp_path / "large.bin"
    made.write_bytes(content)
    return made


@pytest.fixture
async def port(path):
    async with served(FileAnswer(path), limits=Limits(answer=0.5)) as port:
        yield port


async def opened(port):
    """A client with small buffers: what it does not read stays at the server."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=peer, limit=65_536)


def request(method="GET", *headers):
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: here", *headers, "", ""]).encode()


async def head_of(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    return lines[0], dict(line.lower().split(": ", 1) for line in lines[1:] if line)


def files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def until_files(is_so):
    async with asyncio.timeout(30):
        while not is_so(files()):
            await asyncio.sleep(0.005)


async def test_behind_what_hands_on_the_head_in_a_later_turn(path, content):
    async def onward(request, call_next):
        return await call_next(request)

    async with served(BaseHTTPMiddleware(FileAnswer(path), onward)) as port:
        reader, writer = await opened(port)
        for _ in range(2):
            writer.write(request())
            status, headers = await head_of(reader)
            assert (status, headers["content-length"]) == ("HTTP/1.1 200 OK", str(SIZE))
            assert await reader.readexactly(SIZE) == content
        writer.close()


async def test_one_after_another_over_one_connection(port, content):
    reader, writer = await opened(port)
    for _ in range(2):
        writer.write(request())
        status, headers = await head_of(reader)
        assert (status, headers["content-length"]) == ("HTTP/1.1 200 OK", str(SIZE))
        assert await reader.readexactly(SIZE) == content
    writer.write(request("HEAD"))
    assert (await head_of(reader))[1]["content-length"] == str(SIZE)
    writer.write(request("GET", "Range: bytes=1000000-3000000"))
    status, headers = await head_of(reader)
    assert (status, headers["content-range"]) == ("HTTP/1.1 206 Partial Content", f"bytes 1000000-3000000/{SIZE}")
    assert await reader.readexactly(2_000_001) == content[1_000_000:3_000_001]
    writer.close()


async def test_requests_that_are_sent_ahead(port, content):
    reader, writer = await opened(port)
    writer.write(request() * 3)
    for _ in range(3):
        await head_of(reader)
        assert await reader.readexactly(SIZE) == content
    writer.close()


async def test_who_takes_nothing_is_left(port, content):
    before = files()
    reader, writer = await opened(port)
    writer.write(request())
    await head_of(reader)
    await until_files(lambda count: count == before + 4)  # both ends of the connection, the file, and the second number of its end
    await until_files(lambda count: count == before + 1)  # our end
    got = 0
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65_536):
            got += len(piece)
    assert got < SIZE
    writer.close()


async def test_who_leaves_half_way_leaves_nothing_open(port):
    before = files()
    for _ in range(3):
        reader, writer = await opened(port)
        writer.write(request())
        await head_of(reader)
        await reader.readexactly(1_000_000)
        writer.transport.abort()
    await until_files(lambda count: count == before)


async def test_a_file_that_became_shorter_is_not_taken_for_whole(port, path):
    reader, writer = await opened(port)
    writer.write(request())
    await head_of(reader)
    await reader.readexactly(1000)
    os.truncate(path, 2_000_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(30):
            await reader.readexactly(SIZE)
    writer.close()


async def test_many_slow_ones_hold_no_threads(port, content, monkeypatch):
    """Twenty that read a little now and then, with the few threads that there are; one that reads at once does not wait for them."""
    monkeypatch.setattr(file_sending, "_A_MOMENT", 1)
    slow = [await opened(port) for _ in range(20)]
    for _, writer in slow:
        writer.write(request())
    is_over = False

    async def dawdle(reader):
        await head_of(reader)
        while not is_over:
            await reader.read(16_384)
            await asyncio.sleep(0.05)

    dawdling = [asyncio.create_task(dawdle(reader)) for reader, _ in slow]
    reader, writer = await opened(port)
    writer.write(request())
    async with asyncio.timeout(60):
        await head_of(reader)
        assert await reader.readexactly(SIZE) == content
    is_over = True
    await asyncio.gather(*dawdling)
    for _, other in [*slow, (reader, writer)]:
        other.transport.abort()
