"""Waiting for what comes by itself: look until it is so, or fail."""

import asyncio
import time
from collections.abc import Callable


def wait_until(is_true: Callable[[], object], seconds: float = 60.0, every: float = 0.05, what: object = "") -> None:
    """Look again and again, for so long at most; what is asked may be any value that can be true. `what` is named where it never came."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited too long for {what or is_true}"
        time.sleep(every)


async def eventually(is_true: Callable[[], object], seconds: float = 60.0, every: float = 0.02, what: object = "") -> None:
    """The same, while the loop goes on."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited too long for {what or is_true}"
        await asyncio.sleep(every)
