"""Expectation: who is to speak, how often, how late it may be, and whether it did. Its table of legal state changes; signs of life."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from angelia.model.message import Severity

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=366)
"""Of a rhythm, and of a grace."""
MOST_TEXT = 10_000
"""Letters that are kept of what a ping says: the last ones, where a log ends with what went wrong."""


class ExpectationState(IntEnum):
    """Where an expectation stands: nothing came yet, all is well, it is silent, or it said that it failed."""

    WAITING = 1
    WELL = 2
    SILENT = 3
    FAILED = 4

    @property
    def label(self) -> str:
        """The name as it stands in JSON."""
        return self.name.lower()


STEPS: Mapping[ExpectationState, frozenset[ExpectationState]] = {
    ExpectationState.WAITING: frozenset({ExpectationState.WELL, ExpectationState.SILENT, ExpectationState.FAILED}),
    ExpectationState.WELL: frozenset({ExpectationState.WAITING, ExpectationState.SILENT, ExpectationState.FAILED}),
    ExpectationState.SILENT: frozenset({ExpectationState.WAITING, ExpectationState.WELL, ExpectationState.FAILED}),
    # What failed is told already: that it says nothing more is no news until it is well again.
    ExpectationState.FAILED: frozenset({ExpectationState.WAITING, ExpectationState.WELL}),
}
"""From each state, the states that may follow. WAITING follows where somebody lets it begin anew."""
IN_TROUBLE = frozenset({ExpectationState.SILENT, ExpectationState.FAILED})


class SignKind(StrEnum):
    """What was heard: that a run began, that it ended well or not, or a message that is waited for."""

    START = "start"
    SUCCESS = "success"
    FAIL = "fail"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of life. `exit_code` is what a program gave back, None where nobody said; `text` is what it said, its end."""

    kind: SignKind
    at: datetime
    exit_code: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What one person expects of one source, and where it stands.

    Its rhythm is `every`, counted from the last sign that all is well, or `cron` in the local time of `zone`; one of them is there. A sign may
    come `grace` late, and a run that was announced may last so long. Signs are pings at its address, and messages of `source`, `type` (with
    all below it) and `object`, as far as these are not empty; all three empty: no messages. `to` are those who are told beside its owner.

    `since` is when the next sign is counted from. `seen_at` is the last sign of any kind; `started_at` is there while a run is under way.
    """

    expectation_id: int = 0
    person_id: int
    title: str
    every: timedelta | None = None
    cron: str = ""
    zone: str = "UTC"
    grace: timedelta = timedelta(hours=1)
    source: str = ""
    type: str = ""
    object: str = ""
    to: tuple[str, ...] = ()
    severity: Severity = Severity.HIGH
    created_at: datetime
    since: datetime
    state: ExpectationState = ExpectationState.WAITING
    is_paused: bool = False
    seen_at: datetime | None = None
    started_at: datetime | None = None

    @property
    def hears_messages(self) -> bool:
        """Are messages signs, too?"""
        return bool(self.source or self.type or self.object)


@dataclass(frozen=True, slots=True)
class Listening:
    """What a planner must know of an expectation that hears messages; `readers` are its owner's principals, for restricted messages."""

    expectation_id: int
    source: str
    type: str
    object: str
    readers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the history of an expectation: what happened, and the states before and after.

    `kind` is a sign's, or `silence`, `pause`, `resume`. `since` is what the next sign was counted from before; `took` is how long the run
    lasted that ended here.
    """

    number: int
    expectation_id: int
    at: datetime
    kind: str
    before: ExpectationState
    after: ExpectationState
    since: datetime
    took: timedelta | None = None
    exit_code: int | None = None
    text: str = ""
