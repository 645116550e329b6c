"""A small program that forks runs: it has read the libraries that they need, so that each begins within milliseconds.

`python -m angelia.sandbox.forker module ...` reads a request a line (JSON) from the socket that is its stdin and writes the name of each run that
has ended. A request that is for no run asks for a worker's keeper (kept.py), and brings its line to the hub. At the end of stdin the forker goes;
the runs go on.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import NoReturn

from angelia.sandbox.keeper import keep
from angelia.sandbox.kept import Kept

_MOST_LINE = 16_777_216


def main(modules: list[str]) -> None:
    """Serve until stdin ends."""
    for name in modules:
        # What can't be read fails each run by itself, with its own text.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    runs: dict[int, str] = {}
    rest, lines_to_hub = b"", deque[int]()
    asked = socket.socket(fileno=os.dup(0))
    _say(b"ready")
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4_096)
            _reap(runs)
        if 0 in readable:
            some, given, _, _ = socket.recv_fds(asked, 1 << 16, 16)
            lines_to_hub += given
            if not some:
                return
            *lines, rest = (rest + some).split(b"\n")
            if len(rest) > _MOST_LINE:
                return
            for line in lines:
                _fork(line, runs, lines_to_hub)


def _fork(line: bytes, runs: dict[int, str], lines_to_hub: deque[int]) -> None:
    request = json.loads(line)
    hub = None if "run" in request else lines_to_hub.popleft()
    child = os.fork()
    if child == 0:
        _keep(request, hub)
    if hub is None:
        runs[child] = request["key"]
    else:
        os.close(hub)


def _keep(request: dict[str, str], hub: int | None) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        # The pipes are the hub's and the forker's: a run that lives on must not keep them open.
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        if hub is not None:
            # The least that is free: all above is closed.
            hub = os.dup2(hub, 3)
        os.closerange(3 if hub is None else 4, 256)
        if hub is None:
            keep(request)
        else:
            Kept(socket.socket(fileno=hub), Path(request["place"])).serve()
        status = 0
    finally:
        os._exit(status)


def _reap(runs: dict[int, str]) -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if (key := runs.pop(pid, None)) is not None:
            _say(key.encode())


def _say(word: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, word + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
