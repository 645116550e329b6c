"""Preference, Rule, Preset, Hold, Mute, Follow: what a person wants, and what the site wants for everybody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from angelia.model.claims import NewsWish
from angelia.model.message import Severity
from angelia.model.schedule import QuietHours, Schedule

OFF = "off"
NOW = "now"
ANY_TYPE = "*"


class HoldPolicy(StrEnum):
    """What becomes of messages while a person is away."""

    KEEP = "keep"
    DROP = "drop"
    PASS = "pass"  # noqa: S105 - no password


class Until(StrEnum):
    """What ends an escalation."""

    ACKNOWLEDGED = "acknowledged"
    SEEN = "seen"


class MuteLevel(StrEnum):
    """NORMAL lets an explicit `to` through; FULL lets through only what is locked."""

    NORMAL = "normal"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What to do by one agent: `when` is off, now or a schedule's name; `address` is "" for her default one; `form` is short, full, or "" for
    what is usual.
    """

    when: str
    address: str = ""
    form: str = ""

    def form_in(self, *, is_digest: bool) -> str:
        """What she said, else what is usual: single messages in full, a digest with one line an item."""
        return self.form or ("short" if is_digest else "full")


Statements = Mapping[str, tuple[Treatment, ...]]
"""What one scope or rule says, per agent. Several treatments of an agent differ in their address."""


class ConditionKind(StrEnum):
    """How a condition compares a parameter's values with its own."""

    ONEOF = "oneof"
    NOT = "not"
    CONTAINS = "contains"
    REGEXP = "regexp"


@dataclass(frozen=True, slots=True)
class Condition:
    """One test on a parameter (`project`), a tag (`tag.arch`), or a field (`message.source`)."""

    name: str
    values: tuple[str, ...]
    kind: ConditionKind = ConditionKind.ONEOF


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An ordered matcher with actions. `type` is a subtree (`obs.build`), a topic pattern, or `*`; all tests must hold. `note` is for herself.
    One that `is_numbered` has no id of its own: its id is its place.
    """

    rule_id: str
    is_numbered: bool = False
    name: str = ""
    type: str = ANY_TYPE
    when: tuple[Condition, ...] = ()
    role: str = ""
    min_severity: Severity = Severity.LOW
    includes_own: bool = False
    is_final: bool = True
    is_enabled: bool = True
    statements: Statements = field(default_factory=dict)
    origin: str = "manual"
    note: str = ""

    @property
    def makes_candidates(self) -> bool:
        """True if it asks for something; a rule that only excludes concerns nobody by itself."""
        return any(treatment.when != OFF for treatments in self.statements.values() for treatment in treatments)


@dataclass(frozen=True, slots=True)
class Preset:
    """A ready-made rule that a person ticks; un-ticking removes the rule with its origin and nothing else."""

    preset_id: str
    title: str
    explanation: str
    group: str
    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """She is away until then. `policy` is per type scope, the nearest speaks; what is at least `pass_from` passes. `note` is for herself."""

    until: datetime
    since: datetime | None = None
    policy: Mapping[str, HoldPolicy] = field(default_factory=dict)
    pass_from: Severity = Severity.URGENT
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mute:
    """She does not want to hear of it: for good, or until then."""

    level: MuteLevel
    until: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        """Is it not over yet?"""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Escalation:
    """How a message of at least this severity goes on while nobody answers: every `after` one step of `to`, an agent of hers, `person:<login>` or
    `group:<name>`. `by_anybody`: an answer of any person whom the message concerns ends it, else only hers. Without steps it does not go on.
    """

    after: timedelta
    to: tuple[str, ...] = ()
    min_severity: Severity = Severity.URGENT
    until: Until = Until.ACKNOWLEDGED
    by_anybody: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """All that one person has settled: her document, checked. Mutes are object refs; one that ends in `/` is a prefix. `jobs` is per agent.
    `fallback` is the order in which agents stand in for one that failed, None for the site's; `escalate` is per type scope.
    """

    preferences: Mapping[str, Statements] = field(default_factory=dict)
    unknown: Statements = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    mutes: Mapping[str, Mute] = field(default_factory=dict)
    follows: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    accepts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    hold: Hold | None = None
    quiet: QuietHours | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    takes_tests: bool = False
    jobs: Mapping[str, NewsWish] = field(default_factory=dict)
    fallback: tuple[str, ...] | None = None
    escalate: Mapping[str, Escalation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the operator ships: defaults, audiences, locks, schedules, presets. `last_resort` are those who are told when an escalation is over
    and nobody answered: logins and `group:<name>`.
    """

    preferences: Mapping[str, Statements] = field(default_factory=dict)
    audience: Mapping[str, frozenset[str]] = field(default_factory=dict)
    locks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    interruptive: frozenset[str] = frozenset()
    pull: frozenset[str] = frozenset({"web", "feed"})
    presets: Mapping[str, Preset] = field(default_factory=dict)
    digest_schedule: str = "daily"
    jobs: Mapping[str, NewsWish] = field(default_factory=dict)
    """By agent: how people are told of their jobs where neither they nor their tokens say."""
    editing: frozenset[str] = frozenset()
    """Agents that edit what they sent: the house knows them, no document says it."""
    agents: frozenset[str] = frozenset()
    """All that there are; the house knows these as well. Where nobody knows them there are none, and any name will do."""
    hourly_cap: int = 30
    fallback: tuple[str, ...] = ()
    escalate: Mapping[str, Escalation] = field(default_factory=dict)
    last_resort: tuple[str, ...] = ()
