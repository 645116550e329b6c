"""The keeper of one run: starts foreign code in a child, watches its limits, kills all that is left, and writes what came of it.

It needs no hub: it holds a lock as long as the run lasts, and its last word is a file. So a hub that was killed finds out what became of a run.
"""

import contextlib
import fcntl
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from angelia.products.output import Output
from angelia.sandbox.limits import adopt_orphans, die_with_parent, limit
from angelia.sandbox.processes import kill_below, kill_group

LOCK, ENDED, ERROR, SPOKEN, CANCELLED = "lock", "ended.json", "error.json", "output.txt", "cancelled"
"""Files of a run. The lock holds the keeper's process id; who wants the run to end makes the last one before he tells the keeper."""
LOOK_EVERY = 0.25
"""Seconds between two looks at what a run has written."""
_ERROR_LENGTH = 1_500
_REFUSED = 120
"""Exit status of a child that could not even begin."""


def keep(request: Mapping[str, Any]) -> None:
    """Run it; returns when all of it has ended. A run that was begun before, under the same folder, is not begun again."""
    run = Path(request["run"])
    lock = begin(run, is_safe=True)
    if lock is None:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    adopt_orphans()
    child = os.fork()
    if child == 0:
        os.close(lock)
        _run(request, run)
    ended = _watch(child, request)
    kill_below()
    ended.setdefault("why", "")
    ended |= _said(run)
    write_whole(run / ENDED, json.dumps(ended).encode())
    os.close(lock)


def begin(run: Path, *, is_safe: bool) -> int | None:
    """The lock of a new run; None where there is one of this name. It appears under its name whole, with its lock held;
    `is_safe`: also after a power cut.
    """
    if not run.parent.is_dir():
        run.parent.mkdir(parents=True, exist_ok=True)
        if is_safe:
            sync_folder(run.parent.parent)
    draft = Path(tempfile.mkdtemp(prefix=f".{run.name}-", dir=run.parent))
    lock = os.open(draft / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, str(os.getpid()).encode())
    try:
        draft.rename(run)
    except OSError:
        os.close(lock)
        shutil.rmtree(draft, ignore_errors=True)
        return None
    if is_safe:
        sync_folder(run.parent)
    return lock


def _watch(child: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """Until the child ends or goes over a limit."""
    limits, folder = request["limits"], Path(request["folder"])
    ends_at = time.monotonic() + float(limits["seconds"])
    look_at = time.monotonic() + LOOK_EVERY
    while True:
        now = time.monotonic()
        heard = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, max(0.0, min(look_at, ends_at) - now))
        if heard is not None and heard.si_signo == signal.SIGTERM:
            kill_group(child)
            return {"status": "cancelled"}
        for pid, status in _reaped():
            if pid == child:
                over = over_limit(folder, limits)
                return {"status": "limit", "why": over} if over else told(status, limits)
        now = time.monotonic()
        if now >= ends_at:
            kill_group(child)
            return {"status": "limit", "why": f"it took longer than {limits['seconds']:g} seconds"}
        if now >= look_at:
            look_at = now + LOOK_EVERY
            if over := over_limit(folder, limits):
                kill_group(child)
                return {"status": "limit", "why": over}


def over_limit(folder: Path, limits: Mapping[str, Any]) -> str:
    """Which limit its files are over, "" for none."""
    size = count = 0
    for path, _, names in os.walk(folder):
        for name in names:
            count += 1
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(path, name)).st_size
    if size > limits["output_bytes"]:
        return f"it wrote more than {limits['output_bytes']} bytes"
    return f"it made more than {limits['files']} files" if count > limits["files"] else ""


def told(status: int, limits: Mapping[str, Any]) -> dict[str, Any]:
    """How a process ended, from its status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return {"status": "exit", "code": code}
    number = signal.Signals(-code)
    if number in (signal.SIGXCPU, signal.SIGKILL):
        # The kernel's hard limit kills; so does its lack of memory. Either way it is more than it may have.
        return {"status": "limit", "why": f"it was killed: over {limits['cpu_seconds']:g} seconds of processor time, or out of memory"}
    if number is signal.SIGXFSZ:
        return {"status": "limit", "why": f"it wrote more than {limits['output_bytes']} bytes"}
    return {"status": "signal", "why": f"it was ended by {number.name}"}


def _said(run: Path) -> dict[str, Any]:
    """What the child itself wrote of its error."""
    try:
        said = json.loads((run / ERROR).read_bytes()[:65_536])
        return {key: str(said[key])[:_ERROR_LENGTH] for key in ("error", "kind") if key in said}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _reaped() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _run(request: Mapping[str, Any], run: Path) -> NoReturn:
    """In the child: never returns."""
    status = _REFUSED
    try:
        os.setsid()
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM})
        folder = Path(request["folder"])
        os.chdir(folder)
        _redirect(run)
        with contextlib.suppress(OSError):
            os.nice(5)
        limit(request["limits"])
        if "argv" in request:
            environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}
            os.execvpe(request["argv"][0], request["argv"], environment | request.get("environment", {}))  # noqa: S606 - never a shell
        status = _call(request, folder)
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
        _complain(run, error)
        status = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _call(request: Mapping[str, Any], folder: Path) -> int:
    """The function writes its products through `out`; the manifest comes last."""
    module, _, name = request["target"].partition(":")
    function = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    out = Output(folder)
    function(request["values"], out)  # type: ignore[operator]
    out.close()
    return 0


def _redirect(run: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    spoken = os.open(run / SPOKEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(spoken, 1)
    os.dup2(spoken, 2)
    os.closerange(3, 256)


def _complain(run: Path, error: BaseException) -> None:
    with contextlib.suppress(Exception):
        traceback.print_exception(error)
    with contextlib.suppress(Exception):
        (run / ERROR).write_text(json.dumps(fault_of(error)), encoding="utf-8")


def fault_of(error: BaseException) -> dict[str, str]:
    """What is said of an error that foreign code raised: its words, and whether a limit was behind it."""
    kind = "memory" if isinstance(error, MemoryError) else "size" if getattr(error, "errno", None) == 27 else "error"
    return {"error": f"{type(error).__name__}: {error}"[:_ERROR_LENGTH], "kind": kind}


def write_whole(path: Path, content: bytes) -> None:
    """The whole file or none, also after a power cut."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Its names are on disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
