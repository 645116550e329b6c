"""A small program that forks runs: it has read the libraries that they need, so that each begins within milliseconds.

`python -m angelia.sandbox.forker module ...` reads a request a line (JSON) from stdin and writes the name of each run that has ended. At the
end of stdin it goes; the runs go on.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import sys
from typing import NoReturn

from angelia.sandbox.keeper import keep

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
    rest = b""
    _say(b"ready")
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4_096)
            _reap(runs)
        if 0 in readable:
            some = os.read(0, 1 << 16)
            if not some:
                return
            *lines, rest = (rest + some).split(b"\n")
            if len(rest) > _MOST_LINE:
                return
            for line in lines:
                _fork(line, runs)


def _fork(line: bytes, runs: dict[int, str]) -> None:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        _keep(request)
    runs[child] = request["key"]


def _keep(request: dict[str, object]) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        # The pipes are the hub's and the forker's: a run that lives on must not keep them open.
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.closerange(3, 256)
        keep(request)
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
