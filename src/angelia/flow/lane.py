"""What the relay has in hand for one agent: tries that run, letters that wait for a place, and how many more to claim."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from angelia.agent import Agent, Letter

MOST_IN_HAND = 400  # letters of one agent: bounds memory, and what a lost worker keeps from the others until its leases end
SHARE = 5  # one part in so many of an agent's places is what a destination that does not answer may hold
SLOW = 1.0  # seconds of a try after which its destination may not have more than its share


@dataclass(slots=True)
class Places:
    """Who holds an agent's places: one destination that hangs must leave room for the others (promise P8). Times are monotonic seconds.

    A destination that answers may hold as many as there are, and so may one that is the only one: many agents have one server for all.
    """

    share: int
    _newest: deque[str] = field(default_factory=lambda: deque(maxlen=64))
    _running: dict[str, deque[float]] = field(default_factory=dict)
    _answering: set[str] = field(default_factory=set)

    def has_room(self, destination: str, now: float) -> bool:
        """May one more try go there?"""
        running = self._running.get(destination)
        if running is None or len(running) < self.share:
            return True
        return (destination in self._answering and now - running[0] < SLOW) or self._newest.count(destination) == len(self._newest)

    def began(self, destination: str, now: float) -> None:
        """A try goes there."""
        self._running.setdefault(destination, deque()).append(now)
        self._newest.append(destination)

    def ended(self, destination: str, began_at: float, *, is_answer: bool) -> None:
        """It came back; was it an answer?"""
        running = self._running[destination]
        running.remove(began_at)
        if not running:
            # Nothing is kept of who is not being tried: there may be a destination a person.
            del self._running[destination]
            self._answering.discard(destination)
        elif is_answer:
            self._answering.add(destination)
        else:
            self._answering.discard(destination)


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
    places: Places = field(init=False)
    _ended: int = 0
    _ended_before: int = 0
    _second_began_at: float = 0.0

    def __post_init__(self) -> None:
        """A share of at least two."""
        self.places = Places(max(2, self.agent.concurrency // SHARE))

    def take(self, destination_of: Callable[[Agent, Letter], str], now: float) -> tuple[float, Letter, str] | None:
        """The first that waits for a destination with room, and that destination; None where there is none."""
        full: set[str] = set()
        for index, (claimed_at, letter) in enumerate(self.waiting):
            destination = destination_of(self.agent, letter)
            if destination not in full and self.places.has_room(destination, now):
                del self.waiting[index]
                return claimed_at, letter, destination
            full.add(destination)
        return None

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
