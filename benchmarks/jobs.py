"""Jobs: from the request to the result, submits sustained, and the store with a million of them.

python benchmarks/jobs.py [all|flow|store] [--jobs 1000000]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from angelia.flow.loop import run
from angelia.house import House, now
from angelia.instrument import Lent
from angelia.instruments.function import FunctionInstrument, FunctionSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits, Parameter, ParameterKind
from angelia.model.job import Job, JobState, Principal, content_hash
from angelia.model.moments import to_us
from angelia.settings import load
from angelia.store import JobQuery
from angelia.stores.sql import open_store, upgrade

ALICE = Principal("alice")


def nothing(values, out):
    """The smallest job: one value as JSON."""
    out.json("n", values["n"])


def percent(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e3


async def one_by_one(dispatcher, instrument, product, count, start):
    """How long from the request until the job is done, one at a time."""
    times = []
    for number in range(start, start + count):
        began = time.perf_counter()
        values = {"number": number} if instrument == "echo" else {"n": number}
        job = await dispatcher.submit(ALICE, instrument, product, values)
        while not (await dispatcher.job(ALICE, job.job_id)).state.is_final:
            await asyncio.sleep(0.005)
        times.append(time.perf_counter() - began)
    print(f"{instrument}: submit -> done p50 {percent(times, 0.5):.1f} ms, p99 {percent(times, 0.99):.1f} ms (aim: p50 50 ms)")


async def sustained(dispatcher, instrument, product, seconds, workers, start):
    """Requests that `workers` make as fast as they are answered, and when all are done."""
    dispatcher.instruments[instrument].most_at_once = 100 if instrument == "echo" else 4
    began, counter, ids, waits, processor = time.perf_counter(), iter(range(start, 10**9)), [], [], time.process_time()

    async def worker():
        while time.perf_counter() - began < seconds:
            number = next(counter)
            asked = time.perf_counter()
            job = await dispatcher.submit(ALICE, instrument, product, {"number": number} if instrument == "echo" else {"n": number})
            waits.append(time.perf_counter() - asked)
            ids.append(job.job_id)

    await asyncio.gather(*(worker() for _ in range(workers)))
    submitted = time.perf_counter() - began
    while any((await dispatcher._store.job_counts()).values()):
        await asyncio.sleep(0.02)
    done = time.perf_counter() - began
    print(
        f"{instrument}: {len(ids) / submitted:.0f} submits/s (aim: 300; p50 {percent(waits, 0.5):.1f} ms, p99 {percent(waits, 0.99):.1f} ms); "
        f"all {len(ids)} done after {done:.1f} s: {len(ids) / done:.0f} jobs/s, "
        f"{(time.process_time() - processor) / len(ids) * 1e3:.1f} ms of the hub's processor each"
    )


async def flow(folder):
    settings = load(environment={}, overrides={"house": {"data_dir": str(folder)}, "instruments": {"echo": {}}, "jobs": {"most_waiting": 0}})
    await asyncio.to_thread(upgrade, settings.database)
    async with House.open(settings) as house:
        declaration = Declaration(
            name="function", products=(DeclaredProduct("n"),), parameters=(Parameter("n", ParameterKind.FLOAT),), limits=Limits(seconds=60)
        )
        house.dispatcher.instruments["function"] = FunctionInstrument(
            declaration, FunctionSettings("angelia_testing.functions:square", most_at_once=4), Lent()
        )
        stop = asyncio.Event()
        task = asyncio.create_task(run(house.dispatcher, house.hints["dispatcher"], now, stop))
        for instrument, product in (("echo", "echo"), ("function", "n")):
            await one_by_one(house.dispatcher, instrument, product, 10, 0)
            await one_by_one(house.dispatcher, instrument, product, 100, 100)
            await sustained(house.dispatcher, instrument, product, 5, 4, 1_000)
        stop.set()
        house.hints["dispatcher"]()
        await task


def fill(connection, count, now_us):
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
    state = "CASE WHEN n % 100 = 0 THEN 11 WHEN n % 1000 = 1 THEN 1 ELSE 10 END"
    for statement in (
        "INSERT INTO jobs (id, owner, instrument, version, product, parameters, content_hash, is_current, state, due_us, attempt, created_us, changed_us, "
        f"ended_us, output_bytes) SELECT n * 4096, 'p' || (n % 100), 'old', '1', 'x', '{{}}', 'h' || n, 1, {state}, {now_us}, 1, {now_us}, {now_us}, "
        f"CASE WHEN n % 1000 = 1 THEN NULL ELSE {now_us} END, 1000 FROM numbers",
        f"INSERT INTO job_people (job_id, login, state, joined_us) SELECT n * 4096, 'p' || (n % 100), {state}, {now_us} FROM numbers",
        f"INSERT INTO job_history (job_id, at_us, state, by_whom, attempt) SELECT n * 4096, {now_us}, 10, 'dispatcher', 1 FROM numbers",
    ):
        head, _, tail = statement.partition(" SELECT ")
        connection.exec_driver_sql(f"{head} {numbers} SELECT {tail}")


async def timed(text, ask, count=200):
    times = []
    for number in range(count):
        began = time.perf_counter()
        await ask(number)
        times.append(time.perf_counter() - began)
    print(f"  {text}: p50 {percent(times, 0.5):.2f} ms, p99 {percent(times, 0.99):.2f} ms, most {max(times) * 1e3:.1f} ms")
    return statistics.median(times)


async def store(folder, count):
    found = {}
    for size in (0, count):
        url = f"sqlite:///{folder / f'jobs{size}.db'}"
        await asyncio.to_thread(upgrade, url)
        made = await open_store(url)
        at = now()
        if size:
            began = time.perf_counter()
            await made.engine.write(lambda connection: fill(connection, size, to_us(at)))
            print(f"{size} jobs, filled in {time.perf_counter() - began:.0f} s")
        else:
            print("empty")
        base = 1 << 60

        def a_job(number):
            values = {"n": number}
            return Job(
                job_id=base + number, owner=f"p{number % 100}", instrument="new", product="x", values=values, created_at=at, changed_at=at,
                content_hash=content_hash("new", "1", "x", values), state=JobState.QUEUED, due_at=at,
            )  # fmt: skip

        results = {
            "submit": await timed("submit", lambda n: made.add_job(a_job(n), at, most_waiting=20_000)),
            "poll": await timed("poll", lambda n: made.job(base + n)),
            "claim": await timed("claim", lambda n: made.claim_jobs({"new": 1, "old": 0}, timedelta(seconds=30), at, 1)),
            "list": await timed("list of one person", lambda n: made.jobs(JobQuery(login=f"p{n % 100}"))),
            "failed": await timed("her failed ones", lambda n: made.jobs(JobQuery(login=f"p{n % 100}", states=[JobState.FAILED]))),
            "all": await timed("list of all", lambda n: made.jobs(JobQuery())),
            "counts": await timed("counts", lambda n: made.job_counts(), 20),
            "history": await timed("history", lambda n: made.job_history(4096 * (n + 1))),
            "old": await timed("old ones", lambda n: made.old_jobs(at + timedelta(days=1), 200), 20),
        }
        found[size] = results
        await made.close()
    for name, value in found[count].items():
        aim = {
            "submit": " (aim: 1.2)",
            "poll": " (aim: 1.2)",
            "list": f" ({value * 1e3:.1f} ms, aim: 100)",
            "history": f" ({value * 1e3:.1f} ms, aim: 100)",
        }
        print(f"{name}: {value / found[0][name]:.2f} x that of an empty store{aim.get(name, '')}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="all", choices=["all", "flow", "store"])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.what != "store":
            asyncio.run(flow(Path(folder)))
        if asked.what != "flow":
            asyncio.run(store(Path(folder), asked.jobs))


if __name__ == "__main__":
    sys.exit(main())
