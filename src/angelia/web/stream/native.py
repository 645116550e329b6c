"""The hub's own protocol over WebSocket: bind and unbind are answered, streams go on from a cursor, credentials can be renewed."""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from angelia import telemetry
from angelia.flow.cursor import MOST_BINDINGS
from angelia.flow.streams import Streams
from angelia.model.errors import AngeliaError, BrokerUnavailable, Forbidden, InvalidInput, NotAuthenticated, NotFound, StoreUnavailable
from angelia.web.stream.entry import PROTOCOL, Again, Entry
from angelia.web.stream.forms import SocketForm, dumped, outer_name
from angelia.wire.admission import Guest
from angelia.wire.asgi import Scope
from angelia.wire.socket import Socket, text_frame

BAD_FRAME, NO_CREDENTIALS, NO_RIGHTS, TOO_SLOW, TOO_MANY = 4400, 4401, 4403, 4408, 4429
GREETING = 10.0  # seconds in which a client without credentials must show some, or bind something public
RECHECK = 3.0  # seconds between two looks at the rights of a client
"""Beside those at once where this process hears of a change. With what `Callers` remembers, and the second from one look over all connections to
the next, a revoked token ends its streams within 5 s, whoever revoked it (promise P19).
"""
MOST_WAITING = 32
RETRY = 10_000  # milliseconds over which clients should spread when they come back
FORM = SocketForm()
_CODES: tuple[tuple[type[AngeliaError], str], ...] = (
    (InvalidInput, "invalid"),
    (NotAuthenticated, "not-authenticated"),
    (Forbidden, "forbidden"),
    (NotFound, "not-found"),
    (BrokerUnavailable, "unavailable"),
    (StoreUnavailable, "unavailable"),
)


@dataclass(frozen=True, slots=True)
class Room:
    """What all clients share."""

    streams: Streams
    entry: Entry
    epoch_seconds: Callable[[], float]


class Native:
    """One client; a Reader of its socket."""

    __slots__ = (
        "_again", "_begun_at", "_guest", "_is_gone", "_listener", "_looked_at", "_rights", "_room", "_socket", "_tasks", "_todo", "_worker",
    )  # fmt: skip

    def __init__(self, room: Room, socket: Socket, guest: Guest, again: Again) -> None:
        self._room = room
        self._socket = socket
        self._guest = guest
        self._again = again
        self._listener = room.streams.join(FORM, socket.write, self._too_slow, guest.name if guest.is_somebody else "")
        self._todo: deque[str] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun_at = monotonic()
        # Spread, so that those who came together are not looked at together.
        self._looked_at = self._begun_at - random.random() * RECHECK  # noqa: S311
        self._rights = room.entry.rights
        self._is_gone = False
        telemetry.stream_clients.labels("websocket").inc()

    # ---- what the socket tells

    def text(self, text: str) -> None:
        """Commands are done one after the other."""
        if len(self._todo) >= MOST_WAITING:
            self._socket.close(TOO_MANY, "commands come faster than they are answered")
            return
        self._todo.append(text)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    def gone(self) -> None:
        """The connection ended."""
        self._is_gone = True
        self._todo.clear()
        self._room.streams.leave(self._listener)
        telemetry.stream_clients.labels("websocket").dec()

    def paused(self) -> None:
        """It takes nothing."""
        self._room.streams.pause(self._listener)

    def resumed(self) -> None:
        """It takes again."""
        self._room.streams.resume(self._listener)

    def leaving(self) -> None:
        """The server stops: clients should not all come back at once."""
        self._socket.send(dumped({"closing": {"retry_in_ms": random.randrange(RETRY)}}))  # noqa: S311

    def look(self, now: float) -> None:
        """Are the rights still there?"""
        guest = self._guest
        if guest.ends_at is not None and guest.ends_at <= self._room.epoch_seconds():
            self._socket.close(NO_CREDENTIALS, "the token has expired")
        elif not guest.is_somebody and not self._listener.bindings and now - self._begun_at > GREETING:
            self._socket.close(NO_CREDENTIALS, "neither credentials nor a binding came")
        elif guest.is_somebody and (now - self._looked_at > RECHECK or self._rights != self._room.entry.rights):
            self._looked_at, self._rights = now, self._room.entry.rights
            task = asyncio.create_task(self._recheck())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _too_slow(self) -> None:
        telemetry.stream_cut.inc()
        self._socket.close(TOO_SLOW, "too slow: events wait for longer than they are kept for you")

    async def _recheck(self) -> None:
        try:
            guest = await self._again()
            if not guest.is_somebody:
                raise NotAuthenticated("the session has ended")
            await self._room.entry.check_held(guest, self._listener.bindings)
        except NotAuthenticated as error:
            self._socket.close(NO_CREDENTIALS, str(error))
        except (Forbidden, NotFound) as error:
            self._socket.close(NO_RIGHTS, str(error))
        except (StoreUnavailable, BrokerUnavailable):
            # Nobody can say now; we ask again in a few seconds.
            return

    # ---- commands

    async def _work(self) -> None:
        try:
            while self._todo:
                await self._answer(self._todo.popleft())
        except Exception as error:  # noqa: BLE001 - one client's command must not be lost in silence
            telemetry.log.error("stream_command_failed", kind=type(error).__name__, exc_info=error)
            self._socket.close(1011, "an operator will find it in the log")
        finally:
            self._worker = None

    async def _answer(self, text: str) -> None:
        command = _parsed(text)
        if command is None:
            self._socket.close(BAD_FRAME, "a frame is a JSON object with bind, unbind, token or ping")
            return
        mark = command.get("id")
        if mark is not None and (isinstance(mark, bool) or not isinstance(mark, str | int) or len(str(mark)) > 64):
            self._socket.close(BAD_FRAME, "an id is a number or a short text")
            return
        try:
            said = await self._done(command)
        except AngeliaError as error:
            code = next((word for kind, word in _CODES if isinstance(error, kind)), "error")
            said = {"error": {"code": code, "detail": str(error)[:300]}}
        if not self._is_gone:
            self._socket.write(text_frame(dumped(({"id": mark} if mark is not None else {}) | said)))
            self._room.streams.go_live(self._listener)

    async def _done(self, command: dict[str, Any]) -> dict[str, Any]:
        words = command.keys() & {"bind", "unbind", "token", "ping"}
        if len(words) != 1 or command.keys() - words - {"id", "since"}:
            raise InvalidInput("a command has one of bind, unbind, token and ping, an id, and with bind a since")
        if "token" in command:
            return await self._renew(command["token"])
        if "ping" in command:
            return {"pong": True}
        if "bind" in command:
            return await self._bind(_pairs(command["bind"]), command.get("since"))
        pairs = [await self._named(exchange, key) for exchange, key in _pairs(command["unbind"])]
        return {"unbound": _shown(pairs), "cursor": self._room.streams.unbind(self._listener, pairs)}

    async def _named(self, exchange: object, key: object) -> tuple[str, str]:
        """The inner name of a binding that is to be dropped; that needs no rights."""
        return next(
            ((name, held) for name, held in self._listener.bindings if outer_name(name) == exchange and held == key), (str(exchange), str(key))
        )

    async def _bind(self, wanted: list[tuple[object, object]], since: object) -> dict[str, Any]:
        if since is not None and (not isinstance(since, str) or len(since) > 8_192):
            raise InvalidInput("since is a cursor that a stream gave", "since")
        pairs = [await self._room.entry.bindable(self._guest, exchange, key) for exchange, key in wanted]
        if self._is_gone:
            return {}
        cursor = await self._room.streams.bind(self._listener, pairs, since)
        return {"bound": _shown(pairs), "cursor": cursor}

    async def _renew(self, token: object) -> dict[str, Any]:
        if not isinstance(token, str) or not token:
            raise InvalidInput("the token is a text", "token")
        guest = await self._room.entry.admission.guest(token)
        await self._room.entry.check_held(guest, self._listener.bindings)
        self._guest, self._listener.name = guest, guest.name
        admission = self._room.entry.admission
        self._again = lambda: admission.guest(token)
        return {"renewed": {"name": guest.name, "ends_at": guest.ends_at}}


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _pairs(value: object) -> list[tuple[object, object]]:
    entries = value if isinstance(value, list) else [value]
    found: list[tuple[object, object]] = [(entry.get("exchange"), entry.get("key", "#")) for entry in entries if isinstance(entry, dict)]
    if not 0 < len(found) == len(entries) <= MOST_BINDINGS:
        raise InvalidInput(f"bindings are objects with exchange and key, at most {MOST_BINDINGS}", "bind")
    return found


def _shown(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"exchange": outer_name(exchange), "key": key} for exchange, key in pairs]


async def open_native(room: Room, scope: Scope, socket: Socket) -> None:
    """Meet a client and open its stream. What is wrong with a header is told before the upgrade."""
    guest, again = await room.entry.meet(scope)
    offered = scope["subprotocols"]
    socket.accept(Native(room, socket, guest, again), PROTOCOL if PROTOCOL in offered else "")
