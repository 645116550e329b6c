"""Expired leases, lost work, retention, and the numbers that operators watch."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic

from angelia import telemetry
from angelia.model.delivery import State
from angelia.model.errors import StoreUnavailable
from angelia.store import Store

LEASES_EVERY = timedelta(seconds=5)
NUMBERS_EVERY = timedelta(seconds=30)
NUMBERS_SHARE = 200  # counting a long history takes a second: it rests so many times longer, to be less than a hundredth of a processor
PURGE_EVERY = timedelta(minutes=10)
PURGE_BATCH = 1_000
CHORES_EVERY = timedelta(minutes=1)

Chore = Callable[[datetime], Awaitable[None]]


class Janitor:
    """The stage that tidies up. Its turns are spaced by the clock; each part may run anywhere, any number of times."""

    name = "janitor"

    def __init__(self, store: Store, retention: timedelta, chores: Sequence[Chore] = ()) -> None:
        """`chores` are what other rooms want done each minute."""
        self._store = store
        self._retention = retention
        self._chores = chores
        self._last: dict[str, datetime] = {}
        self._numbers_every = NUMBERS_EVERY

    def is_restless(self) -> bool:
        """Always: what it does has times of its own."""
        return True

    async def drain(self) -> None:
        """Nothing is in hand between turns."""

    async def turn(self, now: datetime) -> int:
        """Whatever is its time; never counts as work, so that the loop rests after it."""
        if self._is_time("leases", now, LEASES_EVERY):
            back = await self._store.requeue_expired_leases(now)
            if back:
                telemetry.log.warning("leases_expired", count=back)
        if self._is_time("numbers", now, self._numbers_every):
            began = monotonic()
            await self._numbers(now)
            self._numbers_every = max(NUMBERS_EVERY, timedelta(seconds=(monotonic() - began) * NUMBERS_SHARE))
        if self._is_time("purge", now, PURGE_EVERY):
            # In slices: whoever waits to write gets a turn between two of them.
            while await self._store.purge(now, self._retention, PURGE_BATCH) == PURGE_BATCH:
                pass
            while await self._store.forget(now, PURGE_BATCH) == PURGE_BATCH:
                pass
        if self._is_time("chores", now, CHORES_EVERY):
            for chore in self._chores:
                await self._do(chore, now)
        return 0

    async def _do(self, chore: Chore, now: datetime) -> None:
        """One that fails keeps none of the others from their minute."""
        try:
            await chore(now)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - other rooms' bugs end here; it is tried again in a minute
            telemetry.stage_failures.labels(self.name).inc()
            telemetry.log.exception("chore_failed", chore=getattr(chore, "__qualname__", repr(chore)), error=str(error))

    def _is_time(self, part: str, now: datetime, every: timedelta) -> bool:
        last = self._last.get(part)
        # A clock that went back makes `now - last` negative: then it is time, too.
        if last is not None and timedelta() <= now - last < every:
            return False
        self._last[part] = now
        return True

    async def _numbers(self, now: datetime) -> None:
        counts = await self._store.conservation()
        for state in State:
            telemetry.delivery_states.labels(state.label).set(counts.get(state, 0))
        for backlog in await self._store.backlog():
            telemetry.queue_depth.labels(backlog.agent, "due").set(backlog.due)
            telemetry.queue_depth.labels(backlog.agent, "held").set(backlog.held)
            telemetry.queue_depth.labels(backlog.agent, "sending").set(backlog.sending)
            oldest = backlog.oldest_due_at
            telemetry.queue_age.labels(backlog.agent).set(max(0.0, (now - oldest).total_seconds()) if oldest else 0)
