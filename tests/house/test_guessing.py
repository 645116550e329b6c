# ruff: noqa: F811 - a test names its fixtures
"""What those learn who guess or break things: a code is not found in a thousand tries, errors and probes say nothing of the inside."""

import asyncio
import re

import httpx2
import pytest
from tests.house.browsing import add_address, alice, browsers, code_of  # noqa: F401 - fixtures

import angelia
from angelia.front import app_of
from angelia.model.errors import BadSettings, StoreUnavailable
from angelia.settings import load

INSIDE = re.compile(r"Traceback|File \"|/src/|site-packages|sqlalchemy|SELECT |sqlite|asyncpg|boom", re.IGNORECASE)


async def test_a_code_is_not_found_in_a_thousand_tries(bench, alice):  # checklist S33
    place = await add_address(alice)
    code = code_of(bench)
    verify = f"/api/v1/people/alice/addresses/{place}/verify"
    guesses = [f"{number:06d}" for number in range(61) if f"{number:06d}" != code]
    # At once: none must be let in between a look and a count.
    answers = await asyncio.gather(*(bench.api.post(verify, json={"code": guess}) for guess in guesses))
    assert {answer.status_code for answer in answers} == {422}
    # The rest where they are counted: what the API does before is the same each time.
    found = await asyncio.gather(*(bench.store.try_code(place, f"{number:064x}", bench.now) for number in range(1_000 - len(guesses))))
    assert not any(found)
    # By now not even the right one is taken, and it is told in the same words.
    assert {answer.json()["detail"] for answer in answers} == {(await bench.call("POST", verify, {"code": code}, 422))["detail"]}


async def test_four_slips_are_forgiven_and_a_code_opens_once(bench, alice):  # checklist S33
    place = await add_address(alice)
    code = code_of(bench)
    verify = f"/api/v1/people/alice/addresses/{place}/verify"
    for step in range(1, 5):
        await bench.call("POST", verify, {"code": f"{(int(code) + step) % 1_000_000:06d}"}, 422)
    assert (await bench.call("POST", verify, {"code": code}, 200))["state"] == "ok"
    await bench.call("POST", verify, {"code": code}, 422)


class Broken:
    """A store whose every question fails, with words that are nobody's business."""

    def __init__(self, error):
        self.error = error

    def hear(self, heard):
        """No question: whoever opens the doors wants to hear of changes."""

    def __getattr__(self, name):
        async def fail(*_, **__):
            raise self.error

        return fail


@pytest.mark.parametrize("error", [RuntimeError("boom: SELECT * FROM people at /src/angelia/x.py"), StoreUnavailable("the store is away")])
async def test_errors_say_nothing_of_the_inside(house, bench, error):  # checklist S43
    store, house.store = house.store, Broken(error)
    try:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
            answers = [await client.get(path) for path in ("/api/v1/messages", "/api/v1/people", "/api/v1/audit")]
    finally:
        house.store = store
    for answer in answers:
        assert answer.status_code == (503 if isinstance(error, StoreUnavailable) else 500)
        assert not INSIDE.search(answer.text), answer.text
        assert angelia.__version__ not in answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    await bench.call("GET", "/api/v1/messages", None, 200)


async def test_probes_and_documents_say_nothing_of_people(bench, alice, browsers, outside):  # checklist S47
    await add_address(alice, "very.private@example.org")
    await bench.call("POST", "/api/v1/messages", {"type": "obs.secret.plan", "subject": "a hidden subject", "to": ["alice"]}, 201)
    await bench.work()
    nobody = await browsers("")
    for place in ("/healthz/live", "/healthz/ready", "/metrics", "/version", "/api/v1/openapi.json", "/api/v1/messages/schema"):
        text = (await outside.get(place)).text if place == "/metrics" else await nobody.get(place)
        for word in ("alice", "very.private", "hidden subject", "secret.plan", "sqlite", ".db"):
            assert word not in text.replace("people/alice", ""), (place, word)
    for place in ("/docs", "/redoc", "/openapi.json", "/debug", "/.env", "/.git/config", "/server-status", "/console"):
        answer = await nobody.api.get(place)
        assert answer.status_code in (303, 404), place
        assert not INSIDE.search(answer.text)


@pytest.mark.parametrize(
    ("place", "headers", "is_let_in"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("192.0.2.7", {}, False),
        ("10.2.0.9", {}, True),
        ("10.3.0.9", {}, False),
        # Through a proxy: one that is named is believed, of the other nobody knows for whom it asks.
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, False),
        ("192.0.2.9", {"X-Forwarded-For": "10.2.0.9"}, True),
        ("192.0.2.9", {"X-Forwarded-For": "10.2.0.9, 192.0.2.7"}, False),
        ("192.0.2.7", {"Authorization": "Bearer the token of the metrics"}, True),
        ("192.0.2.7", {"Authorization": "Bearer the token of the metric"}, False),
        ("192.0.2.7", {"Authorization": "Basic the token of the metrics"}, False),
        ("192.0.2.7", {"Authorization": "Bearer "}, False),
    ],
)
async def test_metrics_are_not_for_everybody(house, place, headers, is_let_in):  # checklist S47
    web = house.settings.web
    object.__setattr__(web, "metrics_from", "127.0.0.0/8, ::1/128, 10.2.0.0/16")
    object.__setattr__(web, "metrics_token", "the token of the metrics")
    object.__setattr__(web, "proxies", "192.0.2.9")
    transport = httpx2.ASGITransport(app_of(house), client=(place, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == (200 if is_let_in else 403)
        assert ("angelia_" in answer.text) is is_let_in
        # To be ready is no secret.
        assert (await client.get("/healthz/ready")).status_code == 200


async def test_no_token_opens_the_metrics_where_none_is_set(house):  # checklist S47
    transport = httpx2.ASGITransport(app_of(house), client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        for text in ("Bearer ", "Bearer", "", "bearer  "):
            assert (await client.get("/metrics", headers={"Authorization": text})).status_code == 403


@pytest.mark.parametrize("settings", [{"metrics_from": "here"}, {"metrics_from": "10.0.0.1/8"}, {"metrics_token": "too short"}])
def test_what_opens_the_metrics_is_checked_at_the_start(settings):
    with pytest.raises(BadSettings, match=next(iter(settings))):
        load(environment={}, overrides={"web": settings})


async def test_who_posts_too_much_waits_and_nobody_else_does(bench, outside):
    """Checklist S31: by person and by source, told with a time to wait; a batch counts as what it holds, and a second token is no second share."""
    secrets = {}
    for login in ("alice", "bob"):
        await bench.person(login)
        made = [await bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": ["post"]}, 201) for _ in range(2)]
        secrets[login] = [{"Authorization": f"Bearer {token['secret']}"} for token in made]
    await bench.call("PUT", "/api/v1/sources/ci", {"rate_per_second": 2}, 200)
    source = {"Authorization": f"Bearer {(await bench.call('POST', '/api/v1/sources/ci/tokens', {}, 201))['secret']}"}

    async def post(count, headers):
        return await outside.post("/api/v1/messages", json=[{"type": "a.b"}] * count, headers=headers)

    first, second = secrets["alice"]
    assert (await post(150, first)).status_code == 201
    refused = await post(150, second)
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 6
    assert (await post(150, secrets["bob"][0])).status_code == 201
    assert (await post(10, source)).status_code == 201
    refused = await post(15, source)
    assert refused.status_code == 429
    assert (await post(10, source)).status_code == 201  # what was refused has taken nothing
    refused = await post(20, source)
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 11


async def test_a_batch_that_is_more_than_a_burst_goes_once_there_is_room(bench, outside):
    await bench.call("PUT", "/api/v1/sources/ci", {"rate_per_second": 2}, 200)
    source = {"Authorization": f"Bearer {(await bench.call('POST', '/api/v1/sources/ci/tokens', {}, 201))['secret']}"}
    batch = [{"type": "a.b"}] * 50
    assert (await outside.post("/api/v1/messages", json=batch, headers=source)).status_code == 201
    refused = await outside.post("/api/v1/messages", json=batch, headers=source)
    assert refused.status_code == 429 and 20 <= int(refused.headers["retry-after"]) <= 26
