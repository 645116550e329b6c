"""Outgoing events: what the hub does is told on an exchange, after the fact, and never in anybody's way."""

import asyncio
import json

import httpx2
import pytest
from tests.house.conftest import NOW, SITE, Bench

from angelia.broker import ExchangeSettings
from angelia.flow.announcer import MOST_WAITING, Announcer
from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.front import app_of
from angelia.house import House
from angelia.inlet import Draft, Receipt, Taken
from angelia.model.errors import BrokerUnavailable
from angelia.settings import load
from angelia.stores.sql import upgrade


class Away:
    """A broker that takes nothing, or hangs."""

    def __init__(self, hangs):
        self.hangs, self.asked = hangs, 0

    async def publish(self, events):
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3_600)
        raise BrokerUnavailable("away")


@pytest.fixture
async def telling(tmp_path):
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "broker": {"outgoing": "hub"}, "exchanges": {"hub": {}}})
    assert settings.exchanges["hub"] == ExchangeSettings()
    await asyncio.to_thread(upgrade, settings.database)
    async with House.open(settings) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:
            bench = Bench(house, api)
            agents = dict(house.agents) | {"mail": bench.mail}
            letters = Letters(house.store, house.people, Links("http://hub", house.secret))
            bench.relay = Relay(house.store, agents, letters, Voice(house.intake.accept), lambda: NOW, Lifetimes(), announcer=house.announcer)
            await bench.call("PUT", "/api/v1/site", SITE, 200)
            yield bench


async def test_the_life_of_a_message_is_told(telling):
    head = await telling.house.broker.head("hub")
    await telling.person("alice")
    message = await telling.post("a.b", to=["alice"], subject="secret")
    await telling.work()
    (item,) = (await telling.call("GET", "/api/v1/people/alice/inbox"))["items"]
    await telling.call("POST", "/api/v1/people/alice/inbox/mark", {"ids": [item["id"]], "change": "read"}, 200)
    async with asyncio.timeout(60):
        while len(found := (await telling.house.broker.replay("hub", head)).events) < 3:
            await asyncio.sleep(0.02)
    told = {event.routing_key: json.loads(event.body) for event in found}
    assert set(told) == {"message.accepted.a.b", "delivery.delivered.mail", "inbox.read"}
    assert told["message.accepted.a.b"]["id"] == message == told["delivery.delivered.mail"]["message"]
    assert told["inbox.read"]["deliveries"] == [item["id"]]
    assert not any(b"secret" in event.body for event in found)


async def test_nothing_is_told_by_default(house):
    assert house.announcer is None


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_broker_that_is_away_costs_nothing(hangs):
    announcer = Announcer(Away(hangs), "hub", lambda: NOW)
    drafts = [Draft("a.b", "{}")] * 1_000
    receipts = [Receipt(number, Taken.NEW) for number in range(1_000)]
    for _ in range(30):
        announcer.accepted("ci", drafts, receipts)
        await asyncio.sleep(0)
    assert len(announcer._waiting) <= MOST_WAITING
    async with asyncio.timeout(60):
        await announcer.close()


async def test_repeats_are_not_told():
    announcer = Announcer(Away(False), "hub", lambda: NOW)
    announcer.accepted("ci", [Draft("a.b", "{}")] * 2, [Receipt(1, Taken.REPEAT), Receipt(2, Taken.CONFLICT)])
    assert not announcer._waiting
