"""Claimed at birth: what the planner writes as claimed by the relay of its own process, which then makes no claim and reads nothing again.

Only what is due at once, and only as much as the relay would claim now while it knows of nothing that waits: so nobody is overtaken, a pause holds,
and other processes find what this one has no room for. The claim is a lease with a fence like any other. It is written with the delivery itself, in
the transaction that ends the plan, so a process that dies before it hands over has lost no more than one that dies after a claim.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from angelia.model.delivery import Delivery
from angelia.model.message import Message
from angelia.model.preference import Site
from angelia.planning.resolve import Profile
from angelia.store import LedgerRow

LEASE = timedelta(seconds=45)
"""Of whatever a relay claims."""


class Born(NamedTuple):
    """A delivery that was claimed at birth, with what its letter is written of; `profile` and `site` are what was decided by, and while these
    are still what is known nothing need be decided again.
    """

    delivery: Delivery
    message: Message
    row: LedgerRow
    profile: Profile
    site: Site


class HandOver:
    """Between the planner and the relay of one process. Both run in one event loop; neither waits for the other."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._rooms: dict[str, int] = {}
        self._promised: Counter[str] = Counter()
        self._given: list[tuple[float, Sequence[Born]]] = []
        self._nothing_promised = asyncio.Event()
        self._nothing_promised.set()
        self._is_closed = False

    def offer(self, rooms: Mapping[str, int]) -> None:
        """The relay would claim so many now of each agent's. It holds until `take`."""
        given = Counter(born.delivery.agent for _, many in self._given for born in many)
        self._rooms = {} if self._is_closed else {name: room - self._promised[name] - given[name] for name, room in rooms.items()}

    def promise(self, agent: str) -> bool:
        """May the planner write one more of this agent's as claimed? Then it is given or withdrawn."""
        if self._rooms.get(agent, 0) <= 0:
            return False
        self._rooms[agent] -= 1
        self._promised[agent] += 1
        self._nothing_promised.clear()
        return True

    def give(self, born: Sequence[Born], since: float) -> None:
        """They are written. `since`: when their lease began, on the monotonic clock."""
        if born:
            self._given.append((since, born))
            self._wake()

    def withdraw(self, agents: Collection[str]) -> None:
        """What was promised of these, an agent for each, is given by now, or was not written."""
        self._promised.subtract(agents)
        self._promised = +self._promised
        if not self._promised:
            self._nothing_promised.set()

    def take(self) -> list[tuple[float, Sequence[Born]]]:
        """What was given since. Nothing is promised until the next offer: in between the relay may claim what waits in the store."""
        self._rooms = {}
        taken, self._given = self._given, []
        return taken

    async def close(self, seconds: float) -> None:
        """Promise nothing any more, and wait so long for what is promised: it is given then, or never."""
        self._is_closed, self._rooms = True, {}
        if self._promised:
            async with asyncio.timeout(seconds):
                await self._nothing_promised.wait()
