"""Slurm: jobs that its queue starts on nodes which see the hub's data folder; each is kept there as it would be on the hub's own machine.

The key of a job is its name in the queue: so a job is found whose submit answer was lost.
"""

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from angelia.instrument import CantTell, Failed, Gone, Handle, Lent, NotStarted, Outcome, Progress, Rejected, Work
from angelia.model.declaration import Declaration
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.products.output import read_progress
from angelia.sandbox.keeper import write_whole
from angelia.sandbox.runs import bar, is_kept, kept_outcome, run_folder

_LONGEST = 30.0
"""Seconds for one command."""
_WAITS = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_RUNS = frozenset({"RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"})
_LIMITS = {
    "TIMEOUT": "it took longer than the queue allows",
    "OUT_OF_MEMORY": "it needed more memory than it may have",
    "DEADLINE": "its deadline is over",
}


@dataclass(frozen=True, slots=True)
class SlurmSettings:
    """What is run, and where."""

    target: str = say("", "module:function that computes, as for a function instrument")
    partition: str = say("", "the partition; empty for the default one")
    options: Sequence[str] = say((), "more options of sbatch, such as --account=astro")
    python: str = say(sys.executable, "the Python on the nodes that has the function and this package")
    folder: str = say("", "where sbatch, squeue and scancel are; empty for the PATH")
    most_at_once: int = say(100, "how many jobs are in the queue at once")
    poll_seconds: float = say(5.0, "how often the queue is asked for a job")
    forgotten_seconds: float = say(60.0, "how long the result of a job is looked for that ended in the queue, or that the queue forgot")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if ":" not in self.target:
            raise BadSettings("a slurm instrument needs a target such as mypackage.fits:run")
        if self.most_at_once < 1 or self.poll_seconds <= 0:
            raise BadSettings("most_at_once and poll_seconds are above 0")
        if self.forgotten_seconds < 0:
            raise BadSettings("forgotten_seconds is not below 0")


class SlurmInstrument:
    """The queue limits time and memory, the keeper all else."""

    Settings = SlurmSettings
    declares: Declaration | None = None

    def __init__(self, declaration: Declaration, settings: SlurmSettings, lent: Lent) -> None:
        self.declaration = declaration
        self.most_at_once, self.poll_seconds = settings.most_at_once, settings.poll_seconds
        self._settings = settings
        self._missed: dict[str, float] = {}

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        script = await asyncio.to_thread(self._prepare, work)
        minutes = max(1, -(-int(work.limits.seconds) // 60) + 1)
        megabytes = max(16, -(-work.limits.memory_bytes >> 20))
        options = [f"--partition={self._settings.partition}"] if self._settings.partition else []
        said = await self._ask(
            "sbatch", "--parsable", f"--job-name={work.key}", f"--chdir={work.folder}", f"--output={script}.log", f"--time={minutes}",
            f"--mem={megabytes}", "--export=NONE", "--no-requeue", *options, *self._settings.options, script,
        )  # fmt: skip
        status, out, complaint = said
        if status == 0 and (handle := out.strip().partition(";")[0]).isdigit():
            return handle
        if "Unable to contact" in complaint or "temporarily" in complaint.lower():
            raise NotStarted(f"the queue can't be reached: {complaint}")
        if status and "timed out" not in complaint.lower() and "Unexpected" not in complaint:
            raise Rejected(f"the queue does not take it: {complaint}")
        raise CantTell(f"the queue gave no number: {complaint}")

    def _prepare(self, work: Work) -> str:
        """The request and the script, beside the folder of the products."""
        run = run_folder(work)
        beside = run.with_name(f"{run.name}.batch")
        beside.mkdir(exist_ok=True)
        request = {
            "key": work.key, "run": str(run), "folder": str(work.folder), "limits": asdict(work.limits), "target": self._settings.target,
            "values": dict(work.values),
        }  # fmt: skip
        write_whole(beside / "request.json", json.dumps(request).encode())
        path = os.environ.get("PYTHONPATH", "")
        lines = [
            "#!/bin/sh",
            *([f"export PYTHONPATH={shlex.quote(path)}"] if path else []),
            f"exec {shlex.quote(self._settings.python)} -m angelia.sandbox.batch {shlex.quote(str(beside / 'request.json'))}",
        ]
        write_whole(beside / "script", ("\n".join(lines) + "\n").encode())
        return str(beside / "script")

    async def find(self, work: Work) -> Handle | None:
        """See Instrument. The queue forgets ended jobs after a while; their folder does not."""
        status, out, complaint = await self._ask("squeue", "--noheader", "--states=all", f"--name={work.key}", "--format=%i")
        if status:
            raise CantTell(f"the queue can't be asked: {complaint}")
        if found := [line.strip() for line in out.splitlines() if line.strip().isdigit()]:
            return min(found, key=int)
        # It ran, and is forgotten: nobody needs its number any more.
        return "0" if run_folder(work).is_dir() else None

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        if (outcome := kept_outcome(work)) is not None:
            self._missed.pop(work.key, None)
            return outcome
        # By name too: a queue that lost what it had not saved gives the same number to another.
        asked = ("--noheader", "--states=all", f"--jobs={handle}", f"--name={work.key}", "--format=%T %r")
        status, out, complaint = await self._ask("squeue", *asked)
        if status and "Invalid job id" not in complaint:
            raise CantTell(f"the queue can't be asked: {complaint}")
        state, _, reason = out.strip().partition(" ")
        if state in _WAITS | _RUNS:
            self._missed.pop(work.key, None)
        if state in _WAITS:
            return Progress(None, f"waiting in the queue ({reason})" if reason else "waiting in the queue", is_running=False)
        if state in _RUNS:
            fraction, message = read_progress(work.folder)
            return Progress(fraction, message)
        if state in _LIMITS:
            return Failed(_LIMITS[state], is_limit=True)
        if state == "CANCELLED":
            return Failed("it was cancelled in the queue")
        return self._without_word(work, state)

    def _without_word(self, work: Work, state: str) -> Progress | Outcome:
        """It ended, or is forgotten, and its keeper has not said how: that may come later, over a network's file system. A keeper that lives
        has the time of the job to end it. What was never begun never will be: its place is taken.
        """
        missed = time.monotonic() - self._missed.setdefault(work.key, time.monotonic())
        is_alive = not state and is_kept(work)
        if missed < self._settings.forgotten_seconds + (work.limits.seconds if is_alive else 0):
            return Progress(*read_progress(work.folder)) if is_alive else Progress(None, "its result is on the way")
        if not state and bar(work):
            return Gone("the queue does not know it")
        return Failed(f"it ended in the queue without a word ({state or 'forgotten'})", is_crash=True)

    async def cancel(self, work: Work, handle: Handle) -> None:
        """See Instrument."""
        await self._ask("scancel", f"--name={work.key}")

    async def close(self) -> None:
        """The queue holds all."""

    async def _ask(self, program: str, *arguments: str) -> tuple[int, str, str]:
        """Status, what it printed, what it complained of. CantTell where it does not end."""
        path = os.path.join(self._settings.folder, program) if self._settings.folder else program
        try:
            process = await asyncio.create_subprocess_exec(
                path, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=_environment(),
            )  # fmt: skip
        except OSError as error:
            raise NotStarted(f"{program} can't be run: {error}") from None
        try:
            async with asyncio.timeout(_LONGEST):
                out, complaint = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise CantTell(f"{program} does not answer") from None
        return process.returncode or 0, out.decode(errors="replace"), " ".join(complaint.decode(errors="replace").split())[:500]


def _environment() -> Mapping[str, str]:
    """No secrets: only what the programs need to find their way."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "USER") or name.startswith("SLURM_CONF")}
