"""A worker: a process that computes one job after the other for one person, and puts itself back as it was in between."""

import contextlib
import importlib
import os
import random
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from angelia.instrument import MOST_CONTENTS
from angelia.products.output import Output
from angelia.sandbox.frames import ENDED, PROGRESS, RUN, Frames, frame, received
from angelia.sandbox.keeper import fault_of
from angelia.sandbox.limits import die_with_parent, limit, limit_processor

_OPEN_FILES = 32
"""So many more than at its beginning may be open after a job."""


def work(hub: socket.socket, spoken: int, first: Mapping[str, Any]) -> NoReturn:
    """Serve until the keeper is gone. It lays the limits of `first` on itself; they are those of all its jobs."""
    try:
        os.setsid()
        die_with_parent()
        _redirect(spoken, hub)
        with contextlib.suppress(OSError):
            os.nice(5)
        limit({**first["limits"], "cpu_seconds": None})
        _serve(hub, _State())
    finally:
        os._exit(0)


def _serve(keeper: socket.socket, state: "_State") -> None:
    frames = Frames()
    while (heard := received(keeper, frames)) is not None:
        for kind, request, _ in heard:
            if kind == RUN:
                said, contents = _run(request, lambda fraction, message: keeper.sendall(frame(PROGRESS, {"fraction": fraction, "message": message})))
                said["is_spent"] = not state.restore()
                keeper.sendall(frame(ENDED, said, contents))


def _run(request: Mapping[str, Any], tell: Callable[[float, str], None]) -> tuple[dict[str, Any], list[bytes]]:
    folder = Path(request["folder"])
    try:
        os.chdir(folder)
        limit_processor(float(request["limits"]["cpu_seconds"]))
        module, _, name = request["target"].partition(":")
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        out = Output(folder, MOST_CONTENTS, tell)
        function(request["values"], out)
        out.close()
        made = out.contents
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
        return {"status": "exit", "code": 1, **fault_of(error)}, []
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
    if made is None:
        return {"status": "exit", "code": 0}, []
    entries = [{**entry, "size": len(content)} for entry, content in made]
    return {"status": "exit", "code": 0, "products": entries}, [content for _, content in made]


class _State:
    """What a job may change and the next must not see."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._signals = _handlers()
        self._path, self._argv = list(sys.path), list(sys.argv)
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._open = _open_files()
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    def restore(self) -> bool:
        """Put it back. False where that can't be done: another process has to take its place."""
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        os.umask(self._umask)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in _handlers().items():
            before = self._signals[number]
            if handler is not before and before is not None:
                signal.signal(number, before)
        sys.path[:], sys.argv[:] = self._path, self._argv
        sys.stdin, sys.stdout, sys.stderr = self._streams
        random.seed()
        if (numbers := sys.modules.get("numpy.random")) is not None:
            numbers.seed()
        is_alone = threading.active_count() == 1 and len(sys._current_frames()) == 1
        return is_alone and _open_files() <= self._open + _OPEN_FILES


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _CAUGHT}


_CAUGHT = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _redirect(spoken: int, keeper: socket.socket) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(spoken, 1)
    os.dup2(spoken, 2)
    kept = keeper.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, 256)
