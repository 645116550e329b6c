"""How many deliveries a second do two workers claim and settle on PostgreSQL, with 10,000 and with 1,000,000 waiting?"""

import asyncio
import multiprocessing
import sys
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier

import asyncpg
import uvloop

from angelia import telemetry
from angelia.model.delivery import State
from angelia.store import Settlement
from angelia.stores.deliveries import claim_text
from angelia.stores.engine import numbered
from angelia.stores.sql import open_store, upgrade
from angelia_testing.peers.postgresql import PostgreSQL

SECONDS = 8.0
WORKERS = 2
LEASE = timedelta(seconds=45)
COLUMNS = ("id", "message_id", "person_id", "agent", "address_id", "state", "due_us", "form", "reason")


async def fill(url: str, pending: int) -> str:
    """So many due deliveries, the mass of them mail; the plan of a claim, as PostgreSQL tells it."""
    connection = await asyncpg.connect(url)
    rows = ((number, number // 10, number % 10_000 + 1, "mail", 1, 2, 1_000_000 + number, "full", "chosen") for number in range(1, pending + 1))
    await connection.execute("TRUNCATE deliveries")
    await connection.copy_records_to_table("deliveries", columns=COLUMNS, records=rows)
    await connection.execute("VACUUM ANALYZE deliveries")
    await connection.execute("CHECKPOINT")
    now_us = time.time_ns() // 1000
    plan = await connection.fetch(f"EXPLAIN {numbered(claim_text('postgresql'))}", now_us, now_us, "mail", now_us, 200)
    await connection.close()
    return "\n".join(row[0] for row in plan)


def work(url: str, batch: int, barrier: Barrier, done: "Synchronized[int]", used: "Synchronized[float]") -> None:
    """One worker: claims a batch, and settles it while it claims the next, as the relay does."""

    async def run() -> None:
        telemetry.configure_logs("json", "error")
        store = await open_store(url)
        await store.claim_deliveries(["none"], 1, LEASE, datetime.now(UTC))
        await asyncio.to_thread(barrier.wait)
        until, began, settling = time.perf_counter() + SECONDS, time.process_time(), None
        while time.perf_counter() < until:
            now = datetime.now(UTC)
            claimed = await store.claim_deliveries(["mail"], batch, LEASE, now)
            if not claimed:
                break
            if settling is not None:
                done.value += await settling
            ended = [Settlement(one.delivery_id, one.fence, State.DELIVERED, one.reason, error="250 2.0.0 Ok") for one in claimed]
            settling = asyncio.create_task(store.settle(ended, now))
        if settling is not None:
            done.value += await settling
        used.value = time.process_time() - began
        await store.close()

    uvloop.run(run())


def measure(url: str, batch: int) -> tuple[float, float]:
    """Deliveries a second of all workers together, and the microseconds of processor that one delivery took in a worker."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS + 1)
    counts, used = [context.Value("q", 0) for _ in range(WORKERS)], [context.Value("d", 0.0) for _ in range(WORKERS)]
    workers = [context.Process(target=work, args=(url, batch, barrier, *shared)) for shared in zip(counts, used, strict=True)]
    for worker in workers:
        worker.start()
    barrier.wait(60)
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    took, settled = time.perf_counter() - began, sum(count.value for count in counts)
    return settled / took, sum(share.value for share in used) / settled * 1e6


async def reference(url: str, batch: int) -> float:
    """Bare asyncpg in one process: the same claim and one bulk update, no objects made, no fences looked at."""
    connection = await asyncpg.connect(url)
    claim = await connection.prepare(numbered(claim_text("postgresql")))
    settle = await connection.prepare("UPDATE deliveries SET state = 10, ended_us = $2 WHERE id = ANY($1::bigint[])")
    began, settled = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS / 2:
        now_us = time.time_ns() // 1000
        rows = await claim.fetch(now_us + 45_000_000, now_us, "mail", now_us, batch)
        if not rows:
            break
        await settle.fetch([row[0] for row in rows], now_us)
        settled += len(rows)
    took = time.perf_counter() - began
    await connection.close()
    return settled / took


def main() -> None:
    cluster = None if len(sys.argv) > 1 else PostgreSQL()
    url = sys.argv[1] if cluster is None else cluster.database()
    try:
        upgrade(url)
        print("| waiting | batch | deliveries/s, 2 workers | us of processor each | bare asyncpg, 1 worker | claim by |\n|---|---|---|---|---|---|")
        for batch in (200, 20):
            rates = {}
            for pending in (10_000, 1_000_000):
                plan = asyncio.run(fill(url, pending))
                by = "index deliveries_due" if "Index" in plan and "deliveries_due" in plan else plan
                bare = uvloop.run(reference(url, batch)) if pending > 10_000 else 0.0
                # A small backlog is soon gone: it is filled again until there is something to measure.
                runs = [measure(url, batch)]
                while pending == 10_000 and len(runs) < 4:
                    asyncio.run(fill(url, pending))
                    runs.append(measure(url, batch))
                rates[pending], used = max(runs)
                print(f"| {pending:,} | {batch} | {rates[pending]:,.0f} | {used:.0f} | {bare:,.0f} | {by} |", flush=True)
            print(f"| a million against ten thousand | {batch} | {rates[1_000_000] / rates[10_000]:.2f} | | | |", flush=True)
    finally:
        if cluster is not None:
            cluster.stop()


if __name__ == "__main__":
    main()
