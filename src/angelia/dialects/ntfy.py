"""The ntfy dialect under /ntfy/: any ntfy client subscribes to a person's own messages, and publishes to her (docs.ntfy.sh, API of 2.x).

A topic is the login of a person, or `me`; to whom it is not open there is no such topic. What is published is a message like every other; what
comes out is what her inbox gets.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from angelia import telemetry
from angelia.broker import Broker
from angelia.dialects.ntfy_forms import (
    WRITERS,
    Filter,
    Since,
    Writer,
    authorization_of,
    document_of,
    fields_of,
    filter_of,
    is_poll,
    json_fields,
    query_of,
    since_of,
    topics_of,
)
from angelia.flow.streams import Streams
from angelia.inlet import Accept, Taken
from angelia.model.errors import AngeliaError, Conflict, Forbidden, NotAuthenticated, NotFound, StoreUnavailable
from angelia.model.event import Event
from angelia.model.moments import number_of, public_id
from angelia.model.person import Person
from angelia.store import InboxItem, InboxQuery, Store
from angelia.wire.asgi import App, Receive, Scope, Send, body_of, headers_of, respond, tell_of_stop
from angelia.wire.callers import Caller, Callers
from angelia.wire.fields import draft_of, key_of, parse_fields
from angelia.wire.problems import Header, problem_of, status_of
from angelia.wire.socket import EXTENSION, Socket

PREFIX = "/ntfy/"
MOST_PAST = 500
KEEPALIVE = 45.0  # seconds, as the original has it
RECHECK = 4.0  # seconds between two looks at the rights of a client (promise P19)
HIGH_WATER = 131_072
NO_CREDENTIALS, TOO_SLOW = 4401, 4408
_SAFE: list[Header] = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hub:
    """What the dialect needs of the house. `shown` is an inbox entry as the API shows it, as JSON."""

    store: Store
    sources: Broker
    streams: Streams
    accept: Accept
    callers: Callers
    now: Callable[[], datetime]
    shown: Callable[[InboxItem], bytes]
    base_url: str
    most: int


class NtfyDialect:
    """Speaks ntfy below its prefix, and gives everything else to the app behind it."""

    def __init__(self, behind: App, hub: Hub) -> None:
        self._behind = behind
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket") or not scope["path"].startswith(PREFIX):
            return await self._behind(scope, receive, send)
        if scope["type"] == "websocket":
            return await self._socket(scope, scope["extensions"][EXTENSION])
        try:
            await self._speak(scope, receive, send)
        except AngeliaError as error:
            status, _, headers = problem_of(error)
            kept = [header for header in headers if header[0] in (b"retry-after", b"www-authenticate")]
            if status == 401:
                kept.append((b"www-authenticate", b"Basic"))
            detail = str(error) if status < 500 or isinstance(error, StoreUnavailable) else "an operator will find it in the log"
            await _answer(send, scope, {"code": status * 100 + 1, "http": status, "error": detail}, status, kept)
        return None

    async def _speak(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, (topic, _, ending) = scope["method"], scope["path"][len(PREFIX) :].partition("/")
        if method in ("POST", "PUT") and not ending:
            return await _answer(send, scope, await self._publish(scope, receive, topic))
        if method in ("GET", "HEAD") and (topic, ending) == ("v1", "health"):
            return await _answer(send, scope, {"healthy": True})
        if method not in ("GET", "HEAD"):
            return await _answer(send, scope, {"code": 40501, "http": 405, "error": "publish with POST or PUT"}, 405, [(b"allow", b"GET, POST, PUT")])
        if ending in ("publish", "send", "trigger"):
            # GET must not change anything here.
            return await _answer(send, scope, {"code": 40501, "http": 405, "error": "publish with POST or PUT"}, 405, [(b"allow", b"POST, PUT")])
        if ending == "auth":
            await self._people(scope, topic)
            return await _answer(send, scope, {"success": True})
        if ending not in ("json", "sse", "raw"):
            raise NotFound("there are json, sse, raw, ws and auth of a topic")
        await self._subscribe(scope, receive, send, topic, ending)
        return None

    # ---- publishing

    async def _publish(self, scope: Scope, receive: Receive, topic: str) -> Document:
        """A message to the person of the topic, by the way that every message takes."""
        headers, query, now = headers_of(scope), query_of(scope), self._hub.now()
        caller = await self._hub.callers.poster(authorization_of(headers, query))
        body = await body_of(headers, receive, self._hub.most)
        topic, fields = (topic, fields_of(headers, query, body, now)) if topic else json_fields(body, now)
        topics_of(topic)
        checked = parse_fields(fields | {"to": [_login(topic, caller)]})
        caller.check_post(checked["type"], checked.get("severity", "normal"))
        if await self._hub.store.person(_login(topic, caller)) is None:
            raise NotFound("there is no such topic")
        key = key_of(headers.get(b"idempotency-key", b""))
        (receipt,) = await self._hub.accept(caller.name, [draft_of(checked, self._hub.now, key)])
        public = public_id("msg", receipt.message_id)
        if receipt.taken is Taken.CONFLICT:
            raise Conflict(f"this idempotency key came with another content before: {public}")
        item = {"id": public, "delivered_at": now.isoformat(), "message": {"severity": "normal"} | checked}
        return document_of(item, topic, self._hub.base_url) | {"click": fields.get("object_url", f"{self._hub.base_url}/inbox/{public}")}

    # ---- subscribing

    async def _people(self, scope: Scope, path: str) -> dict[str, Person]:
        """Whose topics these are; all must be open to the caller."""
        caller = await self._hub.callers.of(authorization_of(headers_of(scope), query_of(scope)))
        if caller is None:
            raise NotAuthenticated("subscribing needs your token, as Bearer or as the password of Basic")
        found = {}
        for topic in topics_of(path):
            person = await self._hub.store.person(_login(topic, caller))
            is_own = caller.person is not None and person is not None and caller.person.login == person.login
            if person is None or not (is_own or caller.is_admin):
                raise NotFound("there is no such topic")
            found[topic] = person
        if not caller.may_read:
            raise Forbidden("this token may not read")
        return found

    async def _subscribe(self, scope: Scope, receive: Receive, send: Send, path: str, ending: str) -> None:
        people, query = await self._people(scope, path), query_of(scope)
        one_look = is_poll(query)
        since = since_of(query, MOST_PAST, self._hub.now(), is_poll=one_look)
        kind, write = WRITERS[ending]
        views = [View(topic, person, self._hub.base_url, filter_of(headers_of(scope), query), write) for topic, person in people.items()]
        # The last one tells proxies of one kind to pass on each line at once.
        headers = [(b"content-type", kind.encode()), *_SAFE, (b"x-accel-buffering", b"no")]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        if one_look or scope["method"] == "HEAD":
            past = [] if scope["method"] == "HEAD" else [await self._past(view, since) for view in views]
            await send(start)
            return await send({"type": "http.response.body", "body": b"".join(past)})
        pipe = Pipe(self._hub.streams)
        jobs: list[asyncio.Task[None]] = []
        telemetry.stream_clients.labels("ntfy").inc()
        try:
            past = [await self._joined(pipe, view, since) for view in views]
            await send(start)
            opened = write(self._said("open", path))
            await send({"type": "http.response.body", "body": opened + b"".join(past), "more_body": True})
            pipe.begin()
            jobs = [asyncio.create_task(_wait_for_end(receive, pipe)), asyncio.create_task(self._recheck(scope, path, pipe.end))]
            tell_of_stop(scope, pipe.end)
            while not pipe.is_ended:
                data = await pipe.next(KEEPALIVE)
                data = write(self._said("keepalive", path)) if data is None else data
                await send({"type": "http.response.body", "body": data, "more_body": True})
                pipe.taken()
            await send({"type": "http.response.body", "body": b""})
        finally:
            tell_of_stop(scope, None)
            pipe.leave()
            telemetry.stream_clients.labels("ntfy").dec()
            for job in jobs:
                job.cancel()
        return None

    def _said(self, event: str, topic: str) -> Document:
        return {"id": secrets.token_hex(6), "time": int(self._hub.now().timestamp()), "event": event, "topic": topic}

    async def _joined(self, pipe: "Pipe", view: "View", since: Since) -> bytes:
        """What is past, once the stream is bound: what came between is in the past only."""
        name = f"me/{view.person.person_id}"
        listener = pipe.join(view)
        await self._hub.streams.bind(listener, [(name, "#")])
        head = await self._hub.sources.head(name)
        view.begins_after = head.sequence
        return await self._past(view, since, head.sequence)

    async def _past(self, view: "View", since: Since, until: int = 1 << 62) -> bytes:
        """At most MOST_PAST entries, oldest first; her rights as they are now (promise P14)."""
        if not since.limit:
            return b""
        store, person_id = self._hub.store, view.person.person_id
        after = number_of("dlv", since.after) if since.after else None
        seen_by = await store.names_of(person_id)
        query = InboxQuery(state="all", limit=since.limit, after_id=after, is_newest_first=after is None, seen_by=seen_by)
        found = [item for item in await store.inbox(person_id, query) if item.delivery_id <= until]
        wanted = [item for item in found if since.at is None or item.delivered_at >= since.at]
        wanted.sort(key=lambda item: item.delivery_id)
        return b"".join(view.written(self._hub.shown(item)) for item in wanted)

    async def _recheck(self, scope: Scope, path: str, end: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(RECHECK)
            try:
                await self._people(scope, path)
            except StoreUnavailable:
                continue
            except AngeliaError:
                return end()

    # ---- sockets

    async def _socket(self, scope: Scope, socket: Socket) -> None:
        path, _, ending = scope["path"][len(PREFIX) :].partition("/")
        if ending != "ws":
            return socket.refuse(404, "there is no stream of that name")
        try:
            people, query = await self._people(scope, path), query_of(scope)
            since = since_of(query, MOST_PAST, self._hub.now(), is_poll=is_poll(query))
            wanted, write = filter_of(headers_of(scope), query), WRITERS["ws"][1]
        except AngeliaError as error:
            return socket.refuse(status_of(error), str(error))
        client = Client(self._hub.streams, socket, lambda: self._people(scope, path))
        socket.accept(client)
        try:
            views = [View(topic, person, self._hub.base_url, wanted, write) for topic, person in people.items()]
            past = [await self._joined(client.pipe, view, since) for view in views]
        except AngeliaError:
            return socket.close(1011, "not available now")
        socket.write(write(self._said("open", path)) + b"".join(past))
        client.pipe.begin()
        return None


def _login(topic: str, caller: Caller) -> str:
    return caller.person.login if topic == "me" and caller.person is not None else topic


async def _answer(send: Send, scope: Scope, document: Mapping[str, Any], status: int = 200, headers: list[Header] | None = None) -> None:
    body = b"" if scope["method"] == "HEAD" else json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    await respond(send, status, body, [(b"content-type", b"application/json"), *_SAFE, *(headers or [])], scope)


class View:
    """One topic as one client sees it; a Form of its streams."""

    has_repeats = False

    def __init__(self, topic: str, person: Person, base_url: str, wanted: Filter, write: Writer) -> None:
        self.topic, self.person = topic, person
        self.begins_after = 0
        self._base_url, self._wanted, self._write = base_url, wanted, write

    def written(self, shown: bytes) -> bytes:
        """One entry; b"" if it is not wanted."""
        document = document_of(json.loads(shown), self.topic, self._base_url)
        return self._write(document) if self._wanted.lets(document) else b""

    def event(self, event: Event, cursor: str) -> bytes:
        """See flow.trunk.Form."""
        assert event.position is not None
        return self.written(event.body) if event.position.sequence > self.begins_after else b""

    def gap(self, exchange: str, cursor: str) -> bytes:
        """See flow.trunk.Form. There is no word for it; a client that was away asks with since."""
        return b""


class Pipe:
    """What waits to be sent to one client, of all its topics."""

    def __init__(self, streams: Streams, write: Callable[[bytes], None] | None = None, cut: Callable[[], None] | None = None) -> None:
        self._streams = streams
        self._write, self._cut = write or self._put, cut or self.end
        self._listeners: list[Any] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._changed = asyncio.Event()
        self.is_ended = False

    def join(self, view: View) -> Any:
        """A listener for one more topic."""
        self._listeners.append(self._streams.join(view, self._write, self._cut))
        return self._listeners[-1]

    def begin(self) -> None:
        """Send what comes from now on."""
        for listener in self._listeners:
            self._streams.go_live(listener)

    def _put(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
            self._changed.set()
        if self._size > HIGH_WATER:
            self.pause()

    def pause(self) -> None:
        """The client takes nothing."""
        for listener in self._listeners:
            self._streams.pause(listener)

    def taken(self) -> None:
        """It takes again."""
        for listener in self._listeners:
            self._streams.resume(listener)

    async def next(self, within: float) -> bytes | None:
        """What waits; b"" at the end, None after so many seconds without anything."""
        try:
            async with asyncio.timeout(within):
                await self._changed.wait()
        except TimeoutError:
            return None
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._changed.clear()
        return data

    def end(self) -> None:
        """No more."""
        self.is_ended = True
        self._changed.set()

    def leave(self) -> None:
        """The client is gone."""
        for listener in self._listeners:
            self._streams.leave(listener)


async def _wait_for_end(receive: Receive, pipe: Pipe) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pipe.end()


class Client:
    """One WebSocket; a Reader. Clients say nothing on it."""

    def __init__(self, streams: Streams, socket: Socket, again: Callable[[], Awaitable[object]]) -> None:
        self.pipe = Pipe(streams, self._write, self._too_slow)
        self._socket, self._again = socket, again
        self._looked_at = 0.0
        self._task: asyncio.Task[None] | None = None
        telemetry.stream_clients.labels("ntfy").inc()

    def _write(self, data: bytes) -> None:
        if data:
            self._socket.write(data)

    def _too_slow(self) -> None:
        telemetry.stream_cut.inc()
        self._socket.close(TOO_SLOW, "too slow: ask again with since")

    def text(self, text: str) -> None:
        """What clients say is passed over, as the original does."""

    def gone(self) -> None:
        """The connection ended."""
        self.pipe.leave()
        telemetry.stream_clients.labels("ntfy").dec()

    def paused(self) -> None:
        """It takes nothing."""
        self.pipe.pause()

    def resumed(self) -> None:
        """It takes again."""
        self.pipe.taken()

    def leaving(self) -> None:
        """The server stops; there is no frame for that."""

    def look(self, now: float) -> None:
        """Are the rights still there?"""
        if now - self._looked_at > RECHECK and (self._task is None or self._task.done()):
            self._looked_at = now
            self._task = asyncio.create_task(self._recheck())

    async def _recheck(self) -> None:
        try:
            await self._again()
        except StoreUnavailable:
            return
        except AngeliaError as error:
            self._socket.close(NO_CREDENTIALS, str(error)[:120])
