"""Requests without a task of their own: the connection hands over head and body, and is called back with the answer.

A task, a queue of events and the rooms that each request passes cost more than to take a small message. So what is asked for most may go past
them; whatever is unusual about a request, and whatever is wrong with it, goes the ordinary way.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from angelia.wire.problems import Header

Answer = Callable[[int, bytes, Collection[Header]], None]
"""Called once, with status, body and headers; the length of the body is said by the connection."""

Head = Mapping[bytes, bytes]
"""The headers of such a request, their names in small letters; without the length, which the body has."""

PLAIN = frozenset({
    b"accept", b"accept-encoding", b"accept-language", b"authorization", b"connection", b"content-length", b"content-type", b"forwarded", b"host",
    b"idempotency-key", b"origin", b"referer", b"user-agent", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port",
    b"x-forwarded-proto", b"x-real-ip", b"x-request-id",
})  # fmt: skip
"""Headers that a request may have and still be usual. Any other, and any that stands twice, may change what it means."""


MOST_DIGITS = 5
"""Of the length of a body that may go by express."""


class Express(Protocol):
    """Takes what is posted to one path."""

    url: bytes
    """As it stands in the request, without a query."""

    def take(self, head: Head, body: bytes, answer: Answer) -> bool:
        """False where it does not want it: then nothing has happened, and the request goes the ordinary way. Raises nothing."""


class _Nobody:
    """Stands where uvicorn tells the task of a request that something came."""

    def set(self) -> None:
        """Nobody waits."""


class Ticket:
    """Such a request, in the place of uvicorn's cycle."""

    __slots__ = ("_done", "_transport", "body", "disconnected", "head", "keep_alive", "more_body", "response_complete", "response_started", "scope")
    message_event = _Nobody()

    def __init__(self, head: Head, scope: Any, transport: asyncio.Transport, done: Callable[[], None]) -> None:
        self.head = head
        self.scope = scope
        self._transport = transport
        self._done = done
        self.body = bytearray()
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = self.more_body = True

    def answer(self, status: int, body: bytes, headers: Collection[Header]) -> None:
        """See Answer. Where the client is gone there is nobody to tell."""
        done, self._done = self._done, _nothing  # the connection holds the ticket: neither shall keep the other
        if self.disconnected:
            return
        said = (*headers, (b"content-length", b"%d" % len(body)))
        self._transport.write(whole_answer(status, said, body, keep_alive=self.keep_alive))
        self.response_started = self.response_complete = True
        if not self.keep_alive:
            self._transport.close()
        done()


def _nothing() -> None:
    """Said already."""


class Again:
    """The head that a connection sent: one that differs from it in the length of the body alone means the same, and need not be parsed."""

    __slots__ = ("_after", "_before", "head")

    def __init__(self, head: Head, before: bytes, after: bytes) -> None:
        self.head = head
        self._before, self._after = before, after

    @classmethod
    def of(cls, data: bytes, head: Head, size: int) -> "Again | None":
        """Of `data`, which begins with a request that was read as `head` and a body of `size` bytes. None where it holds more than that, or
        lines that are not one header each.
        """
        end = data.find(b"\r\n\r\n") + 4
        text = data[:end]
        if end + size != len(data) or text.count(b"\n") != len(head) + 3:  # the request line, the length, and the end
            return None
        name = text.lower().find(b"\r\ncontent-length:") + 17
        start = text.find(b"%d\r\n" % size, name)
        return cls(head, text[:start], text[start + len(b"%d" % size) :]) if text[name:start].strip(b" ") == b"" else None

    def body(self, data: bytes) -> bytes | None:
        """The body where `data` is one such request, whole; else None."""
        before = self._before
        if not data.startswith(before):
            return None
        at = data.find(b"\r", len(before))
        length = data[len(before) : at]
        if not data.startswith(self._after, at) or not length.isdigit() or len(length) > MOST_DIGITS:
            return None
        body = data[at + len(self._after) :]
        return body if len(body) == int(length) else None


def whole_answer(status: int, headers: Collection[Header], body: bytes, *, keep_alive: bool) -> bytes:
    """Head and body in one. Nothing that others wrote may be in a header unless it was looked at."""
    last = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"".join((STATUS_LINE[status], *[b"%s: %s\r\n" % header for header in headers], last, body))
