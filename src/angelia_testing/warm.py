"""The program in a process of its own, forked from one that has read its modules: a start costs the start, not the reading of 1,400 files.

The copy has its own session, environment, folder, output and exit code, takes signals and is killed as any other; only `import` is behind it.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import angelia
from angelia.cli.main import main as program
from angelia.plugins import agent_classes

_LARGEST = 1 << 20
_LEFT_COLD = ("angelia.__main__", "angelia.instruments.", "angelia.stores.migrations.")
"""What a hub does not read at its start either."""


class Copy:
    """One running copy: the part of `subprocess.Popen` that tests ask for."""

    def __init__(self, press: "_Press", pid: int) -> None:
        self._press, self.pid = press, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._press.ended(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it ends; subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = time.monotonic() + (1e9 if timeout is None else timeout)
        while self.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired("angelia", timeout or 0)
            self.returncode = self._press.ended(self.pid, min(left, 60))
        assert self.returncode is not None
        return self.returncode


class _Press:
    """The tester's side: asks for copies, hears of their ends."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        self._socket, self._codes, self._pids = ours, dict[int, int](), queue.SimpleQueue[int]()
        self._lock, self._heard = threading.Lock(), threading.Condition()
        argv = [sys.executable, "-m", "angelia_testing.warm", str(theirs.fileno())]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        theirs.close()
        threading.Thread(target=self._hear, daemon=True, name="ends of copies").start()
        atexit.register(self.close)

    def start(self, argv: Sequence[str], env: Mapping[str, str], folder: Path, files: tuple[int, int, int]) -> Copy:
        asked = json.dumps({"argv": list(argv), "env": dict(env), "folder": str(folder)}).encode()
        with self._lock:
            socket.send_fds(self._socket, [asked], files)
            return Copy(self, self._pids.get(timeout=60))

    def ended(self, pid: int, patience: float) -> int | None:
        with self._heard:
            self._heard.wait_for(lambda: pid in self._codes, patience)
            return self._codes.get(pid)

    def _hear(self) -> None:
        while said := self._socket.recv(_LARGEST):
            word = json.loads(said)
            if "code" not in word:
                self._pids.put(word["pid"])
                continue
            with self._heard:
                self._codes[word["pid"]] = word["code"]
                self._heard.notify_all()

    def close(self) -> None:
        """Its end is the end of the process, and of all that still run."""
        self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._socket.close()


@functools.cache
def _press() -> _Press:
    return _Press()


def start(argv: Sequence[str], env: Mapping[str, str], folder: Path, log: IO[bytes]) -> Copy:
    """`angelia ARGV` in a session of its own, which prints both to `log`."""
    return _started(argv, env, folder, log, log)


def run(argv: Sequence[str], env: Mapping[str, str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`angelia ARGV` to its end, as `subprocess.run` would with its output captured. It is killed where it takes longer than `timeout` seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        copy = _started(argv, env, Path.cwd(), out, complaints)
        try:
            code = copy.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(copy.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(list(argv), code, *(_text(file) for file in (out, complaints)))


def _started(argv: Sequence[str], env: Mapping[str, str], folder: Path, out: IO[bytes], complaints: IO[bytes]) -> Copy:
    with Path(os.devnull).open("rb") as nothing:
        return _press().start(argv, env, folder, (nothing.fileno(), out.fileno(), complaints.fileno()))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _read_all() -> None:
    for module in pkgutil.walk_packages(angelia.__path__, "angelia."):
        if not module.name.startswith(_LEFT_COLD):
            importlib.import_module(module.name)
    agent_classes()  # and which packages there are


def _wait_for_orders(control: socket.socket) -> list[str] | None:
    """Fork at each order. In a copy: what it is to run; None at the end."""
    bell, rings = socket.socketpair()
    for end in (bell, rings):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rings.fileno(), warn_on_full_buffer=False)
    running: set[int] = set()
    while True:
        ready = select.select([control, bell], [], [])[0]
        if bell in ready:
            bell.recv(4096)
            _report_ended(control, running)
        if control not in ready:
            continue
        said, files, _, _ = socket.recv_fds(control, _LARGEST, 3)
        if not said:
            for pid in running:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            return None
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (bell, rings, control):
                end.close()
            return _become(json.loads(said), files)
        running.add(pid)
        for file in files:
            os.close(file)
        control.send(json.dumps({"pid": pid}).encode())


def _report_ended(control: socket.socket, running: set[int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            control.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _become(order: dict[str, Any], files: list[int]) -> list[str]:
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    environment: dict[str, str] = order["env"]
    for path in environment.get("PYTHONPATH", "").split(os.pathsep):
        if path and path not in sys.path:
            sys.path.insert(0, path)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(order["folder"])
    argv: list[str] = order["argv"]
    return argv


def main() -> None:
    """Be read, and copied."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _read_all()
    gc.collect()
    gc.freeze()
    argv = _wait_for_orders(control)
    if argv is not None:
        # What it calls itself in its words of help is taken from here.
        sys.argv = [str(Path(angelia.__path__[0]) / "__main__.py"), *argv]
        sys.modules["__main__"].__package__ = "angelia"
        program()


if __name__ == "__main__":
    main()
