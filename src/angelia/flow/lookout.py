"""One look for all stages: has anybody written, is it time for something? So a stage that has nothing to do asks nothing."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic

from angelia.flow.loop import SHORT_REST, Clock
from angelia.model.errors import StoreUnavailable
from angelia.store import Store

LOOK_EVERY = 0.5  # seconds
CLOCK_RUNS_AWAY = timedelta(seconds=1)
"""The machine slept, or was held: timers of the loop did not count that time."""


class LookOut:
    """Rings for all stages when another process wrote or the clock brought something: at once, then at most once a second.

    Rings also for what this process wrote: what it means for stages need not be known where it is written.
    """

    def __init__(self, store: Store, agents: Collection[str], ring: Callable[[], None], clock: Clock) -> None:
        self._store, self._agents, self._ring, self._clock = store, agents, ring, clock
        self._pulse: int | None = None
        self._next_at: datetime | None = None
        self._rang_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        looked_at = self._clock()
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await stop.wait()
            now = self._clock()
            has_slept = now - looked_at > timedelta(seconds=LOOK_EVERY) + CLOCK_RUNS_AWAY
            looked_at = now
            # A store that can't say it is asked by each stage, which tells what is wrong and waits longer each time.
            with suppress(StoreUnavailable):
                await self.look(now, monotonic(), has_slept=has_slept)

    async def look(self, now: datetime, seconds: float, *, has_slept: bool = False) -> bool:
        """One look; did it ring? `seconds` is on the monotonic clock."""
        if seconds - self._rang_at < SHORT_REST:
            return False
        pulse = await self._store.pulse()
        is_due = self._next_at is not None and self._next_at <= now
        if pulse == self._pulse and not is_due and not has_slept:
            return False
        # First the pulse, then the time: what is written between the two is seen by the next look.
        self._pulse, self._rang_at = pulse, seconds
        self._next_at = await self._store.next_due_at(self._agents, now)
        self._ring()
        return True
