"""What the relay has in hand for one agent: tries that run, letters that wait for a place, and how many more to claim."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from angelia.agent import Agent, Letter

MOST_IN_HAND = 400  # letters of one agent: bounds memory, and what a lost worker keeps from the others until its leases end


@dataclass(slots=True)
class Lane:
    """One agent's share of a relay. Times are seconds of the monotonic clock.

    Letters are claimed ahead, so that a claim serves many, but never more than the agent took within a second: what is claimed waits about
    a second, and a slow agent's letters stay in the store, where another worker may take them.
    """

    agent: Agent
    waiting: deque[tuple[float, Letter]] = field(default_factory=deque)
    in_hand: int = 0
    running: int = 0
    has_more: bool = False
    """The store may hold due letters beyond those in hand."""
    _ended: int = 0
    _ended_before: int = 0
    _second_began_at: float = 0.0

    @property
    def capacity(self) -> int:
        """How many may be in hand: those that run, and those claimed ahead."""
        return min(self.agent.concurrency + max(self._ended, self._ended_before), max(MOST_IN_HAND, self.agent.concurrency))

    @property
    def room(self) -> int:
        """How many to claim now. While enough are in hand it is 0 until half of them are through: a claim for each would cost a commit each."""
        room = max(0, self.capacity - self.in_hand)
        has_free_place = self.in_hand < self.agent.concurrency
        return room if has_free_place or room * 2 >= self.capacity else 0

    def free_places(self) -> int:
        """How many tries may be started for those that wait."""
        return max(0, min(self.agent.concurrency - self.running, len(self.waiting)))

    def ended(self, at: float) -> None:
        """One is no longer in hand."""
        self.in_hand -= 1
        passed = at - self._second_began_at
        if passed >= 1.0:
            self._ended_before = self._ended if passed < 2.0 else 0
            self._ended, self._second_began_at = 0, at
        self._ended += 1

    def stale(self, since: float) -> Iterator[Letter]:
        """Take out those that wait since before then."""
        while self.waiting and self.waiting[0][0] < since:
            yield self.waiting.popleft()[1]
