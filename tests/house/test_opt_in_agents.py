"""Agents that a site switches on: there only where their table stands, and then from the address to the letter by the ordinary way."""

import json
import re

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from angelia.house import House, now
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.peers.http import ScriptedHttp


def settings_of(folder, **agents):
    return load(environment={}, overrides={"house": {"data_dir": str(folder)}, "outbound": {"allow": "127.0.0.1/32"}, "agents": agents})


@pytest.fixture
def receiver():
    made = ScriptedHttp()
    yield made
    made.stop()


async def turned(house):
    """Plan and send until nothing moves."""
    await house.refresh()
    planner, _, relay, _ = house.stages[:4]
    while await planner.turn(now()) + await relay.turn(now()):
        await relay.drain()


async def test_a_webhook_is_verified_and_told(tmp_path, receiver):
    upgrade(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with House.open(settings_of(tmp_path, webhook={"allow_http": True})) as house:
        transport = httpx2.ASGITransport(house.app(trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:

            async def call(method, path, body, status):
                answer = await api.request(method, f"/api/v1{path}", json=body)
                assert answer.status_code == status, answer.text
                return answer.json() if answer.text else None

            await call("POST", "/people", {"login": "alice"}, 201)
            await call("PUT", "/people/alice/preferences", {"preferences": {"*": {"webhook": "now"}}}, 200)
            made = await call("POST", "/people/alice/addresses", {"agent": "webhook", "value": f"{receiver.url}/hook"}, 201)
            assert made["note"].startswith("whsec_")
            await call("POST", f"/people/alice/addresses/{made['id']}/code", None, 202)
            (asked,) = receiver.asked
            told = Webhook(made["note"]).verify(asked.body, asked.headers)
            code = re.search(r"is (\d{6})\.", told["data"]["text"])[1]
            await call("POST", f"/people/alice/addresses/{made['id']}/verify", {"code": code}, 200)
            await call("POST", "/messages", {"type": "a.b", "subject": "it works", "to": ["alice"]}, 201)
            await turned(house)
            assert json.loads(receiver.asked[-1].body)["data"]["subject"] == "it works"
            await call("POST", "/people/alice/addresses", {"agent": "webhook", "value": "http://169.254.169.254/latest"}, 422)


async def test_without_its_table_there_is_no_such_agent(tmp_path):
    upgrade(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with House.open(settings_of(tmp_path, mail={})) as house:
        assert set(house.agents) == {"feed", "mail", "web"}
