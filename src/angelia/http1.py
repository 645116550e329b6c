"""HTTP/1.1 as a client, for many small requests: a connection asks one thing at a time, a pool keeps connections for the next request.

It knows nothing of names and addresses: who connects is given by the caller (`outbound`), and so is every limit of time.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, cast

import httptools

MOST_HEAD = 65_536  # bytes of an answer before its body
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
Origin = tuple[str, str, int]
"""Scheme, host, port."""


class Broken(Exception):
    """The peer went away, or what it says is no HTTP."""


class Oversized(Exception):
    """The body has more bytes than were asked for."""


@dataclass(slots=True)
class Reply:
    """An answer as it grows. Header names are in lower case; of two with one name the last counts."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


def request_bytes(method: str, target: str, host: str, headers: Mapping[str, str], content: bytes) -> bytes:
    """Head and body of a request. Broken where a header can't be written without becoming something else."""
    # All values in one search: one that can't be sent is rare, and only then it matters which it was.
    if _UNFIT.search("".join(headers.values())) is not None or not _are_tokens(tuple(headers)):
        wrong = next(name for name, value in headers.items() if _TOKEN.fullmatch(name) is None or _UNFIT.search(value) is not None)
        raise Broken(f"the header {wrong!r} can't be sent")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value.strip()}" for name, value in headers.items())]
    if content or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(content)}")
    try:
        return "\r\n".join((*lines, "\r\n")).encode("latin-1") + content
    except UnicodeEncodeError:
        raise Broken("a header has characters that can't be sent") from None


@lru_cache(maxsize=200)
def _are_tokens(names: tuple[str, ...]) -> bool:
    """May these be names of headers? The same few sets of them are sent again and again."""
    return all(_TOKEN.fullmatch(name) is not None for name in names)


class Connection(asyncio.Protocol):
    """One connection. `is_open` says whether it may be asked again."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._reply = Reply()
        self._most = self._size = self._head = 0
        self._into: BinaryIO | None = None
        self._has_head = self._is_kept = False
        self._parser: Any = None

    async def ask(self, request: bytes, most: int, into: BinaryIO | None = None) -> Reply:
        """One request, one answer of at most `most` bytes; the body of a 200 goes `into` where that is given. Closed unless all went well.

        Raises Broken, Oversized, and OSError of writing `into`.
        """
        if self._transport is None or not self.is_open:
            raise Broken("the connection was closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._reply, self._most, self._into = Reply(), most, into
        self._size = self._head = 0
        self._has_head = self._is_kept = False
        self._parser = httptools.HttpResponseParser(self)
        self.is_open = False
        self._transport.write(request)
        try:
            reply = await self._waiting
            # An answer that came before all was sent leaves the rest of the request in the way of the next.
            is_sent = self._transport is not None and self._transport.get_write_buffer_size() == 0
            self.is_open = self._is_kept and is_sent
            return reply
        finally:
            self._waiting = None
            if not self.is_open:
                self.close()

    def close(self) -> None:
        """At once; a second call does nothing."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport, self.is_open = cast("asyncio.Transport", transport), True  # a loop's own kind need not be a subclass

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. Whoever speaks unasked, or goes on after the end, is not asked again."""
        if self._waiting is None or self._waiting.done():
            self._is_kept = False
            self.close()
            return
        if not self._has_head:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Broken("the peer wants to speak something else"))
        except httptools.HttpParserError as error:
            if self._waiting.done():
                self._is_kept = False
            else:
                self._fail(Broken(f"this is no HTTP: {error}"))
        if not self._has_head and self._head > MOST_HEAD:
            self._fail(Broken("the head of the answer is too long"))

    def eof_received(self) -> None:
        """See asyncio.Protocol: None closes the transport."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol. An answer without a length ends here."""
        self.is_open, self._transport = False, None
        if self._waiting is None or self._waiting.done():
            return
        has_length = self._reply.headers.keys() & {"content-length", "transfer-encoding"}
        if exc is None and self._has_head and not has_length:
            self._waiting.set_result(self._reply)
        else:
            self._waiting.set_exception(Broken(str(exc or "") or "the peer closed the connection before it had answered"))

    def on_message_begin(self) -> None:
        """Of httptools. A second answer to one question: nothing on this connection is to be believed."""
        if self._waiting is None or self._waiting.done():
            self._is_kept = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of httptools; trailers are passed over."""
        if not self._has_head:
            self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Of httptools."""
        self._reply.status = self._parser.get_status_code()
        self._has_head = self._reply.status >= 200

    def on_body(self, piece: bytes) -> None:
        """Of httptools."""
        self._size += len(piece)
        if self._size > self._most:
            self._fail(Oversized(f"the answer has more than {self._most} bytes"))
        elif self._into is None or self._reply.status != 200:
            self._reply.body += piece
        else:
            try:
                self._into.write(piece)
            except OSError as error:
                self._fail(error)

    def on_message_complete(self) -> None:
        """Of httptools. What comes before the answer proper (1xx) is passed over."""
        if self._reply.status < 200:
            self._reply = Reply()
        elif self._waiting is not None and not self._waiting.done():
            self._is_kept = self._parser.should_keep_alive()
            self._waiting.set_result(self._reply)
            self._reply = Reply()  # what might follow gets no place in the answer

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


class Pool:
    """Connections by origin. At most `most` are asked at once; at most `most_idle` are kept, for `keep` seconds each."""

    def __init__(self, connect: Callable[[Origin], Awaitable[Connection]], most: int, most_idle: int, keep: float) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(most)
        self._most_idle, self._keep = most_idle, keep
        self._idle: dict[Origin, list[tuple[float, Connection]]] = {}
        self._count = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, origin: Origin, request: bytes, most: int, into: BinaryIO | None = None) -> Reply:
        """See Connection.ask; what the caller's connect raises goes through."""
        async with self._places:
            connection = self._kept(origin) or await self._connect(origin)
            reply = await connection.ask(request, most, into)
            if connection.is_open:
                self._keep_open(origin, connection)
            return reply

    def _kept(self, origin: Origin) -> Connection | None:
        """The one that was used last, if any is still open."""
        idle = self._idle.get(origin)
        while idle:
            _, connection = idle.pop()
            self._count -= 1
            if not idle:
                del self._idle[origin]
            if connection.is_open:
                return connection
        return None

    def _keep_open(self, origin: Origin, connection: Connection) -> None:
        if self._count >= self._most_idle or self._is_closed:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.setdefault(origin, []).append((loop.time(), connection))
        self._count += 1
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._keep, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keep
        for origin, idle in list(self._idle.items()):
            kept = [(since, connection) for since, connection in idle if since > oldest and connection.is_open]
            for entry in idle:
                if entry not in kept:
                    entry[1].close()
            self._count -= len(idle) - len(kept)
            if kept:
                self._idle[origin] = kept
            else:
                del self._idle[origin]
        self._sweeper = loop.call_later(self._keep, self._sweep) if self._idle else None

    async def close(self) -> None:
        """Close what is idle; what is being asked closes when it is answered."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for idle in self._idle.values():
            for _, connection in idle:
                connection.close()
        self._idle.clear()
        self._count = 0
        await asyncio.sleep(0)  # the loop lets go of what was closed
