"""A house served on a real port of this process, and clients of its streams."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from angelia.broker import Broker, ExchangeSettings
from angelia.flow.streams import Streams
from angelia.web.stream.entry import Entry
from angelia.web.stream.gate import StreamGate
from angelia.web.stream.native import Room
from angelia.wire.admission import Admission
from angelia.wire.asgi import App, Receive, Scope, Send
from angelia.wire.connection import Limits, protocol
from angelia.wire.express import Express
from angelia.wire.server import Server
from angelia.wire.socket import Socket
from angelia_testing.peers.process import free_port


@contextlib.asynccontextmanager
async def served(
    app: App,
    port: int = 0,
    *,
    backlog: int = 2_048,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    express: Express | None = None,
    idle: int = 5,
) -> AsyncIterator[int]:
    """Serve an app as the hub does, on a free port where none is given; the port."""
    port = port or free_port()
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http=protocol(limits, express),
        ws=Socket,
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=backlog,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=idle,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    try:
        yield port
    finally:
        server.should_exit = True
        await task


class _Nobody:
    version = 0

    async def of(self, authorization: str | None) -> None:
        return None


def open_streams(exchanges: Mapping[str, ExchangeSettings], broker: Broker) -> tuple[App, Streams]:
    """The native streams of a broker alone, for whoever asks, without a house: to measure them. Close the streams at the end."""
    streams = Streams(broker)
    nobody: Any = _Nobody()
    nothing: Any = None  # no exchange is asked about elsewhere, and nobody has a session
    entry = Entry(Admission(exchanges, nobody, nothing, time.time), nobody, frozenset())
    return StreamGate(_nothing, Room(streams, entry, time.time), broker), streams


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("there is nothing but streams")


class LiveClient:
    """A client of a stream; text frames are JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, command: object) -> None:
        """Send a command."""
        await self.socket.send(command if isinstance(command, str | bytes) else json.dumps(command))

    async def next(self, within: float = 10.0) -> Any:
        """The next frame, or TimeoutError."""
        async with asyncio.timeout(within):
            return json.loads(await self.socket.recv())

    async def ask(self, command: object) -> Any:
        """Say, and give the answer."""
        await self.say(command)
        return await self.next()

    async def bodies(self, count: int, within: float = 10.0) -> list[Any]:
        """The bodies of the next events."""
        return [(await self.next(within))["event"]["body"] for _ in range(count)]

    async def nothing(self, within: float = 0.3) -> bool:
        """Does nothing come?"""
        try:
            await self.next(within)
        except TimeoutError:
            return True
        return False

    async def closed(self, within: float = 10.0) -> tuple[int | None, str | None]:
        """Code and reason once it is closed; what comes before is read away."""
        async with asyncio.timeout(within):
            with contextlib.suppress(Exception):
                while True:
                    await self.socket.recv()
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason


@contextlib.asynccontextmanager
async def following(port: int, path: str = "/api/v1/stream", token: str = "", **options: Any) -> AsyncIterator[LiveClient]:
    """A client of a served house."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= options.pop("headers", {})
    options = {"compression": None, "ping_interval": None, "proxy": None, "max_size": 2**26} | options
    async with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, **options) as socket:
        yield LiveClient(socket)
