"""Function: a Python callable in processes of its own, limited and watched, one for each job."""

import re
from dataclasses import dataclass

from angelia.instrument import Handle, Lent, Work
from angelia.model.declaration import Declaration
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.sandbox.runs import RunInstrument, Runs

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """Which callable: `def run(values: Mapping[str, object], out: Output) -> None`."""

    target: str = say("", "module:function that computes; it is given the values and an Output to write products with")
    preload: str = say("", "modules that are read once before the first job, with commas: libraries that take long to load")
    most_at_once: int = say(2, "how many jobs compute at once")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if not _TARGET.fullmatch(self.target):
            raise BadSettings("a function instrument needs a target such as mypackage.fits:run")
        if self.most_at_once < 1:
            raise BadSettings("most_at_once is 1 or more")


class FunctionInstrument(RunInstrument):
    """Each job is a process that is forked from one that has its libraries loaded; it lives on when the hub does not."""

    Settings = FunctionSettings
    declares: Declaration | None = None

    def __init__(self, declaration: Declaration, settings: FunctionSettings, lent: Lent) -> None:
        self.declaration = declaration
        self.most_at_once = settings.most_at_once
        self._target = settings.target
        modules = [settings.target.partition(":")[0], *(part.strip() for part in settings.preload.split(",") if part.strip())]
        super().__init__(Runs(modules))

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        return await self._runs.start(work, {"target": self._target, "values": dict(work.values)})
