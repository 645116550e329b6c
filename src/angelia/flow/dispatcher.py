"""jobs -> instruments -> products: submit, look after, cancel; what is to be said of them goes through intake."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from angelia import telemetry
from angelia.flow.job_files import JobFiles
from angelia.flow.job_reads import JobReads
from angelia.flow.job_runner import JobPatience, JobRunner, cancel_quietly
from angelia.flow.job_voice import JobVoice
from angelia.flow.jobs_in_hand import AT_ONCE, LEASE, JobsInHand
from angelia.flow.uploads import Uploads
from angelia.inlet import Accept
from angelia.instrument import Instrument, Work
from angelia.model.declaration import Declaration
from angelia.model.errors import Conflict, Forbidden, IllegalStep, NotFound
from angelia.model.job import (
    HistoryRow,
    Job,
    JobChange,
    JobReason,
    JobState,
    Principal,
    Product,
    Report,
    callback_secret,
    content_hash,
    is_callback_secret,
)  # fmt: skip
from angelia.model.message import Attachment
from angelia.model.moments import public_id
from angelia.parameters import checked, missing_roles
from angelia.parameters.values import to_ask_again
from angelia.products.source import Source
from angelia.store import JobQuery, JobStore, Joined

FORGET_AT_ONCE = 200
SAY_EVERY = 0.1
"""Seconds between two looks at what is to be said, where jobs end all the time: each look costs several of the store's, however few it finds."""
_REPORTABLE = frozenset({None, JobState.SUBMITTED, JobState.RUNNING, JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job is wanted. `is_private`: its run is shared with nobody. `is_fresh`: a result that is there does not count. `seconds` to its
    deadline. `alias` and `session` are a dialect's. `campaign` names a set of her jobs: she is told of all at once, when the last has ended.
    `is_told_again`: asking again for what is under way is told as a submission, too.
    """

    session: str = ""
    campaign: str = ""
    alias: str = ""
    is_private: bool = False
    is_fresh: bool = False
    is_told_again: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a request: the job, how it came to be, and the names that were given and mean nothing here."""

    job: Job
    joined: Joined
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """`most_waiting`: jobs of one person that have not ended (0: any number); `keep`: how long ended ones are; `patience` as there.
    `progress_every`: seconds between two words on how far one is, 0 for none. `copies_to`: logins and groups who hear what people hear of theirs.
    """

    most_waiting: int = 0
    keep: timedelta = timedelta(days=30)
    most_bytes: int = 0
    progress_every: float = 0.0
    copies_to: tuple[str, ...] = ()
    patience: JobPatience = field(default_factory=JobPatience)


class Dispatcher:
    """The stage of jobs, and what the API and dialects ask. Any number of them work on one store."""

    name = "dispatcher"

    def __init__(
        self,
        store: JobStore,
        instruments: Mapping[str, Instrument],
        accept: Accept,
        new_id: Callable[[], int],
        now: Callable[[], datetime],
        *,
        folder: Path,
        uploads: Uploads,
        base_url: str,
        products_url: str = "",
        code_of: Callable[[Job, Mapping[str, Any]], Attachment | None] = lambda _job, _values: None,
        secret: bytes,
        wake: Callable[[], None],
        tell_others: Callable[[], None] = lambda: None,
        policy: JobPolicy | None = None,
    ) -> None:
        self._store, self.instruments, self._new_id, self._now = store, instruments, new_id, now
        self._base_url, self._secret, self._wake = base_url, secret, wake
        self._tell_others = tell_others
        self._policy, self._code_of = policy or JobPolicy(), code_of
        self.files, self.uploads = JobFiles(folder), uploads
        self._reads = JobReads(store)
        self._voice = JobVoice(store, accept, base_url, self._title, products_url, self._code, self.as_given, self._policy.copies_to)
        # Its place is free, and the stage woken, a moment later: with the end of its task.
        self._runner = JobRunner(store, self.files, self._work, now, self._noted, self._policy.patience)
        self._in_hand = JobsInHand(store, instruments, self._runner, wake)
        self._said_at = -SAY_EVERY
        self._later: asyncio.TimerHandle | None = None

    # What people and dialects ask

    def declaration(self, instrument: str, principal: Principal) -> Declaration:
        """Of one instrument; NotFound names those that she may use."""
        found = self.instruments.get(instrument)
        if found is None:
            raise self.unknown(instrument, principal)
        return found.declaration

    def unknown(self, instrument: str, principal: Principal) -> NotFound:
        """That there is no such instrument; it names those that she may use."""
        names = ", ".join(one.name for one in self.visible(principal))
        return NotFound(f"there is no instrument {instrument!r}; there are {names or 'none'}")

    def visible(self, principal: Principal) -> list[Declaration]:
        """The instruments that she may use, by name."""
        declared = [self.instruments[name].declaration for name in sorted(self.instruments)]
        return [one for one in declared if principal.is_admin or set(one.roles) <= principal.roles]

    async def submit(self, principal: Principal, instrument: str, product: str, given: Mapping[str, Any], options: JobOptions | None = None) -> Job:
        """As `request`; the job alone."""
        return (await self.request(principal, instrument, product, given, options)).job

    async def request(
        self, principal: Principal, instrument: str, product: str, given: Mapping[str, Any], options: JobOptions | None = None
    ) -> Submission:
        """Check, write down, answer; work goes on after. InvalidInput names what is wrong with the values, Forbidden the roles that she lacks."""
        options = options or JobOptions()
        declaration = self.declaration(instrument, principal)
        if lacking := set() if principal.is_admin else set(declaration.roles) - principal.roles:
            raise Forbidden(f"this instrument needs the roles {', '.join(sorted(lacking))}")
        found = checked(declaration, product, given)
        if not principal.is_admin and (missing := missing_roles(declaration, product, found.values, principal.roles)):
            raise Forbidden(f"what is asked needs the roles {', '.join(missing)}")
        if keys := self._uploads_in(declaration, product, found.values):
            await asyncio.to_thread(self.uploads.check, keys.values(), principal.login)
        await self._check_room(principal)
        now = self._now()
        only_for = f"person {principal.login}" if options.is_private else ""
        job = Job(
            job_id=self._new_id(), owner=principal.login, instrument=instrument, product=product, values=found.values,
            content_hash=content_hash(instrument, declaration.version, product, found.values, only_for), state=JobState.QUEUED,
            created_at=now, changed_at=now, due_at=now, version=declaration.version, session=options.session, alias=options.alias,
            campaign=options.campaign if principal.login else "",
            deadline_at=None if options.seconds is None else now + timedelta(seconds=options.seconds),
        )  # fmt: skip
        most = 0 if principal.is_admin else self._policy.most_waiting
        has_room = self._in_hand.has_room(instrument)
        with self._in_hand.coming(instrument if has_room else ""):
            added = await self._store.add_job(
                job, now, is_fresh=options.is_fresh, most_waiting=most, lease=LEASE if has_room else None, is_told_again=options.is_told_again
            )
        telemetry.jobs_submitted.labels(instrument, added.joined.value).inc()
        if added.taken is not None:
            await self._in_hand.begin(added.taken, self._now())
        elif added.joined is not Joined.JOINED:
            self._wake()
        return Submission(added.job, added.joined, tuple(found.unused))

    def _uploads_in(self, declaration: Declaration, product: str, values: Mapping[str, Any]) -> dict[str, str]:
        """By parameter, the files among its values that were uploaded here."""
        declared = declaration.product(product)
        return {} if declared is None else self.uploads.keys_in(declaration.parameters_of(declared), values)

    async def _check_room(self, principal: Principal) -> None:
        most = self._policy.most_bytes
        if most and not principal.is_admin and await self._store.kept_bytes(principal.login) >= most:
            raise Forbidden(f"the results of your jobs take {most} bytes or more: that is all you may keep; they are forgotten in time")

    async def job(self, principal: Principal, job_id: int) -> Job:
        """One of hers. To others there is none."""
        found = await self._reads.job(job_id)
        if found is None or not found.is_of(principal):
            raise NotFound("there is no such job")
        return found

    async def job_by_alias(self, principal: Principal, alias: str) -> Job:
        """One of hers by the id of a dialect."""
        found = await self._store.job_by_alias(alias, None if principal.is_admin else principal.login)
        if found is None or not found.is_of(principal):
            raise NotFound("there is no such job")
        return found

    async def jobs(
        self,
        principal: Principal,
        *,
        states: Collection[JobState] = (),
        instrument: str = "",
        session: str = "",
        campaign: str = "",
        before_id: int | None = None,
        limit: int = 50,
        of_all: bool = False,
    ) -> list[Job]:
        """Hers, the youngest first; of everybody for an administrator who asks for that."""
        if of_all and not principal.is_admin:
            raise Forbidden("the jobs of others are for administrators")
        login = None if of_all else principal.login
        query = JobQuery(login=login, states=states, instrument=instrument, session=session, campaign=campaign, before_id=before_id, limit=limit)
        return await self._store.jobs(query)

    async def jobs_among(self, principal: Principal, is_wanted: Callable[[int], bool], most: int, *, of_all: bool = False) -> list[Job]:
        """Those of hers of whose ids that is true, the youngest first; of the `most` youngest, and read only where it is."""
        if of_all and not principal.is_admin:
            raise Forbidden("the jobs of others are for administrators")
        ids = await self._store.job_ids(None if of_all else principal.login, most)
        # Hundreds of thousands of ids take longer than others should wait.
        found = await asyncio.to_thread(lambda: [job_id for job_id in ids if is_wanted(job_id)][:AT_ONCE])
        there = await self._store.jobs_by_id(found) if found else {}
        return [there[job_id] for job_id in found if job_id in there]

    async def history(self, principal: Principal, job_id: int) -> list[HistoryRow]:
        """All that happened to one of hers. Who else asked for the same is nobody's business."""
        await self.job(principal, job_id)
        rows = await self._store.job_history(job_id)
        return [row for row in rows if row.reason is not JobReason.ASKED or row.by == principal.login or principal.is_admin]

    async def products(self, principal: Principal, job_id: int) -> list[Product]:
        """What came of one of hers; while it runs, what there is."""
        await self.job(principal, job_id)
        return await self._store.job_products(job_id)

    async def product(self, principal: Principal, job_id: int, name: str) -> tuple[Product, Source]:
        """One product of hers, and where its bytes are."""
        job = await self.job(principal, job_id)
        for product in await self._store.job_products(job_id):
            if product.name == name:
                return product, self.files.source(job, product)
        raise NotFound("there is no such product")

    async def cancel(self, principal: Principal, job_id: int) -> Job:
        """End it; where others want it, too, she only leaves it. Conflict where it has ended."""
        job = await self.job(principal, job_id)
        if job.state.is_final:
            raise Conflict(f"this job is {job.state.label}; there is nothing to cancel")
        is_hers = principal.login in job.people
        if is_hers and not await self._store.leave_job(job_id, principal.login, self._now()):
            return replace(job, state=JobState.CANCELLED, owner=principal.login, shared_with=())
        change = JobChange(by=principal.login or "nobody", state=JobState.CANCELLED, reason=JobReason.PERSON)
        cancelled = await self._store.change_job(job_id, change, self._now())
        if cancelled is None:
            raise Conflict("this job has just ended")
        self._entered(cancelled)
        if job.state.is_at_instrument and (instrument := self.instruments.get(job.instrument)) is not None:
            held = self._in_hand.get(job_id)
            handle = held.job.handle if held is not None else job.handle
            if held is not None:
                held.hurry.set()
            await cancel_quietly(instrument, self._work(job), handle or "")
        return cancelled

    async def retry(self, principal: Principal, job_id: int) -> Job:
        """Once more, under the same id. Conflict where it has not ended, or has a result."""
        job = await self.job(principal, job_id)
        now = self._now()
        change = JobChange(by=principal.login or "nobody", state=JobState.QUEUED, attempt=job.attempt, due_at=now)
        queued = await self._store.change_job(job_id, change, now) if job.state.is_final else None
        if queued is None:
            raise Conflict(f"this job is {job.state.label}; only one that failed, was cancelled or lost can be tried again")
        self._entered(queued)
        self._wake()
        return queued

    async def call_back(self, job_id: int, secret: str, report: Report) -> bool:
        """What an instrument says of its job. False where it changes nothing: late, twice, or after the end. Forbidden for a wrong secret,
        be there such a job or not.
        """
        job = await self._store.job(job_id)
        # The same work for a job that is not there: how long it takes says nothing.
        asked = job or Job(
            job_id=job_id, owner="", instrument="", product="", values={}, content_hash="", state=JobState.QUEUED, created_at=self._now(),
            changed_at=self._now(),
        )  # fmt: skip
        if not is_callback_secret(self._secret, asked, secret) or job is None:
            raise Forbidden("this secret does not open this job")
        if report.state not in _REPORTABLE:
            raise IllegalStep("an instrument can't say this of a job")
        # Its end is looked at before it is believed: products must be there. Only that it failed needs no more than the word.
        state = None if report.state in (JobState.DONE, JobState.SUBMITTED) else report.state
        state = None if state is job.state else state
        change = JobChange(
            by="instrument", state=state, attempt=job.attempt, progress=report.progress, message=report.message or None, sequence=report.sequence,
            report=report.body, reason=JobReason.INSTRUMENT if state is JobState.FAILED else None,
        )  # fmt: skip
        changed = await self._store.change_job(job_id, change, self._now())
        if changed is None:
            return False
        if (held := self._in_hand.get(job_id)) is not None:
            held.job = replace(changed, fence=held.job.fence)
            held.hurry.set()
        elif not changed.state.is_final:
            self._tell_others()
        if state is not None:
            self._entered(changed)
        return True

    async def lends(self, job_id: int, secret: str, key: str) -> bool:
        """May whoever knows the secret of a job that goes on have this upload? It is for the instrument alone that computes with it."""
        job = await self._store.job(job_id)
        if job is None or job.state.is_final or job.instrument not in self.instruments or not is_callback_secret(self._secret, job, secret):
            return False
        return key in self._uploads_in(self.instruments[job.instrument].declaration, job.product, job.values).values()

    def hear(self) -> None:
        """Another process has taken a call-back: the next turn looks whether it was for a job that is held here."""
        self._in_hand.hear()

    # The stage

    async def turn(self, now: datetime) -> int:
        """Say what is to be said; renew what is held; take what is due, as much as there is room for."""
        self._in_hand.is_open = True
        # Side by side: what waits for one commit goes into it together.
        said, taken = await asyncio.gather(self._say(now), self._in_hand.take(now))
        return said + taken

    async def _say(self, now: datetime) -> int:
        if (rest := self._said_at + SAY_EVERY - monotonic()) > 0:
            if self._later is None:
                self._later = asyncio.get_running_loop().call_later(rest, self._wake_later)
            return 0
        self._said_at = monotonic()
        return await self._voice.say(now, self._in_hand.jobs, self._policy.progress_every)

    def _wake_later(self) -> None:
        self._later = None
        self._wake()

    def is_restless(self) -> bool:
        """While jobs are held: their leases and what is said of them have times of their own."""
        return bool(self._in_hand.jobs)

    async def drain(self) -> None:
        """Leave all that is held to whoever comes next."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        await self._in_hand.leave(self._now)

    async def close(self) -> None:
        """Instruments give back what they hold."""
        for instrument in self.instruments.values():
            await instrument.close()

    async def forget_old(self, at: datetime) -> None:
        """A chore: ended jobs that are older than they are kept, and their files."""
        while old := await self._store.old_jobs(at - self._policy.keep, FORGET_AT_ONCE):
            for job_id in old:
                await asyncio.to_thread(self.files.forget, job_id, public_id("job", job_id))
            await self._store.forget_jobs(old)
        await asyncio.to_thread(self.uploads.forget_old, (at - self._policy.keep).timestamp())

    async def count(self, at: datetime) -> None:
        """A chore: the numbers that operators watch."""
        counts = await self._store.job_counts()
        telemetry.jobs_in_state.clear()
        for (instrument, state), number in counts.items():
            telemetry.jobs_in_state.labels(instrument, state.label).set(number)

    def as_given(self, job: Job) -> Mapping[str, Any] | None:
        """The values by which somebody would ask for the same again; None where the instrument does not offer this any more."""
        declaration = self.instruments[job.instrument].declaration if job.instrument in self.instruments else None
        product = declaration.product(job.product) if declaration is not None else None
        if declaration is None or product is None:
            return None
        return to_ask_again(declaration.parameters_of(product), job.values)

    def _code(self, job: Job) -> Attachment | None:
        given = self.as_given(job)
        return None if given is None else self._code_of(job, given)

    def _title(self, instrument: str) -> str:
        found = self.instruments.get(instrument)
        return found.declaration.title if found is not None else ""

    def _work(self, job: Job, changed: Callable[[], None] = lambda: None) -> Work:
        declaration, secret = self.instruments[job.instrument].declaration, callback_secret(self._secret, job)
        return Work(
            job_id=job.public_id, key=job.key, instrument=job.instrument, product=job.product, values=self._lent(job, secret),
            folder=self.files.folder(job), limits=declaration.limits, callback_url=f"{self._base_url}/api/v1/jobs/{job.public_id}/callback",
            callback_secret=secret, owner=job.owner, attempt=job.attempt, changed=changed,
        )  # fmt: skip

    def _lent(self, job: Job, secret: str) -> Mapping[str, Any]:
        """Its values, with files that were uploaded as their instrument can read them: paths, or addresses that the secret of the job opens."""
        instrument = self.instruments[job.instrument]
        keys = self._uploads_in(instrument.declaration, job.product, job.values)
        if not keys:
            return job.values
        if getattr(instrument, "is_far", False):
            opens = urlencode({"job_id": job.public_id, "secret": secret})
            return {**job.values, **{name: f"{self.uploads.address(key)}&{opens}" for name, key in keys.items()}}
        return {**job.values, **{name: str(self.uploads.place_of(key)) for name, key in keys.items()}}

    def _entered(self, job: Job) -> None:
        """It is in another state; where it has ended, the next may begin."""
        self._noted(job)
        if job.state.is_final:
            self._wake()

    def _noted(self, job: Job) -> None:
        """Its state is written down: counted."""
        if job.state.is_final:
            _count_end(job)


def _count_end(job: Job) -> None:
    telemetry.jobs_ended.labels(job.instrument, job.state.label, str(job.reason)).inc()
    if job.ended_at is not None:
        telemetry.job_seconds.labels(job.instrument).observe((job.ended_at - job.created_at).total_seconds())
