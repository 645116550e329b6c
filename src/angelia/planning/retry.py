"""When a failed delivery is tried again, and when a destination is left alone (promise P8)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

STEPS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400))
"""After the first failure, the second, ...; the last repeats."""
JITTER = 0.2
LONGEST_WORD = timedelta(hours=6)
OPENS_AFTER = 5
SHORTEST_REST = timedelta(seconds=10)
LONGEST_REST = timedelta(minutes=10)


def next_attempt(
    attempts: int, first_tried_at: datetime, now: datetime, retry_after: timedelta | None, lifetime: timedelta, seed: int
) -> datetime | None:
    """When to try again after `attempts` tries; None once `lifetime` since the first try would be over.

    The jitter of +-20 % comes from a hash of seed and attempts: pure, and different for each delivery. A peer's `retry_after` counts where
    it is longer than our own step, up to 6 h.
    """
    step = STEPS[min(max(attempts, 1), len(STEPS)) - 1]
    wait = step * (1 + JITTER * _spread(seed, attempts))
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_WORD))
    if now + wait - first_tried_at > lifetime:
        return None
    return now + wait


def _spread(seed: int, attempts: int) -> float:
    """A number from -1 to 1."""
    digest = blake2b(f"{seed}/{attempts}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 0xFFFFFFFF * 2 - 1


@dataclass(frozen=True, slots=True)
class Breaker:
    """What we know of a destination: `failures` in a row, and until when it rests. While it rests nothing is tried; after that, one probe."""

    failures: int = 0
    rests_until: datetime | None = None
    probe_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        """True while the destination is suspected to be down."""
        return self.rests_until is not None


def may_try(breaker: Breaker, now: datetime) -> tuple[datetime | None, Breaker]:
    """(None, breaker) if a try may go now; else when to ask again. With an open breaker one probe at a time goes."""
    if breaker.rests_until is None:
        return None, breaker
    # A rest that lies further ahead than the longest was begun under a clock that went back since.
    if now < breaker.rests_until <= now + LONGEST_REST:
        return breaker.rests_until, breaker
    if breaker.probe_until is not None and now < breaker.probe_until <= now + LONGEST_REST:
        return min(breaker.probe_until, now + SHORTEST_REST), breaker
    return None, replace(breaker, probe_until=now + LONGEST_REST)


def after_failure(breaker: Breaker, now: datetime) -> Breaker:
    """A temporary failure that the destination is to blame for. From the fifth in a row it rests, longer each time.

    What fails while it rests was under way when the rest began: twenty letters cut off by one restart are one reason to rest, not twenty.
    """
    if breaker.rests_until is not None and now < breaker.rests_until <= now + LONGEST_REST:
        return breaker
    failures = breaker.failures + 1
    if failures < OPENS_AFTER:
        return Breaker(failures)
    rest = min(SHORTEST_REST * 2 ** min(failures - OPENS_AFTER, 10), LONGEST_REST)
    return Breaker(failures, now + rest)


def after_success(_: Breaker) -> Breaker:
    """It works: all is forgotten."""
    return Breaker()
