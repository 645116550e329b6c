"""A hub as its users start it: a process on a port of its own, killed, stopped and started again; and looks into its database."""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from angelia.front import app_of
from angelia.house import House
from angelia.settings import Settings, load
from angelia.stores.sql import open_store
from angelia_testing import warm
from angelia_testing.databases import with_schema
from angelia_testing.peers.process import ANGELIA, ENVIRONMENT, Server, free_port
from angelia_testing.waiting import wait_until

Wrap = Callable[[list[str]], list[str]]


def _unwrapped(argv: list[str]) -> list[str]:
    return argv


class Hub:
    """A hub on its own port; everything below one folder. `wrap` puts another command around it, `program` another one in its place.

    Without either it is a warm one (see angelia_testing.warm).
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        roles: str = "serve",
        wrap: Wrap = _unwrapped,
        program: Sequence[str] = (),
        is_awaited: bool = True,
        **environment: str,
    ) -> None:
        self.folder, self.port, self._log = folder, free_port(), folder.parent / f"{folder.name}-log"
        self._log.mkdir(exist_ok=True)
        self.has_port = roles != "work"
        port = ["--port", str(self.port)] if self.has_port else []
        # What is loaded before the program itself can't be put into a copy.
        self._is_warm = wrap is _unwrapped and not program and "LD_PRELOAD" not in environment
        self.argv = wrap([*(() if self._is_warm else program or ANGELIA), roles, "--data-dir", str(folder), *port, *options])
        self.env = ENVIRONMENT | {"ANGELIA__WEB__OPEN_POSTING": "true"} | environment
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = self.env.get("ANGELIA__HOUSE__DATABASE", f"sqlite:///{folder / 'angelia.db'}")
        self.start(is_awaited=is_awaited)

    def start(self, *, is_awaited: bool = True) -> float:
        """Start it; how many seconds it took until it took connections, or began to work."""
        began = time.monotonic()
        name = f"angelia-{self.port}"
        self.server = Server(name, self.argv, [self.port] if self.has_port and is_awaited else [], self._log, self.env, is_warm=self._is_warm)
        if not self.has_port:
            wait_until(lambda: '"started"' in self.server.log() or self.server.process.poll() is not None, 60, what=self.server.log)
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.server.kill()
        self.server.process.wait()

    def stop(self) -> int | None:
        """SIGTERM; the exit code. Whoever holds it to its ten seconds looks at the clock: here they are stretched by those who run beside it."""
        return self.server.stop(10.0 * crowd())

    def cli(self, *arguments: str, code: int = 0) -> str:
        """What the command line prints, run on the hub's own data folder."""
        done = warm.run(["--data-dir", str(self.folder), *arguments], self.env)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer of the hub's database, read beside the hub."""
        return rows(self.database, sql)

    def count(self, sql: str) -> int:
        """The one number that `sql` asks for."""
        return int(self.rows(sql)[0][0])

    def faults(self) -> list[str]:
        """What `angelia db check` finds, without the start of a process."""
        return faults(self.database)

    def megabytes(self) -> float:
        """Resident memory of the process now."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def rows(database: str, sql: str) -> list[tuple[Any, ...]]:
    """All rows that a statement of the test's own yields."""
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), timeout=60)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
    return asyncio.run(_postgres_rows(database, sql))


async def _postgres_rows(database: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database, timeout=60)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


def faults(database: str) -> list[str]:
    """Promise P3 as `angelia db check` looks at it: integrity and conservation."""
    return asyncio.run(_faults(database))


async def _faults(database: str) -> list[str]:
    store = await open_store(database)
    try:
        return await store.check()
    finally:
        await store.close()


SITE = {"hourly_cap": 100_000, "preferences": {"*": {"web": "now", "mail": "now"}}, "schedules": {"daily": {"every": "day"}}}
"""A site that tells everything at once, without a cap that a load could reach."""


def furnish(folder: Path, *logins: str, by_mail: Sequence[str] | None = None, database: str = "", site: Mapping[str, object] = SITE) -> None:
    """The database of a hub in `folder` that does not run: its schema, a site, and people; those `by_mail` (all by default) have an address.

    The token of a source that may post everything is in the file `tests.token`.
    """
    overrides = {"house": {"data_dir": str(folder), "database": database}}
    folder.mkdir(parents=True, exist_ok=True)
    settings = load(environment={}, overrides=overrides)
    with_schema(settings.database)
    asyncio.run(_furnish(settings, logins, logins if by_mail is None else by_mail, site))


async def _furnish(settings: Settings, logins: Sequence[str], by_mail: Sequence[str], site: Mapping[str, object]) -> None:
    async with House.open(settings) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
            (await client.put("/api/v1/site", json=site)).raise_for_status()
            (await client.put("/api/v1/sources/tests", json={})).raise_for_status()
            made = await client.post("/api/v1/sources/tests/tokens", json={"title": "tests"})
            (settings.data_dir / "tests.token").write_text(made.json()["secret"])
            for login in logins:
                (await client.post("/api/v1/people", json={"login": login})).raise_for_status()
                if login not in by_mail:
                    continue
                address = {"agent": "mail", "value": f"{login}@example.org", "is_verified": True}
                (await client.post(f"/api/v1/people/{login}/addresses", json=address)).raise_for_status()


def crowd() -> float:
    """How many want each processor: a figure for a machine of one's own is stretched by it, where others work beside the tests, or more tests."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(1.0, workers, os.getloadavg()[0] / (os.cpu_count() or 1))


def mails(hub: Hub, login: str = "alice") -> list[str]:
    """The mails of one person in the hub's own Maildir, by file name: what was sent twice is there once."""
    return sorted(path.name for path in hub.folder.glob(f"mail/{login}@example.org/new/*"))


def inbox(hub: Hub, login: str = "alice") -> list[str]:
    """The subjects in her inbox, newest first."""
    return [item["message"]["subject"] for item in json.loads(hub.cli("--json", "inbox", "list", "--login", login, "--limit", "1000"))["items"]]
