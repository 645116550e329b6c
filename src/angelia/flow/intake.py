"""accept: number drafts, recognise repeats, make durable, acknowledge. One intake stands behind all inlets."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import repeat

from angelia import telemetry
from angelia.flow.handover import PLANNING, HandOver
from angelia.inlet import Draft, Receipt, Taken
from angelia.model.errors import StoreUnavailable
from angelia.model.message import HOUSE
from angelia.model.moments import ID_STEP, from_us, next_id
from angelia.store import MessageStore, NewMessage

MESSAGES = "messages"
"""The name under which they are handed over."""
MOST_WAITING = 50_000
"""Drafts that may wait for the writer at once: beyond, we refuse clearly rather than answer late (promise P2)."""

_LEASE_US = PLANNING // timedelta(microseconds=1)


class Intake:
    """`Accept` for every inlet. Returns when the store has made the drafts durable (promise P1)."""

    def __init__(
        self, store: MessageStore, clock_us: Callable[[], int], node: int, wake: Callable[[], None], lack: Callable[[], str] = lambda: ""
    ) -> None:
        """`lack` says why nothing new can be taken now, "" where it can."""
        self._store = store
        self._lack = lack
        self._clock_us = clock_us
        self._node = node
        self._wake = wake
        self._last_id = 0
        self._waiting = 0
        self._is_closed = False
        self._taken: list[Receipt] = []
        self._letting_go: set[asyncio.Task[None]] = set()
        self.hand_over: HandOver[NewMessage] = HandOver(wake)
        """To the planner of this process, where there is one: as long as it says that it has room, what comes is claimed for it."""

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
        # What the house itself has to say is little, and told of what is wrong.
        if source != HOUSE and (lack := self._lack()):
            raise StoreUnavailable(lack, retry_after=5)
        now_us = self._clock_us()
        ids = self._ids_from(now_us, len(drafts))
        is_claimed = self.hand_over.promise(MESSAGES, len(drafts))
        claim = (now_us + _LEASE_US, 1, 1) if is_claimed else (0, 0, 0)
        if len(drafts) == 1:
            rows = [NewMessage(ids[0], source, drafts[0].type, now_us, *drafts[0][1:], *claim)]
        else:
            types, payloads, keys, fingerprints = zip(*drafts, strict=True)  # by columns: half the time of row by row
            claims = map(repeat, claim)
            rows = list(map(NewMessage._make, zip(ids, repeat(source), types, repeat(now_us), payloads, keys, fingerprints, *claims)))
        receipts = await self._stored(rows, is_claimed=is_claimed)
        if not self._taken:
            # Those whom one commit serves come here in one turn of the loop: they wake the planner, and count, together.
            asyncio.get_running_loop().call_soon(self._told)
        self._taken += receipts
        return receipts

    async def _stored(self, rows: Sequence[NewMessage], *, is_claimed: bool) -> list[Receipt]:
        """Durable; what is claimed for the planner is given to it."""
        self._waiting += len(rows)
        try:
            receipts = await self._store.add_messages(rows)
            if is_claimed:
                new = [row for row, receipt in zip(rows, receipts, strict=True) if receipt.taken is Taken.NEW]
                self.hand_over.give(new, repeat(MESSAGES, len(new)))
        except BaseException:
            if is_claimed:
                letting_go = asyncio.create_task(self._let_go(rows))
                self._letting_go.add(letting_go)
                letting_go.add_done_callback(self._letting_go.discard)
            raise
        finally:
            self._waiting -= len(rows)
            if is_claimed:
                self.hand_over.withdraw(repeat(MESSAGES, len(rows)))
        return receipts

    async def _let_go(self, rows: Sequence[NewMessage]) -> None:
        """It can't be said whether these are stored. If they are, they need not wait for the end of a lease; if not, nothing changes."""
        with suppress(StoreUnavailable):
            await asyncio.gather(*(self._store.postpone_message(row.message_id, row.fence, from_us(row.received_us), "") for row in rows))
        self._wake()

    def _told(self) -> None:
        taken, self._taken = [receipt.taken for receipt in self._taken], []
        for kind in Taken:
            if count := taken.count(kind):
                telemetry.received.labels(kind.value).inc(count)
        self._wake()
