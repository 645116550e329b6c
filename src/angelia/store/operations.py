"""What operators see and change: templates and their versions, views of operation, statistics."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from angelia.model.delivery import Delivery, State
from angelia.model.person import Person
from angelia.store.document import Document


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One state of a site template; `source` None where it was taken away."""

    version: int
    key: str
    source: str | None
    actor: str
    at: datetime


class TemplateStore(Protocol):
    """The site's own templates, with every version that they had."""

    async def put_template(self, key: str, source: str | None, actor: str = "", now: datetime | None = None) -> None:
        """Text of a site template (key `<type>/<agent>/<form>/<language>/<part>`), None removes it. Each change adds a version; one that
        changes nothing adds none. A template older than the versions keeps its first text as one, without a time.
        """

    async def templates(self) -> dict[str, str]:
        """All site templates."""

    async def template_versions(self, key: str, limit: int = 100) -> list[TemplateVersion]:
        """Newest first."""


class OperationsStore(Protocol):
    """What operators look at."""

    async def audit(self, actor: str, action: str, target: str, detail: Document, now: datetime) -> None:
        """Append to the audit log. Never a secret."""

    async def audit_log(self, before_id: int | None = None, limit: int = 100, *, actor: str = "", action: str = "") -> list[dict[str, object]]:
        """Newest first: id, at, actor, action, target, detail. `action` is one, or with a dot at its end all that begin so (`token.`)."""

    async def overdue(self, agents: Collection[str], now: datetime, ages: Sequence[timedelta]) -> dict[str, tuple[int, ...]]:
        """For each agent, how many due deliveries were due longer ago than each of `ages`."""

    async def retries(self, agents: Collection[str], limit: int) -> list[Delivery]:
        """Due deliveries that failed before, the longest due of each agent first; looks at the first thousand of each."""

    async def find_people(self, text: str, after_login: str = "", limit: int = 100) -> list[Person]:
        """By login: whose login or name holds `text`, whatever its case; without the principals of groups and of the public."""

    async def objects(self, text: str = "", after: str = "", limit: int = 100) -> list[str]:
        """Objects on which somebody has a role, by name; those that hold `text`."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one stretch of time holds: messages by (type, source), deliveries by (agent, state), and whom they were for."""

    messages: Mapping[tuple[str, str], int] = field(default_factory=dict)
    deliveries: Mapping[tuple[str, State], int] = field(default_factory=dict)
    people: frozenset[int] = frozenset()


class StatisticsStore(Protocol):
    """Numbers over time. Ids hold the time: each question reads the ids of its stretch and no others."""

    async def traffic(self, edges: Sequence[datetime], share: int = 1) -> list[Traffic]:
        """One for each stretch between neighbours of `edges`, in order; a delivery counts where it was planned. With a `share` above 1 only
        one part in so many is read, in a few places of each stretch, and counts are estimates; people are those who were met.
        """

    async def seen_since(self, since: datetime) -> tuple[int, int, int]:
        """People: with an account, of these active, and signed in since then."""


class AdministrationStore(TemplateStore, OperationsStore, StatisticsStore, Protocol):
    """What the pages of administrators need beyond the rest."""
