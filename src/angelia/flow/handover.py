"""Claimed at birth: what one stage writes as claimed by the next of its own process, which then makes no claim and reads nothing again.

Intake does so for the planner, the planner for the relay; of what is due at once, and only as much as would be claimed now while nothing is known to
wait: so nobody is overtaken, a pause holds, and other processes find what this one has no room for. The claim is a lease with a fence like any other.
It is written with the row itself, in the same transaction, so a process that dies before it hands over has lost no more than one that dies after a
claim.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from math import inf
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from angelia.model.delivery import Delivery
from angelia.model.message import Message
from angelia.model.preference import Site
from angelia.planning.decision import Profile
from angelia.store import LedgerRow

T = TypeVar("T")
LEASE = timedelta(seconds=45)
"""Of whatever a relay claims."""
PLANNING = timedelta(seconds=30)
"""Of whatever a planner claims."""
LONGEST_PROMISE = 1.0  # seconds that a stage that stops waits for what it is about to be given


class Born(NamedTuple):
    """A delivery that was claimed at birth, with what its letter is written of; `profile` and `site` are what was decided by, and while these
    are still what is known nothing need be decided again.
    """

    delivery: Delivery
    message: Message
    row: LedgerRow
    profile: Profile
    site: Site


class HandOver(Generic[T]):
    """Between two stages of one process, in one event loop; neither waits for the other. What is handed over is counted under a name."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is for the one who takes."""
        self._wake = wake
        self._rooms: dict[str, int] = {}
        self._until = inf
        self._promised: Counter[str] = Counter()
        self._given: list[tuple[float, Sequence[T]]] = []
        self._given_names: Counter[str] = Counter()
        self._nothing_promised = asyncio.Event()
        self._nothing_promised.set()
        self._is_closed = False

    def offer(self, rooms: Mapping[str, int], seconds: float = inf) -> None:
        """Who takes would claim so many now under each name. It holds for so long, and until `take`."""
        taken = self._promised + self._given_names
        self._rooms = {} if self._is_closed else {name: room - taken[name] for name, room in rooms.items()}
        self._until = monotonic() + seconds

    def promise(self, name: str, count: int = 1) -> bool:
        """May so many more be written as claimed? Then they are withdrawn later, given or not."""
        if self._rooms.get(name, 0) < count or monotonic() > self._until:
            return False
        self._rooms[name] -= count
        self._promised[name] += count
        self._nothing_promised.clear()
        return True

    def give(self, items: Sequence[T], names: Iterable[str], since: float = 0.0) -> None:
        """They are written, each under its name. `since`: when their lease began, on the monotonic clock."""
        if items:
            self._given.append((since, items))
            self._given_names.update(names)
            self._wake()

    @property
    def has_given(self) -> bool:
        """Is there something to take?"""
        return bool(self._given)

    def withdraw(self, names: Iterable[str]) -> None:
        """What was promised under these, a name for each, is given by now, or was not written."""
        self._promised.subtract(names)
        self._promised = +self._promised
        if not self._promised:
            self._nothing_promised.set()

    def take(self) -> list[tuple[float, Sequence[T]]]:
        """What was given since. Nothing is promised until the next offer: in between whoever takes may claim what waits in the store."""
        self._rooms = {}
        taken, self._given = self._given, []
        self._given_names.clear()
        return taken

    async def close(self, seconds: float) -> None:
        """Promise nothing any more, and wait so long for what is promised: it is given then, or never."""
        self._is_closed, self._rooms = True, {}
        if self._promised:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._nothing_promised.wait()
