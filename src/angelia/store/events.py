"""Events: exchanges, what was published on them, and how far readers are."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from angelia.model.event import Event, Position


class ExchangeMark(NamedTuple):
    """Where an exchange stands: sequences 1 to `head` were given, those up to `pruned` are forgotten; `total` bytes were published."""

    name: str
    epoch: str
    head: int
    pruned: int
    total: int


class EventStore(Protocol):
    """Events of the embedded broker, for a while."""

    async def exchange_marks(self, names: Collection[str]) -> dict[str, ExchangeMark]:
        """Of these exchanges; one that is not there is made, with an epoch that it keeps."""

    async def exchange_epoch(self, name: str, lost: str = "") -> str:
        """The epoch of an exchange whose events are kept elsewhere. `lost` is one whose memory is gone: where it is still that, another is made."""

    async def last_states(self, names: Collection[str]) -> dict[str, str]:
        """What was last seen of each name, as far as it is known."""

    async def put_last_states(self, states: Mapping[str, str], now: datetime) -> None:
        """Remember them."""

    async def forget_states(self, before: datetime, limit: int) -> int:
        """Forget those that were not put since; at most `limit`. How many there were."""

    async def append_events(self, events: Sequence[Event], now: datetime) -> list[Position]:
        """Make them durable on exchanges that are there. Sequences have no holes and become visible in order. One position an event, in order."""

    async def read_events(self, exchange: str, epoch: str, after: int, limit: int, most_bytes: int) -> list[Event]:
        """The oldest that are kept and above `after`: at most `limit`, and at most so many bytes where they are more than one."""

    async def prune_events(self, exchange: str, before: datetime, keep_bytes: int, limit: int) -> int:
        """Forget the oldest, while they are older or more than the bytes to keep; at most `limit`. How many there were."""
