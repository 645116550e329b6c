"""Skeleton: copy this file to add an instrument. It waits for so many seconds, in the hub itself, and says how long it waited.

What to change: the declaration, `submit`, and what `poll` asks. What must stay true is written in `angelia.instrument.Instrument`, and
`angelia_testing.suites.instrument` tests it. Then one line in your package's entry points (group `angelia.instruments`), and one table
`[instruments.<name>]` in the hub's settings.
"""

import asyncio
from dataclasses import dataclass
from time import monotonic

from angelia.instrument import MANIFEST, CantTell, Done, Gone, Handle, Lent, Outcome, Progress, Work
from angelia.model.declaration import Declaration, DeclaredProduct, Limits, Parameter, ParameterKind, ProductKind
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.products.output import Output

DECLARATION = Declaration(
    name="skeleton",
    title="Skeleton",
    help="Waits.",
    parameters=(Parameter("wait", ParameterKind.TIME_INTERVAL, unit="s", default=1.0, minimum=0.0, maximum=60.0, label="How long"),),
    products=(DeclaredProduct("waited", "How long it waited", kind=ProductKind.TEXT),),
    adapter="skeleton",
    limits=Limits(seconds=120.0, output_bytes=1 << 20, files=10),
    is_repeatable=True,  # to begin it twice harms nobody: so a job that a restart interrupted is begun again
)


@dataclass(frozen=True, slots=True)
class SkeletonSettings:
    """What stands in `[instruments.<name>]`."""

    most_at_once: int = say(10, "how many jobs wait at once")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if self.most_at_once < 1:
            raise BadSettings("most_at_once is 1 or more")


class SkeletonInstrument:
    """Jobs are tasks of this process: it knows nothing of those that another process began, and says so."""

    Settings = SkeletonSettings
    declares: Declaration | None = DECLARATION
    poll_seconds = 0.5

    def __init__(self, declaration: Declaration, settings: SkeletonSettings, lent: Lent) -> None:
        self.declaration = declaration
        self.most_at_once = settings.most_at_once
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._began: dict[str, float] = {}

    async def submit(self, work: Work) -> Handle:
        """Start it once, and return at once."""
        if work.key not in self._tasks:
            self._began[work.key] = monotonic()
            self._tasks[work.key] = asyncio.create_task(self._compute(work))
        return work.key

    async def _compute(self, work: Work) -> None:
        try:
            await asyncio.sleep(_seconds(work))
            out = Output(work.folder)
            out.text("waited", f"{_seconds(work):g} seconds")
            out.close()  # the list of products: written last, and whole
        finally:
            work.changed()  # asks for a poll now

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """The folder is the truth, also after a restart; what runs only in memory is gone with it."""
        if (work.folder / MANIFEST).is_file():
            return Done()
        task = self._tasks.get(handle)
        if task is None or task.done():
            return Gone("it ended with the process that it ran in")
        return Progress(min(1.0, (monotonic() - self._began[handle]) / max(_seconds(work), 0.001)), "waiting")

    async def cancel(self, work: Work, handle: Handle) -> None:
        """One that nobody knows is no error."""
        if (task := self._tasks.pop(work.key, None)) is not None:
            task.cancel()

    async def find(self, work: Work) -> Handle | None:
        """None would promise that it was never begun: another process may have done that."""
        if work.key in self._tasks or (work.folder / MANIFEST).is_file():
            return work.key
        raise CantTell("only the process that began it would know", is_for_good=True)

    async def close(self) -> None:
        """Tasks end with the process."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()


def _seconds(work: Work) -> float:
    value = work.values["wait"]
    assert isinstance(value, int | float)
    return float(value)
