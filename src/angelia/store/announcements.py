"""What the hub tells of its own doings, from the write that it tells of until the broker has it."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol


class Announcement(NamedTuple):
    """One that waits. Numbers grow, and are never given twice."""

    number: int
    key: str
    body: str
    at_us: int


class AnnouncementStore(Protocol):
    """Announcements are written in the transaction of what they tell, by whoever writes that: none is lost, and none tells what was not done."""

    def announce(self, written: Callable[[], None]) -> None:
        """From now on this process writes them, and calls `written` after each commit that may hold some. Otherwise none are written."""

    async def claim_announcements(self, limit: int, lease: timedelta, now: datetime) -> list[Announcement]:
        """The oldest, in order. One worker at a time holds them all, until it settles or the lease ends."""

    async def settle_announcements(self, numbers: Collection[int]) -> None:
        """These are told and gone; the claim ends, also where there are none."""

    async def trim_announcements(self, keep: int) -> int:
        """Forget the oldest, until about so many are left; how many were forgotten."""

    async def announcements_waiting(self) -> int:
        """About how many wait; costs no more than a look at two of them."""
