"""Claim a few, decide, record; wake on a hint or the clock; drain on stop. One loop runs every stage."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from angelia import telemetry
from angelia.model.errors import StoreUnavailable

Clock = Callable[[], datetime]
SHORT_REST = 1.0  # seconds: the clock guarantees what a lost hint would have hurried
LONG_REST = 10.0  # seconds, where a look-out hints at all that comes; these are for what it would overlook
LONGEST_PENANCE = 10.0  # seconds between turns of a stage that keeps failing


class Stage(Protocol):
    """One station in the life of a message. `turn` does a bounded amount of work and may run twice at any time."""

    name: str

    async def turn(self, now: datetime) -> int:
        """Work once; how much was done. 0 lets the loop rest."""

    def is_restless(self) -> bool:
        """Has it something to look after that nobody hints at? Then its rests are short."""

    async def drain(self) -> None:
        """Finish or give back what is in hand; called once, after the last turn."""


class Hint:
    """Something happened that a stage may want to see; hints only hurry, and may be lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        """Wake whoever waits, now or next."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Until a hint, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


async def run(stage: Stage, hint: Hint, clock: Clock, stop: asyncio.Event, longest: float = SHORT_REST) -> None:
    """Turn after turn until `stop`; a turn that raises is told and tried again, slower each time. `longest`: LONG_REST with a look-out."""
    failures = 0
    while not stop.is_set():
        try:
            done = await stage.turn(clock())
            failures = 0
        except Exception as error:  # noqa: BLE001 - one bad turn must not end the stage; the claim's lease brings its items back
            failures += 1
            done = 0
            telemetry.stage_failures.labels(stage.name).inc()
            told = telemetry.log.warning if isinstance(error, StoreUnavailable) else telemetry.log.exception
            told("stage_failed", stage=stage.name, error=str(error), failures=failures)
            await _do_penance(failures)
        if not done and not stop.is_set():
            await hint.wait(SHORT_REST if failures or stage.is_restless() else longest)
    await stage.drain()


async def keep(name: str, begin: Callable[[], Awaitable[None]], failed: Callable[[str], None] = lambda _: None) -> None:
    """What runs beside the stages, until it ends by itself: where it breaks that is told, and it begins again, later each time."""
    failures = 0
    while True:
        try:
            await begin()
            return
        except Exception as error:  # noqa: BLE001 - a bug must neither end it for good nor go unseen
            failures += 1
            why = f"{type(error).__name__}: {error}"
            telemetry.stage_failures.labels(name).inc()
            telemetry.log.exception("broke_off", part=name, error=str(error), failures=failures)
            failed(why)
            await _do_penance(failures)


async def _do_penance(failures: int) -> None:
    """Longer for each failure in a row."""
    await asyncio.sleep(min(LONGEST_PENANCE, 0.1 * 2 ** min(failures, 10)))
