"""A file as an answer, or what is kept as one: ranges and dates as usual, the whole of a file by way of the connection where that takes files."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from angelia.products.source import Kept, Source
from angelia.wire.file_sending import FILES

_ASKED = "http.response.pathsend"


class FileAnswer(FileResponse):
    """In large pieces, where it is read here."""

    chunk_size = 1 << 20

    def __init__(self, source: Source, status_code: int = 200, headers: Mapping[str, str] | None = None, media_type: str | None = None) -> None:
        self._kept = source if isinstance(source, Kept) else None
        looked_at = None
        if isinstance(source, Kept):
            written = int(source.at.timestamp())
            looked_at = os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, len(source.content), written, written, written))
            # Its date has whole seconds: what tells it from another of the same second and size is its content.
            headers = {"etag": f'"{hashlib.sha256(source.content).hexdigest()[:32]}"', **(headers or {})}
        else:
            with suppress(OSError):  # then it is gone, which is found next
                looked_at = source.stat()
        super().__init__(source.name if isinstance(source, Kept) else source, status_code, headers, media_type, stat_result=looked_at)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        take = scope.get("extensions", {}).get(FILES)
        if self._kept is not None:
            return await super().__call__({**scope, "extensions": {}}, receive, send)
        if take is None:
            return await super().__call__(scope, receive, send)

        async def handed_on(message: Message) -> None:
            if message["type"] == _ASKED:
                await take(message["path"], send)
            else:
                await send(message)

        return await super().__call__({**scope, "extensions": {_ASKED: {}}}, receive, handed_on)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        if self._kept is None:
            async with super()._open_file() as file:
                yield file
        else:
            yield _InMemory(self._kept.content)


class _InMemory:
    """A small content, read as a file is."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    async def seek(self, place: int) -> None:
        self._place = place

    async def read(self, size: int) -> bytes:
        piece = self._content[self._place : self._place + size]
        self._place += len(piece)
        return piece
