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


async def test_a_file_that_came_with_it_is_on_its_page_as_text(bench, alice):
    page = await alice.get(f"/inbox/{await entry(bench, attachment={'name': 'yumo-before.txt', 'text': 'info 3 <b>насос</b>'})}")
    assert "<summary>yumo-before.txt</summary><pre>info 3 &lt;b&gt;насос&lt;/b&gt;</pre>" in page
    assert "<summary>yumo" not in await alice.get(f"/inbox/{await entry(bench)}")


async def test_several_are_acknowledged_in_the_inbox(bench, alice):
    plain = await entry(bench)
    assert 'value="acknowledge"' not in await alice.get("/inbox")
    name = await entry(bench, severity="high")
    assert 'value="acknowledge"' in await alice.get("/inbox")
    assert "did=acknowledge&count=2" in await alice.post("/inbox/mark", change="acknowledge", ids=[name, plain])
    assert "2 messages are acknowledged." in await alice.get("/inbox?did=acknowledge&count=2")
    assert "did=untaken" in await alice.post("/inbox/mark", change="acknowledge", whole="1")
    assert "whole views can" in await alice.get("/inbox?did=untaken")
    assert "did=nothing" in await alice.post("/inbox/mark", change="acknowledge")


async def order(bench):
    return (await bench.call("GET", "/api/v1/people/alice/preferences")).get("fallback")


async def test_the_order_of_ways_is_kept_and_goes_again(bench, alice):
    await alice.post("/preferences/fallback", order='["mail", "web"]')
    assert await order(bench) == ["mail", "web"]
    shown = await alice.get("/preferences")
    assert shown.index('data-id="mail"') < shown.index('data-id="web"')
    await alice.post("/preferences/fallback", order="")
    assert await order(bench) is None
    assert "no such agent" in await alice.post("/preferences/fallback", 422, order="pigeon")
    assert "each once" in await alice.post("/preferences/fallback", 422, order="mail, mail")
    for broken in ("[", "[1", "[" * 1_000, '{"a": 1}'):
        await alice.post("/preferences/fallback", 422, order=broken)
    assert await order(bench) is None


async def test_the_order_of_ways_is_made_by_moving(bench, alice):
    """Without a script and by keyboard: each button is a form of its own."""
    await alice.post("/preferences/fallback", add="mail")
    await alice.post("/preferences/fallback", add="web")
    assert await order(bench) == ["mail", "web"]
    await alice.post("/preferences/fallback/move", at=1, by=-1)
    assert await order(bench) == ["web", "mail"]
    await alice.post("/preferences/fallback/move", at=0, by=-1)  # there is no place above the first
    await alice.post("/preferences/fallback/move", at=1, by=1)
    assert await order(bench) == ["web", "mail"]
    await alice.post("/preferences/fallback/move", at=0, by=1)
    assert await order(bench) == ["mail", "web"]
    await alice.post("/preferences/fallback/move", at=0, by=0)
    await alice.post("/preferences/fallback/move", at=0, by=0)
    assert await order(bench) == []  # that nothing is tried is a wish too
    assert "look at the order again" in await alice.post("/preferences/fallback/move", 422, at=0, by=0)
    assert "Nothing is tried instead" in await alice.get("/preferences")


async def test_the_order_of_the_site_is_where_hers_begins(bench, alice):
    site = await bench.call("GET", "/api/v1/site")
    await bench.call("PUT", "/api/v1/site", site | {"fallback": ["mail", "web"]}, 200)
    assert "This is what the site says" in await alice.get("/preferences")
    await alice.post("/preferences/fallback/move", at=0, by=1)
    assert await order(bench) == ["web", "mail"]
    assert "As the site says" in await alice.get("/preferences")


async def test_the_steps_are_kept_and_what_the_document_says_beside_stays(bench, alice):
    await bench.person("bob")
    await bench.call("PUT", "/api/v1/groups/qa", {"members": ["bob"]}, 200)
    said = {"escalate": {"*": {"to": ["mail"], "by_anybody": False}, "a": {"to": []}}}
    await bench.call("PUT", "/api/v1/people/alice/preferences", said, 200)
    await alice.post("/preferences/escalate", severity="high", after="2h", until="seen", to="mail, person:bob")
    kept = (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"]
    assert kept["*"] == {"to": ["mail", "person:bob"], "by_anybody": False, "severity": "high", "after": "2h", "until": "seen"}
    assert kept["a"] == {"to": []}
    shown = await alice.get("/preferences")
    assert shown.index('name="to" value="mail"') < shown.index('name="to" value="person:bob"') and 'value="2h"' in shown
    await alice.post("/preferences/escalate/move", at=1, by=-1)
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"]["*"] == kept["*"] | {"to": ["person:bob", "mail"]}
    await alice.post("/preferences/escalate", severity="high", after="2h", until="seen", to=["person:bob", "mail", "group:qa"])
    await alice.post("/preferences/escalate/move", at=1, by=0)
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"]["*"] == kept["*"] | {"to": ["person:bob", "group:qa"]}
    assert "look at the order again" in await alice.post("/preferences/escalate/move", 422, at=9, by=0)
    assert "from 1m to 7d" in await alice.post("/preferences/escalate", 422, after="soon", to="mail")
    assert "nobody here is called group:none, nobody" in await alice.post("/preferences/escalate", 422, to="person:nobody, group:none")
    await alice.post("/preferences/escalate", to="")
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"] == {"a": {"to": []}}


async def test_one_type_may_have_steps_of_its_own(bench, alice):
    await bench.person("bob")
    await alice.post("/preferences/escalate", scope="*", to="mail")
    await alice.post("/preferences/escalate", scope="obs.build", severity="high", after="5m", to="person:bob")
    await alice.post("/preferences/escalate", 422, scope="No Type", to="mail")
    kept = (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"]
    assert kept["obs.build"] == {"severity": "high", "after": "5m", "until": "acknowledged", "to": ["person:bob"]} and kept["*"]["to"] == ["mail"]
    shown = await alice.get("/preferences")
    assert 'value="obs.build" readonly' in shown and 'value="person:bob"' in shown and 'value="5m"' in shown
    await alice.post("/preferences/escalate", scope="obs.build", to="")
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["escalate"].keys() == {"*"}


async def groups(bench):
    return (await bench.call("GET", "/api/v1/people/alice/preferences")).get("groups")


async def test_she_says_by_which_ways_she_takes_what_is_for_a_group(bench, alice):
    assert "What comes to my groups" not in await alice.get("/preferences")
    await bench.call("PUT", "/api/v1/groups/qa", {"members": ["alice"]}, 200)
    await bench.call("POST", "/api/v1/people/alice/addresses", {"agent": "mail", "value": "alice@example.org", "is_verified": True}, 201)
    assert 'id="group-qa-mail" aria-label="qa, by Mail" checked' in await alice.get("/preferences")
    await alice.post("/preferences/group", group="qa", agent="mail")
    assert "mail" not in (await groups(bench))["qa"] and "web" not in (await groups(bench))["qa"]
    assert 'id="group-qa-mail" aria-label="qa, by Mail">' in await alice.get("/preferences")
    message = await bench.post("a.b", to=["group:qa"])
    await bench.work()
    (item,) = (await bench.call("GET", "/api/v1/people/alice/decisions"))["items"]
    assert {agent: told["reason"] for agent, told in item["agents"].items()} == {"web": "chosen", "feed": "chosen", "mail": "group_not_accepted"}
    assert 'href="/preferences#groups"' in await alice.get(f"/why/{message}")
    await alice.post("/preferences/group", group="qa", agent="mail", taken="1")
    assert await groups(bench) is None
    assert "no such agent" in await alice.post("/preferences/group", 422, group="qa", agent="pigeon")


async def test_the_same_over_the_api(bench, alice):
    place = "/api/v1/people/alice/preferences/groups/qa"
    await bench.call("PUT", place, {"agents": ["mail", "mail"]}, 200)
    assert await groups(bench) == {"qa": ["mail"]}
    await bench.call("PUT", place, {"agents": []}, 200)
    assert await groups(bench) == {"qa": []}
    await bench.call("PUT", place, {"agents": ["pigeon"]}, 422)
    await bench.call("DELETE", place, status=204)
    assert await groups(bench) is None
