"""The framework behind the hot inlets, read when it is first asked for: reading it takes as long as the rest of a start.

The probes are answered before: whoever waits for the hub need not wait for the pages.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from angelia.web.context import Context
from angelia.web.headers import HEADERS
from angelia.wire.asgi import App, Receive, Scope, Send, respond
from angelia.wire.problems import Header

LIVE, READY = "/healthz/live", "/healthz/ready"
_HEADERS: list[Header] = [(b"content-type", b"application/json"), *((name.lower().encode(), text.encode()) for name, text in HEADERS.items())]


class Late:
    """An app that is made by the first request that needs it, or by `load`: `maker` reads what makes it of the context."""

    def __init__(self, context: Context, maker: Callable[[], Callable[[Context], App]]) -> None:
        self._context = context
        self._maker = maker
        self._app: App | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["path"] in (LIVE, READY) and _is_plain_question(scope):
            return await _probe(scope["path"], self._context.ready, send)
        return await (self._app or await self.load())(scope, receive, send)

    async def load(self) -> App:
        """Make it in a thread, so that messages are taken meanwhile."""
        async with self._making:
            return await asyncio.to_thread(self.made)

    def made(self) -> App:
        """The app itself, made now if it is not there yet."""
        if self._app is None:
            self._app = self._maker()(self._context)
        return self._app


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
