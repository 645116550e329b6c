"""Processes that compute one job after the other: no job sees the one before, each has its limits, and none outlives its hub (F40, F41)."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from angelia.instrument import Done, Failed, Lent, Progress
from angelia.instruments.function import FunctionInstrument, FunctionSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits
from angelia.model.errors import BadSettings
from angelia.sandbox.runs import run_folder
from angelia_testing.suites.instrument import Bed, InstrumentSuite, bytes_of, outcome_of, products_of

LIMITS = Limits(seconds=60, memory_bytes=512 << 20, cpu_seconds=20, output_bytes=4 << 20, files=50)
DECLARATION = Declaration(name="toy", products=(DeclaredProduct("toy"),), limits=LIMITS, is_repeatable=True)


@pytest.fixture
async def bed(tmp_path):
    """One kept process, for jobs that may be begun twice."""
    declaration = DECLARATION

    def make(**settings):
        options = {"most_at_once": 1} | settings
        return FunctionInstrument(declaration, FunctionSettings("angelia_testing.functions:run", **options), Lent(folder=tmp_path / "lent"))

    made = Bed(make(), make, tmp_path, asked(tmp_path), slow=asked(tmp_path, seconds=60.0), bad=asked(tmp_path, "raise"), is_pure=True)
    yield made
    await made.close()


class TestRepeatableFunction(InstrumentSuite):
    """The promises, where a process is kept and what ends soon is no file."""

    @pytest.fixture
    async def bed(self, bed):
        made = replace(bed, instrument=bed.again(most_at_once=2), again=lambda: bed.again(most_at_once=2), made=[])
        yield made
        await made.close()


def asked(tmp_path, what="compute", seconds=0.0, n=3):
    return {"what": what, "seconds": seconds, "n": n, "beside": str(tmp_path / "beside")}


async def run(bed, what="compute", owner="alice", instrument=None, **limits):
    instrument = instrument or bed.instrument
    work = replace(bed.work(asked(bed.folder, what)), limits=replace(LIMITS, **limits), owner=owner)
    return work, await outcome_of(instrument, work, await instrument.submit(work), 60)


async def told(bed, what, **more):
    """The products of a job that is to end well, by name."""
    work, outcome = await run(bed, what, **more)
    return {product.name: json.loads(bytes_of(work, product)) for product in products_of(work, outcome)}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(is_so):
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_a_process_serves_one_job_after_the_other_and_nothing_is_written(bed):
    found = [await told(bed, "look") for _ in range(3)]
    assert len({one["process"] for one in found}) == 1
    assert not list(bed.folder.glob("job*/1*"))


async def test_a_job_does_not_see_the_one_before(bed):
    left = await told(bed, "leave")
    found = await told(bed, "look")
    assert found == {"found": ["globals"], "process": left["left"]}  # what the module itself keeps is its own matter


async def test_a_job_of_another_person_sees_nothing_at_all(bed):
    left = await told(bed, "leave")
    found = await told(bed, "look", owner="bob")
    assert found["found"] == []
    assert found["process"] != left["left"]
    assert not is_alive(left["left"])


async def test_a_process_with_a_thread_left_in_it_serves_no_more(bed):
    left = await told(bed, "thread")
    found = await told(bed, "look")
    assert found["found"] == []
    assert not is_alive(left["left"])


async def test_a_process_is_replaced_after_so_many_jobs(bed):
    instrument = bed.again(jobs_each=2)
    bed.made.append(instrument)
    found = [(await told(bed, "look", instrument=instrument))["process"] for _ in range(4)]
    assert found[0] == found[1] != found[2] == found[3]


async def test_a_fresh_process_for_each_job_is_a_setting(bed):
    instrument = bed.again(jobs_each=1)
    bed.made.append(instrument)
    found = [(await told(bed, "look", instrument=instrument))["process"] for _ in range(2)]
    assert found[0] != found[1]
    with pytest.raises(BadSettings):
        FunctionSettings("a.b:c", jobs_each=0)


@pytest.mark.parametrize(
    ("what", "limits", "is_limit", "why"),
    [
        ("raise", {}, False, "ValueError: no such star"),
        ("vanish", {}, None, ""),
        ("segfault", {}, False, "SIGSEGV"),
        ("hog", {"cpu_seconds": 1}, True, "processor"),
        ("hang", {"seconds": 0.3}, True, "0.3 seconds"),
        ("write", {}, True, ""),
        ("litter", {}, True, "50 files"),
        ("eat", {}, True, "MemoryError"),
    ],
)
async def test_limits_hold_for_each_job_of_a_process(bed, what, limits, is_limit, why):
    for _ in range(2):
        await told(bed, "look", **limits)
    work, outcome = await run(bed, what, **limits)
    if is_limit is None:
        assert outcome == Done()
        assert not work.folder.is_dir() or not (work.folder / "products.json").exists()
    else:
        assert isinstance(outcome, Failed), outcome
        assert (outcome.is_limit, why in outcome.why) == (is_limit, True), outcome
    assert (await told(bed, "look", **limits))["found"] == []


async def test_the_processor_time_of_earlier_jobs_does_not_count(bed):
    first = await told(bed, "toil", cpu_seconds=1)
    for _ in range(2):
        assert await told(bed, "toil", cpu_seconds=1) == first


async def test_children_that_a_job_leaves_are_killed_before_the_next(bed):
    _, outcome = await run(bed, "fork")
    assert isinstance(outcome, Done)
    pids = (bed.folder / "beside").read_text().split()
    assert len(pids) == 3
    assert not [pid for pid in pids if is_alive(pid)]
    assert (await told(bed, "look"))["found"] == []


async def test_a_worker_that_is_killed_fails_its_job_alone(bed):
    work = bed.work(asked(bed.folder, "wait"))
    pid = (await told(bed, "look", owner=""))["process"]
    handle = await bed.instrument.submit(work)
    await until((bed.folder / "beside").exists)
    os.kill(pid, signal.SIGKILL)
    outcome = await outcome_of(bed.instrument, work, handle, 60)
    assert isinstance(outcome, Failed)
    assert (await told(bed, "look"))["process"] != pid


async def test_what_is_large_is_a_file(bed):
    work, outcome = await run(bed, "large")
    assert outcome == Done()
    small, large = products_of(work, outcome)
    assert (small.content, large.content) == (None, None)
    assert (work.folder / large.path).stat().st_size == large.size == 100_000
    assert (await told(bed, "look"))["found"] == []


async def test_when_the_hub_is_gone_what_is_idle_goes_at_once_and_a_long_job_at_its_end(bed):
    idle = (await told(bed, "look"))["process"]
    await bed.instrument.close()
    await until(lambda: not is_alive(idle))
    first, second = bed.restarted(), bed.restarted()
    work = bed.work(asked(bed.folder, "wait"))
    handle = await first.submit(work)
    await until((run_folder(work) / "lock").exists)  # it is long by now: worth to be found again
    keeper = int((run_folder(work) / "lock").read_text())
    await first.close()
    assert await second.find(work) == handle
    assert isinstance(await second.poll(work, handle), Progress)
    (bed.folder / "beside.go").touch()
    assert [product.name for product in products_of(work, await outcome_of(second, work, handle, 60))] == ["words"]
    await until(lambda: not is_alive(keeper))


async def test_a_short_job_that_may_be_begun_twice_ends_with_its_hub(bed):
    work = bed.work(asked(bed.folder, "wait"))
    await bed.instrument.submit(work)
    await until((bed.folder / "beside").exists)
    await bed.instrument.close()
    assert await bed.restarted().find(work) is None
    await until(lambda: not list((bed.folder / "lent").glob("worker-*")))


async def test_another_hub_cancels_what_it_did_not_begin_and_nothing_else(bed):
    other, work = bed.restarted(), bed.work(asked(bed.folder, "wait"))
    handle = await bed.instrument.submit(work)
    await until((run_folder(work) / "lock").exists)
    os.kill(int((run_folder(work) / "lock").read_text()), signal.SIGTERM)  # meant for a job that has ended
    assert isinstance(await other.poll(work, handle), Progress)
    await other.cancel(work, handle)
    assert isinstance(await outcome_of(bed.instrument, work, handle, 60), Failed)
    assert (await told(bed, "look"))["found"] == []


async def test_jobs_that_wait_for_a_process_begin_in_their_turn(bed):
    first = bed.work(asked(bed.folder, "wait"))
    await bed.instrument.submit(first)
    waiting = [bed.work(asked(bed.folder, "look")) for _ in range(4)]
    for work in waiting:
        await bed.instrument.submit(work)
        assert await bed.instrument.poll(work, work.key) == Progress(None, "", is_running=False)
    await bed.instrument.cancel(waiting[1], waiting[1].key)
    assert await bed.instrument.poll(waiting[1], waiting[1].key) == Failed("it was cancelled")
    (bed.folder / "beside.go").touch()
    for work in (first, waiting[0], *waiting[2:]):
        assert isinstance(await outcome_of(bed.instrument, work, work.key, 60), Done)


async def test_more_jobs_are_taken_ahead_the_shorter_they_are(bed):
    assert bed.instrument.most_at_once == 1
    for _ in range(30):
        await told(bed, "look")
    assert 2 <= bed.instrument.most_at_once <= 33
    bed.instrument._pool._mean = 60.0
    assert bed.instrument.most_at_once == 1


async def test_jobs_that_wait_get_another_process_when_theirs_is_killed(bed):
    first, second = bed.work(asked(bed.folder, "wait")), bed.work(asked(bed.folder, "look"))
    for work in (first, second):
        await bed.instrument.submit(work)
    await until((run_folder(first) / "lock").exists)
    os.kill(int((run_folder(first) / "lock").read_text()), signal.SIGKILL)
    assert isinstance(await outcome_of(bed.instrument, first, first.key, 60), Failed)
    assert isinstance(await outcome_of(bed.instrument, second, second.key, 60), Done)


@pytest.mark.parametrize("jobs_each", [1, 1_000])
async def test_code_does_not_outlive_the_keeper_that_watches_it(bed, jobs_each):
    instrument = bed.again(jobs_each=jobs_each)
    bed.made.append(instrument)
    work = bed.work(asked(bed.folder, "dwell"))
    await instrument.submit(work)
    await until((run_folder(work) / "lock").exists)
    await until(lambda: (bed.folder / "beside").exists() and (bed.folder / "beside").read_text())
    pid = int((bed.folder / "beside").read_text())
    os.kill(int((run_folder(work) / "lock").read_text()), signal.SIGKILL)
    await until(lambda: not is_alive(pid))


def test_the_loop_of_the_hub_is_another_one(tmp_path):
    async def one():
        instrument = FunctionInstrument(DECLARATION, FunctionSettings("angelia_testing.functions:run"), Lent(folder=tmp_path / "lent"))
        bed = Bed(instrument, lambda: instrument, tmp_path, {})
        found = await told(bed, "look")
        await bed.close()
        return found

    assert uvloop.run(one())["found"] == []
