"""How long does a page of the inbox take, with 1,000,000 deliveries in the store and 5,000 in the person's inbox?"""

import asyncio
import json
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
import httpx2
import uvloop

from angelia import telemetry
from angelia.front import app_of
from angelia.house import House
from angelia.model.moments import first_id, public_id, to_us
from angelia.serving import sweep_seldom
from angelia.settings import load
from angelia.store import InboxQuery
from angelia.stores.entries import Shelves
from angelia.stores.sql import upgrade
from angelia.web import live
from angelia_testing.peers.postgresql import PostgreSQL
from angelia_testing.plans import Watch, scans

DELIVERIES, OWN, PEOPLE = 1_000_000, 5_000, 2_000
EACH = DELIVERIES // OWN  # every so many are hers
ROUNDS, COLD = 24, 4
START = datetime.now(UTC) - timedelta(days=40)
SPACING = timedelta(days=40) // DELIVERIES // timedelta(microseconds=1)
FIRST, STEP = first_id(START), SPACING << 12
OWN_ID = FIRST + EACH * STEP + 1
LOG = "The build ended after 212 seconds. The last lines of its log follow. "
PAYLOAD = {
    "type": "<type>",
    "subject": "build <n> of okular in KDE:Applications failed on x86_64",
    "body": "<body>",
    "object": "KDE/<object>",
    "object_url": "https://build.example.org/package/show/KDE/<object>",
    "thread": "<thread>",
    "severity": "<severity>",
    "sender": {"id": "build-service", "name": "The build service"},
    "tags": [["arch", "<arch>"], ["project", "KDE:Applications"]],
    "params": {"project": "KDE:Applications", "package": "<object>", "arch": "<arch>"},
}
TYPE = "'obs.' || CASE n % 3 WHEN 0 THEN 'build' WHEN 1 THEN 'request' ELSE 'service' END || '.t' || (n % 41)"
PERSON = f"CASE WHEN n % {EACH} = 0 THEN 1 ELSE n % {PEOPLE} + 2 END"
VALUES = {
    "<type>": TYPE,
    "<n>": "n",
    "<object>": "(n % 877)",
    "<thread>": "(n % 3001)",
    "<arch>": "(n % 5)",
    "<severity>": "CASE WHEN n % 50 = 0 THEN 'urgent' WHEN n % 7 = 0 THEN 'high' ELSE 'normal' END",
    # Those of others are shorter: nobody reads them, and the table is to be filled in a minute.
    "<body>": f"CASE WHEN n % {EACH} = 0 THEN '{LOG}{'ld: cannot find -lpoppler-qt6: no such file. ' * 5}' ELSE '{LOG}' END",
}


def payload_sql() -> str:
    parts = re.split("(<[a-z]+>)", json.dumps(PAYLOAD, separators=(",", ":")))
    return " || ".join(f"({VALUES[part]})" if part in VALUES else f"'{part}'" for part in parts)


FILL = (
    "INSERT INTO messages (id, source, type, received_us, payload, plan_state) "
    f"SELECT {FIRST} + n * {STEP}, 'source-' || (n % 7), {TYPE}, {to_us(START)} + n * {SPACING}, {payload_sql()}, 1 FROM numbers",
    "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) "
    f"SELECT {FIRST} + n * {STEP}, {PERSON}, CASE n % 3 WHEN 0 THEN 'to' WHEN 1 THEN 'role:maintainer' ELSE 'group:qa' END, '[]', 5 FROM numbers",
    "INSERT INTO deliveries (id, message_id, person_id, agent, state, due_us, ended_us, read_us, reason) "
    f"SELECT {FIRST} + n * {STEP} + 1, {FIRST} + n * {STEP}, {PERSON}, 'web', 10, 5, {to_us(START)} + n * {SPACING}, "
    "CASE WHEN n % 3 = 0 THEN 5 END, 'chosen' FROM numbers",
)


async def fill(database: str) -> None:
    """A million deliveries, written as fast as the database takes them."""
    if database.startswith("sqlite"):
        numbers = (
            f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {DELIVERIES}) SELECT n FROM numbers) AS numbers"
        )
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000"):
            connection.execute(f"PRAGMA {pragma}")
        for statement in FILL:
            connection.execute(statement.replace("FROM numbers", f"FROM {numbers}"))
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        return
    numbers = f"generate_series(1::bigint, {DELIVERIES}) AS numbers(n)"
    server = await asyncpg.connect(database)
    await server.execute("SET synchronous_commit = off")
    for statement in FILL:
        await server.execute(statement.replace("FROM numbers", f"FROM {numbers}"))
    await server.execute("VACUUM ANALYZE")
    await server.close()


def cursor(share: float) -> str:
    """The entry before which so much of the inbox lies."""
    return public_id("dlv", FIRST + round(DELIVERIES * (1 - share)) * STEP + 1)


VIEWS = {
    "grouped by object": "",
    "one by one": "group=none",
    "page 50, one by one": f"group=none&before={cursor(49 * 50 / OWN)}",
    "the middle of it, grouped by thread": f"group=thread&before={cursor(0.5)}",
    "most severe first": "group=none&sort=-severity",
    "oldest first": "sort=received",
    "unread": "state=unread",
    "type subtree": "type=obs.build",
    "type subtree, source": "type=obs.build&source=source-3",
    "tag, severity": "tag=arch%3D3&severity=high",
    "reason": "reason=role",
    "object": "object=KDE/200",
    "a word in all": "text=okular&group=none",
    "a text in some": "text=build%20{number}0",
    "a text in none": "text=nowhere%20{number}",
}
Ask = Callable[[int], Awaitable[object]]


class Found(NamedTuple):
    """Median and p95 in ms; and the processor's ms of one, client and server together, without those of PostgreSQL."""

    median: float
    p95: float
    used: float


async def measure(ask: Ask, rounds: int, first: Ask | None = None) -> Found:
    """Of so many questions, one after the other; `first` is what happens before each."""
    times, used = [], 0.0
    for number in range(rounds + 2):
        if first is not None:
            await first(number)
        began, before = time.perf_counter(), time.process_time()
        await ask(number)
        if number > 1:
            times.append((time.perf_counter() - began) * 1e3)
            used += (time.process_time() - before) * 1e3 / rounds
    return Found(statistics.median(times), statistics.quantiles(times, n=20)[-1], used)


@asynccontextmanager
async def filled(title: str, database: str, folder: str, more: Callable[[str], Awaitable[None]] | None = None):
    """A house with a million deliveries, and the browser of alice, its first person and operator; `more` writes what else there is to be."""
    settings = load(environment={}, overrides={"house": {"data_dir": folder, "database": database}})
    await asyncio.to_thread(upgrade, database)
    began = time.perf_counter()
    await fill(database)
    async with House.open(settings) as house:
        inside = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=inside, base_url="http://hub") as api:
            for login in ("alice", "bob"):
                (await api.post("/api/v1/people", json={"login": login, "is_admin": login == "alice"})).raise_for_status()
            (await api.put("/api/v1/people/alice/password", json={"password": "a long password"})).raise_for_status()
            assert (await house.store.person("alice")).person_id == 1
        if more is not None:
            await more(database)
        print(f"filled {title} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        transport = httpx2.ASGITransport(app_of(house))
        own = {"Sec-Fetch-Site": "same-origin", "Accept-Encoding": "gzip"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=own, timeout=60) as client:
            signed = await client.post("/sign-in", data={"login": "alice", "password": "a long password"})
            assert signed.status_code == 303
            sweep_seldom()  # as a process that serves does
            yield house, client


async def observe(title: str, database: str, folder: str) -> None:
    async with filled(title, database, folder) as (house, client):
        await views(title, house, client)


async def views(title: str, house: House, client: httpx2.AsyncClient) -> None:
    reference = await measure(await plain(house), ROUNDS)
    row(f"{title}: reference, 50 rows by the index, as bare as it goes", reference)
    with Watch() as watch:
        for name, query in VIEWS.items():

            async def ask(number: int, query: str = query) -> None:
                answer = await client.get(f"/inbox?{query.format(number=number)}" if query else "/inbox")
                assert answer.status_code == 200, answer.text

            async def forget(number: int) -> None:
                house.store._shelves = Shelves()

            row(f"{title}: {name}", await measure(ask, ROUNDS), await measure(ask, COLD, forget))

        live.REMEMBERED = 0.0  # each question looks at the store

        async def poll(number: int) -> None:
            await client.get("/inbox/live?seen=x")

        async def same(number: int) -> None:
            stamp = await house.store.inbox_stamp(1)
            assert (await client.get(f"/inbox/live?seen={stamp}")).status_code == 204

        async def mark(number: int) -> None:
            data = {"whole": "1", "change": ("unread", "read")[number % 2]}
            answer = await client.post("/inbox/mark?state=all", data=data)
            assert answer.status_code == 303, answer.text

        async def change(number: int) -> None:
            await house.store.mark(1, InboxQuery(state="all"), [OWN_ID], ("unread", "read")[number % 2], datetime.now(UTC))

        async def first_page(number: int) -> None:
            assert (await client.get("/inbox")).status_code == 200

        row(f"{title}: grouped by object, after each change", await measure(first_page, ROUNDS, change))
        row(f"{title}: is there something new? No", await measure(same, 20))
        row(f"{title}: is there something new? Yes, and counted", await measure(poll, 20, change))
        row(f"{title}: mark all 5,000", await measure(mark, 20))
    for statement, parameters in watch.seen.items():
        found = await house.store.engine.read(lambda connection, of=(statement, parameters): scans(connection, *of, "messages|deliveries|ledger"))
        assert not found, f"{found} in: {statement}"
    print(f"{title}: {len(watch.seen)} statements, all by an index.", file=sys.stderr)


def row(name: str, warm: Found, cold: Found | None = None) -> None:
    more = "| | |" if cold is None else f"| {cold.median:.0f}, {cold.p95:.0f} | {cold.used:.0f} |"
    print(f"| {name} | {warm.median:.1f} | {warm.p95:.1f} | {warm.used:.1f} {more}", flush=True)


async def plain(house: House) -> Ask:
    sql = (
        "SELECT d.id, m.payload, l.because FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id "
        "LEFT JOIN ledger AS l ON l.message_id = d.message_id AND l.person_id = d.person_id "
        "WHERE d.person_id = 1 AND d.agent = 'web' AND d.state = 10 AND d.agent IN ('web', 'feed') AND d.archived_us IS NULL ORDER BY d.id DESC LIMIT 50"
    )
    if house.store.engine.dialect == "sqlite":
        connection = sqlite3.connect(house.settings.database.removeprefix("sqlite:///"))

        async def ask(number: int) -> object:
            return connection.execute(sql).fetchall()
    else:
        database = await asyncpg.connect(house.settings.database)

        async def ask(number: int) -> object:
            return await database.fetch(sql)

    return ask


def main() -> None:
    telemetry.configure_logs("json", "error")
    print("Aim: p95 below 100 ms for every view, also with nothing in memory.\n")
    print("| view | median ms | p95 ms | processor ms | nothing in memory: median, p95 | processor ms |\n|---|---|---|---|---|---|")
    on_both(observe)


def on_both(observe: Callable[[str, str, str], Awaitable[None]]) -> None:
    """On SQLite and on PostgreSQL, or on the one that is named, or on the empty PostgreSQL database of a URL."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    if only in ("", "sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(observe("SQLite", f"sqlite:///{folder}/angelia.db", folder))
    if only != "sqlite":
        on_postgresql(observe, "" if only == "postgresql" else only)


def on_postgresql(observe: Callable[[str, str, str], Awaitable[None]], url: str) -> None:
    """On a cluster of its own, or on the empty database of this URL."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = None if url else PostgreSQL()
        try:
            uvloop.run(observe("PostgreSQL", url if cluster is None else cluster.database(), folder))
        finally:
            if cluster is not None:
                cluster.stop()


if __name__ == "__main__":
    main()
