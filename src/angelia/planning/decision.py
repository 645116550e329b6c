"""What `resolve` reads of a person, and what it says: one decision for each agent, each with its Reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from angelia.model.delivery import Reason
from angelia.model.person import Person
from angelia.model.preference import Wants


class Verdict(StrEnum):
    """What is to be done with one message for one person by one agent."""

    NOW = "now"
    DIGEST = "digest"
    DEFERRED = "deferred"
    HELD = "held"
    SKIPPED = "skipped"
    SUPPRESSED = "suppressed"

    @property
    def is_delivery(self) -> bool:
        """True where something goes to her, now or later."""
        return self not in _NOT_DELIVERED


_NOT_DELIVERED = frozenset({Verdict.SKIPPED, Verdict.SUPPRESSED})


@dataclass(frozen=True, slots=True)
class Profile:
    """A person with all that decides for her: the snapshot that `resolve` reads. `reachable` are agents with a verified address.

    Two persons of one `kind` (0: not known) differ in their names and in what they follow, and in nothing else that `resolve` reads.
    """

    person: Person
    wants: Wants
    zone: ZoneInfo
    reachable: frozenset[str]
    groups: frozenset[str] = frozenset()
    kind: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a person stands to one message: facts fetched before, in bulk. `group_agents`: by group, which agents reach it at its own address."""

    roles: frozenset[str] = frozenset()
    has_access: bool = True
    group_agents: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict for one agent. `decided_by` names the rule or scope that spoke; `due_at` is UTC, None for at once."""

    agent: str
    verdict: Verdict
    reason: Reason
    decided_by: str
    due_at: datetime | None = None
    schedule: str = ""
    address: str = ""
    form: str = "full"
    is_locked: bool = False


@dataclass(frozen=True, slots=True)
class Resolution:
    """A candidate: all the reasons why she is one, and one decision for each agent that anybody spoke of."""

    because: tuple[str, ...]
    decisions: tuple[Decision, ...]
