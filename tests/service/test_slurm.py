"""Jobs on a real Slurm: the promises, a controller that is killed, a submit whose answer is lost (F42)."""

import asyncio
import os
import sys

import pytest

from angelia.instrument import CantTell, Done, Failed, Lent, NotStarted, Progress, Rejected
from angelia.instruments.slurm import SlurmInstrument, SlurmSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits
from angelia_testing.killed_jobs import check_killed
from angelia_testing.peers.slurm import Slurm
from angelia_testing.suites.instrument import Bed, InstrumentSuite, outcome_of

DECLARATION = Declaration(name="queued", products=(DeclaredProduct("toy"),), limits=Limits(seconds=100, memory_bytes=256 << 20, files=20))


@pytest.fixture(scope="module")
def slurm():
    made = Slurm()
    yield made
    made.stop()


@pytest.fixture
async def bed(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    def make(*options):
        return SlurmInstrument(DECLARATION, SlurmSettings("angelia_testing.functions:run", options=options), Lent())

    values = {"what": "compute", "seconds": 0.0, "n": 3, "beside": str(tmp_path / "beside")}
    made = Bed(make(), make, tmp_path, values, slow=values | {"seconds": 60.0}, bad=values | {"what": "raise"})
    yield made
    slurm.ask("scancel", "--user=root")


class TestSlurm(InstrumentSuite):
    """With the fixture `bed` of this module."""


async def test_a_controller_that_is_killed_holds_nothing_up_for_good(bed, slurm):
    # It runs until it is told, however long the controller takes to save it and to start again.
    work = bed.work(bed.slow | {"what": "wait"})
    handle = await bed.instrument.submit(work)
    async with asyncio.timeout(60):
        while (said := await bed.instrument.poll(work, handle)) != Progress(0.5, "half way"):
            assert isinstance(said, Progress)
            await asyncio.sleep(0.1)
    slurm.save(handle)
    slurm.kill_controller()
    try:
        with pytest.raises((NotStarted, CantTell)):
            await bed.instrument.submit(bed.work(bed.good))
        with pytest.raises(CantTell):
            await bed.instrument.find(bed.work(bed.good))
    finally:
        slurm.start_controller()
    assert await bed.restarted().find(work) == handle
    (bed.folder / "beside.go").touch()
    assert await outcome_of(bed.instrument, work, handle, 60) == Done()
    assert (bed.folder / "beside").read_text() == "computed\n"


async def test_a_job_that_the_queue_ends_has_failed(bed, slurm):
    work = bed.work(bed.slow)
    handle = await bed.instrument.submit(work)
    slurm.ask("scancel", handle)
    assert isinstance(await outcome_of(bed.instrument, work, handle, 30), Failed)


async def test_what_the_queue_does_not_take_is_refused(bed):
    with pytest.raises(Rejected):
        await bed.again("--partition=nowhere").submit(bed.work(bed.good))


def test_a_hub_that_is_killed_loses_no_job_and_runs_none_twice(slurm, tmp_path):
    environment = {"SLURM_CONF": slurm.environment["SLURM_CONF"], "PYTHONPATH": os.pathsep.join(sys.path)}
    check_killed(tmp_path / "hub", tmp_path, "slurm", "most_at_once = 4", jobs=3, running=1, **environment)
