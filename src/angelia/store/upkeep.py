"""Upkeep: the state of the store itself."""

from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime, timedelta
from typing import Protocol


class Upkeep(Protocol):
    """Opening, closing, and the state of the store itself."""

    async def open(self) -> None:
        """Connect; SchemaMismatch unless the schema is this version's; asserts durability settings."""

    async def close(self) -> None:
        """Finish what waits, then disconnect."""

    async def ping(self) -> None:
        """StoreUnavailable unless a write could be made durable now, in the schema that this version speaks."""

    async def check(self) -> list[str]:
        """Integrity and conservation; one line a fault, empty if all is well."""

    async def backup(self, path: str) -> None:
        """A consistent copy into a new file, under load."""

    async def release_leases(self) -> int:
        """For the only worker, at its start: whoever held something is gone. How much came back."""

    async def forget_future(self, now: datetime) -> int:
        """For every worker, at its start: what was put off under a clock that went back since is due now. What is held for a slot keeps its time."""

    async def attend(self, now: datetime, *, is_back: bool) -> timedelta:
        """A worker is here now; each says so once a minute. How long none was, below zero where the clock went back meanwhile. For one that comes,
        or comes back: after an hour or more, what was tried before counts as tried later by so much, since nobody could have tried it meanwhile.
        """

    async def pulse(self) -> int:
        """A cheap look: another number once anybody wrote since, this process or another one."""

    async def next_due_at(self, agents: Collection[str], now: datetime) -> datetime | None:
        """When the clock next brings something to a stage: a delivery by one of `agents`, a slot, an escalation, the end of
        what is expected. `now` where something waits
        that stages have to look after (messages to plan, jobs under way, words to say); None where nothing waits.
        """

    def wake(self, topic: str) -> None:
        """A hint to other processes (`messages`, `deliveries`, `people`, `rights`...); may be lost."""

    def hints(self) -> AsyncIterator[str]:
        """Topics that other processes woke; ends on close. One reader gets each."""

    def hear(self, ear: Callable[[str], None]) -> None:
        """Call it with each such topic, beside whoever reads `hints`; it must not wait."""
