"""The clock of the house: it goes on evenly where the machine's clock jumps (promise P13)."""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from angelia import telemetry
from angelia.model.moments import from_us

SLEW = 0.1
"""How fast a difference is made up: a tenth of the time that passes, so an hour takes ten."""
TOLD_FROM = 2_000_000_000
"""A difference in nanoseconds that an operator should know."""


_elapsed: Callable[[], int] = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns
"""Nanoseconds since some moment: they count while the machine sleeps, and no one can set them."""


class SteadyClock:
    """Begins with the machine's time; then follows it slowly. A jump makes nothing due at once, lets no lease run out, and sends no slot back.

    To take over a new time at once, restart the hub.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, elapsed: Callable[[], int] = _elapsed) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._seen = elapsed()
        self._offset = wall() - self._seen
        self._has_told = False

    def us(self) -> int:
        """Microseconds since 1970."""
        elapsed = self._elapsed()
        gap = self._wall() - elapsed - self._offset
        most = int((elapsed - self._seen) * SLEW)
        self._offset += gap if -most <= gap <= most else (most if gap > 0 else -most)
        self._seen = elapsed
        if self._has_told or not -TOLD_FROM < gap < TOLD_FROM:
            self._tell(gap)
        return (elapsed + self._offset) // 1_000

    def __call__(self) -> datetime:
        """The time, aware, in UTC."""
        return from_us(self.us())

    def _tell(self, gap: int) -> None:
        is_far = abs(gap) >= TOLD_FROM
        if is_far and not self._has_told:
            telemetry.log.warning("clock_jumped", seconds=round(gap / 1e9, 1), advice="followed slowly; a restart takes it over at once")
        self._has_told = is_far


now = SteadyClock()
"""The only clock of a house, unless it is given another."""
