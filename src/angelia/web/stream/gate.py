"""Where streams part from requests: WebSockets, event streams and looks at events are taken here, everything else goes on."""

import json

from angelia.broker import Broker
from angelia.model.errors import AngeliaError
from angelia.web.stream.native import Room, open_native
from angelia.web.stream.sse import events, stream
from angelia.wire.asgi import App, Receive, Scope, Send, respond
from angelia.wire.problems import PROBLEM_HEADERS, problem, problem_of, status_of
from angelia.wire.socket import EXTENSION

STREAM = "/api/v1/stream"
EVENTS = "/api/v1/events"


class StreamGate:
    """ASGI before all else; `behind` never sees a WebSocket."""

    def __init__(self, behind: App, room: Room, broker: Broker) -> None:
        self._behind = behind
        self._room = room
        self._broker = broker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope["path"] if scope["type"] in ("http", "websocket") else ""
        if scope["type"] == "websocket":
            socket = scope["extensions"][EXTENSION]
            if path == STREAM:
                try:
                    await open_native(self._room, scope, socket)
                except AngeliaError as error:
                    socket.refuse(status_of(error), str(error))
            return
        if scope["type"] == "http" and scope["method"] == "GET" and path in (STREAM, EVENTS):
            try:
                if path == STREAM:
                    await stream(self._room, scope, receive, send)
                else:
                    await events(self._room, self._broker, scope, send)
            except AngeliaError as error:
                await respond(send, *problem_of(error))
            return
        if scope["type"] == "http" and path in (STREAM, EVENTS):
            body = b"" if scope["method"] == "HEAD" else json.dumps(problem(405, "events are read here with GET")).encode()
            await respond(send, 405, body, [*PROBLEM_HEADERS, (b"allow", b"GET")])
            return
        await self._behind(scope, receive, send)
