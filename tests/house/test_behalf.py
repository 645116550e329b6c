"""What an administrator changes for somebody else is noted, with what it was; what people change for themselves is theirs."""

import inspect

import httpx2
import pytest
from fastapi.routing import APIRoute

from angelia.front import app_of
from angelia.web import addresses, expectations, identities, inbox, job_news, keys, rules, sessions, topics, wants, wishes
from angelia.web.access import NOTED_ELSEWHERE, writable_person
from angelia.web.signin import local


async def token_of(bench, login, *scopes):
    return (await bench.call("POST", f"/api/v1/people/{login}/tokens", {"title": "x", "scopes": list(scopes)}, 201))["secret"]


@pytest.fixture
async def as_root(bench, house):
    await bench.person("alice", mail=False)
    await bench.person("root", mail=False, is_admin=True)
    bearers = {login: await token_of(bench, login, *scopes) for login, scopes in (("alice", ["read", "write"]), ("root", ["read", "write", "admin"]))}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url="http://hub") as client:

        async def call(method, path, body=None, *, status=200, login="root"):
            answer = await client.request(method, f"/api/v1/people/alice{path}", json=body, headers={"Authorization": f"Bearer {bearers[login]}"})
            assert answer.status_code == status, answer.text
            return answer.json() if answer.content else None

        yield call


async def noted(bench):
    items = (await bench.call("GET", "/api/v1/audit?action=behalf."))["items"]
    return [(item["action"], item["target"], item["detail"]) for item in items if item["actor"] == "person:root"]


async def test_each_change_for_another_is_noted(bench, as_root):
    await as_root("PUT", "/preferences", {"preferences": {"obs": {"mail": "off"}}})
    await as_root("PUT", "/follows?object=KDE/kate")
    rule = await as_root("POST", "/rules", {"type": "obs.build", "do": {"mail": "off"}}, status=201)
    await as_root("DELETE", f"/rules/{rule['id']}", status=204)
    (deleted, added, followed, put) = await noted(bench)
    assert (put[0], put[1]) == ("behalf.put_preferences", "alice")
    assert "off" in str(put[2]["changes"])
    assert (followed[0], followed[2]["at"]) == ("behalf.follow", {"object": "KDE/kate"})
    assert added[0] == "behalf.add_rule" and "obs.build" in str(added[2]["changes"])
    assert deleted[0] == "behalf.delete_rule" and deleted[2]["at"] == {"rule_id": rule["id"]}


async def test_addresses_are_noted_as_well(bench, as_root, house):
    house.agents["mail"] = bench.mail
    made = await as_root("POST", "/addresses", {"agent": "mail", "value": "alice@example.org"}, status=201)
    await as_root("POST", f"/addresses/{made['id']}/code", status=202)
    (changed,) = await noted(bench)
    assert changed[0] == "behalf.send_code" and changed[2]["at"] == {"address_id": str(made["id"])}
    items = (await bench.call("GET", "/api/v1/audit?action=address."))["items"]
    assert [item["action"] for item in items] == ["address.add"]


async def test_what_fails_or_is_ones_own_is_not_noted(bench, as_root):
    await as_root("PUT", "/preferences", {"nonsense": 1}, status=422)
    await as_root("PUT", "/preferences", {"follows": ["x"]}, login="alice")
    await as_root("GET", "/preferences")
    assert await noted(bench) == []


def test_what_notes_itself_is_not_noted_twice():
    rooms = (addresses, expectations, identities, inbox, job_news, keys, local, rules, sessions, topics, wants, wishes)
    routes = [route for room in rooms for route in room.router.routes if isinstance(route, APIRoute)]
    changing = [route for route in routes if any(one.call is writable_person for one in route.dependant.dependencies)]
    # Whoever notes who it was needs the caller; and who lets others be told is asked for the right to.
    named = {route.name for route in changing if "caller" in inspect.signature(route.endpoint).parameters}
    assert named - {"put_expectation"} == NOTED_ELSEWHERE
    assert len(changing) > 30
