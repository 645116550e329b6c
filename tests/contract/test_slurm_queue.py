"""A queue that forgets: what it took and knows no more ends within a time that can be set, and is never run twice."""

import asyncio
import fcntl
import json
import os
from dataclasses import replace

import pytest

from angelia.instrument import Done, Failed, Gone, Lent, Progress
from angelia.instruments.slurm import SlurmInstrument, SlurmSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits
from angelia.model.errors import BadSettings
from angelia.sandbox.keeper import ENDED, LOCK, keep
from angelia.sandbox.runs import run_folder
from angelia_testing.suites.instrument import Bed, outcome_of

_PROGRAM = """\
#!/bin/sh
echo "$0 $@" >> {folder}/asked
cat {folder}/said 2>/dev/null
exit $(cat {folder}/status 2>/dev/null || echo 0)
"""


class Queue:
    """Programs of a queue that say what they are told to."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("sbatch", "squeue", "scancel"):
            program = folder / name
            program.write_text(_PROGRAM.format(folder=folder))
            program.chmod(0o755)

    def say(self, text, status=0):
        """From now on, whatever is asked."""
        (self.folder / "said").write_text(text)
        (self.folder / "status").write_text(str(status))

    def asked(self):
        """All that it was, a line each."""
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def queue(tmp_path):
    folder = tmp_path / "queue"
    folder.mkdir()
    return Queue(folder)


@pytest.fixture
def bed(queue, tmp_path):
    declaration = Declaration(name="queued", products=(DeclaredProduct("toy"),), limits=Limits(seconds=0.4))

    def make():
        settings = SlurmSettings("angelia_testing.functions:square", folder=str(queue.folder), poll_seconds=0.02, forgotten_seconds=0.3)
        return SlurmInstrument(declaration, settings, Lent())

    return Bed(make(), make, tmp_path, {"n": 3.0})


@pytest.fixture
async def taken(bed, queue):
    """What the queue took, and its handle there."""
    work = bed.work(bed.good)
    queue.say("7\n")
    return work, await bed.instrument.submit(work)


def begun(work):
    """As its keeper begins it on a node; the lock."""
    run = run_folder(work)
    run.mkdir()
    lock = os.open(run / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


async def test_what_the_queue_forgot_before_it_began_is_gone_and_begins_no_more(bed, queue, taken):
    work, handle = taken
    queue.say("")
    assert await bed.instrument.poll(work, handle) == Progress(None, "its result is on the way")
    gone = await outcome_of(bed.instrument, work, handle)
    assert gone == Gone("the queue does not know it")
    assert await outcome_of(bed.restarted(), work, handle) == gone
    # A node that gets to it only now finds its place taken.
    request = {"key": work.key, "run": str(run_folder(work)), "folder": str(work.folder), "target": "angelia_testing.functions:square"}
    keep(request)
    assert not list(work.folder.iterdir())


async def test_what_the_queue_forgot_while_it_ran_has_failed(bed, queue, taken):
    work, handle = taken
    os.close(begun(work))
    queue.say("")
    outcome = await outcome_of(bed.instrument, work, handle)
    assert isinstance(outcome, Failed)
    assert "forgotten" in outcome.why


async def test_what_runs_on_though_forgotten_may_end_in_its_time(bed, queue, taken):
    work, handle = replace(taken[0], limits=Limits(seconds=600)), taken[1]
    lock = begun(work)
    queue.say("")
    await bed.instrument.poll(work, handle)
    await asyncio.sleep(0.4)
    assert await bed.instrument.poll(work, handle) == Progress(None, "")
    (run_folder(work) / ENDED).write_text(json.dumps({"status": "exit", "code": 0}))
    assert await bed.instrument.poll(work, handle) == Done()
    os.close(lock)


async def test_a_keeper_that_never_ends_is_not_waited_for_for_ever(bed, queue, taken):
    work, handle = taken
    lock = begun(work)
    queue.say("")
    assert isinstance(await outcome_of(bed.instrument, work, handle), Failed)
    os.close(lock)


async def test_a_number_that_went_to_another_is_not_taken_for_ours(bed, queue, taken):
    work, handle = taken
    queue.say("RUNNING None")
    assert isinstance(await bed.instrument.poll(work, handle), Progress)
    assert f"--jobs=7 --name={work.key} " in queue.asked()[-1]


async def test_a_queue_that_remembers_again_is_believed(bed, queue, taken):
    work, handle = taken
    queue.say("")
    await bed.instrument.poll(work, handle)
    queue.say("PENDING Priority")
    assert await bed.instrument.poll(work, handle) == Progress(None, "waiting in the queue (Priority)", is_running=False)
    await asyncio.sleep(0.4)
    queue.say("")
    assert await bed.instrument.poll(work, handle) == Progress(None, "its result is on the way")


def test_a_time_below_zero_is_told_at_the_start():
    with pytest.raises(BadSettings, match="forgotten_seconds"):
        SlurmSettings("module:function", forgotten_seconds=-1)
