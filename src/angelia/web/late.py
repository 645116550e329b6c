"""The framework behind the hot inlets, read when it is first asked for: reading it takes as long as the rest of a start.

The probes are answered before: whoever waits for the hub need not wait for the pages.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from threading import get_ident
from time import monotonic, sleep
from typing import Any

from angelia.web.context import Context
from angelia.web.headers import HEADERS
from angelia.wire.asgi import App, Receive, Scope, Send, respond
from angelia.wire.problems import Header

LIVE, READY = "/healthz/live", "/healthz/ready"
_HEADERS: list[Header] = [(b"content-type", b"application/json"), *((name.lower().encode(), text.encode()) for name, text in HEADERS.items())]


STRETCH, REST, LONGEST_REST = 0.001, 4, 0.2
"""What is read before anybody waits for it rests so many times as long as it worked; in seconds, after how much work, and at most how long."""
QUICK_SWITCH = 0.0001  # seconds


class Late:
    """An app that is made by the first request that needs it, or by `load`: `maker` reads what makes it of the context."""

    def __init__(self, context: Context, maker: Callable[[], Callable[[Context], App]]) -> None:
        self._context = context
        self._maker = maker
        self._app: App | None = None
        self._making = asyncio.Lock()
        self._is_awaited = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return await _as_get(self._answer, scope, receive, send)
        return await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in (LIVE, READY) and _is_plain_question(scope):
            return await _probe(scope["path"], self._context.ready, send)
        return await (self._app or await self.load())(scope, receive, send)

    async def load(self) -> App:
        """Make it in a thread, so that messages are taken meanwhile."""
        self._is_awaited = True
        async with self._making:
            return await asyncio.to_thread(self.made)

    async def load_ahead(self) -> None:
        """Make it before anybody asks, so that messages are not held up; at full speed once somebody does."""
        async with self._making:
            await asyncio.to_thread(self._made_at_leisure)

    def _made_at_leisure(self) -> None:
        with at_leisure(lambda: self._is_awaited):
            self.made()

    def made(self) -> App:
        """The app itself, made now if it is not there yet."""
        if self._app is None:
            self._app = self._maker()(self._context)
        return self._app


@contextmanager
def at_leisure(is_pressing: Callable[[], bool]) -> Iterator[None]:
    """Modules that this thread reads here are read with rests between them, until it presses, and whoever wants the interpreter's lock gets it
    soon. Read in one go they made a message take 80 ms instead of 10: its some twenty ways between the event loop and the threads of the
    store waited for that lock a millisecond each.
    """
    pace, interval = _Pace(is_pressing), sys.getswitchinterval()
    sys.meta_path.insert(0, pace)
    sys.setswitchinterval(min(interval, QUICK_SWITCH))
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        sys.meta_path.remove(pace)


class _Pace(MetaPathFinder):
    """Asked first where a module is, it finds none, and lets its thread rest in proportion to what it worked since."""

    def __init__(self, is_pressing: Callable[[], bool]) -> None:
        self._is_pressing = is_pressing
        self._thread = get_ident()
        self._began = monotonic()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Of no module."""
        del fullname, path, target
        if get_ident() != self._thread:
            return
        worked = monotonic() - self._began
        if worked > STRETCH and not self._is_pressing():
            with suppress(OSError):  # where the clock jumps meanwhile, the system may refuse to wait
                sleep(min(worked * REST, LONGEST_REST))
        self._began = monotonic()


async def _as_get(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """HEAD is there wherever GET is (RFC 9110, 9.1): few routes have one of their own, for the others GET answers, and its body is left out."""
    is_refused = scope["path"] in (LIVE, READY)  # the framework need not be read for these

    async def unless_refused(message: MutableMapping[str, Any]) -> None:
        nonlocal is_refused
        if message["type"] == "http.response.start":
            is_refused = message["status"] == 405
        if not is_refused:
            await send(message)

    async def without_body(message: MutableMapping[str, Any]) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    if not is_refused:
        await app(scope, receive, unless_refused)
    if is_refused:
        await app({**scope, "method": "GET"}, receive, without_body)


def _is_plain_question(scope: Scope) -> bool:
    """With a body or a query it is for the framework, which knows what to say of those."""
    has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
    return scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"] and not has_body


def health(faults: Collection[str]) -> tuple[int, dict[str, Any], dict[str, str]]:
    """What a probe is answered: status, body, headers of its own (promise P17)."""
    if faults:
        return 503, {"status": "not ready", "faults": sorted(faults)}, {"Retry-After": "2"}
    return 200, {"status": "ok"}, {}


async def _probe(path: str, ready: Callable[[], Awaitable[dict[str, str]]], send: Send) -> None:
    status, said, own = health(await ready() if path == READY else ())
    headers = [*_HEADERS, *((name.lower().encode(), text.encode()) for name, text in own.items())]
    await respond(send, status, json.dumps(said, separators=(",", ":")).encode(), headers)
