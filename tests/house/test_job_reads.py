"""Single jobs are read many at once, never older than the question, and a fault goes to those who asked."""

import asyncio

import pytest

from angelia.flow.job_reads import JobReads
from angelia.model.errors import StoreUnavailable


class SlowStore:
    """Answers a look when the test lets it, with what was true when the look began."""

    def __init__(self):
        self.looks, self.gates, self.version = [], [], 0

    async def jobs_by_id(self, job_ids):
        self.looks.append(sorted(job_ids))
        found = {job_id: (job_id, self.version) for job_id in job_ids if job_id < 100}
        self.gates.append(asyncio.Event())
        await self.gates[-1].wait()
        if self.version == "broken":
            raise StoreUnavailable("gone")
        return found


async def begun(store, count):
    async with asyncio.timeout(10):
        while len(store.looks) < count:
            await asyncio.sleep(0)


async def test_who_asks_while_a_look_is_under_way_gets_the_next_one():
    store = SlowStore()
    reads = JobReads(store)
    first = asyncio.create_task(reads.job(1))
    await begun(store, 1)
    others = [asyncio.create_task(reads.job(job_id)) for job_id in (1, 2, 2, 100)]
    await asyncio.sleep(0)
    store.version = 1
    store.gates[0].set()
    await begun(store, 2)
    store.gates[1].set()
    assert await first == (1, 0)
    assert await asyncio.gather(*others) == [(1, 1), (2, 1), (2, 1), None]
    assert store.looks == [[1], [1, 2, 100]]


async def test_a_fault_and_one_who_left_harm_nobody_else():
    store = SlowStore()
    reads = JobReads(store)
    gone, stays = asyncio.create_task(reads.job(1)), asyncio.create_task(reads.job(1))
    await begun(store, 1)
    gone.cancel()
    store.version = "broken"
    store.gates[0].set()
    with pytest.raises(StoreUnavailable):
        await stays
    store.version = 2
    again = asyncio.create_task(reads.job(1))
    await begun(store, 2)
    store.gates[1].set()
    assert await again == (1, 2)
