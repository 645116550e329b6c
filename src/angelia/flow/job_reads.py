"""Reads of single jobs, many at once in one look at the store: most of them are polls, and each look costs more than the job it is for."""

import asyncio
from collections.abc import Mapping

from angelia.model.job import Job
from angelia.store import JobStore

MOST_AT_ONCE = 200


class JobReads:
    """Whoever asks while a look is under way waits for the next one: what is read is never older than the question."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._waiting: dict[int, asyncio.Future[Job | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def job(self, job_id: int) -> Job | None:
        """One by its id."""
        future = self._waiting.get(job_id)
        if future is None:
            future = self._waiting[job_id] = asyncio.get_running_loop().create_future()
            # Nobody may be there to hear of a fault any more.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(future)

    async def _look(self) -> None:
        while self._waiting:
            asked = {job_id: self._waiting.pop(job_id) for job_id in list(self._waiting)[:MOST_AT_ONCE]}
            try:
                found: Mapping[int, Job] = await self._store.jobs_by_id(list(asked))
            except Exception as error:  # noqa: BLE001 - it belongs to those who asked
                for future in asked.values():
                    future.set_exception(error)
                continue
            for job_id, future in asked.items():
                future.set_result(found.get(job_id))
