"""What open pages ask every few seconds: is there something new? Answered from memory; one look at the store a second and person at most."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from angelia.store import Store

REMEMBERED = 1.0  # seconds
MOST_REMEMBERED = 10_000


class Live:
    """The state of the inboxes that are looked at, shared by all pages of this process."""

    def __init__(self, store: Store, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._clock = clock
        self._stamps: dict[int, tuple[float, asyncio.Future[str]]] = {}
        self._unread: dict[int, tuple[str, int]] = {}

    async def stamp(self, person_id: int) -> str:
        """Another one once her inbox changed. Pages that ask at the same time share one look."""
        known = self._stamps.get(person_id)
        if known is None or self._clock() - known[0] > REMEMBERED:
            if len(self._stamps) > MOST_REMEMBERED:
                self._stamps.clear()
            known = self._stamps[person_id] = self._clock(), asyncio.ensure_future(self._store.inbox_stamp(person_id))
        try:
            return await asyncio.shield(known[1])
        except Exception:
            self._stamps.pop(person_id, None)
            raise

    async def unread(self, person_id: int, stamp: str, count: Callable[[], Awaitable[int]]) -> int:
        """How many are unread as of a stamp; counted again only when that is another."""
        known = self._unread.get(person_id)
        if known is None or known[0] != stamp:
            if len(self._unread) > MOST_REMEMBERED:
                self._unread.clear()
            known = self._unread[person_id] = stamp, await count()
        return known[1]

    def forget(self, person_id: int) -> None:
        """She changed something here: the next page looks at once."""
        self._stamps.pop(person_id, None)
