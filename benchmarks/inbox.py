"""How long does a page of the inbox take, with 1,000,000 deliveries in the store and 5,000 in the person's inbox?"""

import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx2
import uvloop

from angelia import telemetry
from angelia.front import app_of
from angelia.house import House
from angelia.model.moments import first_id, public_id, to_us
from angelia.settings import load
from angelia.stores.entries import Shelves
from angelia.stores.sql import upgrade
from angelia.web import live
from angelia_testing.peers.postgresql import PostgreSQL

DELIVERIES, OWN, PEOPLE = 1_000_000, 5_000, 2_000
EACH = DELIVERIES // OWN  # every so many are hers
ROUNDS, COLD = 60, 15
START = datetime.now(UTC) - timedelta(days=40)
SPACING = timedelta(days=40) // DELIVERIES // timedelta(microseconds=1)
FIRST, STEP = first_id(START), SPACING << 12
PAYLOAD = json.dumps(
    {
        "type": "TYPE",
        "subject": "build NUMBER of okular in KDE:Applications failed on x86_64",
        "body": "The build ended after 212 seconds. The last lines of its log follow. " + "ld: cannot find -lpoppler-qt6: no such file. " * 5,
        "object": "KDE/OBJECT",
        "object_url": "https://build.example.org/package/show/KDE/OBJECT",
        "thread": "THREAD",
        "severity": "SEVERITY",
        "sender": {"id": "build-service", "name": "The build service"},
        "tags": [["arch", "ARCH"], ["project", "KDE:Applications"]],
        "params": {"project": "KDE:Applications", "package": "OBJECT", "arch": "ARCH"},
    },
    separators=(",", ":"),
)
NUMBERS = {
    "sqlite": f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {DELIVERIES}) ",
    "postgresql": f"WITH numbers AS (SELECT n FROM generate_series(1::bigint, {DELIVERIES}) AS n) ",
}
TYPE = "'obs.' || CASE n % 3 WHEN 0 THEN 'build' WHEN 1 THEN 'request' ELSE 'service' END || '.t' || (n % 41)"
PERSON = f"CASE WHEN n % {EACH} = 0 THEN 1 ELSE n % {PEOPLE} + 2 END"


def payload_sql() -> str:
    values = {"TYPE": TYPE, "NUMBER": "n", "OBJECT": "(n % 877)", "THREAD": "(n % 3001)", "ARCH": "(n % 5)"}
    values["SEVERITY"] = "CASE WHEN n % 50 = 0 THEN 'urgent' WHEN n % 7 = 0 THEN 'high' ELSE 'normal' END"
    text = f"'{PAYLOAD}'"
    for name, value in values.items():
        text = f"replace({text}, '{name}', CAST({value} AS text))"
    return text


FILL = (
    "INSERT INTO messages (id, source, type, received_us, payload, plan_state) {numbers}"
    f"SELECT {FIRST} + n * {STEP}, 'source-' || (n % 7), {TYPE}, {to_us(START)} + n * {SPACING}, {{payload}}, 1 FROM numbers",
    "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) {numbers}"
    f"SELECT {FIRST} + n * {STEP}, {PERSON}, CASE n % 3 WHEN 0 THEN 'to' WHEN 1 THEN 'role:maintainer' ELSE 'group:qa' END, '[]', 5 FROM numbers",
    "INSERT INTO deliveries (id, message_id, person_id, agent, state, due_us, ended_us, read_us, reason) {numbers}"
    f"SELECT {FIRST} + n * {STEP} + 1, {FIRST} + n * {STEP}, {PERSON}, 'web', 10, 5, {to_us(START)} + n * {SPACING}, "
    "CASE WHEN n % 3 = 0 THEN 5 END, 'chosen' FROM numbers",
)


async def fill(house: House) -> None:
    numbers, payload = NUMBERS[house.store.engine.dialect], payload_sql()

    for statement in FILL:
        sql = statement.format(numbers=numbers, payload=payload)
        await house.store.engine.write(lambda connection, sql=sql: connection.exec_driver_sql(sql))
    if house.store.engine.dialect == "postgresql":
        connection = await asyncpg.connect(house.settings.database)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()


MIDDLE = public_id("dlv", FIRST + DELIVERIES // 2 * STEP + 1)
VIEWS = {
    "grouped by object": "",
    "one by one": "group=none",
    "the middle of it, one by one": f"group=none&before={MIDDLE}",
    "the middle of it, grouped by thread": f"group=thread&before={MIDDLE}",
    "unread": "state=unread",
    "type subtree, source": "type=obs.build&source=source-3",
    "tag, severity": "tag=arch%3D3&severity=high",
    "reason": "reason=role",
    "object": "object=KDE/200",
    "text, in some": "text=build%20{number}0",
    "text, in none": "text=nowhere%20{number}",
}


async def measure(ask: Callable[[int], Awaitable[object]], rounds: int) -> tuple[float, float, float]:
    """Median and p95 in ms; and the processor's ms of one, client and server together, without those of PostgreSQL."""
    times = []
    for number in range(rounds + 2):
        if number == 2:
            used = time.process_time()
        began = time.perf_counter()
        await ask(number)
        times.append((time.perf_counter() - began) * 1000)
    used = (time.process_time() - used) * 1000 / rounds
    return statistics.median(times[2:]), statistics.quantiles(times[2:], n=20)[-1], used


async def observe(title: str, database: str, folder: str) -> None:
    settings = load(environment={}, overrides={"house": {"data_dir": folder, "database": database}})
    await asyncio.to_thread(upgrade, database)
    async with House.open(settings) as house:
        inside = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=inside, base_url="http://hub") as api:
            for login in ("alice", "bob"):
                (await api.post("/api/v1/people", json={"login": login})).raise_for_status()
            (await api.put("/api/v1/people/alice/password", json={"password": "a long password"})).raise_for_status()
            assert (await house.store.person("alice")).person_id == 1
        began = time.perf_counter()
        await fill(house)
        print(f"filled {title} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        transport = httpx2.ASGITransport(app_of(house))
        own = {"Sec-Fetch-Site": "same-origin"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=own) as client:
            signed = await client.post("/sign-in", data={"login": "alice", "password": "a long password"})
            assert signed.status_code == 303
            await views(title, house, client)


async def views(title: str, house: House, client: httpx2.AsyncClient) -> None:
    reference = await measure(await plain(house), ROUNDS)
    print(
        f"| {title}: reference, 50 rows by the index, as bare as it goes | {reference[0]:.1f} | {reference[1]:.1f} | {reference[2]:.1f} | | |",
        flush=True,
    )
    for name, query in VIEWS.items():

        async def ask(number: int, query: str = query) -> None:
            answer = await client.get(f"/inbox?{query.format(number=number)}" if query else "/inbox")
            assert answer.status_code == 200, answer.text

        async def ask_anew(number: int, ask: Callable[[int], Awaitable[object]] = ask) -> None:
            house.store._shelves = Shelves()
            await ask(number)

        warm, cold = await measure(ask, ROUNDS), await measure(ask_anew, COLD)
        print(f"| {title}: {name} | {warm[0]:.1f} | {warm[1]:.1f} | {warm[2]:.1f} | {cold[0]:.1f} | {cold[1]:.1f} |", flush=True)

    live.REMEMBERED = 0.0  # each question looks at the store

    async def poll(number: int) -> None:
        await client.get("/inbox/live?seen=x")

    async def mark(number: int) -> None:
        data = {"whole": "1", "change": ("unread", "read")[number % 2]}
        answer = await client.post("/inbox/mark?state=all", data=data)
        assert answer.status_code == 303, answer.text

    for name, ask in (("is there something new?", poll), ("mark all 5,000", mark)):
        found = await measure(ask, 20)
        print(f"| {title}: {name} | {found[0]:.1f} | {found[1]:.1f} | {found[2]:.1f} | | |", flush=True)


async def plain(house: House) -> Callable[[int], Awaitable[object]]:
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
    print("| view | median ms | p95 ms | processor ms | nothing in memory: median | p95 |\n|---|---|---|---|---|---|")
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    if only in ("", "sqlite"):
        on_sqlite()
    if only != "sqlite":
        on_postgresql("" if only == "postgresql" else only)


def on_sqlite() -> None:
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(observe("SQLite", f"sqlite:///{folder}/angelia.db", folder))


def on_postgresql(url: str) -> None:
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
