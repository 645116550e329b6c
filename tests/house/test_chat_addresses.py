"""Addresses of chats that are no addresses, or not hers (bad input E88): refused where she types them, and silent until she has proved them."""

import json

import httpx2
import pytest

from angelia.flow.clock import now
from angelia.front import app_of
from angelia.house import House
from angelia.settings import load
from angelia_testing.databases import with_schema

AGENTS = {
    "matrix": {"server": "https://matrix.example.org", "token": "t", "allow_servers": "example.org"},
    "telegram": {"token": "1:" + "a" * 35, "api": "https://telegram.example.org"},
    "xmpp": {"jid": "hub@example.org", "password": "p"},
}
REFUSED = [
    ("matrix", "!x:evil.example/../"), ("matrix", "!x:evil.example"), ("matrix", "#alias:example.org\n"), ("matrix", "#al\nias:example.org"), ("matrix", "@alice:example.org"),
    ("matrix", "!x:example.org\x00"), ("matrix", "!x:example.org?via=evil.example"), ("matrix", "!" + "x" * 5_000 + ":example.org"),
    ("telegram", "@channel\n"), ("telegram", "@ch/annel"), ("telegram", "@../getMe"), ("telegram", "0"), ("telegram", "1e400"), ("telegram", "https://t.me/channel"),
    ("xmpp", "a@b/c\n"), ("xmpp", "a@b/c"), ("xmpp", "a@b\n"), ("xmpp", "a@b' from='x"), ("xmpp", "<x/>@b"), ("xmpp", "room@b?join;password=x"),
]  # fmt: skip
TAKEN = [("matrix", "!x:example.org"), ("telegram", "@channel_of_others"), ("xmpp", "a@example.org")]


@pytest.fixture
async def call(tmp_path):
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "agents": AGENTS})
    async with House.open(settings) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:

            async def made(method, path, body, status):
                answer = await api.request(method, f"/api/v1{path}", content=json.dumps(body), headers={"Content-Type": "application/json"})
                assert answer.status_code == status, f"{body}: {answer.text}"
                return answer.json()

            made.house = house
            await made("POST", "/people", {"login": "alice"}, 201)
            yield made


async def test_what_is_no_address_is_refused_where_it_is_typed(call):
    for agent, value in REFUSED:
        told = await call("POST", "/people/alice/addresses", {"agent": agent, "value": value}, 422)
        assert "evil" not in told["detail"] and "Traceback" not in told["detail"]
    assert (await call("GET", "/people/alice/addresses", None, 200))["items"] == []


async def test_a_chat_that_may_be_somebody_elses_gets_nothing_before_a_code_came_back(call):
    """A channel of others has a good name: only who reads what the hub writes there knows the code."""
    await call("PUT", "/people/alice/preferences", {"preferences": {"*": {"web": "now"} | {agent: "now" for agent, _ in TAKEN}}}, 200)
    for agent, value in TAKEN:
        made = await call("POST", "/people/alice/addresses", {"agent": agent, "value": value, "is_verified": False}, 201)
        assert made["state"] == "unverified"
        await call("POST", f"/people/alice/addresses/{made['id']}/verify", {"code": "000000"}, 422)
    await call("POST", "/messages", {"type": "a.b", "to": ["alice"]}, 201)
    house = call.house
    await house.refresh()
    planner, _, relay, _ = house.stages[:4]
    while await planner.turn(now()) + await relay.turn(now()):
        await relay.drain()
    found = (await call("GET", "/deliveries?login=alice", None, 200))["items"]
    assert {(one["agent"], one["state"]) for one in found if one["agent"] in AGENTS} <= {(agent, "suppressed") for agent in AGENTS}
    assert (await call("GET", "/people/alice/inbox/counts", None, 200))["total"] == 1  # it was planned for her
