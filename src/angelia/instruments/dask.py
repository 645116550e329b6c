"""Dask: jobs that the workers of a distributed scheduler compute, on machines which see the hub's data folder.

The key of a job is that of its task: the scheduler begins no key twice, and neither does the keeper, whichever worker takes it.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import distributed

from angelia.instrument import CantTell, Failed, Gone, Handle, Lent, NotStarted, Outcome, Progress, Work
from angelia.model.declaration import Declaration
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.products.output import read_progress
from angelia.sandbox.batch import CANCELLED, run_kept
from angelia.sandbox.keeper import write_whole
from angelia.sandbox.runs import kept_outcome, run_folder

_dask: Any = distributed  # half of it is typed
_CONNECTS_WITHIN = 10.0
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class DaskSettings:
    """What is run, and where."""

    target: str = say("", "module:function that computes, as for a function instrument")
    scheduler: str = say("", "the scheduler: tcp://host:8786")
    most_at_once: int = say(100, "how many jobs it is given at once")
    poll_seconds: float = say(2.0, "how often the scheduler is asked for a job")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if ":" not in self.target or "://" not in self.scheduler:
            raise BadSettings("a dask instrument needs a target such as mypackage.fits:run, and a scheduler such as tcp://host:8786")
        if self.most_at_once < 1 or self.poll_seconds <= 0:
            raise BadSettings("most_at_once and poll_seconds are above 0")


class DaskInstrument:
    """A task is a process of the keeper's on the worker that takes it: its limits are those of all functions."""

    Settings = DaskSettings
    declares: Declaration | None = None

    def __init__(self, declaration: Declaration, settings: DaskSettings, lent: Lent) -> None:
        self.declaration = declaration
        self.most_at_once, self.poll_seconds = settings.most_at_once, settings.poll_seconds
        self._settings = settings
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._tasks: dict[str, Any] = {}
        self._looked: dict[str, int] = {}

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        try:
            client = await self._connected()
        except CantTell as error:
            raise NotStarted(str(error)) from None
        request = await asyncio.to_thread(self._prepare, work)
        seconds = work.limits.seconds + 60
        task = client.submit(run_kept, request, seconds, key=work.key, pure=False)
        # The scheduler goes on with it when this hub is gone.
        _dask.fire_and_forget(task)
        task.add_done_callback(lambda _: work.changed())
        self._tasks[work.key] = task
        return work.key

    def _prepare(self, work: Work) -> str:
        run = run_folder(work)
        path = run.with_name(f"{run.name}.json")
        request = {
            "key": work.key, "run": str(run), "folder": str(work.folder), "limits": asdict(work.limits), "target": self._settings.target,
            "values": dict(work.values),
        }  # fmt: skip
        write_whole(path, json.dumps(request).encode())
        return str(path)

    async def find(self, work: Work) -> Handle | None:
        """See Instrument. A task that ended is forgotten by the scheduler; its folder is there."""
        if run_folder(work).is_dir():
            return work.key
        return work.key if await self._state(work.key) else None

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        if (outcome := kept_outcome(work)) is not None:
            self._tasks.pop(work.key, None)
            self._looked.pop(work.key, None)
            return outcome
        state = await self._state(work.key)
        if state in ("released", "waiting", "queued", "no-worker"):
            return Progress(None, "waiting for a worker", is_running=False)
        if state == "processing":
            fraction, message = read_progress(work.folder)
            return Progress(fraction, message, is_running=run_folder(work).is_dir())
        looked = self._looked[work.key] = self._looked.get(work.key, 0) + 1
        if looked <= _LOOKS:
            return Progress(None, "its result is on the way")
        if not run_folder(work).is_dir():
            return Gone("the scheduler does not know it")
        return Failed(f"its worker ended without a word ({state or 'forgotten'})", is_crash=True)

    async def cancel(self, work: Work, handle: Handle) -> None:
        """See Instrument. A scheduler can't end a task that runs: its worker sees a file."""
        run = run_folder(work)
        await asyncio.to_thread(write_whole, run.with_name(f"{run.name}{CANCELLED}"), b"")
        task = self._tasks.pop(work.key, None)
        if task is not None:
            await task.cancel()

    async def close(self) -> None:
        """See Instrument. What was begun goes on."""
        client, self._client = self._client, None
        self._tasks.clear()
        if client is not None:
            await client.close()

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await _dask.Client(self._settings.scheduler, asynchronous=True, timeout=_CONNECTS_WITHIN, set_as_default=False)
                except (OSError, TimeoutError) as error:
                    raise CantTell(f"the scheduler can't be reached: {error}") from None
            return self._client

    async def _state(self, key: str) -> str:
        """Of its task, as the scheduler calls it; "" where it knows none."""
        client = await self._connected()
        try:
            async with asyncio.timeout(_CONNECTS_WITHIN):
                states: Mapping[str, Any] = await client.scheduler.get_task_status(keys=[key])
        except (OSError, TimeoutError, ValueError, AttributeError) as error:
            # Its connection is lost: the next question makes a new one.
            self._client = None
            raise CantTell(f"the scheduler can't be asked: {error or type(error).__name__}") from None
        return str(states.get(key) or "")
