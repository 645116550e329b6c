"""Waiting for what comes by itself: look until it is so, or fail."""

import asyncio
import time
from collections.abc import Callable

SHARE, LONGEST = 0.05, 0.3
"""Who has waited long looks seldom: a look may be a connection to a database, and costs others their time. A share of the time, seconds."""


def _pause(every: float, waited: float) -> float:
    return max(every, min(waited * SHARE, LONGEST))


def wait_until(is_true: Callable[[], object], seconds: float = 60.0, every: float = 0.05, what: object = "") -> None:
    """Look again and again, for so long at most; what is asked may be any value that can be true. `what` is named where it never came."""
    began = time.monotonic()
    while not is_true():
        waited = time.monotonic() - began
        assert waited < seconds, f"waited too long for {what or is_true}"
        time.sleep(_pause(every, waited))


async def eventually(is_true: Callable[[], object], seconds: float = 60.0, every: float = 0.02, what: object = "") -> None:
    """The same, while the loop goes on."""
    began = time.monotonic()
    while not is_true():
        waited = time.monotonic() - began
        assert waited < seconds, f"waited too long for {what or is_true}"
        await asyncio.sleep(_pause(every, waited))
