"""The hub's side of kept workers: gives each job to a free keeper, that of the same person first, and remembers what came of it until it is
written down.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, cast

from angelia.instrument import CantTell, Done, Failed, NotStarted, Outcome, Progress, Rejected, Work
from angelia.sandbox.frames import CANCEL, ENDED, PROGRESS, RUN, BadFrame, Frames, frame, parts
from angelia.sandbox.runs import Runs, outcome_of, run_folder

_AHEAD = 0.25
"""Seconds in which a job that is taken ahead should begin; by how long the last ones took."""
_MOST_AHEAD = 32


@dataclass(slots=True, eq=False)
class _Line(asyncio.Protocol):
    """To one keeper. `work` is what it has in hand, `owner` whom its worker served last."""

    pool: "Pool"
    transport: asyncio.WriteTransport | None = None
    work: Work | None = None
    owner: str = ""
    began_at: float = 0.0
    frames: Frames = field(default_factory=Frames)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # Not asked of its class: the transports of other loops have one of their own.
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            for kind, said, contents in self.frames.feed(data):
                self.pool.heard(self, kind, said, contents)
        except BadFrame:
            assert self.transport is not None
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.pool.lost(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A job that waits for a keeper, since `at` by the monotonic clock, and what the keeper will be told."""

    work: Work
    request: bytes
    at: float


class Pool:
    """At most `most` keepers, which are started as they are needed, in folders below `place`."""

    def __init__(self, runs: Runs, most: int, jobs_each: int, place: Path) -> None:
        self._runs, self._most, self._jobs_each, self._place = runs, most, jobs_each, place
        self._lines: set[_Line] = set()
        self._known: dict[str, Progress | Outcome] = {}
        self._queue: deque[_Asked] = deque()
        self._reviving: set[asyncio.Task[None]] = set()
        self._mean, self._is_closed = 1.0, False

    @property
    def most_at_once(self) -> int:
        """How many jobs are taken: those that compute, and as many as will soon begin, so that no keeper waits for the hub to take the next."""
        return self._most + min(_MOST_AHEAD, int(_AHEAD * self._most / self._mean))

    async def start(self, work: Work, what: Mapping[str, Any], *, is_repeatable: bool) -> None:
        """Give it to a keeper, now or when one is free. NotStarted where none can be had."""
        if work.key in self._known:
            return
        request = {
            "key": work.key, "run": str(run_folder(work)), "folder": str(work.folder), "limits": asdict(work.limits), "owner": work.owner,
            "most": self._jobs_each, "is_repeatable": is_repeatable, **what,
        }  # fmt: skip
        try:
            asked = _Asked(work, frame(RUN, request), monotonic())
        except ValueError as error:
            raise Rejected(f"its values are too many: {error}") from None
        self._known[work.key] = Progress(None, "", is_running=False)
        free = [line for line in self._lines if line.work is None]
        if free:
            self._give(next((line for line in free if line.owner == work.owner), free[0]), asked)
        elif len(self._lines) >= self._most:
            self._queue.append(asked)
        else:
            await self._open(asked)

    async def _open(self, asked: "_Asked") -> None:
        """One more keeper, for this."""
        line = _Line(self, work=asked.work)
        self._lines.add(line)
        try:
            await self._connect(line)
        except BaseException:
            self._lines.discard(line)
            self._known.pop(asked.work.key, None)
            raise
        self._give(line, asked)

    def _give(self, line: _Line, asked: "_Asked") -> None:
        work = asked.work
        line.work, line.owner, line.began_at = work, work.owner, monotonic()
        self._known[work.key] = Progress()
        assert line.transport is not None
        line.transport.write(asked.request)

    def _next(self, owner: str) -> "_Asked | None":
        """Who waits longest; or one of the same person, for whom the process is ready, as long as nobody waits for long."""
        if not self._queue:
            return None
        first = self._queue[0]
        if first.work.owner != owner and monotonic() - first.at < _AHEAD:
            first = next((asked for asked in islice(self._queue, 10) if asked.work.owner == owner), first)
        self._queue.remove(first)
        return first

    async def _connect(self, line: _Line) -> None:
        await self._runs.forker()
        self._place.mkdir(parents=True, exist_ok=True)
        ours, its = socket.socketpair()
        try:
            await self._runs.ask({"place": str(self._place)}, its)
            await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=ours)
        except CantTell as error:
            ours.close()
            # No job was on its way yet.
            raise NotStarted(str(error), retry_after=0.1) from None
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()

    def heard(self, line: _Line, kind: bytes, said: Mapping[str, Any], contents: bytes) -> None:
        """What a keeper says of the job that it has in hand."""
        work = line.work
        if work is None or work.key != said.get("key"):
            raise BadFrame
        if kind == PROGRESS:
            self._known[work.key] = Progress(float(said["fraction"]), str(said["message"]))
        elif kind == ENDED:
            line.work = None
            self._mean += (max(1e-3, monotonic() - line.began_at) - self._mean) / 10
            if said["status"] == "begun":  # by somebody else: what becomes of it stands in its folder
                self._known.pop(work.key, None)
            elif work.key in self._known:
                self._known[work.key] = _outcome(work, said, contents)
            if (following := self._next(line.owner)) is not None:
                self._give(line, following)
        work.changed()

    def lost(self, line: _Line) -> None:
        """A keeper is gone, and its job with it."""
        self._lines.discard(line)
        work, line.work = line.work, None
        if work is not None and work.key in self._known:
            self._known[work.key] = Failed("its keeper was killed: the machine went down, or somebody did it", is_crash=True)
            work.changed()
        if self._queue and not self._is_closed:
            task = asyncio.create_task(self._revive(self._queue.popleft()))
            self._reviving.add(task)
            task.add_done_callback(self._reviving.discard)

    async def _revive(self, asked: "_Asked") -> None:
        """Another keeper in the place of one that is gone, where jobs wait for one."""
        try:
            await self._open(asked)
        except NotStarted as error:
            self._known[asked.work.key] = Failed(str(error), is_crash=True)
            asked.work.changed()

    def poll(self, work: Work) -> Progress | Outcome | None:
        """How it stands; None where it was not begun here."""
        return self._known.get(work.key)

    def cancel(self, work: Work) -> bool:
        """End it. False where it is not in hand here."""
        for line in self._lines:
            if line.work is not None and line.work.key == work.key and line.transport is not None:
                line.transport.write(frame(CANCEL, {"key": work.key}))
                return True
        for asked in self._queue:
            if asked.work.key == work.key:
                self._queue.remove(asked)
                self._known[work.key] = Failed("it was cancelled")
                return True
        return False

    def settle(self, work: Work) -> None:
        """Its end is written down: nobody asks for it any more."""
        self._known.pop(work.key, None)

    async def close(self) -> None:
        """The lines are closed: keepers that have nothing in hand go, and the others when it has ended."""
        self._is_closed = True
        self._queue.clear()
        for task in list(self._reviving):
            task.cancel()
        await asyncio.gather(*self._reviving, return_exceptions=True)
        for line in list(self._lines):
            if line.transport is not None:
                line.transport.close()
        self._known.clear()
        self._lines.clear()
        await asyncio.sleep(0)  # they are closed in the next turn of the loop


def _outcome(work: Work, said: Mapping[str, Any], contents: bytes) -> Outcome:
    if said.get("status") == "exit" and said.get("code") == 0:
        try:
            return Done(contents=parts(said, contents))
        except (BadFrame, KeyError, TypeError, ValueError):
            return Failed("what it made can't be read", is_crash=True)
    return outcome_of(said, run_folder(work))
