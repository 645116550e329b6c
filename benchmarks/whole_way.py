"""The whole way in one process: accepted, resolved, delivered to the inbox, mail held for a digest; and one message with 10,000 followers."""

import asyncio
import json
import resource
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from angelia import telemetry
from angelia.flow.profiles import rule_rows
from angelia.house import House
from angelia.inlet import Draft
from angelia.model.delivery import State
from angelia.model.person import Address, AddressState, Person
from angelia.serving import sweep_seldom
from angelia.settings import load
from angelia.stores.sql import upgrade

SITE = {"preferences": {"*": {"web": "now", "mail": "daily"}}, "schedules": {"daily": {"every": "day", "at": ["08:00"]}}}
DRAFT = Draft("obs.build.fail", json.dumps({"type": "obs.build.fail", "to": [{"id": "alice"}], "subject": "s", "body": "x" * 300}))
SECONDS, RATE = 60, 4_000
POSTERS, AT_ONCE = 8, 20


async def sustained(house: House) -> None:
    """The backlog is looked at twice a second; it grows if its mean over the last third is above that of the first by more than a second's worth."""
    working = asyncio.create_task(house.work())
    posted, due, began, used = 0, 0, time.perf_counter(), time.process_time()
    backlogs: list[int] = []

    async def look() -> None:
        while True:
            await asyncio.sleep(0.5)
            expected = posted
            backlogs.append(max(0, expected - (await house.store.conservation()).get(State.DELIVERED, 0)))

    async def post() -> None:
        """One of those who post: each waits for its answer, as posters do, and posts what is due by then."""
        nonlocal posted, due
        while (passed := time.perf_counter() - began) < SECONDS:
            while due < passed * RATE:
                due += AT_ONCE
                await house.intake.accept("ci", [DRAFT] * AT_ONCE)
                posted += AT_ONCE
            await asyncio.sleep(0.002)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(post() for _ in range(POSTERS)))
    asked = posted / (time.perf_counter() - began)
    looking.cancel()
    while (await house.store.conservation()).get(State.DELIVERED, 0) < posted:
        await asyncio.sleep(0.01)
    took, used = time.perf_counter() - began, time.process_time() - used
    house.stop()
    await working
    third = len(backlogs) // 3
    first, last = (sum(part) / third for part in (backlogs[:third], backlogs[-third:]))
    told = (
        f"backlog at most {max(backlogs):,}, {first:,.0f} on average at first, {last:,.0f} at the end: {'grows' if last > first + RATE else 'steady'}"
    )
    what = f"whole way, web and held mail, {RATE:,}/s asked for {SECONDS} s, {asked:,.0f}/s taken"
    print(f"| {what} | {posted / took:,.0f} messages/s, {used / posted * 1e6:.0f} us of processor each | {told} |", flush=True)


async def followers(house: House, count: int) -> None:
    async def follow(number: int) -> None:
        await house.store.put_person(Person(person_id=0, login=f"p{number}"))
        await house.store.put_wants(f"p{number}", {"follows": ["o"]}, follows=["o"], rules=rule_rows(()))

    for start in range(0, count, 500):  # many in one commit
        await asyncio.gather(*(follow(number) for number in range(start, start + 500)))
    await house.people.refresh()
    payload = json.dumps({"type": "x.y", "object": "o", "subject": "s"})
    planner = house.stages[0]
    for attempt in ("cold", "warm", "warm again"):
        await house.intake.accept("ci", [Draft("x.y", payload)])
        before = sum((await house.store.conservation()).values())
        memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        loop, used = time.thread_time(), time.process_time()
        await planner.turn(datetime.now(UTC))
        took, loop, used = time.perf_counter() - began, time.thread_time() - loop, time.process_time() - used
        made = sum((await house.store.conservation()).values()) - before
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
        what = f"one message, {count:,} followers, {attempt} profiles"
        each = f"{loop / made * 1e6:.1f} us of the loop's time and {used / made * 1e6:.1f} us of processor each"
        print(f"| {what} | {made / took:,.0f} deliveries/s, aim 40,000, {each} | +{grown:.0f} MB |", flush=True)


def bare(path: Path, count: int) -> None:
    """The same rows into the same tables and indexes by sqlite3's `executemany`: what SQLite alone takes for them."""
    source, target = sqlite3.connect(path), sqlite3.connect(path.with_name("bare.db"), isolation_level=None)
    target.execute("PRAGMA journal_mode=WAL")
    target.execute("PRAGMA synchronous=FULL")
    schema = "SELECT sql FROM sqlite_master WHERE tbl_name IN ('deliveries', 'ledger') AND sql IS NOT NULL ORDER BY type DESC"
    for (sql,) in source.execute(schema).fetchall():
        target.execute(sql)
    each: dict[str, float] = {}
    for table in ("deliveries", "ledger"):
        rows = source.execute(f"SELECT * FROM {table}").fetchall()[-count:]
        began = time.thread_time()
        target.execute("BEGIN")
        target.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        target.execute("COMMIT")
        each[table] = (time.thread_time() - began) / len(rows) * 1e6
    source.close()
    target.close()
    both = sum(each.values())
    print(f"| reference: its row and that of the ledger by `executemany`, one transaction | {1e6 / both:,.0f} deliveries/s ", end="")
    print(f"| {both:.1f} us of processor each ({each['deliveries']:.1f} and {each['ledger']:.1f}) |", flush=True)


async def run(name: str, url: str) -> None:
    telemetry.configure_logs("json", "error")
    print(f"| {name} | | |")
    for scene in (sustained, lambda house: followers(house, 10_000)):
        with tempfile.TemporaryDirectory() as folder:
            database = url or f"sqlite:///{folder}/angelia.db"
            await asyncio.to_thread(upgrade, database)
            async with House.open(load(environment={}, overrides={"house": {"data_dir": folder, "database": database}})) as house:
                await house.store.put_site(SITE)
                if await house.store.person("alice") is None:
                    await house.store.put_person(Person(person_id=0, login="alice"))
                await house.refresh()
                alice = await house.store.person("alice")
                assert alice is not None
                if not await house.store.addresses(alice.person_id):
                    new = Address(address_id=0, person_id=alice.person_id, agent="mail", value="a@example.org", state=AddressState.OK)
                    await house.store.add_address(new)
                sweep_seldom()
                await scene(house)
                if not url and scene is not sustained:
                    await asyncio.to_thread(bare, Path(folder) / "angelia.db", 10_000)


def main() -> None:
    print("| what | rate | |\n|---|---|---|")
    uvloop.run(run("SQLite", ""))
    if len(sys.argv) > 1:
        uvloop.run(run("PostgreSQL", sys.argv[1]))


if __name__ == "__main__":
    main()
