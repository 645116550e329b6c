"""The jobs that one process looks after: each under a lease, carried by a task of its own; how many more it may take."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic

from angelia import telemetry
from angelia.flow.job_runner import Held, JobRunner
from angelia.instrument import Instrument
from angelia.model.errors import StoreUnavailable
from angelia.model.job import Job
from angelia.store import ClaimedJob, JobStore

LEASE = timedelta(seconds=30)
RENEW_EVERY = 10.0
"""Seconds: a lease survives two renewals that the store does not take."""
AT_ONCE = 100
"""Jobs that one turn takes."""


class JobsInHand:
    """Takes jobs from the store, as many as their instruments have room for. `is_open` while the stage works: else nothing is begun here."""

    def __init__(self, store: JobStore, instruments: Mapping[str, Instrument], runner: JobRunner, wake: Callable[[], None]) -> None:
        self._store, self._instruments, self._runner, self._wake = store, instruments, runner, wake
        self._held: dict[int, Held] = {}
        self._reserved: Counter[str] = Counter()
        self._renewed_at = monotonic()
        self._is_told = False
        self.is_open = False

    def get(self, job_id: int) -> Held | None:
        """One that is held here."""
        return self._held.get(job_id)

    @property
    def jobs(self) -> list[Job]:
        """All that are held here, as they were seen last."""
        return [held.job for held in self._held.values()]

    def has_room(self, instrument: str) -> bool:
        """May one more be begun here now?"""
        return self.is_open and self._rooms()[instrument] > 0

    def _rooms(self) -> dict[str, int]:
        used = self._reserved.copy()
        used.update(held.job.instrument for held in self._held.values())
        return {name: max(0, instrument.most_at_once - used[name]) for name, instrument in self._instruments.items()}

    @contextmanager
    def coming(self, instrument: str) -> Iterator[None]:
        """While it is written down it has its place already: others who ask meanwhile don't get it."""
        self._reserved[instrument] += 1
        try:
            yield
        finally:
            self._reserved[instrument] -= 1

    async def begin(self, job: Job, now: datetime) -> None:
        """A new job that is ours already: a turn of the stage, and the commit of its claim, are spared."""
        if self.is_open:
            self._hold(ClaimedJob(job, is_first=True))
        else:
            # The stage was told to stop meanwhile: whoever comes next takes it at once.
            await self._store.renew_jobs({job.job_id: job.fence}, now)

    async def take(self, now: datetime) -> int:
        """Renew what is held, and take what is due, as much as there is room for; how many."""
        await self._look_at_held()
        await self._renew(now)
        # Half of what is free, and the other half next: new requests meanwhile find room, and together they are not too many.
        rooms = {name: (room + 1) // 2 for name, room in self._rooms().items()}
        self._reserved.update(rooms)
        try:
            claimed = await self._store.claim_jobs(rooms, LEASE, now, AT_ONCE) if rooms else []
        finally:
            self._reserved.subtract(rooms)
        for claim in claimed:
            self._hold(claim)
        return len(claimed)

    def hear(self) -> None:
        """Something was said of a job elsewhere: the next turn looks whether it is one of these."""
        self._is_told = True

    async def _look_at_held(self) -> None:
        """Those that were changed elsewhere are asked for at once, and not when their poll is due."""
        if not self._is_told:
            return
        self._is_told = False
        if held := dict(self._held):
            there = await self._store.jobs_by_id(list(held))
            for job_id, one in held.items():
                if job_id not in there or there[job_id].changed_at != one.job.changed_at:
                    one.hurry.set()

    async def _renew(self, now: datetime) -> None:
        if not self._held or monotonic() - self._renewed_at < RENEW_EVERY:
            return
        self._renewed_at = monotonic()
        ours = await self._store.renew_jobs({job_id: held.job.fence for job_id, held in self._held.items()}, now + LEASE)
        for job_id, held in list(self._held.items()):
            if job_id not in ours and held.task is not None:
                # Ended or taken by somebody else: the next poll would find out; this is sooner.
                held.hurry.set()

    def _hold(self, claim: ClaimedJob) -> None:
        if (before := self._held.get(claim.job.job_id)) is not None and before.task is not None:
            # Tried again, or our own lease ran out while the store took nothing: that task's fence is old.
            before.task.cancel()
        held = Held(claim.job, claim.is_first, asyncio.Event())
        held.task = asyncio.create_task(self._carry(held), name=f"job {claim.job.public_id}")
        self._held[claim.job.job_id] = held

    async def _carry(self, held: Held) -> None:
        try:
            await self._runner.carry(held, self._instruments[held.job.instrument])
        except StoreUnavailable as error:
            telemetry.log.warning("job_left", job=held.job.public_id, error=str(error))
        except Exception:  # noqa: BLE001 - one job must not end the others; its lease brings it back
            telemetry.log.exception("job_left", job=held.job.public_id)
        finally:
            if self._held.get(held.job.job_id) is held:
                del self._held[held.job.job_id]
            self._wake()

    async def leave(self, now: Callable[[], datetime]) -> None:
        """Leave all to whoever comes next: it is due at once, and found by its key."""
        self.is_open = False
        tasks = [held.task for held in self._held.values() if held.task is not None]
        held = {job_id: one.job.fence for job_id, one in self._held.items()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if held:
            await self._store.renew_jobs(held, now())
