"""Messages that go on until somebody answers: how far each has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from angelia.model.delivery import Delivery
from angelia.model.preference import Escalation
from angelia.store.deliveries import Successor
from angelia.store.ledger import LedgerRow


@dataclass(frozen=True, slots=True)
class NewEscalation:
    """From now on: the message for this person goes on along the chain, first at `due_at`."""

    message_id: int
    person_id: int
    chain: Escalation
    due_at: datetime


@dataclass(frozen=True, slots=True)
class DueEscalation:
    """One whose next step (from 0) is due, under a lease; or that ended just now, since somebody had answered: `ending` says how."""

    message_id: int
    person_id: int
    chain: Escalation
    step: int
    fence: int
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a due one: `own` go to the same person by another agent, `others` are candidates from now on, each with her deliveries.

    Next is `step` at `due_at`; with an `ending` nothing more.
    """

    due: DueEscalation
    step: int
    due_at: datetime
    own: Sequence[Successor] = ()
    others: Sequence[tuple[LedgerRow, Sequence[Delivery]]] = ()
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Escalated:
    """How far one has come, for explain: `step` steps were done or passed over. One that was answered has its `ending` at once, and `ended_at` when
    its next step would have been due.
    """

    chain: Escalation
    step: int
    due_at: datetime
    ended_at: datetime | None
    ending: str


class EscalationStore(Protocol):
    """Escalations, kept as long as their messages; begun by `record_plans`."""

    async def due_escalations(self, limit: int, lease: timedelta, now: datetime) -> list[DueEscalation]:
        """Claim those whose next step is due, oldest first. Those that were answered end here, and come with their ending."""

    async def record_step(self, step: Step, now: datetime) -> str:
        """All of it or, where the fence is old, nothing: "stale". Where somebody answered meanwhile it ends instead: "acknowledged" or "seen".
        Else "told", or the step's own ending.
        """

    async def escalation(self, message_id: int, person_id: int) -> Escalated | None:
        """How far a message has come for her; None where it does not go on."""
