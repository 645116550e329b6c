"""Jobs from the request to the result: over the API, with the stages of one house running, on instruments that really compute."""

import asyncio
import json

import pytest

from angelia.settings import load

HERE = "angelia_testing.functions"


@pytest.fixture
def settings(tmp_path):
    instruments = {"echo": {}, "skeleton": {}}
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": instruments})


@pytest.fixture
async def working(bench, house):
    """The stages run; alice and bob are there."""
    for login in ("alice", "bob"):
        await bench.person(login)
    task = asyncio.create_task(house.work())
    yield bench
    house.stop()
    await task


async def ended(bench, job_id, seconds=20):
    async with asyncio.timeout(seconds):
        while True:
            job = await bench.call("GET", f"/api/v1/jobs/{job_id}")
            if job["ended_at"]:
                return job
            await asyncio.sleep(0.02)


async def test_a_job_is_submitted_runs_and_gives_its_product(working):
    asked = {"instrument": "echo", "product": "echo", "parameters": {"text": "hello", "number": 2, "nonsense": 1}}
    submitted = await working.call("POST", "/api/v1/jobs", asked, 202)
    assert submitted["result"] == "new"
    assert submitted["unused"] == ["nonsense"]
    job = await ended(working, submitted["id"])
    print(job)
    assert job["state"] == "done"
