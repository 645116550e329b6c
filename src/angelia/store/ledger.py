"""The ledger: what was decided for whom, and why."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from angelia.model.delivery import Delivery
from angelia.model.message import Message
from angelia.planning.decision import Decision
from angelia.planning.estimate import Count


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What was decided for one candidate, and why; kept for explain."""

    message_id: int
    person_id: int
    because: tuple[str, ...]
    decisions: tuple[Decision, ...]
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class RuleHits:
    """How often one rule spoke in the time that is counted, and when it last did (which may be before)."""

    count: int
    last_at: datetime


class LedgerStore(Protocol):
    """What was decided, for explain and for trying changes on history."""

    async def ledger_row(self, message_id: int, person_id: int) -> LedgerRow | None:
        """What was decided for her about this message."""

    async def ledger_of(self, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], LedgerRow]:
        """Rows by (message id, person id), in one read; missing ones are left out."""

    async def ledger_rows(self, message_id: int, after_person_id: int = 0, limit: int = 1000) -> list[LedgerRow]:
        """All candidates of a message, by person id."""

    async def history(
        self, person_id: int, since: datetime, limit: int, *, subtree: str = "", rule_id: str = "", before_id: int | None = None
    ) -> list[tuple[Message, LedgerRow]]:
        """Her candidacies since then, newest first, below message `before_id`; of one subtree; or only those in which a rule of hers spoke."""

    async def recent(self, person_id: int, since: datetime, limit: int, before_id: int | None = None) -> list[tuple[Message, tuple[str, ...] | None]]:
        """All messages since then, newest first, below `before_id`; each with why she was a candidate, None where she was none."""

    async def rule_hits(self, person_id: int, since: datetime, counted_from: datetime, limit: int) -> dict[str, RuleHits]:
        """By id, the rules that spoke for her since then (as a reason, or by what they decided), counted from `counted_from` on. Looks at
        the newest `limit` of her candidacies in which any rule spoke.
        """

    async def counts_since(self, person_id: int, since: datetime, limit: int) -> list[Count]:
        """How many of her candidacies since then (of the newest `limit`) were of which type, for which reasons."""

    async def trail(self, message_id: int, person_id: int) -> list[Delivery]:
        """Her deliveries of a message, digests that carried it included, in order."""
