"""Jobs on a real Dask cluster keep the promises; a hub that comes back finds them (F42)."""

import asyncio

import pytest

from angelia.instrument import CantTell, Done, Lent, NotStarted, Progress
from angelia.instruments.dask import DaskInstrument, DaskSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits
from angelia_testing.killed_jobs import check_killed
from angelia_testing.peers.dask import Dask
from angelia_testing.peers.process import free_port
from angelia_testing.suites.instrument import Bed, InstrumentSuite, outcome_of

DECLARATION = Declaration(name="spread", products=(DeclaredProduct("toy"),), limits=Limits(seconds=100, memory_bytes=256 << 20, files=20))
TARGET = "angelia_testing.functions:run"


@pytest.fixture(scope="module")
def dask():
    made = Dask()
    yield made
    made.stop()


@pytest.fixture
async def bed(dask, tmp_path):
    def make():
        return DaskInstrument(DECLARATION, DaskSettings(TARGET, dask.address), Lent())

    values = {"what": "compute", "seconds": 0.0, "n": 3, "beside": str(tmp_path / "beside")}
    made = Bed(make(), make, tmp_path, values, slow=values | {"seconds": 60.0}, bad=values | {"what": "raise"})
    yield made
    await made.close()


class TestDask(InstrumentSuite):
    """With the fixture `bed` of this module."""


async def test_what_was_begun_goes_on_without_the_hub(bed):
    work = bed.work(bed.good | {"seconds": 1.5})
    handle = await bed.instrument.submit(work)
    async with asyncio.timeout(60):
        while (said := await bed.instrument.poll(work, handle)) != Progress(0.5, "half way"):
            assert isinstance(said, Progress)
            await asyncio.sleep(0.05)
    await bed.instrument.close()
    other = bed.restarted()
    assert await other.find(work) == handle
    assert await outcome_of(other, work, handle) == Done()
    assert (bed.folder / "beside").read_text() == "computed\n"


async def test_a_scheduler_that_is_away_is_told(bed, monkeypatch):
    monkeypatch.setattr("angelia.instruments.dask._CONNECTS_WITHIN", 0.3)
    away = DaskInstrument(DECLARATION, DaskSettings(TARGET, f"tcp://127.0.0.1:{free_port()}"), Lent())
    with pytest.raises(NotStarted):
        await away.submit(bed.work(bed.good))
    with pytest.raises(CantTell):
        await away.find(bed.work(bed.good))
    await away.close()


def test_a_hub_that_is_killed_loses_no_job_and_runs_none_twice(dask, tmp_path):
    check_killed(tmp_path / "hub", tmp_path, "dask", f'scheduler = "{dask.address}", most_at_once = 4', jobs=3, running=1)
