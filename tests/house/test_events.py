"""Events over the API and the command line: who may publish, and what comes out of the exchange."""

import httpx2
import pytest

from angelia.front import app_of
from angelia.model.event import Position
from angelia_testing.suites.broker import numbers


@pytest.fixture
async def published(house):
    head = await house.broker.head("events")

    async def look():
        return list((await house.broker.replay("events", head)).events)

    return look


async def test_an_administrator_publishes(bench, published):
    assert await bench.call("POST", "/api/v1/events/events", {"key": "a.b", "body": {"x": "ä"}}, 200) == {"published": 1}
    (event,) = await published()
    assert (event.routing_key, event.body, event.content_type) == ("a.b", '{"x":"ä"}'.encode(), "application/json")


async def test_several_at_once_keep_their_order(bench, published):
    await bench.call("POST", "/api/v1/events/events", [{"key": "k", "body": number} for number in range(20)], 200)
    assert numbers(await published()) == list(range(20))


async def test_a_text_is_published_as_it_is(bench, published):
    await bench.call("POST", "/api/v1/events/events", {"key": "k", "text": "not {json"}, 200)
    (event,) = await published()
    assert (event.body, event.content_type) == (b"not {json", "text/plain")


@pytest.mark.parametrize(
    "path, form, status",
    [
        ("nowhere", {"key": "k"}, 404),
        ("events", {"key": "k" * 256}, 422),
        ("events", {"key": "é" * 200}, 422),
        ("events", {"key": "k", "body": 1, "text": "x"}, 422),
        ("events", {"key": "k", "other": 1}, 422),
        ("events", [], 422),
        ("events", [{"key": "k"}] * 1_001, 422),
    ],
)
async def test_what_is_refused_publishes_nothing(bench, published, path, form, status):
    await bench.call("POST", f"/api/v1/events/{path}", form, status)
    assert await published() == []


@pytest.mark.parametrize(
    "form, field",
    [({"bad": 1}, "bad"), ([{"key": "a", "body": {}}, {"bad": 1}], "1.bad"), ([{"key": "a"}, {"key": 1}], "1.key"), ({"key": 1}, "key"), (1, "")],
)
async def test_what_is_wrong_is_named(bench, form, field):
    refused = await bench.call("POST", "/api/v1/events/events", form, 422)
    assert refused.get("errors", [{"field": ""}])[0]["field"] == field
    assert "dictionary" not in refused["detail"] or form == 1


@pytest.mark.parametrize("value", ["1e999", "NaN", "-Infinity", '"\\ud800"', "[" * 900 + "]" * 900])
async def test_what_is_no_json_to_others_is_not_published(bench, published, value):
    answer = await bench.api.post("/api/v1/events/events", content=f'{{"key": "k", "body": {{"x": {value}}}}}'.encode())
    assert answer.status_code in (400, 422), answer.text
    assert await published() == []


@pytest.mark.parametrize("scopes, status", [(["post"], 403), (["post", "publish"], 200)])
async def test_a_source_needs_the_scope(bench, published, scopes, status):
    await bench.call("PUT", "/api/v1/sources/ci", {}, 200)
    token = (await bench.call("POST", "/api/v1/sources/ci/tokens", {"scopes": scopes}, 201))["secret"]
    transport = httpx2.ASGITransport(app_of(bench.house))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers={"Authorization": f"Bearer {token}"}) as client:
        assert (await client.post("/api/v1/events/events", json={"key": "k"})).status_code == status
    assert len(await published()) == (status == 200)


async def test_each_event_counts_against_the_rate_of_a_source(bench, published):
    await bench.call("PUT", "/api/v1/sources/ci", {"rate_per_second": 1.0}, 200)
    token = (await bench.call("POST", "/api/v1/sources/ci/tokens", {"scopes": ["publish"]}, 201))["secret"]
    transport = httpx2.ASGITransport(app_of(bench.house))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers={"Authorization": f"Bearer {token}"}) as client:
        answers = [await client.post("/api/v1/events/events", json=[{"key": "k"}] * 5) for _ in range(4)]
    assert [answer.status_code for answer in answers][:2] == [200, 200] and answers[-1].status_code == 429
    assert len(await published()) < 20


async def test_readiness_tells_what_the_broker_lacks(bench, monkeypatch):
    async def faults():
        return {"": "away", "runs": "missing"}

    monkeypatch.setattr(bench.house.broker, "faults", faults)
    assert await bench.house.ready() == {"broker": "away", "exchange runs": "missing"}


async def test_the_janitor_forgets_old_events(bench, published):
    await bench.call("POST", "/api/v1/events/events", {"key": "k"}, 200)
    start = await bench.house.broker.head("events")
    await bench.janitor.turn(bench.now.replace(year=2030))
    assert await published() == []
    assert not (await bench.house.broker.replay("events", Position(start.epoch, 0))).is_complete
