"""Whether the hub is ready, and what it refuses where it is not (promise P17)."""

from dataclasses import replace

import httpx2
import pytest

from angelia.flow.clock import SteadyClock
from angelia.flow.reserve import LOOKS_EVERY, Reserve
from angelia.front import app_of
from angelia.house import House

READY = "/healthz/ready"


@pytest.fixture
def opened(house):
    """The same store behind a hub with other settings of its house; house and API."""

    class Opened:
        def __init__(self, clock=None, **changes):
            self._settings, self._clock = replace(house.settings, house=replace(house.settings.house, **changes)), clock

        async def __aenter__(self):
            self._open = House.open(self._settings, self._clock)
            other = await self._open.__aenter__()
            self._api = httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(other, trusts_caller=True)), base_url="http://hub")
            return other, self._api

        async def __aexit__(self, *failure):
            await self._api.aclose()
            await self._open.__aexit__(*failure)

    return Opened


async def test_nothing_is_taken_on_a_disk_that_is_nearly_full_and_what_was_taken_goes_on(opened):
    async with opened(disk_reserve=1 << 30) as (hub, api):  # more than any disk has
        answer = await api.get(READY)
        assert (answer.status_code, answer.json()["faults"]) == (503, ["disk"])
        assert (await api.get("/healthz/live")).status_code == 200
        for path, body in (("/api/v1/messages", b'{"type":"a"}'), ("/api/v1/publish/a", b"text"), ("/hermes/", b"rm=notify&_type=a")):
            kind = {
                "Content-Type": "application/x-www-form-urlencoded"
                if "hermes" in path
                else "application/json"
                if "messages" in path
                else "text/plain"
            }
            refused = await api.post(path, content=body, headers=kind)
            assert refused.status_code == 503 and refused.headers["retry-after"], path
            assert "MB left" in refused.json()["detail"] and "kept free" in refused.json()["detail"]
        assert await hub.store.list_messages(person_id=None) == []
        # People and their wishes are kept as before, and the house says what it has to say.
        assert (await api.post("/api/v1/people", json={"login": "alice"})).status_code == 201
        stages = {stage.name: stage for stage in hub.stages}
        await stages["relay"]._voice.gave_up("alice", "mail", "alice@example.org", "down", hub.now())
        assert [message.type for message in await hub.store.list_messages(person_id=None)] == ["angelia.delivery.expired"]
    async with opened(disk_reserve=0) as (_, api):
        assert (await api.get(READY)).status_code == 200


def test_the_disk_is_asked_now_and_then(tmp_path, monkeypatch):
    elapsed = [100.0]
    monkeypatch.setattr("angelia.flow.reserve.monotonic", lambda: elapsed[0])
    reserve = Reserve(tmp_path, 1 << 30)
    assert "are kept free" in reserve.lack()
    reserve._least = 1
    assert reserve.lack()
    elapsed[0] += LOOKS_EVERY
    assert reserve.lack() == ""
    assert Reserve(tmp_path / "gone", 1 << 30).lack() == ""


async def test_a_hub_whose_messages_nobody_decides_is_not_ready(opened):
    elapsed = [10**18]
    async with opened(SteadyClock(lambda: elapsed[0], lambda: elapsed[0]), overdue_after=600) as (hub, api):
        assert (await api.post("/api/v1/messages", json={"type": "a"})).status_code == 201
        elapsed[0] += 600 * 10**9
        assert (await api.get(READY)).status_code == 200
        elapsed[0] += 1
        elapsed[0] += 10**9
        answer = await api.get(READY)
        assert (answer.status_code, answer.json()["faults"]) == (503, ["planner"])
        assert (await api.post("/api/v1/messages", json={"type": "b"})).status_code == 201  # it is kept, and decided when somebody does
        await next(stage for stage in hub.stages if stage.name == "planner").turn(hub.now())
        assert (await api.get(READY)).status_code == 200


async def test_a_schema_that_was_changed_under_a_hub_is_said(house, outside):
    await house.store.engine.write(lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'").close())
    assert (await outside.get(READY)).json()["faults"] == ["store"]
    assert "9999" in (await house.ready())["store"]
