"""accept: number drafts, recognise repeats, make durable, acknowledge. One intake stands behind all inlets."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import repeat

from angelia import telemetry
from angelia.inlet import Draft, Receipt, Taken
from angelia.model.errors import StoreUnavailable
from angelia.model.moments import ID_STEP, next_id
from angelia.store import MessageStore, NewMessage

MOST_WAITING = 50_000
"""Drafts that may wait for the writer at once: beyond, we refuse clearly rather than answer late (promise P2)."""


class Intake:
    """`Accept` for every inlet. Returns when the store has made the drafts durable (promise P1)."""

    def __init__(self, store: MessageStore, clock_us: Callable[[], int], node: int, wake: Callable[[], None]) -> None:
        self._store = store
        self._clock_us = clock_us
        self._node = node
        self._wake = wake
        self._last_id = 0
        self._waiting = 0
        self._is_closed = False
        self._taken: Counter[Taken] = Counter()

    def new_id(self) -> int:
        """An id above all that this process gave before."""
        self._last_id = next_id(self._clock_us(), self._last_id, self._node)
        return self._last_id

    def new_ids(self, count: int) -> range:
        """So many at once, from one look at the clock: they take the next microseconds."""
        return self._ids_from(self._clock_us(), count)

    def _ids_from(self, now_us: int, count: int) -> range:
        first = next_id(now_us, self._last_id, self._node)
        self._last_id = first + (count - 1) * ID_STEP
        return range(first, self._last_id + 1, ID_STEP)

    def close(self) -> None:
        """Refuse from now on: the house is stopping."""
        self._is_closed = True

    async def accept(self, source: str, drafts: Sequence[Draft]) -> list[Receipt]:
        """One receipt a draft; all durable, or StoreUnavailable and none."""
        if self._is_closed:
            raise StoreUnavailable("the hub is stopping; send again in a few seconds")
        if self._waiting + len(drafts) > MOST_WAITING:
            raise StoreUnavailable("too much is waiting to be stored; send again in a few seconds", retry_after=2)
        if not drafts:
            return []
        now_us = self._clock_us()
        ids = self._ids_from(now_us, len(drafts))
        types, payloads, keys, fingerprints = zip(*drafts, strict=True)  # by columns: half the time of row by row
        rows = list(map(NewMessage._make, zip(ids, repeat(source), types, repeat(now_us), payloads, keys, fingerprints)))
        self._waiting += len(rows)
        try:
            receipts = await self._store.add_messages(rows)
        finally:
            self._waiting -= len(rows)
        if not self._taken:
            # Those whom one commit serves come here in one turn of the loop: they wake the planner, and count, together.
            asyncio.get_running_loop().call_soon(self._told)
        taken = [receipt.taken for receipt in receipts]
        for kind in Taken:
            self._taken[kind] += taken.count(kind)
        return receipts

    def _told(self) -> None:
        for taken, count in (+self._taken).items():
            telemetry.received.labels(taken.value).inc(count)
        self._taken.clear()
        self._wake()
