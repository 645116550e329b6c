"""A real PostgreSQL cluster for the tests, a fresh database for each."""

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from angelia.stores.sql import upgrade
from angelia_testing.peers.process import Server, free_port, missing, scratch

PATTERN = "pattern"
"""The database of which those with a schema are copies: each step of it would be run for each of many hundred tests."""


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    return found[-1].parent if found else None


def _as_postgres(argv: list[str]) -> list[str]:
    """The server refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *argv] if os.geteuid() == 0 else argv


class PostgreSQL:
    """A cluster with flushing on, as in real life."""

    def __init__(self, folder: Path | None = None, *, is_new: bool = True) -> None:
        """In a scratch folder, or in `folder`; with `is_new=False` on the data that it holds, as after a power cut."""
        programs = _programs()
        if programs is None:
            missing("PostgreSQL")
        assert programs is not None
        self._programs = programs
        self.folder = folder or scratch("postgresql")
        self.port = free_port()
        self._databases, self._has_pattern = 0, False
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        if not is_new:
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            self.server = self._start()
            self._wait_until_recovered()
            return
        argv = [
            str(programs / "initdb"),
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-locale",
            "-E",
            "UTF8",
            "--wal-segsize=4",
        ]
        subprocess.run(_as_postgres(argv), check=True, capture_output=True, cwd=self.folder)
        self.server = self._start()

    def _start(self) -> Server:
        argv = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        argv += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=100", "-c", "max_wal_size=64MB"]
        return Server("postgres", _as_postgres(argv), [self.port], self.folder)

    def database(self, *, has_schema: bool = False) -> str:
        """A new database, empty or with the schema and nothing else; its URL."""
        if has_schema and not self._has_pattern:
            # In a thread, since it runs an event loop of its own.
            with ThreadPoolExecutor(1) as beside:
                beside.submit(upgrade, self._created(PATTERN)).result()
            self._has_pattern = True
        self._databases += 1
        return self._created(f"angelia{self._databases}", *(["-T", PATTERN] if has_schema else []))

    def _created(self, name: str, *options: str) -> str:
        deadline = time.monotonic() + 10
        while True:
            argv = [str(self._programs / "createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *options, name]
            made = subprocess.run(argv, check=False, capture_output=True)
            if made.returncode == 0:
                return self.url(name)
            if time.monotonic() > deadline:
                raise RuntimeError(made.stderr.decode())
            time.sleep(0.1)

    def drop(self, url: str) -> None:
        """Forget a database, whoever is still connected; it is no fault where the server is gone."""
        argv = [str(self._programs / "dropdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "--force", "--if-exists"]
        subprocess.run([*argv, url.rpartition("/")[2]], check=False, capture_output=True)

    def url(self, name: str) -> str:
        """The URL of a database of that name."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def freeze(self) -> None:
        """Stop the server and all its backends where they are: each backend is a group of its own."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)
        # One that was forked meanwhile.
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        for pid in self._processes():
            os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def kill9(self) -> None:
        """As if the machine had lost it."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        self.server.process.wait(10)
        time.sleep(0.4)

    def restart(self) -> None:
        """Come back after kill9."""
        for _ in range(20):
            try:
                self.server = self._start()
            except RuntimeError:
                time.sleep(0.2)
                continue
            self._wait_until_recovered()
            return
        raise RuntimeError(self.server.log())

    def _wait_until_recovered(self) -> None:
        argv = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 20
        while subprocess.run(argv, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(self.server.log())
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once, and forget: nothing need be written down any more."""
        self.server.kill(signal.SIGQUIT)
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
