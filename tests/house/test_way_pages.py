"""On pages: to acknowledge, the order of ways, the steps for what nobody answers."""

from datetime import timedelta

import pytest
from tests.house.browsing import browsers  # noqa: F401 - a fixture


@pytest.fixture
async def alice(bench, browsers):  # noqa: F811
    return await browsers("alice")


async def entry(bench, **fields):
    await bench.post("a.b", **({"subject": "it burns", "to": ["alice"]} | fields))
    await bench.work()
    return (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"][0]["id"]


async def test_what_presses_can_be_acknowledged_on_its_page(bench, alice):
    name = await entry(bench, severity="urgent")
    assert 'value="acknowledge"' in await alice.get(f"/inbox/{name}")
    assert await alice.post(f"/inbox/{name}/mark", change="acknowledge") == f"/inbox/{name}"
    shown = await alice.get(f"/inbox/{name}")
    assert 'value="acknowledge"' not in shown and "acknowledged (web)" in shown
    assert (await bench.call("GET", "/api/v1/people/alice/inbox/counts"))["unread"] == 0
    assert 'value="acknowledge"' not in await alice.get(f"/inbox/{await entry(bench)}")


async def test_the_page_says_where_it_goes_on(bench, alice):
    wants = {"escalate": {"*": {"after": "10m", "to": ["mail"]}}}
    await bench.call("PUT", "/api/v1/people/alice/preferences", wants, 200)
    name = await entry(bench, severity="urgent")
    assert "goes on to mail if nobody answers" in await alice.get(f"/inbox/{name}")
    await bench.work(bench.now + timedelta(minutes=11))
    assert "nobody answered, though it went all its steps" in await alice.get(f"/inbox/{name}")


async def test_several_are_acknowledged_in_the_inbox(bench, alice):
    plain = await entry(bench)
    assert 'value="acknowledge"' not in await alice.get("/inbox")
    name = await entry(bench, severity="high")
    assert 'value="acknowledge"' in await alice.get("/inbox")
    assert "did=acknowledge&count=2" in await alice.post("/inbox/mark", change="acknowledge", ids=[name, plain])
    assert "2 messages are acknowledged." in await alice.get("/inbox?did=acknowledge&count=2")
    assert "did=nothing" in await alice.post("/inbox/mark", change="acknowledge", whole="1")


async def test_the_order_of_ways_is_kept_and_goes_again(bench, alice):
    await alice.post("/preferences/fallback", order=" mail, web ")
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["fallback"] == ["mail", "web"]
    assert 'value="mail, web"' in await alice.get("/preferences")
    await alice.post("/preferences/fallback", order="")
    assert "fallback" not in await bench.call("GET", "/api/v1/people/alice/preferences")
    assert "no such agent" in await alice.post("/preferences/fallback", 422, order="pigeon")
    assert "each once" in await alice.post("/preferences/fallback", 422, order="mail, mail")


async def test_the_steps_are_kept_and_what_the_document_says_beside_stays(bench, alice):
    said = {"escalate": {"*": {"to": ["mail"], "by_anybody": False}, "a": {"to": []}}}
    await bench.call("PUT", "/api/v1/people/alice/preferences", said, 200)
    await alice.post("/preferences/escalate", severity="high", after="2h", until="seen", to="mail, person:bob")
    kept = (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"]
    assert kept["*"] == {"to": ["mail", "person:bob"], "by_anybody": False, "severity": "high", "after": "2h", "until": "seen"}
    assert kept["a"] == {"to": []}
    shown = await alice.get("/preferences")
    assert 'value="mail, person:bob"' in shown and 'value="2h"' in shown
    assert "from 1m to 7d" in await alice.post("/preferences/escalate", 422, after="soon", to="mail")
    await alice.post("/preferences/escalate", to="")
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"] == {"a": {"to": []}}


async def test_one_type_may_have_steps_of_its_own(bench, alice):
    await alice.post("/preferences/escalate", scope="*", to="mail")
    await alice.post("/preferences/escalate", scope="obs.build", severity="high", after="5m", to="person:bob")
    await alice.post("/preferences/escalate", 422, scope="No Type", to="mail")
    kept = (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"]
    assert kept["obs.build"] == {"severity": "high", "after": "5m", "until": "acknowledged", "to": ["person:bob"]} and kept["*"]["to"] == ["mail"]
    shown = await alice.get("/preferences")
    assert 'value="obs.build" readonly' in shown and 'value="person:bob"' in shown and 'value="5m"' in shown
    await alice.post("/preferences/escalate", scope="obs.build", to="")
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"].keys() == {"*"}
