"""What a new document names must be there; a document that was stored may go on naming it. And the document that a new site begins with."""

import asyncio

import pytest

from angelia.flow.first_site import FIRST, begin_site
from angelia.flow.unsubscribe import make_token
from angelia.planning.document import parse_site


async def refused(bench, method, path, body):
    return (await bench.call(method, path, body, 422))["errors"][0]["field"]


@pytest.mark.parametrize("place", ["preferences", "preferences/plan"])
async def test_an_agent_that_is_not_there(bench, place):
    await bench.person("alice")
    path, method = f"/api/v1/people/alice/{place}", "POST" if place.endswith("plan") else "PUT"
    assert await refused(bench, method, path, {"preferences": {"obs": {"mial": "now"}}}) == "preferences.obs.mial"
    assert await refused(bench, method, path, {"rules": [{"when": {"message.severity": "high"}}]}) == "rules.0.when.message.severity"
    assert await bench.call("GET", "/api/v1/people/alice/preferences", status=200) == {}


async def test_a_rule_and_a_cell_name_what_is_there(bench):
    await bench.person("alice")
    assert await refused(bench, "POST", "/api/v1/people/alice/rules", {"type": "a", "do": {"mial": "now"}}) == "rules.0.do.mial"
    await bench.call("POST", "/api/v1/people/alice/rules", {"type": "a", "do": {"mail": "now"}}, 201)


async def test_an_agent_that_is_there_no_more_keeps_nobody_from_changing_the_rest(bench, house):
    await bench.person("alice")
    document = {"preferences": {"*": {"pager": "now"}}, "hold": {"since": "2026-12-02T00:00:00Z", "until": "2026-12-01T00:00:00Z"}}
    await house.store.put_wants("alice", document, follows=[], rules=[], expected_version=None)
    await bench.call("PUT", "/api/v1/people/alice/mutes?object=o&level=full", status=200)
    await bench.call("PUT", "/api/v1/people/alice/preferences", document | {"paused": ["mail"]}, 200)
    assert await refused(bench, "PUT", "/api/v1/people/alice/preferences", document | {"paused": ["mial"]}) == "paused"


async def test_who_is_back_before_she_leaves(bench):
    await bench.person("alice")
    hold = {"since": "2026-12-02T00:00:00Z", "until": "2026-12-01T00:00:00Z"}
    assert await refused(bench, "PUT", "/api/v1/people/alice/preferences", {"hold": hold}) == "hold.since"
    assert await refused(bench, "PUT", "/api/v1/people/alice/preferences", {"hold": hold | {"until": hold["since"]}}) == "hold.since"


async def test_the_site_names_what_is_there(bench):
    stored = await bench.call("GET", "/api/v1/site", status=200)
    for method, path in (("PUT", "/api/v1/site"), ("POST", "/api/v1/site/plan")):
        assert await refused(bench, method, path, stored | {"locks": {"a": ["mial"]}}) == "locks.a"
        assert await refused(bench, method, path, stored | {"digest_schedule": "yearly"}) == "digest_schedule"
    assert await bench.call("GET", "/api/v1/site", status=200) == stored


async def test_a_new_site_begins_with_a_document_and_the_operators_stays(house):
    parse_site(FIRST)
    assert await asyncio.gather(*(begin_site(house.store, house.now()) for _ in range(3))) == [True] * 3
    assert await house.store.site() == (FIRST, 1)
    assert len(await house.store.audit_log()) == 1
    assert not await begin_site(house.store, house.now())
    await house.store.put_site({})
    assert not await begin_site(house.store, house.now())
    assert await house.store.site() == ({}, 2)


async def test_the_link_of_a_letter_works_after_its_agent_is_gone(bench, house):
    await bench.person("alice")
    person = await house.store.person("alice")
    token = make_token(house.secret, person.person_id, "pager", "type", "a.b")
    await bench.call("POST", f"/unsubscribe/{token}", status=200)
    assert (await bench.call("GET", "/api/v1/people/alice/preferences"))["preferences"] == {"a.b": {"pager": "off"}}
