"""Delivery, State, Outcome, Reason; the table of legal state changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from angelia.model.errors import IllegalStep


class State(IntEnum):
    """Where a delivery stands. The numbers are stored; never renumber."""

    HELD = 1
    DUE = 2
    SENDING = 3
    DIGESTED = 4
    DELIVERED = 10
    BOUNCED = 11
    EXPIRED = 12
    SUPPRESSED = 13
    DEAD = 14

    @property
    def label(self) -> str:
        """The name as it stands in JSON and metrics."""
        return self.name.lower()

    @property
    def is_final(self) -> bool:
        """True where nothing more happens by itself."""
        return self >= State.DELIVERED


_GIVEN_UP = frozenset({State.EXPIRED, State.SUPPRESSED, State.DEAD})

STEPS: Mapping[State, frozenset[State]] = {
    State.HELD: frozenset({State.DIGESTED, State.DUE}) | _GIVEN_UP,
    State.DUE: frozenset({State.SENDING, State.HELD}) | _GIVEN_UP,
    State.SENDING: frozenset({State.DELIVERED, State.DUE, State.BOUNCED}) | _GIVEN_UP,
    State.DIGESTED: frozenset({State.DELIVERED, State.BOUNCED, State.HELD}) | _GIVEN_UP,
    State.DELIVERED: frozenset({State.BOUNCED}),
    State.BOUNCED: frozenset({State.DUE, State.DIGESTED}),
    State.EXPIRED: frozenset(),
    State.SUPPRESSED: frozenset(),
    State.DEAD: frozenset({State.DUE, State.DIGESTED}),
}
"""All legal changes; replay is what leads out of BOUNCED and DEAD, and a report that comes later out of DELIVERED."""


def step(old: State, new: State) -> State:
    """`new`, if the table allows it."""
    if new not in STEPS[old]:
        raise IllegalStep(f"a delivery can't go from {old.label} to {new.label}")
    return new


class Reason(StrEnum):
    """Why a delivery is treated as it is. A closed vocabulary: stored, shown by explain, documented."""

    CHOSEN = "chosen"
    LOCKED = "locked"
    SCHEDULE = "schedule"
    QUIET_HOURS = "quiet_hours"
    HOLD_KEPT = "hold_kept"
    NOT_BEFORE = "not_before"
    OVERFLOW = "overflow"
    FALLBACK = "fallback"
    ESCALATED = "escalated"

    OFF = "off"
    RULE_OFF = "rule_off"
    NOT_STATED = "not_stated"
    OWN_ACTION = "own_action"
    MUTED = "muted"
    MUTED_FULLY = "muted_fully"
    GROUP_NOT_ACCEPTED = "group_not_accepted"
    GROUP_ADDRESS = "group_address"
    PAUSED = "paused"
    NO_VERIFIED_ADDRESS = "no_verified_address"
    HOLD_DROPPED = "hold_dropped"
    HOLD_SILENT = "hold_silent"
    TEST_TRAFFIC = "test_traffic"
    REPEAT_FOLDED = "repeat_folded"
    JOB_STEP = "job_step"
    JOB_SHORT = "job_short"
    JOB_TOLD = "job_told"
    JOB_TIME_UNKNOWN = "job_time_unknown"

    UNSUBSCRIBED = "unsubscribed"
    ACCESS_LOST = "access_lost"
    PERSON_INACTIVE = "person_inactive"
    SUPERSEDED = "superseded"
    SEEN = "seen"
    EXPIRED = "expired"
    REFUSED = "refused"
    CAME_BACK = "came_back"
    LIFETIME_OVER = "lifetime_over"
    POISON = "poison"


@dataclass(frozen=True, slots=True)
class Sent:
    """The medium took it; `receipt` is what the peer called it (its reply, an event id)."""

    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Not now; may work later. `retry_after` is the peer's word. `blames_destination` feeds the circuit breaker. `moved_to`: the peer says that the
    address is another now, and it is changed before the next try.
    """

    why: str
    retry_after: timedelta | None = None
    blames_destination: bool = True
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Never: the address or the content was refused for good. `is_address_bad` changes the address's state; one that `is_address_over` can never
    work again, whatever its owner does, and is deleted.
    """

    why: str
    is_address_bad: bool = False
    is_address_over: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """The agent had nothing to do, for a reason of the house."""

    reason: Reason


Outcome = Sent | Later | Refused | Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message (or digest) for one person by one agent at one address, and its state.

    Exactly one of `message_id` and `digest_id` is the content; a held item of a digest has its message_id, and its digest_id once bucketed.
    `address_id` is 0 where the agent needs none. `is_urgent` ones are claimed before
    all others. `fence` grows with each claim: a worker whose fence is old may not write.
    """

    delivery_id: int
    person_id: int
    agent: str
    address_id: int
    state: State
    due_at: datetime
    message_id: int | None = None
    digest_id: int | None = None
    schedule: str = ""
    form: str = "full"
    reason: Reason = Reason.CHOSEN
    is_locked: bool = False
    is_urgent: bool = False
    attempts: int = 0
    fence: int = 0
    first_tried_at: datetime | None = None
    ended_at: datetime | None = None
    last_error: str = ""

    @property
    def fault(self) -> str:
        """Why it failed last; of what is delivered nothing failed."""
        return "" if self.state is State.DELIVERED else self.last_error

    @property
    def receipt(self) -> str:
        """What the other side called it, once it is delivered: that is kept where the last error was."""
        return self.last_error if self.state is State.DELIVERED else ""
