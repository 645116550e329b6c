"""How often something may be tried: so many in a window, by a key."""

from collections import OrderedDict
from time import monotonic

from angelia.model.errors import RateLimited

MOST_KEYS = 20_000


class Tries:
    """At most `most` tries a key in `seconds`; in memory, so each process counts its own."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str) -> None:
        """Count one, or RateLimited with the time to wait."""
        now = monotonic()
        began, count = self._counts.get(key, (now, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        if count >= self._most:
            raise RateLimited("too many tries; wait a few minutes", self._seconds - (now - began))
        self._counts[key] = began, count + 1
        self._counts.move_to_end(key)
        if len(self._counts) > MOST_KEYS:
            self._counts.popitem(last=False)

    def forget(self, key: str) -> None:
        """It went well."""
        self._counts.pop(key, None)
