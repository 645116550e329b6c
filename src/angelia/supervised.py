"""What a service manager is told: that the hub serves, lives, and stops; nothing where nobody asks (sd_notify(3))."""

import asyncio
import os
import socket

from angelia import telemetry

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def tell(state: str) -> None:
    """One datagram to the socket that `NOTIFY_SOCKET` names; that it can't be told is logged, and no reason to end."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.setblocking(False)
            to.connect("\0" + place[1:] if place.startswith("@") else place)
            to.send(state.encode())
    except OSError as error:
        telemetry.log.warning("supervisor_not_told", state=state, error=str(error))


async def keep_telling() -> None:
    """That we live, twice in each interval of `WATCHDOG_USEC`: from the loop itself, so that one that hangs is noticed, and the hub begun anew."""
    interval = os.environ.get("WATCHDOG_USEC", "")
    if not interval.isdecimal() or int(interval) == 0 or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        tell(ALIVE)
        await asyncio.sleep(int(interval) / 2e6)
