"""The operator's door: a socket in the data folder, which nobody but the hub's own user may open, so commands beside a hub need no token."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from angelia import telemetry

_LONGEST = 107
"""Bytes that the system takes as a socket's path."""


@dataclass(frozen=True, slots=True)
class LocalDoor:
    """Where it is, and the key by which the hub knows who came through it; the key never leaves the process."""

    path: Path
    key: bytes

    async def open(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.AbstractServer | None:
        """Listen; None where it can't be, or where another process of the same hub listens already: commands do without it."""
        path = str(self.path)
        try:
            if len(os.fsencode(path)) > _LONGEST:
                raise OSError(f"its path is longer than {_LONGEST} bytes")
            if _is_answered(path):
                return None
            self.path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.setblocking(False)
            # A mask at the making, since a later chmod leaves a moment in which anybody may come in.
            before = os.umask(0o177)
            try:
                listener.bind(path)
            finally:
                os.umask(before)
            return await asyncio.get_running_loop().create_unix_server(protocol, sock=listener)
        except OSError as error:
            telemetry.log.info("local_door_stays_shut", path=path, reason=str(error))
            return None

    def close(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self.path.unlink()


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
