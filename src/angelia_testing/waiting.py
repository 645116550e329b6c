"""Waiting for what comes by itself: look until it is so, or fail."""

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], seconds: float = 20.0) -> None:
    """Look every 50 ms; what is asked may be any value that can be true."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
