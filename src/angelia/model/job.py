"""Job, JobState, Product, Report: one request to an instrument; the table of legal state changes; content hashes and call-back secrets."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from angelia.model.declaration import ProductKind
from angelia.model.errors import IllegalStep, InvalidInput
from angelia.model.moments import public_id

PREFIX = "job"
"""Public ids of jobs begin with it, and so do the types of the messages about them: `job.<instrument>.<state>`."""
MESSAGE_LENGTH = 2_000
HANDLE_LENGTH = 500
_MOST = 1e300


class JobState(IntEnum):
    """Where a job stands. The numbers are stored; never renumber.

    SUBMITTING: somebody is giving it to its instrument, and until the answer is there nobody knows whether it started. SUBMITTED: the
    instrument has it. LOST: nobody can say what became of it, and it may not be started twice.
    """

    QUEUED = 1
    SUBMITTING = 2
    SUBMITTED = 3
    RUNNING = 4
    DONE = 10
    FAILED = 11
    CANCELLED = 12
    LOST = 13

    @property
    def label(self) -> str:
        """The name as it stands in JSON, message types and metrics."""
        return self.name.lower()

    @property
    def is_final(self) -> bool:
        """True where nothing more happens by itself."""
        return self >= JobState.DONE

    @property
    def is_at_instrument(self) -> bool:
        """True where the instrument has it, or may have it."""
        return self in (JobState.SUBMITTING, JobState.SUBMITTED, JobState.RUNNING)


STATES: Mapping[str, JobState] = {state.label: state for state in JobState}
_ENDS = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.LOST})

STEPS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.FAILED, JobState.CANCELLED}),
    # Back to QUEUED: it is certain that it was not started. A fast one reports its end before the answer to its submit is there.
    JobState.SUBMITTING: frozenset({JobState.QUEUED, JobState.SUBMITTED, JobState.RUNNING}) | _ENDS,
    # Back to QUEUED: the instrument lost it, and it is repeatable.
    JobState.SUBMITTED: frozenset({JobState.QUEUED, JobState.RUNNING}) | _ENDS,
    JobState.RUNNING: frozenset({JobState.QUEUED}) | _ENDS,
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
    # What was silent for too long may still come back with its result.
    JobState.LOST: frozenset({JobState.QUEUED, JobState.DONE, JobState.FAILED}),
}
"""All legal changes; a retry is what leads out of FAILED, CANCELLED and LOST."""


def step(old: JobState, new: JobState) -> JobState:
    """`new`, if the table allows it."""
    if new not in STEPS[old]:
        raise IllegalStep(f"a job can't go from {old.label} to {new.label}")
    return new


class JobReason(StrEnum):
    """Why a job ended other than by its own work. Stored and shown; "" where there is nothing to say."""

    NONE = ""
    DEADLINE = "deadline"
    INSTRUMENT = "instrument"
    """The instrument says that it failed."""
    CRASH = "crash"
    """The code that computes, or the adapter, broke."""
    LIMIT = "limit"
    """It went over a limit of time, memory, output or files."""
    REFUSED = "refused"
    """The instrument did not take it."""
    UNREACHABLE = "unreachable"
    """The instrument could not be reached for too long."""
    SILENT = "silent"
    """Nothing was heard of it any more."""
    PERSON = "person"
    """Somebody who may cancelled it."""
    EMPTY = "empty"
    """It ended well, and there is nothing in what came of it."""
    ASKED = "asked"
    """Of a row of history: somebody asked for what was under way already."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a login, "" for somebody who is not signed in, and the roles that she has."""

    login: str
    roles: frozenset[str] = frozenset()
    is_admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request to an instrument. `owner` asked first; `shared_with` are those who asked the same later and share its run.

    `values` are the canonical parameters. `alias` is another id, by which a dialect calls it. `progress` is 0 to 1. `attempt` counts starts
    that were wanted: 1, and one more with each retry. `handle` is what the instrument calls it. `fence` grows with each claim; `due_at` is when
    somebody must look at it next, and until then it is whose fence that is. `tries` counts submits that failed in this attempt. `campaign` is
    what the first called a set of jobs with this one in it. Read only where words are to be said: `in_campaign`, all to whom it is part of one,
    `asked_at`, when the run was asked for that this is, None where that was the first, and `joined_at`, when each of several asked first.
    """

    job_id: int
    owner: str
    instrument: str
    product: str
    values: Mapping[str, Any]
    content_hash: str
    state: JobState
    created_at: datetime
    changed_at: datetime
    version: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    progress: float = 0.0
    message: str = ""
    reason: JobReason = JobReason.NONE
    attempt: int = 1
    session: str = ""
    campaign: str = ""
    alias: str = ""
    is_shared: bool = False
    shared_with: tuple[str, ...] = ()
    handle: str = ""
    fence: int = 0
    tries: int = 0
    report_sequence: int = 0
    output_bytes: int = 0
    due_at: datetime | None = None
    in_campaign: tuple[str, ...] = ()
    asked_at: datetime | None = None
    joined_at: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def public_id(self) -> str:
        """`job_0123456789abc`."""
        return public_id(PREFIX, self.job_id)

    @property
    def key(self) -> str:
        """By which an instrument knows this attempt: it makes a submit whose answer was lost findable. Letters, digits and '-'."""
        return f"{self.public_id.replace('_', '-')}-{self.attempt}"

    @property
    def people(self) -> tuple[str, ...]:
        """All who asked for it."""
        return (self.owner, *self.shared_with)

    def is_of(self, principal: Principal) -> bool:
        """May she see it, and what came of it?"""
        return principal.is_admin or principal.login in self.people


@dataclass(frozen=True, slots=True)
class Campaign:
    """Jobs of one person that belong together, when the last has ended: how many are in which state. `rounds` counts such ends."""

    login: str
    name: str
    rounds: int
    began_at: datetime
    ended_at: datetime
    counts: Mapping[JobState, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Product:
    """One result. Its bytes are `content` where they are few, else the file `path` in the job's folder; `sha256` is in hexadecimal, `size` in
    bytes.
    """

    name: str
    kind: ProductKind
    title: str
    content_type: str
    size: int
    sha256: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    content: bytes | None = field(default=None, repr=False)


_NUMBERS = frozenset({ProductKind.IMAGE, ProductKind.LIGHT_CURVE, ProductKind.SPECTRUM, ProductKind.TABLE})
_NOTHING = frozenset({b"", b"{}", b"[]", b"null", b'""'})


def is_empty(products: Sequence[Product]) -> bool:
    """Is there nothing in what came of a job? Images, curves and tables decide where there are any, by what their writers say of them; a log
    beside an empty table is no result.
    """
    numbers = [product for product in products if product.kind in _NUMBERS]
    return not any(map(_has_content, numbers or products))


def _has_content(product: Product) -> bool:
    rows, shape = product.meta.get("rows"), product.meta.get("shape")
    if product.kind in _NUMBERS and (rows == 0 or (isinstance(shape, list | tuple) and 0 in shape)):
        return False
    return product.size > 0 and (product.content is None or product.content.strip() not in _NOTHING)


@dataclass(frozen=True, slots=True)
class Report:
    """What an instrument says of a job by a call-back. `sequence` counts from 1: what is not above the last one is old, and 0 says that
    the sender doesn't count. `body` is what was sent, kept for those who ask for it.
    """

    state: JobState | None = None
    progress: float | None = None
    message: str = ""
    sequence: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)


def share_of(progress: str, most: str) -> float | None:
    """The share that a reporter gives as `progress` of `most`; None for what are no such numbers."""
    try:
        done, whole = float(progress), float(most)
    except ValueError:
        return None
    return min(1.0, max(0.0, done / whole)) if whole > 0 and abs(done) < _MOST and whole < _MOST else None


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One thing that happened to a job: `number` counts from 1; `by` is dispatcher, instrument, or a login. `asked_before` (read only where words are
    to be said): how many seconds earlier the same person had asked for it, the first time first.
    """

    number: int
    at: datetime
    state: JobState
    by: str
    attempt: int = 1
    progress: float = 0.0
    message: str = ""
    reason: JobReason = JobReason.NONE
    report: Mapping[str, Any] = field(default_factory=dict)
    asked_before: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChange:
    """What is to become of a job; None leaves a thing as it is. `by` says who wants it.

    It holds only for this `fence` and `attempt`, where they are given, and only where the table allows the state; a `sequence` above 0
    must be above the last. A state of QUEUED from an end is a retry.
    """

    by: str
    state: JobState | None = None
    fence: int | None = None
    attempt: int | None = None
    progress: float | None = None
    message: str | None = None
    reason: JobReason | None = None
    handle: str | None = None
    due_at: datetime | None = None
    deadline_at: datetime | None = None
    tries: int | None = None
    sequence: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    products: Sequence[Product] | None = None


def after(job: Job, change: JobChange, now: datetime) -> Job | None:
    """The job after the change; None where the change does not hold: an old fence, an old report, a step that the table does not have."""
    if change.fence is not None and change.fence != job.fence:
        return None
    if change.attempt is not None and change.attempt != job.attempt:
        return None
    if change.sequence and change.sequence <= job.report_sequence:
        return None
    if change.state is None and job.state.is_final:
        return None
    changed = job
    if change.state is not None and change.state is not job.state:
        if change.state not in STEPS[job.state]:
            return None
        changed = _entered(job, change.state, now)
    elif change.state is not None and job.state.is_final:
        return None
    wanted = {
        "progress": None if change.progress is None else max(changed.progress, min(1.0, change.progress)),
        "message": None if change.message is None else change.message[:MESSAGE_LENGTH],
        "reason": change.reason,
        "handle": None if change.handle is None else change.handle[:HANDLE_LENGTH],
        "due_at": change.due_at,
        "deadline_at": change.deadline_at,
        "tries": change.tries,
        "report_sequence": change.sequence or None,
        "output_bytes": None if change.products is None else sum(product.size for product in change.products),
    }
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    return replace(changed, changed_at=now, **given)


def _entered(job: Job, state: JobState, now: datetime) -> Job:
    if state is JobState.QUEUED:
        return _queued_again(job, is_retry=job.state.is_final)
    if state is JobState.RUNNING:
        return replace(job, state=state, started_at=job.started_at or now)
    if state.is_final:
        # What it was given to do is over: whoever held it must not write any more.
        ended = replace(job, state=state, ended_at=now, fence=job.fence + 1)
        # What was shown while it ran is no result of one that came to none.
        return replace(ended, progress=1.0) if state is JobState.DONE else replace(ended, output_bytes=0)
    return replace(job, state=state)


def _queued_again(job: Job, *, is_retry: bool) -> Job:
    """One that certainly did not start keeps its attempt; after a start the next one is another, with a key of its own."""
    is_new_attempt = is_retry or job.state is not JobState.SUBMITTING
    back = replace(job, state=JobState.QUEUED, handle="", progress=0.0, message="", reason=JobReason.NONE, started_at=None, ended_at=None)
    if not is_new_attempt:
        return back
    return replace(
        back,
        attempt=job.attempt + 1,
        tries=0,
        report_sequence=0,
        output_bytes=0,
        fence=job.fence + 1,
        deadline_at=None if is_retry else job.deadline_at,
    )


def content_hash(instrument: str, version: str, product: str, values: Mapping[str, Any], only_for: str = "") -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of all that decides the result; `only_for` is the login where it may not be shared.

    Raises InvalidInput for what JSON can't hold: NaN, infinity, other kinds of values.
    """
    return hashlib.sha256(canonical([instrument, version, product, values, only_for]).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"a value can't be written as JSON: {error}", "parameters") from None


def callback_secret(house_secret: bytes, job: Job) -> str:
    """What only the instrument of this attempt knows. Derived, so that the store holds nothing that opens anything."""
    return hmac.new(house_secret, f"job call-back {job.key}".encode(), hashlib.sha256).hexdigest()


def is_callback_secret(house_secret: bytes, job: Job, given: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(callback_secret(house_secret, job).encode(), given.encode("utf-8", "replace"))
