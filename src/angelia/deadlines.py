"""Limits of time for many short waits under one timer: `asyncio.timeout` makes and cancels a timer for each, which costs more than small waits do."""

import asyncio
from types import TracebackType


class Limit:
    """One limit of time, entered once; TimeoutError where it runs out, as with `asyncio.timeout`."""

    __slots__ = ("_before", "_deadlines", "_seconds", "at", "is_over", "task")

    def __init__(self, deadlines: "Deadlines", seconds: float) -> None:
        self._deadlines, self._seconds = deadlines, seconds
        self._before, self.at, self.is_over = 0, 0.0, False
        self.task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        """From now on."""
        task = asyncio.current_task()
        assert task is not None
        self.task, self._before = task, task.cancelling()
        self._deadlines.add(self, self._seconds)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Over. A cancellation that is not ours goes through."""
        self._deadlines.remove(self)
        assert self.task is not None
        if self.is_over and self.task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadlines:
    """The limits that run. The timer stands at the first of them; most are over long before, so it rarely looks."""

    def __init__(self) -> None:
        self._running: dict[Limit, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Limit:
        """`with deadlines.within(10): ...`."""
        return Limit(self, seconds)

    def add(self, limit: Limit, seconds: float) -> None:
        """For Limit: it begins now."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer, self._running = loop, None, {}
        limit.at = loop.time() + seconds
        self._running[limit] = None
        if self._timer is None or limit.at < self._timer.when():
            self._set(limit.at)

    def remove(self, limit: Limit) -> None:
        """For Limit: it has ended. The timer stays: the next limit begins soon."""
        self._running.pop(limit, None)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        assert self._loop is not None
        self._timer, now = None, self._loop.time()
        for limit in [one for one in self._running if one.at <= now]:
            del self._running[limit]
            limit.is_over = True
            assert limit.task is not None
            limit.task.cancel()
        if self._running:
            self._set(min(limit.at for limit in self._running))
