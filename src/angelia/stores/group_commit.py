"""Group commit: whoever waits while one commit runs goes into the next together."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection

from angelia.inlet import Receipt
from angelia.model.errors import StoreUnavailable
from angelia.store import NewMessage
from angelia.stores.engine import SqlEngine

LONGEST_COMMIT = 2.5  # seconds; after five we must have answered, and a second try of the client's shall fit in

Add = Callable[[Connection, Sequence[NewMessage], set[str]], list[Receipt]]
"""Writes rows, one receipt each; leaves in the set the types that are new. In the database's own thread, on SQLite."""


class _Waiting(NamedTuple):
    rows: Sequence[NewMessage]
    receipts: "asyncio.Future[list[Receipt]]"

    def refuse(self, why: Exception) -> None:
        """Where somebody still waits."""
        if not self.receipts.done():
            self.receipts.set_exception(why)


class GroupCommit:
    """Rows in, receipts out once they are durable. What is committed is what waits when the database begins, not what waited when it was asked:
    where one commit ends the next begins in the same moment, while the event loop still answers those of the one before.
    """

    def __init__(self, engine: SqlEngine, add: Add, committed: Callable[[set[str]], None]) -> None:
        """`committed` is called with the types that came with it."""
        self.engine = engine
        self.add = add
        self.committed = committed
        self.lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._begun = 0
        self._is_next_asked_for = False

    def put(self, rows: Sequence[NewMessage]) -> "asyncio.Future[list[Receipt]]":
        """All of these or none. StoreUnavailable where the database does not answer in time (promise P2)."""
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._go_on()
        return waiting.receipts

    def _go_on(self) -> None:
        if self._waiting and not self._is_next_asked_for and self._begun < self.engine.commits_ahead:
            self._is_next_asked_for = True
            self._begun += 1
            _Commit(self, []).begin()

    def take(self) -> list[_Waiting]:
        """All who wait now. Who comes from now on asks for another commit; that is said first, so that nobody waits for this one to end."""
        self._is_next_asked_for = False
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._waiting.popleft())
        return taken

    def ended(self) -> None:
        """One that was asked for here."""
        self._begun -= 1
        self._go_on()


class _Commit:
    """One transaction."""

    def __init__(self, group: GroupCommit, batch: list[_Waiting]) -> None:
        """Of `batch`, or where that is empty of all who wait when it begins."""
        self._group = group
        self._batch = batch
        self._is_ours = bool(batch)
        self._fresh: set[str] = set()
        self._is_over = False

    def begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LONGEST_COMMIT, self._too_long)
        self._give_up = self._group.engine.begin(self._work, self._told)

    def _work(self, connection: Connection) -> list[Receipt]:
        with self._group.lock:
            if self._is_over:  # they are refused, so nothing of theirs is written
                return []
            if not self._is_ours:
                self._batch += self._group.take()  # a transaction that lost against another runs again, with those who came meanwhile
        return self._group.add(connection, [row for waiting in self._batch for row in waiting.rows], self._fresh)

    def _too_long(self) -> None:
        self._told(StoreUnavailable("the database does not answer; send again in a few seconds"), None)
        self._give_up()

    def _told(self, failure: Exception | None, receipts: list[Receipt] | None) -> None:
        with self._group.lock:
            if self._is_over:
                return
            self._is_over = True
            if failure is not None and not self._batch:
                self._batch += self._group.take()
        self._timer.cancel()
        if failure is None:
            self._group.committed(self._fresh)
            self._hand_out(receipts or [])
        elif len(self._batch) > 1 and not isinstance(failure, StoreUnavailable):
            for waiting in self._batch:  # what one caller brought must not refuse the others
                _Commit(self._group, [waiting]).begin()
        else:
            for waiting in self._batch:
                waiting.refuse(failure)
        if not self._is_ours:
            self._group.ended()

    def _hand_out(self, receipts: list[Receipt]) -> None:
        start = 0
        for waiting in self._batch:
            end = start + len(waiting.rows)
            if not waiting.receipts.done():
                waiting.receipts.set_result(receipts[start:end])
            start = end
