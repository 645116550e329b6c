"""Rooms that are read with the first request for them: most sites speak few of the dialects, and reading all takes a third of a start."""

import asyncio
from collections.abc import Callable

from angelia.wire.asgi import App, Receive, Scope, Send


class LateRoom:
    """What lies at these paths, and the app behind it for everything else. `make` puts the room in front of an app; it may take long."""

    def __init__(self, paths: tuple[str, ...], behind: App, make: Callable[[App], App]) -> None:
        """`paths`: how paths begin that the room may want; it decides itself."""
        self._paths, self._behind, self._make = paths, behind, make
        self._room: App | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] in ("http", "websocket") and scope["path"].startswith(self._paths):
            return await (self._room or await self._made())(scope, receive, send)
        return await self._behind(scope, receive, send)

    async def _made(self) -> App:
        """In a thread, so that messages are taken meanwhile."""
        async with self._making:
            if self._room is None:
                self._room = await asyncio.to_thread(self._make, self._behind)
            return self._room
