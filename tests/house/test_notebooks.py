"""A notebook service in a house: its notebooks are products by themselves, and its call-backs end jobs at once."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from angelia.settings import load
from angelia_testing.peers.notebooks import NotebookService


@pytest.fixture
def service():
    made = NotebookService()
    yield made
    made.stop()


@pytest.fixture
def settings(tmp_path, service):
    instruments = {"notebooks": {"adapter": "nb2workflow", "url": service.url, "poll_seconds": 3_600}}
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": instruments, "outbound": {"allow": "127.0.0.0/8"}})


async def until(ask, seconds=30):
    async with asyncio.timeout(seconds):
        while not (found := await ask()):
            await asyncio.sleep(0.02)
        return found


async def test_a_notebook_is_computed_and_its_call_back_ends_the_job(bench, house, outside, service):
    async def products():
        return (await bench.call("GET", "/api/v1/instruments/notebooks", status=200))["products"]

    assert [product["name"] for product in await until(products)] == ["square", "views"]
    task = asyncio.create_task(house.work())
    try:
        asked = {"instrument": "notebooks", "product": "square", "parameters": {"n": 5, "seconds": "1 min"}}
        job = await bench.call("POST", "/api/v1/jobs", asked, 202)

        async def state(*wanted):
            said = await bench.call("GET", f"/api/v1/jobs/{job['id']}", status=200)
            return said if said["state"] in wanted else None

        async def started():
            return list(service.runs)

        (key,) = await until(started)
        await until(lambda: state("submitted", "running"))
        address = urlsplit(service.runs[key]["call_back"])
        secret = parse_qs(address.query)["secret"][0]
        for wrong in ("", f"{secret}x"):
            assert (await outside.get(address.path, params={"secret": wrong, "action": "failed"})).status_code == 403
        answer = await outside.get(address.path, params={"secret": secret, "action": "progress", "progress": 30, "message": "squares"})
        assert answer.json() == {"taken": True}
        assert (await until(lambda: state("running")))["progress"] == 0.3
        service.runs[key]["ends_at"] = 0.0
        # Asked once an hour: only the word of the service brings the end.
        assert (await outside.get(address.path, params={"secret": secret, "action": "done"})).status_code == 200
        assert (await until(lambda: state("done", "failed")))["state"] == "done"
    finally:
        house.stop()
        await task
