"""A file as the body of an answer: the kernel copies it into the connection, and what is in memory of it is nothing."""

import asyncio
import contextlib
import os
import select
from typing import Any

from angelia.wire.asgi import Send

FILES = "angelia.files"
"""The extension of a scope under which a connection takes files: `await taken(path, send)`."""
_AT_ONCE = 1 << 20
_A_TURN = 16 << 20
"""Bytes after which a thread is given back, however fast a client reads."""
_QUICK_TURNS = 20
"""Of the loop, in which the head of an answer goes out as a rule."""
_A_MOMENT = 2
"""Milliseconds in which a client that is near takes more; others are waited for without a thread."""


async def send_file(transport: Any, cycle: Any, path: str, send: Send, patience: float) -> None:
    """All that the head of the answer has promised, of the file from its begin; closes the connection where the file has become shorter.

    `cycle` is the request that is answered, None where that is not known: then the bytes go the usual way. `patience` is in seconds: a client
    that takes nothing for so long is left.
    """
    # Here: it was looked at a moment ago, and to wake a thread takes many times as long.
    file = os.open(path, os.O_RDONLY)
    try:
        if cycle is None or transport.get_extra_info("sslcontext") is not None:
            await _in_pieces(file, send)
        else:
            await _by_the_kernel(transport, cycle, file, send, patience)
    finally:
        os.close(file)


async def _in_pieces(file: int, send: Send) -> None:
    while piece := await asyncio.to_thread(os.read, file, _AT_ONCE):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _by_the_kernel(transport: Any, cycle: Any, file: int, send: Send, patience: float) -> None:
    turns = 0
    # The head first: what stands between us and the connection may hand it on in a later turn of the loop. Who does not even read it is left by
    # the look over all connections.
    while not cycle.disconnected and (not cycle.response_started or transport.get_write_buffer_size()):
        await asyncio.sleep(min(0.05, max(0, turns - _QUICK_TURNS) * 0.001))
        turns += 1
    if cycle.disconnected:
        return
    # A number of our own for the same connection: the loop lets nobody wait for that of the transport.
    out = os.dup(transport.get_extra_info("socket").fileno())
    size, sent = cycle.expected_content_length, 0
    try:
        while sent < size and not cycle.disconnected:
            sent = await asyncio.to_thread(_push, out, file, sent, size)
            if sent < size:
                async with asyncio.timeout(patience):
                    await _writable(out)
    except (OSError, TimeoutError):
        transport.abort()
    finally:
        os.close(out)
    if sent == size:
        cycle.expected_content_length = 0
        await send({"type": "http.response.body", "body": b""})


def _push(out: int, file: int, start: int, size: int) -> int:
    """How far it is: the size, or where the client takes no more for now. Blocks while the disk does. OSError for a file that is shorter."""
    at, until = start, min(size, start + _A_TURN)
    poll = select.poll()
    poll.register(out, select.POLLOUT)
    while at < until:
        try:
            count = os.sendfile(out, file, at, min(_AT_ONCE, until - at))
        except BlockingIOError:
            if not poll.poll(_A_MOMENT):
                break
            continue
        if count == 0:
            raise OSError("the file is shorter than it was")
        at += count
    return at


def _woken(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def _writable(out: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(out, _woken, ready)
    try:
        await ready
    finally:
        with contextlib.suppress(OSError, ValueError):
            loop.remove_writer(out)
