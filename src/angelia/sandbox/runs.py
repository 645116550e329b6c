"""The hub's side: start runs through a forker, ask how they stand, end them. All that it knows of a run is in the run's folder."""

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from angelia import telemetry
from angelia.instrument import CantTell, Done, Failed, Gone, Handle, NotStarted, Outcome, Progress, Work
from angelia.products.output import read_progress
from angelia.sandbox.frames import BadFrame, parts
from angelia.sandbox.keeper import CANCELLED, ENDED, LOCK, SPOKEN

_STARTS_WITHIN = 30.0
_PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LD_LIBRARY_PATH")
"""All that a run sees of the hub's environment, where secrets may stand."""
_TAIL = 400
_BARRED = "barred"
"""The file in the place of a run that nobody shall begin."""


def run_folder(work: Work) -> Path:
    """Beside the folder of the products, so that nothing of it is taken for one."""
    return work.folder.with_name(f"{work.folder.name}.run")


class RunInstrument:
    """What instruments share whose jobs are runs: only how one begins is their own."""

    poll_seconds = 0.5

    def __init__(self, runs: "Runs") -> None:
        self._runs = runs

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        return self._runs.poll(work)

    async def cancel(self, work: Work, handle: Handle) -> None:
        """See Instrument."""
        self._runs.kill(work)

    async def find(self, work: Work) -> Handle | None:
        """See Instrument."""
        return self._runs.find(work)

    async def close(self) -> None:
        """See Instrument."""
        await self._runs.close()


class Runs:
    """Runs of one instrument. `modules` are read by the forker before the first run, once for all."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = modules
        self._forker: asyncio.subprocess.Process | None = None
        self._asks: socket.socket | None = None
        self._listening: asyncio.Task[None] | None = None
        self._starting, self._asking = asyncio.Lock(), asyncio.Lock()
        self._waiting: dict[str, Callable[[], None]] = {}

    async def start(self, work: Work, what: Mapping[str, Any]) -> Handle:
        """Begin a run: `what` is a target and values, or an argument list. NotStarted where no forker can be had."""
        await self.forker()
        request = {"key": work.key, "run": str(run_folder(work)), "folder": str(work.folder), "limits": asdict(work.limits), **what}
        self._waiting[work.key] = work.changed
        await self.ask(request)
        return work.key

    async def ask(self, request: Mapping[str, Any], line: socket.socket | None = None) -> None:
        """One request to the forker, perhaps with a socket for what it starts. CantTell where it has just ended."""
        if self._asks is None:
            raise CantTell("the program that starts runs has just ended")
        text = memoryview(json.dumps(request).encode() + b"\n")
        async with self._asking:
            try:
                if line is not None:
                    text = text[socket.send_fds(self._asks, [text], [line.fileno()]) :]
                await asyncio.get_running_loop().sock_sendall(self._asks, text)
            except BlockingIOError:
                raise NotStarted("the program that starts runs is busy", retry_after=0.1) from None
            except OSError:
                raise CantTell("the program that starts runs has just ended") from None

    async def forker(self) -> None:
        """The program that starts runs is there. NotStarted where it can't be had."""
        async with self._starting:
            if self._forker is not None and self._forker.returncode is None:
                return
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            ours, its = socket.socketpair()
            forker = None
            try:
                forker = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "angelia.sandbox.forker", *self._modules,
                    stdin=its.fileno(), stdout=asyncio.subprocess.PIPE, env=environment, start_new_session=True,
                )  # fmt: skip
                assert forker.stdout is not None
                async with asyncio.timeout(_STARTS_WITHIN):
                    await forker.stdout.readline()
            except BaseException as error:
                ours.close()
                if forker is not None:
                    with contextlib.suppress(ProcessLookupError):
                        forker.kill()
                    await forker.communicate()
                if isinstance(error, (OSError, TimeoutError)):
                    raise NotStarted(f"no process can be started: {error}", retry_after=5) from None
                raise  # its job is left, or there is a bug
            finally:
                its.close()
            ours.setblocking(False)
            if self._asks is not None:
                self._asks.close()
            self._asks, self._forker = ours, forker
            self._listening = asyncio.create_task(self._listen(forker.stdout))

    async def _listen(self, said: asyncio.StreamReader) -> None:
        while line := await said.readline():
            if (changed := self._waiting.pop(line.decode().strip(), None)) is not None:
                changed()

    def poll(self, work: Work) -> Progress | Outcome:
        """How it stands, from its folder."""
        run = run_folder(work)
        if (ended := _ended(run)) is not None:
            return outcome_of(ended, run)
        # Looked at before the lock: one that begins between the two looks has lost nobody.
        was_there = run.is_dir()
        if _is_held(run):
            fraction, message = read_progress(work.folder)
            return Progress(fraction, message)
        if (ended := _ended(run)) is not None:
            return outcome_of(ended, run)
        if not was_there:
            # Its request is on the way to the forker; where that died, nobody will begin it.
            if run.is_dir() or (self._forker is not None and self._forker.returncode is None):
                return Progress(None, "", is_running=False)
            return Gone("it was never begun")
        return Failed("its keeper was killed: the machine went down, or somebody did it", is_crash=True)

    def find(self, work: Work) -> Handle | None:
        """Was it begun? A request that a forker of a hub that died still has comes too late: a folder is made once."""
        return work.key if run_folder(work).is_dir() else None

    def kill(self, work: Work) -> None:
        """End it, with all that it started."""
        run = run_folder(work)
        # First its place is taken where it has not begun: one that begins meanwhile has the place, and is ended like others.
        if not run.exists():
            with contextlib.suppress(OSError):
                bar(work)
        if _is_held(run):
            with contextlib.suppress(OSError, ValueError):
                # Its keeper may have gone on to another job meanwhile, and looks which one is meant.
                (run / CANCELLED).touch()
                os.kill(int((run / LOCK).read_text(encoding="ascii")), signal.SIGTERM)
        self._waiting.pop(work.key, None)

    async def close(self) -> None:
        """The forker goes; runs go on, and the next hub finds them."""
        forker, self._forker = self._forker, None
        if forker is None:
            return
        if self._asks is not None:
            self._asks.close()
            self._asks = None
        try:
            async with asyncio.timeout(3):
                await forker.wait()
        except TimeoutError:
            telemetry.log.warning("forker_killed", pid=forker.pid)
            forker.kill()
            await forker.wait()
        if self._listening is not None:
            await self._listening
            self._listening = None


def bar(work: Work) -> bool:
    """Take the place of a run that was never begun: one that comes later finds it, and does not begin. False where it was begun."""
    run = run_folder(work)
    draft = Path(tempfile.mkdtemp(prefix=f".{run.name}-", dir=run.parent))
    (draft / _BARRED).touch()
    try:
        draft.rename(run)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
    return (run / _BARRED).exists()


def is_kept(work: Work) -> bool:
    """Does a keeper have it now? It can be seen where the file system tells locks to all machines."""
    return _is_held(run_folder(work))


def kept_outcome(work: Work) -> Outcome | None:
    """The last word of a run's keeper; None while there is none."""
    run = run_folder(work)
    ended = _ended(run)
    return None if ended is None else outcome_of(ended, run)


def _ended(run: Path) -> dict[str, Any] | None:
    try:
        ended: dict[str, Any] = json.loads((run / ENDED).read_bytes())
    except (OSError, ValueError):
        return None
    return ended


def _is_held(run: Path) -> bool:
    """Does its keeper live? The lock is the kernel's: it is free as soon as the keeper is gone, in whatever way."""
    try:
        lock = os.open(run / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def outcome_of(ended: Mapping[str, Any], run: Path) -> Outcome:
    """A keeper's last word as an outcome."""
    said = str(ended.get("error", ""))
    match ended.get("status"):
        case "exit" if ended.get("code") == 0:
            return _done(ended)
        case "exit":
            is_limit = ended.get("kind") in ("memory", "size")
            last = _tail(run) or _printable(str(ended.get("why") or ""))
            return Failed(said or f"it ended with status {ended.get('code')}{last}", is_limit=is_limit, is_crash=bool(said) and not is_limit)
        case "limit":
            return Failed(str(ended.get("why")), is_limit=True)
        case "cancelled":
            return Failed("it was cancelled")
        case _:
            return Failed(f"{ended.get('why') or 'it ended strangely'}", is_crash=True)


def _done(ended: Mapping[str, Any]) -> Outcome:
    try:
        return Done(contents=parts(ended, base64.b64decode(ended.get("contents", ""))))
    except (BadFrame, KeyError, TypeError, ValueError):
        return Failed("what it made can't be read", is_crash=True)


def _tail(run: Path) -> str:
    """The last that it said, for who must find out why."""
    try:
        with (run / SPOKEN).open("rb") as file:
            file.seek(max(0, (run / SPOKEN).stat().st_size - _TAIL))
            return _printable(file.read().decode(errors="replace"))
    except OSError:
        return ""


def _printable(text: str) -> str:
    text = text.strip()
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return f": {printable}" if printable else ""
