"""A file as an answer: ranges and dates as usual, the whole of it by way of the connection where that takes files."""

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from angelia.wire.sending import FILES

_ASKED = "http.response.pathsend"


class FileAnswer(FileResponse):
    """In large pieces, where it is read here."""

    chunk_size = 1 << 20

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        take = scope.get("extensions", {}).get(FILES)
        if take is None:
            return await super().__call__(scope, receive, send)

        async def handed_on(message: Message) -> None:
            if message["type"] == _ASKED:
                await take(message["path"], send)
            else:
                await send(message)

        return await super().__call__({**scope, "extensions": {_ASKED: {}}}, receive, handed_on)
