"""WebSockets (RFC 6455) for streams: the application writes frames that are ready, and hears when a client can't take more.

ASGI's events cost a queue and a task for each client and a framing for each message. Here the server gives the application the connection
itself, as `scope["extensions"]["angelia.socket"]`: it looks who comes, accepts or refuses, and returns; after that the connection calls its
reader. Compression is never agreed to: what is compressed for one client can't be shared with the others.
"""

import asyncio
import http
import json
import logging
from time import monotonic
from typing import Any, Protocol, cast
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from angelia import telemetry
from angelia.wire.asgi import Scope
from angelia.wire.problems import PROBLEM_HEADERS, problem

EXTENSION = "angelia.socket"
MOST_FRAME = 65_536  # bytes of a message from a client
MOST_FRAMES = 100  # from one client in one second, and as many in reserve
PING_EVERY = 25.0
HIGH_WATER = 131_072  # bytes that wait for a client until it counts as slow
CLOSE_WITHIN = 5.0
MOST_REASON = 123
GOING_AWAY, NOT_UTF8, POLICY, RESTART = 1001, 1007, 1008, 1012
RESTARTS = "the hub restarts; come back in a few seconds"
_PING = b"\x89\x00"
_LOG = logging.getLogger("angelia.websockets")
_LOG.setLevel(logging.CRITICAL)


def text_frame(payload: bytes) -> bytes:
    """A text message as one frame of a server."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Reader(Protocol):
    """Who reads a connection."""

    def text(self, text: str) -> None:
        """A message came; binary ones are read as text, too."""

    def gone(self) -> None:
        """The connection ended, or we said goodbye; called once."""

    def paused(self) -> None:
        """The client takes nothing; what is written now waits in memory."""

    def resumed(self) -> None:
        """It takes again."""

    def leaving(self) -> None:
        """The server stops and will close the connection after this call."""

    def look(self, now: float) -> None:
        """Called about once a second; `now` is on the monotonic clock."""


class Socket(asyncio.Protocol):
    """One connection, from its handshake on; what `uvicorn.Config(ws=...)` takes."""

    __slots__ = (
        "_allowance",
        "_app",
        "_app_state",
        "_closing_at",
        "_conn",
        "_connections",
        "_fragments",
        "_heard",
        "_is_pinged",
        "_looked_at",
        "_pinged_at",
        "_reader",
        "_root",
        "_tasks",
        "scope",
        "transport",
        "write",
    )  # fmt: skip

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._app = config.loaded_app
        self._root = config.root_path
        self._app_state = app_state
        self._connections = cast("set[Any]", server_state.connections)
        self._tasks = server_state.tasks
        self._conn = ServerProtocol(max_size=MOST_FRAME, logger=_LOG)
        self._reader: Reader | None = None
        self._fragments: list[bytes] = []
        self._allowance = float(MOST_FRAMES)
        self._looked_at = self._pinged_at = monotonic()
        self._closing_at = 0.0
        self._is_pinged = self._heard = False
        self.scope: Scope = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)
        self.write = self.transport.write
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.discard(self)
        self._let_go()
        # The reader and what it holds are let go at once, not when the collector comes by.
        self.scope = {}

    def _let_go(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.gone()

    def pause_writing(self) -> None:
        """Called by the transport above the high water."""
        if self._reader is not None:
            self._reader.paused()

    def resume_writing(self) -> None:
        """Called by the transport below the low water."""
        if self._reader is not None:
            self._reader.resumed()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._heard = True
        self._conn.receive_data(data)
        for event in self._conn.events_received():
            if isinstance(event, Request):
                self._begin(event)
            elif isinstance(event, Frame) and not self._take(event):
                return
        self._flush()
        if self._conn.parser_exc is not None or self._conn.close_expected():
            self.transport.close()

    def _flush(self) -> None:
        """What the protocol itself has to say: pongs, the answer to a close, why it fails."""
        for data in self._conn.data_to_send():
            if data:
                self.transport.write(data)

    # ---- the handshake

    def _begin(self, request: Request) -> None:
        raw_path, _, query = request.path.partition("?")
        offered = [word.strip() for line in request.headers.get_all("Sec-WebSocket-Protocol") for word in line.split(",")]
        self.scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "root_path": self._root,
            "path": self._root + unquote(raw_path),
            "raw_path": raw_path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in request.headers.raw_items()],
            "subprotocols": offered,
            "state": self._app_state,
            "extensions": {EXTENSION: self},
        }
        self.transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._meet(request))
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    async def _meet(self, request: Request) -> None:
        """Let the application look who comes; what it leaves open is refused."""
        response = self._conn.accept(request)
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.refuse(response.status_code, "this is no WebSocket handshake that we can read")
            return
        self.scope["angelia.response"] = response
        try:
            await self._app(self.scope, _nothing, _nowhere)
        except Exception as error:  # noqa: BLE001 - one client must not end the server's task group
            telemetry.log.error("stream_failed", kind=type(error).__name__, exc_info=error)
            self.refuse(500, "an operator will find it in the log")
        if self._conn.state is not OPEN:
            self.refuse(404, "there is no stream of that name")

    def accept(self, reader: Reader | None, subprotocol: str = "") -> None:
        """Open; from now on the reader is called. Without one the connection is closed as soon as it is open, without a word."""
        if self.transport.is_closing():
            if reader is not None:
                reader.gone()
            return
        response = self.scope["angelia.response"]
        if subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
            self._conn.subprotocol = Subprotocol(subprotocol)
        response.headers.pop("Server", None)
        self._conn.send_response(response)
        self._flush()
        if reader is None:
            self.transport.close()
            return
        self._reader = reader
        # What the handshake brought is no longer needed: a connection may live for days.
        self.scope = {}
        self._conn.handshake_exc = None
        self.transport.resume_reading()

    def refuse(self, status: int, detail: str) -> None:
        """Answer the handshake with a problem, and close."""
        if self.transport.is_closing() or self._conn.state is OPEN:
            return
        body = json.dumps(problem(status, detail)).encode()
        reason = http.HTTPStatus(status).phrase.encode()
        challenge = b"www-authenticate: Bearer\r\n" if status == 401 else b""
        lines = b"".join(b"%s: %s\r\n" % header for header in PROBLEM_HEADERS) + challenge
        head = b"HTTP/1.1 %d %s\r\n%sconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, reason, lines, len(body))
        self.transport.write(head + body)
        self.transport.close()

    # ---- afterwards

    def _take(self, frame: Frame) -> bool:
        """One frame of the client; False where the connection is given up for it."""
        if self._closing_at:
            return True  # we have said goodbye: only the answer to that counts, and the protocol sees it
        self._allowance -= 1
        if self._allowance < 0:
            self.close(POLICY, f"more than {MOST_FRAMES} frames a second")
            return False
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole = b"".join(self._fragments)
                self._fragments.clear()
                try:
                    text = whole.decode()
                except UnicodeDecodeError:
                    self.close(NOT_UTF8, "a message is UTF-8")
                    return False
                if self._reader is not None:
                    self._reader.text(text)
        return True

    def send(self, payload: bytes) -> None:
        """A message for this client alone."""
        self.transport.write(text_frame(payload))

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; who does not answer is cut after a few seconds."""
        if self._closing_at or self.transport.is_closing():
            return
        self._closing_at = monotonic()
        if self._conn.state is OPEN:
            # A close frame holds 125 bytes; half a character at the end is left out.
            self._conn.send_close(code, reason.encode()[:MOST_REASON].decode(errors="ignore"))
        self._flush()
        # Nothing follows a goodbye: who has lost her rights gets no event more while she puts off her answer.
        self._let_go()

    def drop(self) -> None:
        """End the connection without a word."""
        self.transport.close()

    def shutdown(self) -> None:
        """The server stops."""
        if self._reader is not None:
            self._reader.leaving()
        self.close(RESTART, RESTARTS)
        self.transport.close()

    def check(self, now: float) -> None:
        """Ping, cut the dead; called about once a second."""
        self._allowance = min(2.0 * MOST_FRAMES, self._allowance + (now - self._looked_at) * MOST_FRAMES)
        self._looked_at = now
        if self.transport.is_closing() and not self._closing_at:
            # Dropped: what waits for a client that takes nothing must not keep its connection for ever.
            self._closing_at = now
        if self._closing_at:
            if now - self._closing_at > CLOSE_WITHIN:
                self.transport.abort()
            return
        if self._reader is None:
            return
        self._reader.look(now)
        if now - self._pinged_at < PING_EVERY or self.transport.get_write_buffer_size():
            return
        if self._is_pinged and not self._heard:
            self.transport.abort()
            return
        self._pinged_at, self._is_pinged, self._heard = now, True, False
        self.transport.write(_PING)


async def _nothing() -> Any:
    raise RuntimeError("streams read from the connection itself")


async def _nowhere(message: Any) -> None:
    raise RuntimeError("streams write to the connection itself")
