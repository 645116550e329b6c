"""Messages: taken in once, claimed by planners, planned or parked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from angelia.inlet import Receipt
from angelia.model.delivery import Delivery
from angelia.model.message import Message
from angelia.planning.decision import Decision
from angelia.store.escalations import NewEscalation
from angelia.store.ledger import LedgerRow


class NewMessage(NamedTuple):
    """A row on its way in; `payload` as in `model.payload`, `received_us` in microseconds since 1970.

    One that is claimed from the start has the end of its lease, and its first fence and attempt.
    """

    message_id: int
    source: str
    type: str
    received_us: int
    payload: str
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    lease_us: int = 0
    fence: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message that this worker may plan until its lease ends. `attempts` counts claims, this one included."""

    message: Message
    fence: int
    attempts: int


@dataclass(frozen=True, slots=True)
class FloodMark:
    """How much came at once for one person by one agent in the window that began then; `is_told`: she was told that the rest of it waits.

    What is recorded is added to what is there, as long as that is of the same window: several planners count at once. It counts only for those
    who are candidates of the message for the first time.
    """

    person_id: int
    agent: str
    window_started_at: datetime
    sent: int
    is_told: bool = False
    message_id: int = 0


@dataclass(frozen=True, slots=True)
class RepeatMark:
    """When a collapse key last went at once to one person by one agent; recorded for new candidates of the message only."""

    person_id: int
    agent: str
    key: str
    sent_at: datetime
    message_id: int = 0


@dataclass(frozen=True, slots=True)
class Copies:
    """The same delivery for many: each has its own id, person and address, in the order of the persons; all else is as in `one`."""

    one: Delivery
    delivery_ids: Sequence[int]
    address_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Shared:
    """What is decided alike for many persons: a row of the ledger for each, and their deliveries."""

    person_ids: Sequence[int]
    because: tuple[str, ...]
    decisions: tuple[Decision, ...]
    copies: Sequence[Copies] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planner records for one claimed message. With `is_complete` False it is one chunk of several (many recipients).

    `is_filled`: its type said what the sender did not; the message is stored anew as it now is, so that all who read it see the same.
    `shared` stands beside `ledger` and `deliveries`, and says of many persons at once what these say one by one. `claimed` are deliveries that the
    caller means to hold from the start: SENDING, with their first fence and attempt. `hearing` are the expectations that it is a sign for.
    """

    message: Message
    fence: int
    ledger: Sequence[LedgerRow] = ()
    deliveries: Sequence[Delivery] = ()
    is_complete: bool = True
    is_filled: bool = False
    escalations: Sequence[NewEscalation] = ()
    shared: Sequence[Shared] = ()
    claimed: Sequence[Delivery] = ()
    hearing: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that planning can't get past; an operator sees it with its error."""

    message: Message
    attempts: int
    error: str


class MessageStore(Protocol):
    """Messages from acceptance to plan."""

    async def add_messages(self, rows: Sequence[NewMessage]) -> list[Receipt]:
        """Make them durable together with whatever else waits (group commit); one receipt a row, in order. New types are registered. One that
        is claimed from the start is the caller's to plan if its receipt says that it is new.
        """

    async def claim_messages(self, limit: int, lease: timedelta, now: datetime) -> list[ClaimedMessage]:
        """The oldest that nobody has planned, holds, or has postponed beyond now. Where there are none that is a read, and troubles no writer."""

    async def oldest_undecided(self, now: datetime) -> datetime | None:
        """When the one was taken that waits longest to be planned, with nobody at it and nothing known that holds it up; None for none."""

    async def record_plans(self, plans: Sequence[Plan], flood: Sequence[FloodMark], repeats: Sequence[RepeatMark], now: datetime) -> int:
        """All in one transaction: ledger, deliveries, the persons' lists of types, marks; the messages are planned. Returns how many plans
        still held their fence; the others change nothing. Nor does a later plan of the same message, for those who are in its ledger already.
        """

    async def record_and_claim(
        self, plans: Sequence[Plan], flood: Sequence[FloodMark], repeats: Sequence[RepeatMark], lease: timedelta, now: datetime
    ) -> frozenset[int]:
        """As `record_plans`; the `claimed` ones are written as `claim_deliveries` would have left them. Returns the ids of those that are the
        caller's now: not those whose plan had lost its fence, nor those that were there already, and may have been sent.
        """

    async def postpone_message(self, message_id: int, fence: int, until: datetime, why: str) -> None:
        """Give the claim back; ask again at `until`."""

    async def park_message(self, message_id: int, fence: int, why: str) -> None:
        """Put a poisonous message aside."""

    async def parked_messages(self, limit: int) -> list[ParkedMessage]:
        """Those put aside, oldest first."""

    async def unpark_messages(self, message_ids: Collection[int]) -> int:
        """Let them be planned again; how many there were."""

    async def flood_marks(
        self, pairs: Collection[tuple[int, str]], keys: Collection[tuple[int, str, str]]
    ) -> tuple[dict[tuple[int, str], FloodMark], dict[tuple[int, str, str], RepeatMark]]:
        """The marks of (person, agent) and of (person, agent, collapse key), as far as there are any."""

    async def messages(self, message_ids: Collection[int]) -> dict[int, Message]:
        """Messages by id; missing ones are left out."""

    async def list_messages(
        self, *, person_id: int | None, subtree: str = "", source: str = "", before_id: int | None = None, limit: int = 100
    ) -> list[Message]:
        """Newest first, below `before_id`: all (person_id None), or those of which she is a candidate; `subtree` is a type with all below."""
