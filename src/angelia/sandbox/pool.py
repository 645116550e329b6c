"""The hub's side of kept workers: gives each job to a free keeper, that of the same person first, and remembers what came of it until it is
written down.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from angelia.instrument import CantTell, Done, Failed, NotStarted, Outcome, Progress, Work
from angelia.sandbox.frames import CANCEL, ENDED, PROGRESS, RUN, BadFrame, Frames, frame, parts
from angelia.sandbox.runs import Runs, outcome_of, run_folder


@dataclass(slots=True, eq=False)
class _Line(asyncio.Protocol):
    """To one keeper. `work` is what it has in hand, `owner` whom its worker served last."""

    pool: "Pool"
    transport: asyncio.WriteTransport | None = None
    work: Work | None = None
    owner: str = ""
    frames: Frames = field(default_factory=Frames)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

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


class Pool:
    """At most `most` keepers, which are started as they are needed, in folders below `place`."""

    def __init__(self, runs: Runs, most: int, jobs_each: int, place: Path) -> None:
        self._runs, self._most, self._jobs_each, self._place = runs, most, jobs_each, place
        self._lines: set[_Line] = set()
        self._known: dict[str, Progress | Outcome] = {}

    async def start(self, work: Work, what: Mapping[str, Any], *, is_repeatable: bool) -> bool:
        """Give it to a keeper. False where none is free."""
        if work.key in self._known:
            return True
        self._known[work.key] = Progress(None, "", is_running=False)
        try:
            line = await self._taken(work)
        except BaseException:
            self._known.pop(work.key, None)
            raise
        if line is None or line.transport is None:
            self._known.pop(work.key, None)
            return False
        request = {
            "key": work.key, "run": str(run_folder(work)), "folder": str(work.folder), "limits": asdict(work.limits), "owner": work.owner,
            "most": self._jobs_each, "is_repeatable": is_repeatable, **what,
        }  # fmt: skip
        if work.key in self._known:  # not settled while its keeper was started
            self._known[work.key] = Progress()
        line.transport.write(frame(RUN, request))
        return True

    async def _taken(self, work: Work) -> _Line | None:
        """A keeper that has nothing in hand, and has this from now on."""
        free = [line for line in self._lines if line.work is None]
        if free:
            line = next((line for line in free if line.owner == work.owner), free[0])
            line.work, line.owner = work, work.owner
            return line
        if len(self._lines) >= self._most:
            return None
        line = _Line(self, work=work, owner=work.owner)
        self._lines.add(line)
        try:
            await self._connect(line)
        except BaseException:
            self._lines.discard(line)
            raise
        return line

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
            if said["status"] == "begun":  # by somebody else: what becomes of it stands in its folder
                self._known.pop(work.key, None)
            elif work.key in self._known:
                self._known[work.key] = _outcome(work, said, contents)
        work.changed()

    def lost(self, line: _Line) -> None:
        """A keeper is gone, and its job with it."""
        self._lines.discard(line)
        work, line.work = line.work, None
        if work is not None and work.key in self._known:
            self._known[work.key] = Failed("its keeper was killed: the machine went down, or somebody did it", is_crash=True)
            work.changed()

    def poll(self, work: Work) -> Progress | Outcome | None:
        """How it stands; None where it was not begun here."""
        return self._known.get(work.key)

    def cancel(self, work: Work) -> bool:
        """End it. False where it is not in hand here."""
        for line in self._lines:
            if line.work is not None and line.work.key == work.key and line.transport is not None:
                line.transport.write(frame(CANCEL, {"key": work.key}))
                return True
        return False

    def settle(self, work: Work) -> None:
        """Its end is written down: nobody asks for it any more."""
        self._known.pop(work.key, None)

    async def close(self) -> None:
        """The lines are closed: keepers that have nothing in hand go, and the others when it has ended."""
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
