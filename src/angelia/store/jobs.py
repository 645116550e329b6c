"""Jobs, their histories and products."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from angelia.model.job import Campaign, HistoryRow, Job, JobChange, JobState, Product

MOST_HISTORY = 1_000
"""Rows kept of one job: beyond, mere progress is not."""


class Joined(Enum):
    """What became of a job that was to be added."""

    NEW = "new"
    JOINED = "joined"
    """The same was asked before: its run, or its result, is this one's too."""
    RETRIED = "retried"
    """The same was asked before and came to no result: it runs again."""


@dataclass(frozen=True, slots=True)
class AddedJob:
    """The job as it is now, and how it came to be; `taken`, where it was new and is this worker's at once: the job as claimed."""

    job: Job
    joined: Joined
    taken: Job | None = None


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """One that is this worker's until its lease ends. `is_first`: it was QUEUED, and nobody has given it to its instrument."""

    job: Job
    is_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs, the youngest first. `login` None: of everybody. `before_id` is the last one of the page before."""

    login: str | None = None
    states: Collection[JobState] = ()
    instrument: str = ""
    session: str = ""
    campaign: str = ""
    before_id: int | None = None
    limit: int = 50


class JobStore(Protocol):
    """Jobs, their histories and products.

    One content hash has one job that counts: two who ask the same at once get the same, and it is started once.
    """

    async def add_job(
        self, job: Job, now: datetime, *, is_fresh: bool = False, most_waiting: int = 0, lease: timedelta | None = None, is_told_again: bool = False
    ) -> AddedJob:
        """Make it, or join the one of the same content hash. `is_fresh`: one that is done does not count, and a new one is made. With a `lease`
        a new one is claimed for so long in the same transaction, unless others wait for its instrument.

        Who joins one that has not begun to compute is told so; with `is_told_again` also one who had asked for it before.

        RateLimited where the owner has `most_waiting` jobs that have not ended (0: any number), and this would be one more.
        """

    async def job(self, job_id: int) -> Job | None:
        """One by its id."""

    async def jobs_by_id(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those of these ids that there are."""

    async def job_by_alias(self, alias: str, login: str | None = None) -> Job | None:
        """The youngest that has this alias, for this person where one is named."""

    async def jobs(self, query: JobQuery) -> list[Job]:
        """A page of them."""

    async def job_ids(self, login: str | None, limit: int) -> list[int]:
        """The ids of her jobs alone, the youngest first; with None of those of all."""

    async def claim_jobs(self, rooms: Mapping[str, int], lease: timedelta, now: datetime, limit: int) -> list[ClaimedJob]:
        """Those that are due: of each instrument, `rooms` that wait to be started, and all that it has and nobody looks after."""

    async def renew_jobs(self, held: Mapping[int, int], until: datetime) -> set[int]:
        """Longer leases, by job id and fence; which of them are still this worker's."""

    async def change_job(self, job_id: int, change: JobChange, now: datetime) -> Job | None:
        """Apply `model.job.after` and write its row of history; the job after it, None where nothing was changed."""

    async def leave_job(self, job_id: int, login: str, now: datetime) -> bool:
        """She doesn't want it any more; False if others do, too, and True where she was the only one (then nothing is changed)."""

    async def job_history(self, job_id: int) -> list[HistoryRow]:
        """All that happened to it, oldest first."""

    async def untold_jobs(self, limit: int, before: datetime | None = None) -> list[tuple[int, Job, HistoryRow]]:
        """What people are still to be told, oldest first: its number, the job as it is now, and what happened. Jobs of nobody tell nothing.
        A row of the reason ASKED is for who asked alone.
        With `before`, what is younger is left out, unless the job has ended.
        """

    async def told_jobs(self, numbers: Collection[int]) -> None:
        """They are said."""

    async def untold_campaigns(self, before: datetime, limit: int) -> list[Campaign]:
        """Those of which the last job ended before, and nothing was said since: it is decided together with the end of that job."""

    async def campaign_counts(self, login: str, name: str) -> dict[JobState, int]:
        """How many of her jobs of this campaign are in which state."""

    async def told_campaigns(self, told: Collection[Campaign]) -> None:
        """They are said; one that went on, and ended again, is not."""

    async def job_products(self, job_id: int) -> list[Product]:
        """What came of it, in the order in which it was listed."""

    async def old_jobs(self, before: datetime, limit: int) -> list[int]:
        """Those that ended before, the longest ended first."""

    async def forget_jobs(self, job_ids: Collection[int]) -> None:
        """With all that belongs to them."""

    async def job_counts(self) -> dict[tuple[str, JobState], int]:
        """How many have not ended, by instrument and state."""

    async def kept_bytes(self, login: str) -> int:
        """How much the products of the jobs that she asked for first take."""
