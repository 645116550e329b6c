"""Every instrument keeps the promises; what runs foreign code keeps its limits, whatever the code does (faults F40, F41, F44)."""

import asyncio
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from angelia.flow.job_files import collect
from angelia.instrument import Done, Failed, Lent, Progress, Rejected
from angelia.instruments.command import CommandInstrument, CommandSettings, arguments
from angelia.instruments.echo import DECLARATION as ECHO
from angelia.instruments.echo import EchoInstrument
from angelia.instruments.function import FunctionInstrument, FunctionSettings
from angelia.instruments.skeleton import DECLARATION as SKELETON
from angelia.instruments.skeleton import SkeletonInstrument, SkeletonSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits
from angelia.model.errors import BadSettings
from angelia.sandbox import runs
from angelia.sandbox.keeper import LOCK, begin
from angelia.sandbox.runs import Runs, run_folder
from angelia_testing.suites.instrument import Bed, InstrumentSuite, bytes_of, outcome_of, products_of

LIMITS = Limits(seconds=30, memory_bytes=512 << 20, cpu_seconds=20, output_bytes=4 << 20, files=50)
DECLARATION = Declaration(name="toy", products=(DeclaredProduct("toy"),), limits=LIMITS)
TARGET = "angelia_testing.functions:run"


def function(limits=LIMITS):
    return FunctionInstrument(replace(DECLARATION, limits=limits), FunctionSettings(TARGET), Lent())


def command(*argv, limits=LIMITS):
    return CommandInstrument(replace(DECLARATION, limits=limits), CommandSettings(argv), Lent())


def asked(tmp_path, what="compute", seconds=0.0, n=3):
    return {"what": what, "seconds": seconds, "n": n, "beside": str(tmp_path / "beside")}


class TestEcho(InstrumentSuite):
    @pytest.fixture
    async def bed(self, tmp_path):
        made = Bed(EchoInstrument(ECHO, None, Lent()), lambda: EchoInstrument(ECHO, None, Lent()), tmp_path, {"text": "hello", "number": 2.0})
        made.is_pure = True
        yield made
        await made.close()


class TestSkeleton(InstrumentSuite):
    @pytest.fixture
    async def bed(self, tmp_path):
        def make():
            return SkeletonInstrument(SKELETON, SkeletonSettings(), Lent())

        made = Bed(make(), make, tmp_path, {"wait": 0.02}, slow={"wait": 60.0})
        yield made
        await made.close()


class TestFunction(InstrumentSuite):
    @pytest.fixture
    async def bed(self, tmp_path):
        made = Bed(
            function(), function, tmp_path, asked(tmp_path), slow=asked(tmp_path, seconds=60.0), bad=asked(tmp_path, "raise")
        )  # fmt: skip
        yield made
        await made.close()


CODE = "import sys, time, pathlib; time.sleep(float(sys.argv[1])); pathlib.Path('a.csv').write_text(sys.argv[2]); print('said')"


class TestCommand(InstrumentSuite):
    @pytest.fixture
    async def bed(self, tmp_path):
        def make():
            return command(sys.executable, "-c", CODE, "{seconds}", "{text}")

        good = {"seconds": 0, "text": "a,b"}
        made = Bed(make(), make, tmp_path, good, slow=good | {"seconds": 60}, bad=good | {"seconds": "never"})
        yield made
        await made.close()


@pytest.fixture
async def bed(tmp_path):
    """A function instrument whose limits a test may narrow."""
    made = Bed(function(), function, tmp_path, asked(tmp_path))
    yield made
    await made.close()


async def run(bed, values, **limits):
    work = replace(bed.work(values), limits=replace(LIMITS, **limits))
    return work, await outcome_of(bed.instrument, work, await bed.instrument.submit(work))


async def test_what_a_function_computes_and_how_far_it_is(bed, tmp_path):
    work = bed.work(asked(tmp_path, seconds=1.0))
    handle = await bed.instrument.submit(work)
    async with asyncio.timeout(60):
        while (said := await bed.instrument.poll(work, handle)) != Progress(0.5, "half way"):
            assert isinstance(said, Progress)
            await asyncio.sleep(0.01)
    square, words = products_of(work, await outcome_of(bed.instrument, work, handle))
    assert bytes_of(work, square) == b'{"square": 9.0}'
    assert (words.name, words.size) == ("words", 11)


@pytest.mark.parametrize(
    ("what", "limits", "is_limit", "why"),
    [
        ("raise", {}, False, "ValueError: no such star"),
        ("exit", {}, False, "3"),
        ("vanish", {}, None, ""),
        ("segfault", {}, False, "SIGSEGV"),
        ("hog", {"cpu_seconds": 1}, True, "processor"),
        ("hog", {"seconds": 0.3}, True, "0.3 seconds"),
        ("hang", {"seconds": 0.3}, True, "0.3 seconds"),
        ("write", {}, True, ""),
        ("litter", {}, True, "50 files"),
        ("eat", {}, True, "MemoryError"),
    ],
)
async def test_a_function_that_misbehaves_ends_with_a_reason(bed, tmp_path, what, limits, is_limit, why):
    work, outcome = await run(bed, asked(tmp_path, what), **limits)
    if is_limit is None:
        assert isinstance(outcome, Done)  # and its list of products is not there, which is found next
        assert not (work.folder / "products.json").exists()
        return
    assert isinstance(outcome, Failed), outcome
    assert (outcome.is_limit, why in outcome.why) == (is_limit, True), outcome
    _, well = await run(bed, asked(tmp_path))
    assert isinstance(well, Done)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_nothing_that_a_function_starts_outlives_it(bed, tmp_path):
    _, outcome = await run(bed, asked(tmp_path, "fork"))
    assert isinstance(outcome, Done)
    pids = (tmp_path / "beside").read_text().split()
    assert len(pids) == 3
    assert not [pid for pid in pids if is_alive(pid)]


async def test_there_is_no_network_unless_it_is_declared(bed, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, refused = await run(bed, asked(tmp_path, "call", n=port))
        _, allowed = await run(bed, asked(tmp_path, "call", n=port), has_network=True)
    assert isinstance(refused, Failed)
    assert "PermissionError" in refused.why
    assert isinstance(allowed, Done)


async def test_a_function_sees_nothing_of_the_hubs_environment(bed, tmp_path, monkeypatch):
    monkeypatch.setenv("ANGELIA__HOUSE__SECRET", "the secret of the house")
    work, outcome = await run(bed, asked(tmp_path, "see"))
    (seen,) = products_of(work, outcome)
    assert b"secret" not in bytes_of(work, seen)


async def keeper_of(work):
    """Its process id, when it has begun the run."""
    async with asyncio.timeout(60):
        while not (run_folder(work) / "lock").exists():
            await asyncio.sleep(0.01)
    return int((run_folder(work) / "lock").read_text())


async def test_a_run_goes_on_without_the_hub_and_is_found_again(tmp_path):
    first, second = function(), function()
    bed = Bed(first, function, tmp_path, {})
    work = bed.work(asked(tmp_path, seconds=1.5))
    handle = await first.submit(work)
    await keeper_of(work)
    await first.close()  # for what it has begun that is the same as when the hub is killed
    assert await second.find(work) == handle
    assert isinstance(await second.poll(work, handle), Progress)
    assert isinstance(await outcome_of(second, work, handle), Done)
    assert (tmp_path / "beside").read_text() == "computed\n"
    await first.close()
    await second.close()


async def test_the_same_key_is_not_begun_twice(bed, tmp_path):
    work = bed.work(asked(tmp_path, seconds=0.2))
    handles = await asyncio.gather(*(bed.instrument.submit(work) for _ in range(5)))
    assert isinstance(await outcome_of(bed.instrument, work, handles[0]), Done)
    assert (tmp_path / "beside").read_text() == "computed\n"


async def test_a_keeper_that_is_killed_is_noticed(bed, tmp_path):
    work = bed.work(asked(tmp_path, seconds=60))
    handle = await bed.instrument.submit(work)
    os.kill(await keeper_of(work), signal.SIGKILL)
    outcome = await outcome_of(bed.instrument, work, handle, 30)
    assert isinstance(outcome, Failed)
    assert outcome.is_crash


async def test_the_forker_is_started_anew_when_it_was_killed(bed, tmp_path):
    _, outcome = await run(bed, asked(tmp_path))
    assert isinstance(outcome, Done)
    bed.instrument._runs._forker.kill()
    await bed.instrument._runs._forker.wait()
    _, outcome = await run(bed, asked(tmp_path))
    assert isinstance(outcome, Done)


@pytest.mark.parametrize("text", ["$(touch ../owned); `id` | & > x {n} \n'\"", "; rm -rf /", "a\nb\r\nc", "x" * 100_000, "\u202egnp.exe"])
async def test_a_command_never_meets_a_shell(tmp_path, text):  # E6.71
    bed = Bed(command(sys.executable, "-c", "import sys; print(sys.argv[1:])", "{text}", "x={n}"), lambda: None, tmp_path, {})
    work = bed.work({"text": text, "n": 2})
    assert await outcome_of(bed.instrument, work, await bed.instrument.submit(work)) == Done()
    (said,) = collect(work.folder, LIMITS)
    assert (work.folder / said.path).read_text() == f"{[text, 'x=2']}\n"
    await bed.close()


def test_a_value_is_no_option_of_a_command():  # E6.71
    assert arguments(("p", "{n}"), {"n": -2.5}) == ["p", "-2.5"]
    with pytest.raises(Rejected):
        arguments(("p", "{text}"), {"text": "--output=/etc/passwd"})
    with pytest.raises(Rejected):
        arguments(("p", "x{text}"), {"text": "a\0b"})
    with pytest.raises(Rejected):
        arguments(("p", "{other}"), {"text": "a"})


@pytest.mark.parametrize("argv", [(), ("no-such-program-anywhere",), ("{text}",)])
def test_a_command_that_can_not_work_is_told_at_the_start(argv):
    with pytest.raises(BadSettings):
        CommandSettings(argv)


async def test_a_run_that_begins_while_it_is_looked_for_is_not_lost(bed, monkeypatch):
    work, look = bed.work(asked(bed.folder)), runs._is_held

    def begun_meanwhile(run):
        was_held = look(run)
        run.mkdir(parents=True, exist_ok=True)
        return was_held

    monkeypatch.setattr(runs, "_is_held", begun_meanwhile)
    assert await bed.instrument.poll(work, work.key) == Progress(None, "", is_running=False)


@pytest.mark.parametrize("look", ["_is_held", "bar"])
async def test_a_run_that_begins_while_it_is_cancelled_is_ended(tmp_path, monkeypatch, look):
    """Just after the one look or just before the other: whichever comes first, none falls between them."""
    work = Bed(function(), function, tmp_path, {}).work({})
    keeper = await asyncio.create_subprocess_exec("sleep", "60")
    begun = []

    def begin_it():
        if not begun:
            begun.append(begin(run_folder(work), is_safe=False))
            (run_folder(work) / LOCK).write_text(str(keeper.pid))

    def beside(asked):
        if look == "bar":
            begin_it()
        said = looks[look](asked)
        begin_it()
        return said

    looks = {look: getattr(runs, look)}
    monkeypatch.setattr(runs, look, beside)
    Runs().kill(work)
    begin_it()
    try:
        async with asyncio.timeout(10):
            is_ended = begun == [None] or await keeper.wait() == -signal.SIGTERM
    finally:
        if keeper.returncode is None:
            keeper.kill()
            await keeper.wait()
        if begun[0] is not None:
            os.close(begun[0])
    assert is_ended
