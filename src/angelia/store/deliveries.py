"""Deliveries: claimed, settled, replayed, in the end forgotten."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Message
from angelia.planning.decision import Decision
from angelia.planning.retry import Breaker
from angelia.store.traces import Trace


@dataclass(frozen=True, slots=True)
class Successor:
    """A way that a message can go instead: the delivery to be, and its decision for the ledger."""

    delivery: Delivery
    decision: Decision

    @property
    def pair(self) -> tuple[int, int]:
        """Which message, and for whom."""
        assert self.delivery.message_id is not None
        return self.delivery.message_id, self.delivery.person_id


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one claimed delivery. `state` DUE means again at `due_at`; `is_attempt` False gives the attempt back;
    where there is no `error` either, it is as it was before its claim, and if nothing was ever said of it, its lifetime has not begun.

    `successors` go with a failure: for each message (a digest has many) those that may stand in, the first first. They are looked at if the
    settlement applies; one is written where nothing else reached her or may, and none for what she has seen.

    A `trace` is kept, so that the delivery is found by its receipt, and later letters find their thread.
    """

    delivery_id: int
    fence: int
    state: State
    reason: Reason
    due_at: datetime | None = None
    error: str = ""
    is_attempt: bool = True
    successors: Sequence[Successor] = ()
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one agent."""

    agent: str
    due: int
    held: int
    sending: int
    oldest_due_at: datetime | None


class DeliveryStore(Protocol):
    """Deliveries from plan to end."""

    async def due_agents(self, agents: Collection[str], now: datetime) -> frozenset[str]:
        """Which of these have something due. One question for all, so that a claim is made, and a writer troubled, where it finds something."""

    async def claim_deliveries(self, agents: Collection[str], limit: int, lease: timedelta, now: datetime) -> list[Delivery]:
        """Due ones of these agents, urgent ones first, then oldest due first.

        Each comes as SENDING with its fence raised and its attempt counted, before any try.
        """

    async def settle(self, settlements: Sequence[Settlement], now: datetime) -> int:
        """Record outcomes; an old fence changes nothing. The end of a digest's delivery is the end of its items. Returns how many applied."""

    async def bounce(self, delivery_id: int, why: str, successors: Sequence[Successor], now: datetime) -> bool:
        """A report came later: what was DELIVERED, or is still SENDING, is BOUNCED after all, with the items of a digest; `why` is the peer's word,
        successors as in `settle`. False where it is another state (by now); then nothing changed.
        """

    async def is_cut_off(self, delivery: Delivery, since: datetime) -> bool:
        """Did nothing reach the address of this delivery since then, while its agent reached another one? The agent's newest deliveries tell enough
        of others: False where it reached nobody, as when its own server is away.
        """

    async def requeue_expired_leases(self, now: datetime) -> int:
        """Deliveries, messages and slots of dead workers come back; how many."""

    async def seen(self, pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """Which of these messages these people have read or answered by any agent: (message, person)."""

    async def deliveries(self, delivery_ids: Collection[int]) -> dict[int, Delivery]:
        """Deliveries by id."""

    async def list_deliveries(
        self, *, states: Collection[State], agent: str = "", person_id: int | None = None, before_id: int | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Newest first; the dead letters are `states={DEAD, BOUNCED}`."""

    async def replay(self, delivery_ids: Collection[int], now: datetime) -> int:
        """DEAD and BOUNCED ones become due again with no attempts counted; how many."""

    async def cancel_waiting(
        self, person_id: int, *, agent: str = "", subtree: str = "", about: Callable[[Message], bool] | None = None, reason: Reason, now: datetime
    ) -> int:
        """Suppress what waits (HELD, DUE) for her and matches all that is given; how many (promise P10)."""

    async def backlog(self) -> list[Backlog]:
        """Per agent, what waits and since when."""

    async def conservation(self) -> dict[State, int]:
        """How many deliveries stand in each state (promise P3)."""

    async def paused_agents(self) -> frozenset[str]:
        """Agents whose backlog is kept back by an operator."""

    async def pause_agent(self, agent: str, is_paused: bool) -> None:
        """Keep an agent's backlog back, or let it go."""

    async def breakers(self) -> dict[str, Breaker]:
        """Circuit breakers by destination, as last put."""

    async def put_breakers(self, breakers: Mapping[str, Breaker]) -> None:
        """Remember them over a restart; a closed one without failures is forgotten."""

    async def purge(self, now: datetime, default_retention: timedelta, limit: int) -> int:
        """Delete messages past the retention of their type (nearest type with `retention_days`, else the default) whose deliveries have all ended,
        with all that belongs to them; and digests past the default whose delivery has ended. How many went, of the kind that had most;
        at most `limit` of each, and fewer where nothing is left.
        """

    async def forget(self, now: datetime, limit: int) -> int:
        """Idempotency keys older than 7 days (promise P9), repeat marks older than a day. Counts and limits like `purge`."""
