"""The HTTP server: uvicorn, which looks after its connections, and may have a local door too.

One look a second over all connections closes those that owe us something for too long, so a request that is in time costs no timer.
"""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any

import uvicorn

from angelia.wire.connection import OperatorProtocol, WatchedProtocol
from angelia.wire.local import LocalDoor
from angelia.wire.socket import Socket

MOST_BETWEEN = 2.0  # seconds between two looks that count against clients


def check_all(connections: Iterable[Any], now: float, patience: float) -> None:
    """One look over all connections, at `now` on the monotonic clock, and at `patience` on the one by which clients owe us something."""
    for connection in list(connections):
        if isinstance(connection, WatchedProtocol):
            connection.check(patience)
        elif isinstance(connection, Socket):
            connection.check(now)


class Server(uvicorn.Server):
    """uvicorn, which leaves signals to us: stages and server stop together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """No handlers of its own."""
        yield

    def __init__(self, config: uvicorn.Config, door: LocalDoor | None = None) -> None:
        self._end = asyncio.Event()
        self._door = door
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then the local door. OSError where the port is not free: uvicorn would end the process."""
        try:
            await super().startup(sockets)
        except SystemExit as ended:
            number = ended.__context__.errno if isinstance(ended.__context__, OSError) else None
            why = os.strerror(number) if number else "see the log"
            raise OSError(f"can't listen on {self.config.host}:{self.config.port}: {why}") from None
        if self._door is None:
            return
        made: dict[str, Any] = self.config.http_protocol_class.keywords  # type: ignore[attr-defined]
        state = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        opened = await self._door.open(functools.partial(OperatorProtocol, **made, **state, key=self._door.key))
        if opened is None:
            self._door = None
        else:
            self.servers.append(opened)  # type: ignore[arg-type]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and the door is gone before it begins: commands find their own way from now on."""
        if self._door is not None:
            self._door.close()
        await super().shutdown(sockets)

    @property
    def should_exit(self) -> bool:
        """Has it been told to end?"""
        return self._end.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._end.set()
        else:
            self._end.clear()

    async def main_loop(self) -> None:
        """Once a second, and not ten times as uvicorn does, for a date that our answers do not have.

        Where thousands come at once a look may be late by many seconds, and what clients sent in time is unread: our delay is no debt of theirs.
        """
        seen = patience = monotonic()
        while not self.should_exit:
            now = monotonic()
            patience += min(now - seen, MOST_BETWEEN)
            seen = now
            check_all(self.server_state.connections, now, patience)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._end.wait()
