"""Streams as server-sent events (WHATWG HTML, 9.2), and one look at what came after a cursor."""

import asyncio
import random
from time import monotonic

from angelia import telemetry
from angelia.broker import Broker
from angelia.flow.cursor import cursor_text, parse_cursor
from angelia.model.errors import BrokerUnavailable, Forbidden, InvalidInput, NotAuthenticated, NotFound, StoreUnavailable
from angelia.model.event import Event, Position
from angelia.planning.topic import matches
from angelia.web.stream.entry import Again, bindings_of
from angelia.web.stream.forms import SseForm, dumped, event_document, outer_name
from angelia.web.stream.native import NO_CREDENTIALS, NO_RIGHTS, RECHECK, RETRY, TOO_SLOW, Room
from angelia.wire.asgi import Receive, Scope, Send, headers_of, respond, tell_of_stop
from angelia.wire.socket import RESTART, RESTARTS

FORM = SseForm()
HIGH_WATER = 131_072
COMMENT_EVERY = 25.0
MOST_ITEMS = 1_000
MOST_DIGITS = 9  # of a number in a query: a text of thousands is none that Python reads
PAGE = 1_000
MOST_LOOKED_AT = 20_000
"""Events that one look goes over; the next goes on from there."""
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class _Pipe:
    """What waits to be sent to one client."""

    def __init__(self, room: Room, name: str) -> None:
        self._room = room
        self._parts: list[bytes] = []
        self._size = 0
        self.changed = asyncio.Event()
        self.ends_with = b""
        self.listener = room.streams.join(FORM, self._write, self._too_slow, name)

    def _write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self.changed.set()
        if self._size > HIGH_WATER:
            self._room.streams.pause(self.listener)

    def _too_slow(self) -> None:
        telemetry.stream_cut.inc()
        self.end(TOO_SLOW, "too slow")

    def end(self, code: int, detail: str) -> None:
        """Say why, and end."""
        self.ends_with = b"event: closed\ndata: %s\n\n" % dumped({"code": code, "detail": detail})
        self.changed.set()

    def take(self) -> bytes:
        """What waits, once."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self.changed.clear()
        return data


async def stream(room: Room, scope: Scope, receive: Receive, send: Send) -> None:
    """Follow until the client goes, or loses its rights."""
    guest, again = await room.entry.meet(scope)
    wanted, rest = bindings_of(scope["query_string"])
    pairs = [await room.entry.bindable(guest, exchange, key) for exchange, key in wanted]
    last = headers_of(scope).get(b"last-event-id")
    since = last.decode("latin-1") if last else rest.get("since")
    pipe = _Pipe(room, guest.name if guest.is_somebody else "")
    jobs: list[asyncio.Task[None]] = []
    telemetry.stream_clients.labels("sse").inc()
    try:
        cursor = await room.streams.bind(pipe.listener, pairs, since)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        bound = dumped({"bound": [{"exchange": outer_name(name), "key": key} for name, key in pairs], "cursor": cursor})
        # The id comes first with the bindings: who is cut before the first event comes back with it and misses nothing.
        retry = RETRY // 5 + random.randrange(RETRY)  # noqa: S311
        greeting = b"retry: %d\nevent: bound\nid: %s\ndata: %s\n\n" % (retry, cursor.encode(), bound)
        await send({"type": "http.response.body", "body": greeting, "more_body": True})
        room.streams.go_live(pipe.listener)
        rechecking = _recheck(room, pipe, guest.ends_at, again, was_somebody=guest.is_somebody)
        jobs = [asyncio.create_task(_wait_for_end(receive, pipe)), asyncio.create_task(rechecking)]
        tell_of_stop(scope, lambda: pipe.end(RESTART, RESTARTS))
        await _pump(room, pipe, send)
    finally:
        tell_of_stop(scope, None)
        room.streams.leave(pipe.listener)
        telemetry.stream_clients.labels("sse").dec()
        for job in jobs:
            job.cancel()


async def _pump(room: Room, pipe: _Pipe, send: Send) -> None:
    while not pipe.ends_with:
        try:
            async with asyncio.timeout(COMMENT_EVERY):
                await pipe.changed.wait()
            data = pipe.take()
        except TimeoutError:
            data = b": still here\n\n"
        if data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        room.streams.resume(pipe.listener)
    await send({"type": "http.response.body", "body": pipe.take() + pipe.ends_with, "more_body": False})


async def _wait_for_end(receive: Receive, pipe: _Pipe) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pipe.end(1001, "the client went")


async def _recheck(room: Room, pipe: _Pipe, ends_at: float | None, again: Again, *, was_somebody: bool) -> None:
    while True:
        await _rest(room)
        try:
            if ends_at is not None and ends_at <= room.epoch_seconds():
                raise NotAuthenticated("the token has expired")
            guest = await again()
            if was_somebody and not guest.is_somebody:
                raise NotAuthenticated("the session has ended")
            await room.entry.check_held(guest, pipe.listener.bindings)
        except NotAuthenticated as error:
            return pipe.end(NO_CREDENTIALS, str(error))
        except (Forbidden, NotFound) as error:
            return pipe.end(NO_RIGHTS, str(error))
        except (StoreUnavailable, BrokerUnavailable):
            continue
        except Exception as error:  # noqa: BLE001 - rights that nobody looks at any more must not be taken for good
            telemetry.log.exception("rights_not_checked", error=str(error))
            return pipe.end(1011, "an operator will find it in the log")


async def _rest(room: Room) -> None:
    """Until it is time to look again, or this process hears that somebody lost rights."""
    rights, until = room.entry.rights, monotonic() + RECHECK
    while monotonic() < until and rights == room.entry.rights:
        await asyncio.sleep(min(1.0, RECHECK))


# ---- one look


async def events(room: Room, broker: Broker, scope: Scope, send: Send) -> None:
    """`GET /api/v1/events`: what matches and came after `since`, at most `limit`; without `since` only where the streams stand."""
    guest, _ = await room.entry.meet(scope)
    wanted, rest = bindings_of(scope["query_string"])
    limit = rest.get("limit", "100")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= MOST_DIGITS and 1 <= int(limit) <= MOST_ITEMS):
        raise InvalidInput(f"limit is 1 to {MOST_ITEMS}", "limit")
    patterns: dict[str, list[str]] = {}
    for exchange, key in wanted:
        name, pattern = await room.entry.bindable(guest, exchange, key)
        patterns.setdefault(name, []).append(pattern)
    since = parse_cursor(rest["since"]) if "since" in rest else {}
    positions: dict[str, Position] = {}
    items: list[bytes] = []
    lost: list[str] = []
    has_more = False
    for name in sorted(patterns):
        start = Position("0", 0) if since is None else since.get(name)
        if start is None:
            positions[name] = await broker.head(name)
            continue
        found, positions[name], is_complete, is_all = await _after(broker, name, start, patterns[name], int(limit) - len(items))
        items += [event_document(event) for event in found]
        has_more |= not is_all
        if not is_complete:
            lost.append(outer_name(name))
    rest_of_it = dumped({"cursor": cursor_text(positions), "gaps": lost, "has_more": has_more})
    body = b'{"items":[%s],%s' % (b",".join(items), rest_of_it[1:])
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store"), (b"x-content-type-options", b"nosniff")]
    await respond(send, 200, body, headers)


async def _after(broker: Broker, name: str, since: Position, patterns: list[str], limit: int) -> tuple[list[Event], Position, bool, bool]:
    """(events, where to go on, whether none is lost, whether these are all)."""
    found: list[Event] = []
    at, is_complete, looked_at = since, True, 0
    while looked_at < MOST_LOOKED_AT:
        if limit <= 0:
            return found, at, is_complete, False
        replay = await broker.replay(name, at, PAGE)
        is_complete &= replay.is_complete
        for number, event in enumerate(replay.events, 1):
            looked_at += 1
            if any(matches(pattern, event.routing_key) for pattern in patterns):
                found.append(event)
                if len(found) == limit and number < len(replay.events):
                    assert event.position is not None
                    return found, event.position, is_complete, False
        at = replay.until
        if len(found) == limit or not replay.has_more:
            return found, at, is_complete, not replay.has_more
    return found, at, is_complete, False
