"""Jobs: from the request to the result, submits sustained, and the store with a million of them.

python benchmarks/jobs.py [flow|store|postgresql] [--jobs 1000000]
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import asyncpg

from angelia.flow.clock import now
from angelia.flow.loop import run
from angelia.house import House
from angelia.instrument import Lent
from angelia.instruments.function import FunctionInstrument, FunctionSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits, Parameter, ParameterKind
from angelia.model.job import Job, JobState, Principal, content_hash
from angelia.model.moments import to_us
from angelia.sandbox.processes import processor_seconds
from angelia.settings import load
from angelia.store import JobQuery
from angelia.stores.sql import open_store, upgrade
from angelia_testing.peers.postgresql import PostgreSQL

ALICE = Principal("alice")
FUNCTIONS = (("function", 1_000, True), ("function begun once", 1_000, False), ("function in a fresh process", 1, False))
"""Name, jobs of a process, may it be begun twice."""


def nothing(values, out):
    """The smallest job: one value as JSON."""
    out.json("n", values["n"])


def percent(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e3


def below():
    """Seconds of processor time of all processes that were started here, be they there or not."""
    seconds = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # Processes of jobs have a session of their own; they are known by their command.
            if b"angelia.sandbox.forker" in (process / "cmdline").read_bytes():
                seconds += processor_seconds(int(process.name))
    return seconds


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
    began, counter, ids, waits = time.perf_counter(), iter(range(start, 10**9)), [], []
    processor, others = time.process_time(), below()

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
        f"{(time.process_time() - processor) / len(ids) * 1e3:.1f} ms of the hub's processor each, "
        f"{(below() - others) / len(ids) * 1e3:.1f} ms in other processes"
    )


async def flow(folder, seconds=5):
    settings = load(environment={}, overrides={"house": {"data_dir": str(folder)}, "instruments": {"echo": {}}, "jobs": {"most_waiting": 0}})
    await asyncio.to_thread(upgrade, settings.database)
    async with House.open(settings) as house:
        for name, jobs_each, is_repeatable in FUNCTIONS:
            declaration = Declaration(
                name=name, products=(DeclaredProduct("n"),), parameters=(Parameter("n", ParameterKind.FLOAT),), limits=Limits(seconds=60),
                is_repeatable=is_repeatable,
            )  # fmt: skip
            house.dispatcher.instruments[name] = FunctionInstrument(
                declaration, FunctionSettings("angelia_testing.functions:square", most_at_once=4, jobs_each=jobs_each), Lent(folder=folder / name)
            )
        stop = asyncio.Event()
        task = asyncio.create_task(run(house.dispatcher, house.hints["dispatcher"], now, stop))
        for instrument, product in (("echo", "echo"), *((name, "n") for name, _, _ in FUNCTIONS)):
            await one_by_one(house.dispatcher, instrument, product, 10, 0)
            await one_by_one(house.dispatcher, instrument, product, 100, 100)
            await sustained(house.dispatcher, instrument, product, seconds, 4, 1_000)
        await hogs(house, folder)
        stop.set()
        house.hints["dispatcher"]()
        await task


async def hogs(house, folder):
    """Four jobs that never end: when each is ended, and how late the hub's loop is meanwhile (F40)."""
    limit, lags, ended = 1.0, [], []
    declaration = Declaration(
        "hogs", parameters=(Parameter("what", ParameterKind.STRING), Parameter("n", ParameterKind.FLOAT)), products=(DeclaredProduct("x"),),
        limits=Limits(seconds=limit), is_repeatable=True,
    )  # fmt: skip
    settings = FunctionSettings("angelia_testing.functions:run", most_at_once=4)
    house.dispatcher.instruments["hogs"] = FunctionInstrument(declaration, settings, Lent(folder=folder / "hogs"))
    for turn in ("first", "second"):  # the first one starts the processes
        jobs = [await house.dispatcher.submit(ALICE, "hogs", "x", {"what": "hog", "n": n + 10 * len(turn)}) for n in range(4)]
        began, lags, ended, waiting = time.perf_counter(), [], [], {job.job_id for job in jobs}
        while waiting:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - before - 0.005)
            for job_id in [one for one in waiting if (await house.store.job(one)).state.is_final]:
                waiting.discard(job_id)
                ended.append(time.perf_counter() - began)
    print(
        f"four that compute without end: ended after {min(ended):.2f} to {max(ended):.2f} s (limit {limit:g} s); the hub's loop was late by p50 "
        f"{percent(lags, 0.5):.1f} ms, p99 {percent(lags, 0.99):.1f} ms, at most {max(lags) * 1e3:.0f} ms (aim: 100 ms)"
    )


def filling(count, now_us, numbers):
    """SQL that makes so many jobs; `numbers` makes rows of one column n."""
    state = "CASE WHEN n % 100 = 0 THEN 11 WHEN n % 1000 = 1 THEN 1 ELSE 10 END"
    numbers = numbers.format(count=count)
    return (
        "INSERT INTO jobs (id, owner, instrument, version, product, parameters, content_hash, is_current, state, due_us, attempt, created_us, "
        f"changed_us, ended_us, output_bytes) {numbers} SELECT n * 4096, 'p' || (n % 100), 'old', '1', 'x', '{{}}', 'h' || n, 1, {state}, {now_us}, 1, "
        f"{now_us}, {now_us}, CASE WHEN n % 1000 = 1 THEN NULL ELSE {now_us} END, 1000 FROM numbers",
        f"INSERT INTO job_people (job_id, login, state, joined_us) {numbers} SELECT n * 4096, 'p' || (n % 100), {state}, {now_us} FROM numbers",
        f"INSERT INTO job_history (job_id, at_us, state, by_whom, attempt) {numbers} SELECT n * 4096, {now_us}, 10, 'dispatcher', 1 FROM numbers",
    )


async def fill(made, url, count, now_us):
    if made.engine.dialect == "postgresql":
        # Past the engine, which gives up what takes so long.
        connection = await asyncpg.connect(url)
        await connection.execute("SET synchronous_commit = off")
        for statement in filling(count, now_us, "WITH numbers AS (SELECT generate_series(1, {count}::bigint) AS n)"):
            await connection.execute(statement)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        return
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
    for statement in filling(count, now_us, numbers):
        await made.engine.write(lambda connection, sql=statement: connection.exec_driver_sql(sql))


BASE = 1 << 60
AIMS = {"submit": "1.2 x", "poll": "1.2 x", "list of one person": "100 ms", "history": "100 ms"}


def a_job(number, at):
    values = {"n": number}
    return Job(
        job_id=BASE + number, owner=f"p{number % 100}", instrument="new", product="x", values=values, created_at=at, changed_at=at,
        content_hash=content_hash("new", "1", "x", values), state=JobState.QUEUED, due_at=at,
    )  # fmt: skip


def asked_of(made, at):
    """What is asked of a store, by name: a coroutine of a number that is another each time."""
    return {
        "submit": lambda n: made.add_job(a_job(n, at), at, most_waiting=20_000),
        "poll": lambda n: made.job(BASE + n % 40),
        "claim": lambda n: made.claim_jobs({"new": 1, "old": 0}, timedelta(seconds=30), at, 1),
        "list of one person": lambda n: made.jobs(JobQuery(login=f"p{n % 100}")),
        "her failed ones": lambda n: made.jobs(JobQuery(login=f"p{n % 100}", states=[JobState.FAILED])),
        "list of all": lambda n: made.jobs(JobQuery()),
        "counts": lambda n: made.job_counts(),
        "history": lambda n: made.job_history(4096 * (n + 1)),
        "what is untold": lambda n: made.untold_jobs(200, at),
        "old ones": lambda n: made.old_jobs(at + timedelta(days=1), 200),
    }


async def opened(url, count):
    await asyncio.to_thread(upgrade, url)
    made, at = await open_store(url), now()
    if count:
        began = time.perf_counter()
        await fill(made, url, count, to_us(at))
        print(f"{made.engine.dialect}: {count} jobs, filled in {time.perf_counter() - began:.0f} s")
    return made, asked_of(made, at)


async def store(url_of, count, rounds=6, each=15):
    """One operation after the other, in turns on an empty store and on a full one: what else the machine does meets both."""
    stores = [await opened(url_of(size), size) for size in (0, count)]
    print(f"| {stores[0][0].engine.dialect} | empty: p50 ms | a million: p50 ms | p99 ms | ratio | aim |\n|---|---|---|---|---|---|")
    for name in stores[0][1]:
        times = [[], []]
        for turn in range(rounds):
            for index in (0, 1) if turn % 2 else (1, 0):
                for number in range(turn * each, (turn + 1) * each):
                    began = time.perf_counter()
                    await stores[index][1][name](number)
                    times[index].append(time.perf_counter() - began)
        empty, full = map(statistics.median, times)
        print(f"| {name} | {empty * 1e3:.2f} | {full * 1e3:.2f} | {percent(times[1], 0.99):.1f} | {full / empty:.2f} | {AIMS.get(name, '')} |")
    for made, _ in stores:
        await made.close()


def on_postgresql(count):
    server = PostgreSQL()
    try:
        asyncio.run(store(lambda _: server.database(), count))
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="flow", choices=["flow", "store", "postgresql"])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.what == "flow":
            asyncio.run(flow(Path(folder)))
        elif asked.what == "store":
            asyncio.run(store(lambda size: f"sqlite:///{Path(folder) / f'jobs{size}.db'}", asked.jobs))
        else:
            on_postgresql(asked.jobs)


if __name__ == "__main__":
    sys.exit(main())
