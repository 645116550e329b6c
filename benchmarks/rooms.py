"""How long do the other pages take where there is much of everything: people, sources, audit, jobs, feeds, and a message for many?"""

import json
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx2
from inbox import DELIVERIES, FIRST, STEP, filled, measure, on_both

from angelia import telemetry
from angelia.house import House
from angelia.model.moments import public_id, to_us
from angelia_testing.plans import BIG, Watch, scans

ROUNDS = 12
MANY_MESSAGE = FIRST + (DELIVERIES + 10) * STEP
NOW = to_us(datetime.now(UTC))
HOUR = timedelta(hours=1) // timedelta(microseconds=1)
MANY = {
    "persons": (
        10_000,
        "INSERT INTO persons (login, name, time_zone, changed_seq) SELECT 'person' || n, 'Person ' || n || ' of the observatory', 'Europe/Berlin', n FROM numbers",
    ),
    "sources": (
        300,
        f"INSERT INTO sources (name, document) SELECT 'source-' || n, '{json.dumps({'subtrees': ['#']})}' FROM numbers",
    ),
    "audit": (
        100_000,
        f"INSERT INTO audit (at_us, actor, action, target, detail) SELECT {NOW} - (100000 - n) * 1000000, 'person:person' || (n % 400), "
        "CASE WHEN n % 100 = 0 THEN 'token.add' ELSE 'sign-in' END, 'person' || (n % 900), '{}' FROM numbers",
    ),
    "types": (
        1_000,
        f"INSERT INTO types (key, first_us, last_us, document) SELECT 'obs.t' || (n % 40) || '.kind' || n, {NOW} - 1000, {NOW}, '{{}}' FROM numbers",
    ),
    "user_types": (
        500,
        f"INSERT INTO user_types (person_id, type, first_us, last_us, messages) SELECT 1, 'obs.t' || (n % 40) || '.kind' || n, 1, {NOW}, 7 FROM numbers",
    ),
    "feeds": (
        100,
        "INSERT INTO feeds (person_id, title, query, secret_hash, created_us) "
        f"SELECT 1, 'Feed ' || n, '{json.dumps({'type': 'obs.build'})}', 'hash' || n, {NOW} FROM numbers",
    ),
    "follows": (
        500,
        "INSERT INTO follows (object, person_id) SELECT 'KDE/package' || n, 1 FROM numbers",
    ),
    "messages": (
        1,
        f"INSERT INTO messages (id, source, type, received_us, payload, plan_state) SELECT {MANY_MESSAGE}, 'ci', 'obs.build.fail', {NOW}, "
        f"'{json.dumps({'type': 'obs.build.fail', 'subject': 'to many', 'object': 'KDE/many', 'to': ['alice']})}', 1 FROM numbers",
    ),
    "ledger": (
        200,
        f"INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) SELECT {MANY_MESSAGE}, n, 'to', '[]', {NOW} FROM numbers",
    ),
    "deliveries": (
        200,
        "INSERT INTO deliveries (id, message_id, person_id, agent, address_id, state, due_us, ended_us, reason) "
        f"SELECT {MANY_MESSAGE} + n, {MANY_MESSAGE}, 1, CASE WHEN n = 1 THEN 'web' ELSE 'mail' END, n, 10, 5, {NOW}, 'chosen' FROM numbers",
    ),
    "failed": (
        20_000,
        "INSERT INTO deliveries (id, message_id, person_id, agent, address_id, state, due_us, ended_us, reason, last_error) "
        f"SELECT {FIRST} + n * {STEP} + 2, {FIRST} + n * {STEP}, 2 + n % 900, 'mail', 1, 13, 5, {NOW}, 'chosen', '550 no such user' FROM numbers",
    ),
}
PLACES = {
    "a message with a trail of 200": f"/inbox/{public_id('dlv', MANY_MESSAGE + 1)}",
    "why": "/why",
    "why, one message": f"/why/{public_id('msg', MANY_MESSAGE)}",
    "preferences": "/preferences",
    "types": "/types",
    "types, 200 found": "/types?q=kind",
    "rules": "/rules",
    "schedules": "/schedules",
    "follows, 500": "/follows",
    "addresses": "/addresses",
    "feeds, 100": "/feeds",
    "tokens": "/tokens",
    "sessions": "/sessions",
    "profile": "/profile",
    "operations, 20,000 failed": "/admin/operations",
    "type registry, 1,000 types": "/admin/types",
    "type registry, a search": "/admin/types?text=t1.",
    "one type": "/admin/types/obs.build",
    "templates": "/admin/templates",
    "sources, 300": "/admin/sources",
    "people, 10,000": "/admin/people",
    "people, a search": "/admin/people?text=777",
    "one person": "/admin/people/person77",
    "groups": "/admin/groups",
    "site": "/admin/site",
    "statistics": "/admin/statistics",
    "audit, 100,000": "/admin/audit",
    "audit, one actor": "/admin/audit?actor=person:person7",
}


async def fill_more(database: str) -> None:
    for count, statement in MANY.values():
        if database.startswith("sqlite"):
            numbers = (
                f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) SELECT n FROM numbers) AS numbers"
            )
            connection = sqlite3.connect(database.removeprefix("sqlite:///"))
            connection.execute(statement.replace("FROM numbers", f"FROM {numbers}"))
            connection.commit()
            connection.close()
        else:
            server = await asyncpg.connect(database)
            await server.execute(statement.replace("FROM numbers", f"FROM generate_series(1::bigint, {count}) AS numbers(n)"))
            await server.close()
    if not database.startswith("sqlite"):
        server = await asyncpg.connect(database)
        await server.execute("ANALYZE")
        await server.close()


async def observe(title: str, database: str, folder: str) -> None:
    async with filled(title, database, folder, fill_more) as (house, client):
        await house.people.refresh()
        with Watch() as watch:
            for name, place in PLACES.items():
                await one(title, name, place, client)
        await plans(title, house, watch)


async def one(title: str, name: str, place: str, client: httpx2.AsyncClient) -> None:
    size = 0

    async def ask(number: int) -> None:
        nonlocal size
        answer = await client.get(place)
        assert answer.status_code == 200, f"{place}: {answer.status_code} {answer.text[:200]}"
        size = len(answer.content)

    began = time.perf_counter()
    await ask(0)
    first = (time.perf_counter() - began) * 1e3
    found = await measure(ask, ROUNDS)
    print(f"| {title}: {name} | {found.median:.0f} | {found.p95:.0f} | {found.used:.0f} | {first:.0f} | {size / 1e3:.0f} |", flush=True)


async def plans(title: str, house: House, watch: Watch) -> None:
    """What goes through a whole table is told; small tables are read whole."""
    for statement, parameters in watch.seen.items():
        found = await house.store.engine.read(lambda connection, of=(statement, parameters): scans(connection, *of, BIG))
        if found:
            print(f"{title}: {found} in: {statement[:300]}", file=sys.stderr)


def main() -> None:
    telemetry.configure_logs("json", "error")
    print("Aim: below 150 ms of processor.\n")
    print("| page | median ms | p95 ms | processor ms | the first ms | kB, not compressed |\n|---|---|---|---|---|---|")
    on_both(observe)


if __name__ == "__main__":
    main()
