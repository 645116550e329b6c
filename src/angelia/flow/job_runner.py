"""One job in hand: give it to its instrument, ask how it stands, write down what came of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic

from angelia import telemetry
from angelia.flow.job_files import BadProducts, JobFiles, collect, has_manifest, taken
from angelia.instrument import CantTell, Done, Failed, Gone, Handle, Instrument, NotStarted, Outcome, Progress, Rejected, Work
from angelia.model.errors import InvalidInput, StoreUnavailable
from angelia.model.job import Job, JobChange, JobReason, JobState, is_empty
from angelia.store import JobStore

BY = "dispatcher"
LONGEST_CALL = 60.0
"""Seconds in which an instrument must answer: one that hangs ends only its own job."""
MOST_STARTS = 3
"""So many times is a job begun anew by itself, where it may be."""
SOON = 0.2
"""Seconds in which a short job is over."""
PROGRESS_EVERY = 0.5
"""Seconds between two words of progress that are written down."""


@dataclass(frozen=True, slots=True)
class JobPatience:
    """How long is waited. `unreachable`: for an instrument that takes nothing; `silent`: for one that has the job and says nothing."""

    unreachable: timedelta = timedelta(hours=12)
    silent: timedelta = timedelta(hours=1)
    first_pause: float = 1.0
    longest_pause: float = 60.0

    def pause(self, tries: int) -> float:
        """Seconds before the next try."""
        return float(min(self.longest_pause, self.first_pause * 2 ** min(tries, 10)))


@dataclass(slots=True)
class Held:
    """A job that this process looks after. `hurry` asks for a poll now."""

    job: Job
    is_first: bool
    hurry: asyncio.Event
    task: "asyncio.Task[None] | None" = None


class JobRunner:
    """Carries jobs through their instruments. What it writes holds only under its lease: an old one changes nothing."""

    def __init__(
        self,
        store: JobStore,
        files: JobFiles,
        make_work: Callable[[Job, Callable[[], None]], Work],
        now: Callable[[], datetime],
        entered: Callable[[Job], None],
        patience: JobPatience | None = None,
    ) -> None:
        self._store, self._files, self._make_work, self._now, self._entered = store, files, make_work, now, entered
        self._patience = patience or JobPatience()

    async def carry(self, held: Held, instrument: Instrument) -> None:
        """To its end, or until it must wait: then it is claimed again."""
        work = self._make_work(held.job, held.hurry.set)
        handle = held.job.handle
        if held.job.state is JobState.SUBMITTING:
            started = await self._start(held, instrument, work)
            if started is None:
                return
            handle = started
        await self._follow(held, instrument, work, handle)

    async def _start(self, held: Held, instrument: Instrument, work: Work) -> Handle | None:
        """Its handle; None where what came of it is written down already."""
        tries, is_unsure, heard_at = 0, not held.is_first, self._now()
        while True:
            if is_unsure:
                found = await self._find(instrument, work)
                if isinstance(found, str):
                    return await self._given(held, instrument, work, found)
                if isinstance(found, CantTell) and not found.is_for_good:
                    tries += 1
                    if await self._is_given_up(held, instrument, work, str(found), heard_at):
                        return None
                    await self._rest(held, self._patience.pause(tries))
                    continue
                heard_at = self._now()
                if isinstance(found, CantTell) and not instrument.declaration.is_repeatable:
                    await self._change(held, instrument, JobState.LOST, JobReason.SILENT, str(found))
                    return None
            outcome = await self._submit(held, instrument, work)
            if isinstance(outcome, str):
                return await self._given(held, instrument, work, outcome)
            if outcome is None:
                return None
            is_unsure, tries = True, tries + 1
            if tries > MOST_STARTS and not isinstance(outcome, CantTell | TimeoutError):
                await self._change(held, instrument, JobState.FAILED, JobReason.CRASH, f"the instrument broke: {outcome}")
                return None
            await self._rest(held, self._patience.pause(tries - 1))

    async def _submit(self, held: Held, instrument: Instrument, work: Work) -> Handle | Exception | None:
        """The handle; None where it is settled; an exception where nobody knows whether it started."""
        if held.job.deadline_at is not None and self._now() >= held.job.deadline_at:
            await self._change(held, instrument, JobState.FAILED, JobReason.DEADLINE, "its time was over before it could begin")
            return None
        if not getattr(instrument, "makes_folders", False):
            await asyncio.to_thread(self._files.make, held.job)
        try:
            async with asyncio.timeout(LONGEST_CALL):
                return await instrument.submit(work)
        except NotStarted as error:
            await self._put_off(held, instrument, error)
        except (Rejected, InvalidInput) as error:
            await self._change(held, instrument, JobState.FAILED, JobReason.REFUSED, str(error))
        except (CantTell, TimeoutError) as error:
            telemetry.log.warning("job_submit_unsure", job=held.job.public_id, error=str(error) or type(error).__name__)
            return error
        except Exception as error:  # noqa: BLE001 - an instrument's bug ends only its own job
            telemetry.log.exception("instrument_failed", job=held.job.public_id, instrument=held.job.instrument)
            return error
        return None

    async def _put_off(self, held: Held, instrument: Instrument, error: NotStarted) -> None:
        """It waits in the queue again; until it has waited for too long."""
        job, now = held.job, self._now()
        most = self._patience.unreachable
        if job.tries and now - job.created_at > most and now - await self._put_off_since(job, now) > most:
            await self._change(held, instrument, JobState.FAILED, JobReason.UNREACHABLE, str(error))
            return
        pause = error.retry_after if error.retry_after is not None else self._patience.pause(job.tries)
        due_at = now + timedelta(seconds=min(pause, 3_600.0))
        change = JobChange(by=BY, state=JobState.QUEUED, fence=job.fence, due_at=due_at, tries=job.tries + 1)
        if (queued := await self._store.change_job(job.job_id, change, now)) is not None:
            self._entered(queued)

    async def _put_off_since(self, job: Job, now: datetime) -> datetime:
        """When its instrument first did not take this attempt: the time in the queue before, and earlier attempts, don't count."""
        rows = await self._store.job_history(job.job_id)
        queued = [row.at for row in rows if row.attempt == job.attempt and row.state is JobState.QUEUED and row.reason is not JobReason.ASKED]
        # The first row is that of the wish itself.
        return queued[1] if len(queued) > 1 else now

    async def _find(self, instrument: Instrument, work: Work) -> Handle | CantTell | None:
        """What became of a submit: its handle, None where it certainly did not start."""
        try:
            async with asyncio.timeout(LONGEST_CALL):
                return await instrument.find(work)
        except CantTell as error:
            return error
        except Exception as error:  # noqa: BLE001 - an instrument's bug is no answer
            telemetry.log.warning("instrument_failed", job=work.job_id, instrument=work.instrument, error=str(error) or type(error).__name__)
            return CantTell(f"the instrument can't be asked: {error or type(error).__name__}")

    async def _given(self, held: Held, instrument: Instrument, work: Work, handle: Handle) -> Handle | None:
        """It is there. Where its key is its handle nothing is lost by waiting a moment: many a job is over then, and only its end is written."""
        if handle == work.key:
            await self._rest(held, SOON)
            return handle
        return handle if await self._note(held, instrument, work, state=JobState.SUBMITTED, handle=handle) else None

    async def _follow(self, held: Held, instrument: Instrument, work: Work, handle: Handle) -> None:
        heard_at, said_at, failures = self._now(), 0.0, 0
        while True:
            answer = await self._poll(instrument, work, handle)
            if isinstance(answer, Exception):
                failures += 1
                silent = self._patience.silent
                if self._now() - heard_at > silent:
                    why = f"the instrument has said nothing for {silent}: {answer}"
                    await self._change(held, instrument, JobState.LOST, JobReason.SILENT, why)
                    return
                pause = self._patience.pause(failures)
            else:
                heard_at, failures = self._now(), 0
                if not isinstance(answer, Progress):
                    await self._end(held, instrument, work, answer)
                    return
                if monotonic() - said_at >= PROGRESS_EVERY and _is_news(held.job, answer, handle):
                    said_at = monotonic()
                    state = JobState.RUNNING if answer.is_running and held.job.state is not JobState.RUNNING else None
                    if state is None and held.job.state is JobState.SUBMITTING:
                        state = JobState.SUBMITTED
                    if not await self._note(held, instrument, work, state=state, handle=handle, progress=answer.fraction, message=answer.message):
                        return
                pause = instrument.poll_seconds
            if held.job.deadline_at is not None and self._now() >= held.job.deadline_at:
                await self._cancel(instrument, work, handle)
                await self._change(held, instrument, JobState.FAILED, JobReason.DEADLINE, "its time was over before it ended")
                return
            await self._rest(held, pause)

    async def _poll(self, instrument: Instrument, work: Work, handle: Handle) -> Progress | Outcome | Exception:
        try:
            async with asyncio.timeout(LONGEST_CALL):
                return await instrument.poll(work, handle)
        except CantTell as error:
            return Gone(str(error)) if error.is_for_good else error
        except TimeoutError:
            return CantTell("it did not answer in time")
        except Exception as error:  # noqa: BLE001 - an instrument's bug ends only its own job
            telemetry.log.exception("instrument_failed", job=work.job_id, instrument=work.instrument)
            return Failed(f"the instrument broke: {type(error).__name__}: {error}", is_crash=True)

    async def _end(self, held: Held, instrument: Instrument, work: Work, outcome: Outcome) -> None:
        job = held.job
        match outcome:
            case Done(message, contents):
                try:
                    products = await asyncio.to_thread(collect, work.folder, work.limits) if contents is None else taken(contents, work.limits)
                except BadProducts as error:
                    reason = JobReason.LIMIT if error.is_limit else JobReason.CRASH
                    await self._change(held, instrument, JobState.FAILED, reason, str(error))
                    return
                worth = JobReason.EMPTY if is_empty(products) else None
                change = JobChange(by=BY, state=JobState.DONE, fence=job.fence, message=message, products=products, reason=worth)
                await self._written(held, instrument, work, change)
            case Failed(why, is_limit, is_crash):
                reason = JobReason.LIMIT if is_limit else JobReason.CRASH if is_crash else JobReason.INSTRUMENT
                await self._change(held, instrument, JobState.FAILED, reason, why)
            case Gone(why):
                if instrument.declaration.is_repeatable and job.attempt < MOST_STARTS:
                    change = JobChange(by=BY, state=JobState.QUEUED, fence=job.fence, due_at=self._now(), message=why)
                    await self._written(held, instrument, work, change)
                else:
                    await self._change(held, instrument, JobState.LOST, JobReason.SILENT, why)

    async def _is_given_up(self, held: Held, instrument: Instrument, work: Work, why: str, heard_at: datetime) -> bool:
        """Was nothing heard for too long of whether it started? Then that is written down. While nobody worked nobody asked, which is no silence."""
        now = self._now()
        if held.job.deadline_at is not None and now >= held.job.deadline_at:
            await self._cancel(instrument, work, "")
            late = "its time was over before anybody could say whether it began"
            await self._change(held, instrument, JobState.FAILED, JobReason.DEADLINE, late)
        elif now - heard_at > self._patience.silent:
            await self._change(held, instrument, JobState.LOST, JobReason.UNREACHABLE, why)
        else:
            return False
        return True

    async def _change(self, held: Held, instrument: Instrument, state: JobState, reason: JobReason, message: str) -> None:
        work = self._make_work(held.job, held.hurry.set)
        change = JobChange(by=BY, state=state, fence=held.job.fence, reason=reason, message=message)
        await self._written(held, instrument, work, change)

    async def _note(
        self,
        held: Held,
        instrument: Instrument,
        work: Work,
        *,
        state: JobState | None,
        handle: Handle,
        progress: float | None = None,
        message: str | None = None,
    ) -> bool:
        """Write down how it stands; False where it is not ours any more."""
        products = None
        if progress is not None and has_manifest(work.folder):
            try:
                products = await asyncio.to_thread(collect, work.folder, work.limits)
            except BadProducts:
                products = None  # it is being written; what is there at the end counts
        change = JobChange(
            by=BY, state=state, fence=held.job.fence, handle=handle, progress=progress, message=message, products=products
        )  # fmt: skip
        return await self._written(held, instrument, work, change)

    async def _written(self, held: Held, instrument: Instrument, work: Work, change: JobChange) -> bool:
        """In the store; while that takes nothing the lease runs, and what is not written is found again."""
        changed = await _persistently(lambda: self._store.change_job(held.job.job_id, change, self._now()))
        if changed is not None:
            is_new = changed.state is not held.job.state
            # Renewals go on beside us: the lease is theirs.
            held.job = replace(changed, fence=held.job.fence)
            if is_new:
                self._entered(changed)
            if changed.state.is_final or changed.state is JobState.QUEUED:
                _settle(instrument, work)
            return True
        there = await _persistently(lambda: self._store.job(held.job.job_id))
        if there is None or there.state is JobState.CANCELLED:
            await self._cancel(instrument, work, held.job.handle or (change.handle or ""))
        _settle(instrument, work)
        return False

    async def _cancel(self, instrument: Instrument, work: Work, handle: Handle) -> None:
        await cancel_quietly(instrument, work, handle)

    async def _rest(self, held: Held, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await held.hurry.wait()
        except TimeoutError:
            pass
        held.hurry.clear()


async def cancel_quietly(instrument: Instrument, work: Work, handle: Handle) -> None:
    """As far as it can be; its limits end it otherwise."""
    try:
        async with asyncio.timeout(LONGEST_CALL):
            await instrument.cancel(work, handle)
    except Exception as error:  # noqa: BLE001 - the job is over for us, whatever the instrument says
        telemetry.log.warning("job_not_cancelled", job=work.job_id, instrument=work.instrument, error=str(error) or type(error).__name__)


def _settle(instrument: Instrument, work: Work) -> None:
    if (settle := getattr(instrument, "settle", None)) is not None:
        settle(work)


async def _persistently(ask: Callable[[], "Awaitable[Job | None]"]) -> Job | None:
    """Until the store takes it; it is a matter of seconds, and what is known of a job should not be lost."""
    pause = 0.2
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            telemetry.log.warning("job_not_recorded", error=str(error))
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)


def _is_news(job: Job, progress: Progress, handle: Handle) -> bool:
    is_further = progress.fraction is not None and progress.fraction > job.progress
    is_new_state = job.state is JobState.SUBMITTING or (progress.is_running and job.state is not JobState.RUNNING)
    return is_further or is_new_state or progress.message != job.message or handle != job.handle
