"""Job, JobState, Product, Report: one request to an instrument; the table of legal state changes; content hashes and call-back secrets."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    that were wanted: 1, and one more with each retry. `handle` is what the instrument calls it. `fence` grows with each claim.
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
    alias: str = ""
    is_shared: bool = False
    shared_with: tuple[str, ...] = ()
    handle: str = ""
    fence: int = 0
    tries: int = 0
    report_sequence: int = 0
    output_bytes: int = 0

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
class Product:
    """One result. Its bytes are the file `path` in the job's folder; `sha256` is in hexadecimal, `size` in bytes."""

    name: str
    kind: ProductKind
    title: str
    content_type: str
    size: int
    sha256: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


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


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One thing that happened to a job: `number` counts from 1; `by` is dispatcher, instrument, or a login."""

    number: int
    at: datetime
    state: JobState
    by: str
    attempt: int = 1
    progress: float = 0.0
    message: str = ""
    reason: JobReason = JobReason.NONE
    report: Mapping[str, Any] = field(default_factory=dict)


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
