"""Server processes of their own sessions: started, waited for, stopped for sure."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from angelia_testing import warm

READY_WITHIN = 90.0  # seconds; a busy machine is slow, and it only bounds how long a failure takes
_chance = random.SystemRandom()  # several processes run tests from the same seed
ANGELIA = (sys.executable, "-m", "angelia")
"""How the tests start the program: that of their own environment."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ANGELIA_")}
"""That of the tester, without settings for a hub of hers."""


def free_port() -> int:
    """A port that nobody listens on now, and that no connection gets by chance: the system takes those from above."""
    while True:
        port = _chance.randrange(11_000, 32_000)  # browsers refuse a few ports below, the highest is 10080
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def scratch(name: str, *, on_disk: bool = False) -> Path:
    """A new folder that daemons with users of their own can reach (pytest's are private to the tester); `on_disk` for those that want no other."""
    folder = Path(tempfile.mkdtemp(prefix=f"angelia-{name}-", dir="/var/tmp" if on_disk else None))
    folder.chmod(0o755)
    return folder


def missing(what: str) -> None:
    """A server that is not installed: skip, or fail where all are required (ANGELIA_PEERS=required)."""
    if os.environ.get("ANGELIA_PEERS") == "required":
        pytest.fail(f"{what} is required here and not installed")
    pytest.skip(f"{what} is not installed")


def ran_apart(python: Path, script: str, given: object, timeout: float = 100.0) -> Any:
    """What a script says in another environment: it reads JSON from its standard input, and its last line of output is JSON.

    Raises AssertionError with what the script wrote, where it failed.
    """
    # A home of its own: clients look for secrets and settings there.
    env = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "MPLCONFIGDIR": "/tmp", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run(
        [str(python), "-c", script], input=json.dumps(given), capture_output=True, text=True, timeout=timeout, env=env, cwd="/tmp", check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


class Server:
    """One running server. One that is `warm` is a copy of the program (see angelia_testing.warm), and `argv` what is said to it."""

    def __init__(
        self, name: str, argv: Sequence[str], ports: Sequence[int], folder: Path, env: dict[str, str] | None = None, *, is_warm: bool = False
    ) -> None:
        self._log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | warm.Copy
        with self._log.open("wb") as log:
            if is_warm:
                self.process = warm.start(argv, ENVIRONMENT if env is None else env, folder, log)
            else:
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder, env=env)
        try:
            for port in ports:
                self.wait_for(port)
        except BaseException:
            self.stop()  # nobody else knows of it yet
            raise

    def wait_for(self, port: int) -> None:
        """Until the port accepts."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
            except OSError:
                if self.process.poll() not in (None, 0):
                    break
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"not ready on port {port}: {self.log()}")

    def log(self) -> str:
        """What it printed, the end of it."""
        return self._log.read_text(errors="replace")[-3000:]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, patience: float = 10.0) -> int | None:
        """TERM, then KILL; the exit code."""
        self.kill(signal.SIGTERM)
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait(5)
