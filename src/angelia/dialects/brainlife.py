"""The brainlife dialect under /api/event/: browsers bind to AMQP exchanges as they did with brainlife/event, frame for frame.

No acknowledgement, no gap, no greeting: old clients get no frame that they don't know. What fails closes nothing and harms nobody else.
"""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

from angelia import telemetry
from angelia.broker import Broker
from angelia.dialects.brainlife_http import PATHS as REQUESTS
from angelia.dialects.brainlife_http import NotificationRequests
from angelia.flow.cursor import MOST_BINDINGS, check_pattern
from angelia.flow.streams import Streams
from angelia.model.errors import AngeliaError, NotAuthenticated
from angelia.model.event import Event
from angelia.wire.admission import Admission, Guest, Verdict
from angelia.wire.asgi import App, Receive, Scope, Send, headers_of, respond
from angelia.wire.problems import problem_of
from angelia.wire.socket import EXTENSION, Socket, text_frame

PATHS = frozenset({"/api/event/subscribe", "/api/event/subscribe/", "/subscribe", "/subscribe/"})
HEALTH = "/api/event/health"
TOO_SLOW, TOO_MANY = 4408, 4429
MOST_WAITING = 128
RECHECK = 60.0  # seconds between two looks at the rights of a client
_ANYWHERE = (b"access-control-allow-origin", b"*")
_HEADERS = [(b"content-type", b"application/json; charset=utf-8"), _ANYWHERE, (b"cache-control", b"no-store")]
_JSON = frozenset({"application/json", "text/json"})
_PROPERTIES = (
    ("content_encoding", "contentEncoding"),
    ("headers", "headers"),
    ("delivery_mode", "deliveryMode"),
    ("priority", "priority"),
    ("correlation_id", "correlationId"),
    ("reply_to", "replyTo"),
    ("expiration", "expiration"),
    ("message_id", "messageId"),
    ("timestamp", "timestamp"),
    ("message_type", "type"),
    ("user_id", "userId"),
    ("app_id", "appId"),
    ("cluster_id", "reserved"),
)
"""Ours and node-amqp's, in the order of the wire; empty ones are left out."""


def event_document(event: Event, *, is_readable: bool = True) -> dict[str, Any]:
    """An event as node-amqp showed it. `queue`, `deliveryTag` and `consumerTag` are there for their shape only: all clients share them.
    Where it is not `is_readable` it is shown as one whose body is broken.
    """
    position = event.position
    sequence = position.sequence if position is not None else 0
    about: dict[str, Any] = {}
    body, fault = _body(event, is_readable=is_readable)
    if fault is not None:
        about |= {"parseError": {}, "rawData": fault}
    if event.content_type:
        about["contentType"] = event.content_type
    properties = dict(event.properties) | {"headers": dict(event.headers)}
    about |= {theirs: properties[ours] for ours, theirs in _PROPERTIES if properties.get(ours)}
    about |= {
        "queue": f"amq.gen-{event.exchange}",
        "deliveryTag": {"type": "Buffer", "data": list(sequence.to_bytes(8, "big"))},
        "redelivered": event.is_redelivered,
        "exchange": event.exchange,
        "routingKey": event.routing_key,
        "consumerTag": f"angelia-{event.exchange}",
    }
    return {"headers": dict(event.headers), "dinfo": about, "msg": body}


def _body(event: Event, *, is_readable: bool) -> tuple[Any, str | None]:
    """(the body as clients see it, its text where it should have been JSON and is not)."""
    if event.content_type in _JSON:
        text = event.body.decode("utf-8", "replace")
        try:
            if not is_readable:
                return None, text
            return json.loads(text, parse_constant=_refuse, parse_float=_finite), None
        except (ValueError, RecursionError):
            return None, text
    raw: dict[str, Any] = {"data": {"type": "Buffer", "data": list(event.body)}}
    return raw | ({"contentType": event.content_type} if event.content_type else {}), None


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _finite(digits: str) -> float | None:
    """As JavaScript wrote it on: what is above all its numbers became null."""
    value = float(digits)
    return value if abs(value) < float("inf") else None


def _plain(value: object) -> object:
    return {"type": "Buffer", "data": list(value)} if isinstance(value, bytes | bytearray) else str(value)


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode("utf-8", "replace")


def _text(event: Event) -> bytes:
    try:
        return _dumped(event_document(event))
    except RecursionError:
        # What can just be read may be too deep to be written again, one level down.
        return _dumped(event_document(event, is_readable=False))


class BrainlifeForm:
    """Frames of brainlife/event. An event comes once for each bind that matches."""

    has_repeats = True

    def __init__(self) -> None:
        self._last: tuple[Event | None, bytes] = (None, b"")

    def event(self, event: Event, cursor: str) -> bytes:
        """See Form. The cursor has no place in it, so all clients share one frame, whatever else they follow."""
        if self._last[0] is not event:
            self._last = event, text_frame(_text(event))
        return self._last[1]

    def gap(self, exchange: str, cursor: str) -> bytes:
        """See Form. Old clients have no word for it."""
        return b""


FORM = BrainlifeForm()


class BrainlifeClient:
    """One socket; a Reader."""

    __slots__ = ("_admission", "_guest", "_is_gone", "_listener", "_looked_at", "_socket", "_streams", "_tasks")

    def __init__(self, streams: Streams, admission: Admission, socket: Socket, guest: Guest) -> None:
        self._streams = streams
        self._admission = admission
        self._socket = socket
        self._guest = guest
        self._listener = streams.join(FORM, socket.write, self._too_slow, guest.name)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_gone = False
        self._looked_at = 0.0
        telemetry.stream_clients.labels("brainlife").inc()

    def text(self, text: str) -> None:
        """One command exists; JSON that is none is passed over in silence, what is no JSON ends the connection without a word."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            self._socket.drop()
            return
        bind = said.get("bind") if isinstance(said, dict) else None
        if not isinstance(bind, dict) or not isinstance(bind.get("ex"), str):
            return
        exchange = bind["ex"]
        try:
            pattern = check_pattern(bind.get("key"))
        except AngeliaError:
            # The original died of these, or took everybody's connection down with it; nobody can rely on that.
            self._deny(exchange)
            return
        if len(self._tasks) >= MOST_WAITING or sum(self._listener.bindings.values()) + len(self._tasks) >= MOST_BINDINGS:
            self._socket.close(TOO_MANY, f"a client has at most {MOST_BINDINGS} binds")
            return
        # At the same time, as with the original: a fast check is live before a slow one that was asked for earlier.
        task = asyncio.create_task(self._bind(exchange, pattern))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bind(self, exchange: str, pattern: str) -> None:
        try:
            verdict = await self._admission.check(self._guest, exchange, pattern)
            if verdict is Verdict.DENIED:
                self._deny(exchange)
            elif verdict is Verdict.GRANTED and not self._is_gone:
                await self._streams.bind(self._listener, [(exchange, pattern)])
                self._streams.go_live(self._listener)
        except AngeliaError as error:
            telemetry.log.warning("bind_failed", exchange=exchange[:100], error=str(error))
            self._deny(exchange)

    def _deny(self, exchange: str) -> None:
        if not self._is_gone:
            # The spelling is that of the original; clients compare it.
            self._socket.send(_dumped({"error": f"Access denided {exchange[:255]}"}))

    def _too_slow(self) -> None:
        telemetry.stream_cut.inc()
        self._socket.close(TOO_SLOW, "too slow")

    def gone(self) -> None:
        """The connection ended: checks under way come to nothing."""
        self._is_gone = True
        self._streams.leave(self._listener)
        for task in self._tasks:
            task.cancel()
        telemetry.stream_clients.labels("brainlife").dec()

    def paused(self) -> None:
        """It takes nothing."""
        self._streams.pause(self._listener)

    def resumed(self) -> None:
        """It takes again."""
        self._streams.resume(self._listener)

    def leaving(self) -> None:
        """The server stops; there is no frame for that."""

    def look(self, now: float) -> None:
        """Unlike the original, rights that are gone end the stream; a client comes back and is told no. Expiry counts only when it connects."""
        if now - self._looked_at < RECHECK:
            return
        is_first, self._looked_at = not self._looked_at, now
        if not is_first and self._listener.bindings:
            task = asyncio.create_task(self._recheck())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _recheck(self) -> None:
        for exchange, pattern in list(self._listener.bindings):
            if await self._admission.check(self._guest, exchange, pattern, is_held=True) is not Verdict.GRANTED and not self._is_gone:
                self._streams.unbind(self._listener, [(exchange, pattern)])
                self._streams.go_live(self._listener)
                self._deny(exchange)


class BrainlifeDialect:
    """Takes its paths, gives everything else to the app behind it."""

    def __init__(self, behind: App, streams: Streams, admission: Admission, broker: Broker, requests: NotificationRequests) -> None:
        self._requests = requests
        self._behind = behind
        self._streams = streams
        self._admission = admission
        self._broker = broker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope["path"] if scope["type"] in ("http", "websocket") else ""
        if scope["type"] == "websocket" and path in PATHS:
            return self._open(scope, scope["extensions"][EXTENSION])
        if scope["type"] == "http" and path == HEALTH and scope["method"] in ("GET", "HEAD"):
            return await self._health(scope, send)
        if scope["type"] == "http" and (path == HEALTH or path in REQUESTS) and scope["method"] == "OPTIONS":
            return await self._allow(scope, send)
        if scope["type"] == "http" and path in REQUESTS and scope["method"] in ("GET", "POST"):
            return await self._request(scope, receive, send)
        return await self._behind(scope, receive, send)

    def _open(self, scope: Scope, socket: Socket) -> None:
        """The handshake succeeds whatever the token; a bad one ends the connection at once, so that clients see 1006."""
        offered = scope["subprotocols"]
        tokens = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("jwt", [])
        try:
            if len(tokens) != 1:
                raise NotAuthenticated("one jwt in the query")
            guest = self._admission.foreign(tokens[0])
        except NotAuthenticated:
            socket.accept(None, offered[0] if offered else "")
            return
        socket.accept(BrainlifeClient(self._streams, self._admission, socket, guest), offered[0] if offered else "")

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, said = await self._requests.answer(scope, receive)
        except AngeliaError as error:
            status, body, headers = problem_of(error)
            return await respond(send, status, body, [*headers, _ANYWHERE])
        return await respond(send, status, _dumped(said), _HEADERS)

    @staticmethod
    async def _allow(scope: Scope, send: Send) -> None:
        """What a browser asks before a page of another site may (CORS): the token is in a header, so no cookie is at stake."""
        asked = headers_of(scope).get(b"access-control-request-headers", b"authorization,content-type")
        headers = [_ANYWHERE, (b"access-control-allow-methods", b"GET,HEAD,PUT,PATCH,POST,DELETE"), (b"access-control-allow-headers", asked)]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _health(self, scope: Scope, send: Send) -> None:
        faults = await self._broker.faults()
        said = {"status": "failed" if faults else "ok", "amqp_connected": "" not in faults, "message": "all good"}
        if faults:
            said["message"] = "amqp disconnected" if "" in faults else f"not well: {', '.join(sorted(faults))}"
        body = _dumped(said)
        await respond(send, 200, b"" if scope["method"] == "HEAD" else body, _HEADERS)
