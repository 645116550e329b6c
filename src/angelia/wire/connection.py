"""One connection of the HTTP server: what a request's head may be, and how long its client may keep us waiting.

uvicorn's own protocol takes heads of any size, any Host, and never closes a connection that sent half a head.
"""

import asyncio
import functools
import json
from collections import deque
from collections.abc import Callable, Collection, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, HttpToolsProtocol

from angelia.wire.asgi import STOPPING, WHOLE, Scope, Send
from angelia.wire.express import MOST_DIGITS, PLAIN, Again, Express, Ticket, whole_answer
from angelia.wire.file_sending import FILES, send_file
from angelia.wire.problems import PROBLEM_HEADERS, Header, problem

MOST_HEAD = 32_768  # bytes of a request line and its headers
MOST_URL = 16_384
MOST_HEADERS = 100
LINGER = 2.0  # seconds in which what is left of a refused body is read away, so that the refusal reaches its client
LEAST_BODY = 16_384  # bytes that a body must bring in each `body` seconds, or else its end
_LARGE_READ = 16_384
_MOST_REMEMBERED = 100
_BODY = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, in seconds, a client may take for a head, for a part of a body, for a part of an answer; whom a Host may name ("*": anybody)."""

    head: float = 10.0
    body: float = 15.0
    answer: float = 30.0
    hosts: frozenset[str] = frozenset({"*"})


class _Refused(Exception):
    """A head that is not for us."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Debt(NamedTuple):
    """What a connection owes us, of which request, since when, and how far it was then."""

    word: str
    of: object
    since: float
    mark: int


class _Flow(FlowControl):
    """Reads on only when no request waits: uvicorn reads after every answer, so what a client sends ahead would pile up without end."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Unless requests wait."""
        if self.read_paused and not self._waiting:
            super().resume_reading()


class _Queue(deque[Any]):
    """Requests sent ahead, and the one that is in hand meanwhile: uvicorn tells only the newest that its client is gone."""

    running: Any = None

    def pop(self) -> Any:  # type: ignore[override]
        """The next one, in hand from now on."""
        found = super().pop()
        self.running = found[0]
        return found


class WatchedProtocol(HttpToolsProtocol):
    """One connection."""

    # Slots beside uvicorn's dictionary: above 30 names Python would keep one without shared keys, and every access would be slower.
    __slots__ = (
        "_again", "_debt", "_express", "_extensions", "_good_hosts", "_is_idle", "_largest_read", "_limits", "_received", "_scope", "_tell_of_stop",
        "_unfinished",
    )  # fmt: skip

    def __init__(self, *arguments: Any, limits: Limits, good_hosts: set[bytes], express: Express | None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pipeline: _Queue = _Queue()
        self._limits = limits
        # Host headers that were found good, shared by all connections: they are recognised at a glance.
        self._good_hosts = good_hosts
        self._express = express
        self._again: Again | None = None
        self._received = 0
        self._is_idle = False  # answered, and nothing came since
        self._largest_read = 0
        self._unfinished: tuple[object, int] = (None, 0)
        self._scope: dict[str, Any] = {}
        self._debt: _Debt | None = None
        self._tell_of_stop: Callable[[], None] | None = None
        self._extensions: dict[str, Any] = {FILES: self._send_file, WHOLE: self._answer, STOPPING: self._on_stop}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self.on_message_begin()
        self._scope, self.scope = dict(self.scope), None  # type: ignore[assignment]
        self._scope["extensions"] = self._extensions

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self.pipeline.running is not None:
            self.pipeline.running.disconnected = True
            self.pipeline.running.message_event.set()
        self._extensions.clear()
        super().connection_lost(exc)
        cycle: Any = self.cycle
        if isinstance(cycle, Ticket) and cycle.more_body:
            self.cycle = None  # type: ignore[assignment]

    async def _send_file(self, path: str, send: Send) -> None:
        """See `send_file`. Where requests were sent ahead it is not told here which of them is answered."""
        await send_file(self.transport, None if self.pipeline else self.cycle, path, send, self._limits.answer)

    def _on_stop(self, tell: Callable[[], None] | None) -> None:
        """See STOPPING."""
        self._tell_of_stop = tell

    def shutdown(self) -> None:
        """As uvicorn's, and an answer that has no end of its own is told: uvicorn would wait for it, and break it off."""
        super().shutdown()
        if self._tell_of_stop is not None:
            self._tell_of_stop()

    def _answer(self, scope: Scope, status: int, body: bytes, headers: Collection[Header]) -> bool:
        """See WHOLE: head and body in one write, then as after uvicorn's last event of an answer. What is no header is left to uvicorn, to refuse."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope or cycle.response_started or cycle.disconnected:
            return False
        if self.flow.write_paused or scope["method"] == "HEAD" or HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
            return False
        self.transport.write(whole_answer(status, (*cycle.default_headers, *headers), body, keep_alive=cycle.keep_alive))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a request of which two readings exist is refused, and nothing behind it is served."""
        size = len(data)
        self._received += size
        self._largest_read = max(self._largest_read, size)
        before = self.cycle
        # What comes in the middle of a request is the rest of it, whatever it looks like.
        is_between = self._received == size if before is None else self._is_idle and not before.more_body and "method" in self.scope
        if is_between and self._again is not None and self._is_again(self._again, data):
            return
        self._is_idle = False
        self._parse(data)
        cycle: Any = self.cycle
        if is_between and cycle is not before and isinstance(cycle, Ticket) and not cycle.more_body and b"idempotency-key" not in cycle.head:
            self._again = Again.of(data, cycle.head, len(cycle.body)) or self._again

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserInvalidMethodError:
            self._refuse(501, "there is no such method")
        except httptools.HttpParserError as error:
            refused = error.__context__
            if isinstance(refused, _Refused):
                self._refuse(refused.status, str(refused))
            else:
                self._refuse(400, "this is not an HTTP request that we can read")
        else:
            if self.scope is not None and "method" not in self.scope:
                self._check_unfinished(len(data))

    def _is_again(self, again: Again, data: bytes) -> bool:
        """Is it the request that was here before, with another body, and taken? The parser need not see it: it stands between two."""
        body = again.body(data)
        if body is None or len(body) >= HIGH_WATER_LIMIT or self.flow.write_paused:
            return False
        assert self._express is not None
        ticket = Ticket(again.head, None, self.transport, self.on_response_complete)
        if not self._express.take(again.head, body, ticket.answer):
            return False
        ticket.more_body = self._is_idle = False
        self.cycle = ticket  # type: ignore[assignment]
        return True

    def on_message_begin(self) -> None:
        """As uvicorn's, from what is the same in all scopes of this connection."""
        if not self._scope:
            super().on_message_begin()
            return
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self.scope = self._scope.copy()  # type: ignore[assignment]
        self.scope["headers"] = self.headers
        self.scope["state"] = self.app_state.copy()

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer for each answer: how long its client says nothing is seen when we look at all."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._is_idle = True

    def on_headers_complete(self) -> None:
        """Check the head, then let it in."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1:
            if hosts or self.parser.get_http_version() == "1.1":
                raise _Refused(400, "a request names one Host")
        elif hosts[0] not in self._good_hosts:
            if not _is_ours(hosts[0], self._limits.hosts):
                raise _Refused(421, "this Host is not served here; see web.hosts")
            if len(self._good_hosts) < _MOST_REMEMBERED:
                self._good_hosts.add(hosts[0])
        if len(self.url) > MOST_URL:
            raise _Refused(414, f"a URL has at most {MOST_URL} bytes")
        is_maybe_large = self._largest_read > _LARGE_READ or self._unfinished[1] > _LARGE_READ
        if len(self.headers) > MOST_HEADERS or (is_maybe_large and self._head_size() > MOST_HEAD):
            raise _Refused(431, f"a head has at most {MOST_HEADERS} headers and {MOST_HEAD} bytes")
        if self.parser.should_upgrade() and not self._should_upgrade() and any(name in _BODY and value != b"0" for name, value in self.headers):
            # The parser takes what follows for the other protocol: the request would be served as if its body were empty.
            raise _Refused(400, "a request with a body can't ask for another protocol here")
        if self._express is not None and self.url == self._express.url and (head := self._plain_head()) is not None:
            self.scope["method"] = "POST"
            self.cycle = Ticket(head, self.scope, self.transport, self.on_response_complete)  # type: ignore[assignment]
        else:
            self._begin()

    def _begin(self) -> None:
        """A task for this request."""
        before = self.cycle
        super().on_headers_complete()
        if len(self.pipeline) == 1:
            self.pipeline.running = before

    def _plain_head(self) -> dict[bytes, bytes] | None:
        """The headers of a request that may go by express: nothing before it waits, it is a small POST, and nothing about it is special."""
        parser, cycle = self.parser, self.cycle
        if (cycle is not None and not cycle.response_complete) or self.flow.write_paused:
            return None
        head = dict(self.headers)
        if len(head) != len(self.headers) or not head.keys() <= PLAIN:
            return None
        length = head.pop(b"content-length", b"")
        if not 0 < len(length) <= MOST_DIGITS or int(length) >= HIGH_WATER_LIMIT:
            return None
        is_usual = parser.get_method() == b"POST" and parser.get_http_version() == "1.1" and parser.should_keep_alive()
        return head if is_usual else None

    def on_message_complete(self) -> None:
        """As uvicorn's, but it is noted also where the answer is out already."""
        if self.parser.should_upgrade() and self._should_upgrade():
            return  # it has no cycle: the one that is there is of the request before it
        cycle: Any = self.cycle
        if isinstance(cycle, Ticket):
            cycle.more_body = False
            assert self._express is not None
            if not self._express.take(cycle.head, bytes(cycle.body), cycle.answer):
                self.cycle = None  # type: ignore[assignment]
                self._begin()
                self.cycle.body, self.cycle.more_body = cycle.body, False
                self.cycle.message_event.set()
            return
        self.cycle.more_body = False
        if not self.cycle.response_complete:
            self.cycle.message_event.set()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _check_unfinished(self, size: int) -> None:
        scope, taken = self._unfinished
        # The first read may hold the end of a body before it; what it can hold at most is small enough.
        self._unfinished = self.scope, taken + size if scope is self.scope else 0
        if len(self.url) > MOST_URL:
            self._refuse(414, f"a URL has at most {MOST_URL} bytes")
        elif self._unfinished[1] > MOST_HEAD or len(self.headers) > MOST_HEADERS or self._head_size() > MOST_HEAD:
            self._refuse(431, f"a head has at most {MOST_HEADERS} headers and {MOST_HEAD} bytes")

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self.handle_websocket_upgrade()
            return
        # The request itself is answered as if it had not asked (RFC 9110, 7.8); what follows it might be another protocol.
        self.flow.pause_reading()
        self.cycle.keep_alive = False

    def _refuse(self, status: int, detail: str) -> None:
        """Answer and close. Where an earlier request waits for its answer, that is the next that the client reads, and then the end."""
        self.flow.pause_reading()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if self._is_free():
            self._write_problem(status, detail)
        self.transport.close()

    def _is_free(self) -> bool:
        """May we write out of turn: no answer is half out, and no earlier request waits for one?"""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete or not self.cycle.response_started)

    def _write_problem(self, status: int, detail: str) -> None:
        body = json.dumps(problem(status, detail)).encode()
        lines = [STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in PROBLEM_HEADERS)]
        if status == 501:
            lines.append(b"allow: GET, HEAD, POST, PUT, PATCH, DELETE\r\n")
        self.transport.write(b"".join([*lines, b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body]))

    def check(self, now: float) -> None:
        """Close it if it owes us something for too long; called about once a second. `now` is on the clock of `patience`."""
        word, of, mark = self._owes()
        debt = self._debt
        if debt is None or debt.word != word or debt.of is not of or (word == "answer" and mark != debt.mark):
            self._debt = _Debt(word, of, now, mark)
            return
        waited = now - debt.since
        if word == "body" and mark - debt.mark >= LEAST_BODY:
            self._debt = _Debt(word, of, now, mark)
        elif word == "answer" and waited >= self._limits.answer:
            self.transport.abort()
        elif (word == "rest" and waited >= LINGER) or (word == "next" and waited >= self.timeout_keep_alive):
            self.transport.close()
        elif (word == "head" and waited >= self._limits.head) or (word == "body" and waited >= self._limits.body):
            if self.scope is not None and (word == "body" or "method" not in self.scope) and self._is_free():
                self._write_problem(408, "the rest of this request did not come in time")
            self.transport.close()

    def _owes(self) -> tuple[str, object, int]:
        """What the client should do next, of which request, and how far it is; "" where it is our turn or nobody's."""
        waiting = self.transport.get_write_buffer_size()
        if waiting:
            return "answer", None, waiting
        if self.transport.is_closing():
            return "", None, 0
        if self.scope is None or "method" not in self.scope:
            # While an earlier answer is not out we may be the ones who don't read.
            is_our_turn = self.cycle is not None and not self.cycle.response_complete
            return ("", None, 0) if is_our_turn else ("head", self.scope, self._received)
        if self.cycle is not None and self.cycle.more_body:
            if self.cycle.response_complete:
                return "rest", self.cycle, self._received
            if not self.flow.read_paused:
                return "body", self.cycle, self._received
        elif self.cycle is not None and self.cycle.response_complete:
            # Where something came it begins no request, such as an empty line.
            return ("next" if self._is_idle else "head"), self.cycle, self._received
        return "", None, 0


class OperatorProtocol(WatchedProtocol):
    """One connection through the local door: what names no caller is the operator's."""

    __slots__ = ("_key",)

    def __init__(self, *arguments: Any, key: bytes, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._key = key

    def on_headers_complete(self) -> None:
        """Say who it is."""
        if not any(name == b"authorization" for name, _ in self.headers):
            self.headers.append((b"authorization", b"Bearer " + self._key))
        super().on_headers_complete()


def _is_ours(value: bytes, hosts: frozenset[str]) -> bool:
    """Does a Host header name one of `hosts`, with any port?"""
    name = value.decode("latin-1").strip().lower()
    host, colon, port = name.rpartition(":") if not name.endswith("]") else (name, "", "")
    if not colon:
        host = name
    elif not (port.isascii() and port.isdigit()):
        return False
    return bool(host) and ("*" in hosts or host.removesuffix(".") in hosts)


def protocol(limits: Limits, express: Express | None = None) -> Any:
    """What `uvicorn.Config(http=...)` takes."""
    return functools.partial(WatchedProtocol, limits=limits, good_hosts=set(), express=express)
