"""Function: a Python callable in processes of its own, limited and watched, that serve one job after the other."""

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from angelia.instrument import Handle, Lent, Outcome, Progress, Work
from angelia.model.declaration import Declaration
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.sandbox.pool import Pool
from angelia.sandbox.runs import RunInstrument, Runs

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """Which callable: `def run(values: Mapping[str, object], out: Output) -> None`."""

    target: str = say("", "module:function that computes; it is given the values and an Output to write products with")
    preload: str = say("", "modules that are read once before the first job, with commas: libraries that take long to load")
    most_at_once: int = say(2, "how many jobs compute at once")
    jobs_each: int = say(1_000, "how many jobs of one person a process computes, one after the other; 1: a fresh process for each job")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if not _TARGET.fullmatch(self.target):
            raise BadSettings("a function instrument needs a target such as mypackage.fits:run")
        if self.most_at_once < 1:
            raise BadSettings("most_at_once is 1 or more")
        if self.jobs_each < 1:
            raise BadSettings("jobs_each is 1 or more")


class FunctionInstrument(RunInstrument):
    """Processes are forked from one that has the libraries loaded. A job that runs for long lives on when the hub does not."""

    Settings = FunctionSettings
    declares: Declaration | None = None
    makes_folders = True

    def __init__(self, declaration: Declaration, settings: FunctionSettings, lent: Lent) -> None:
        self.declaration = declaration
        self._most = settings.most_at_once
        self._target = settings.target
        modules = [settings.target.partition(":")[0], *(part.strip() for part in settings.preload.split(",") if part.strip())]
        super().__init__(Runs(modules))
        place = Path(tempfile.gettempdir()) if lent.folder == Path() else lent.folder
        self._pool = Pool(self._runs, settings.most_at_once, settings.jobs_each, place) if settings.jobs_each > 1 else None

    @property
    def most_at_once(self) -> int:
        """See Instrument."""
        return self._most if self._pool is None else self._pool.most_at_once

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        what = {"target": self._target, "values": dict(work.values)}
        if self._pool is not None:
            await self._pool.start(work, what, is_repeatable=self.declaration.is_repeatable)
            return work.key
        await asyncio.to_thread(work.folder.mkdir, parents=True, exist_ok=True)
        return await self._runs.start(work, what)

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        said = self._pool.poll(work) if self._pool is not None else None
        return self._runs.poll(work) if said is None else said

    async def cancel(self, work: Work, handle: Handle) -> None:
        """See Instrument."""
        if self._pool is None or not self._pool.cancel(work):
            self._runs.kill(work)

    async def find(self, work: Work) -> Handle | None:
        """See Instrument."""
        return work.key if self._pool is not None and self._pool.poll(work) is not None else self._runs.find(work)

    def settle(self, work: Work) -> None:
        """See Instrument."""
        if self._pool is not None:
            self._pool.settle(work)

    async def close(self) -> None:
        """See Instrument."""
        if self._pool is not None:
            await self._pool.close()
        await super().close()
