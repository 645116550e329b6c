"""Outgoing events: what the hub does is told on an exchange, after the fact, and never in anybody's way."""

import asyncio
import json

import httpx2
import pytest
from tests.house.conftest import NOW, SITE, Bench

from angelia.broker import ExchangeSettings
from angelia.flow.announcer import MOST_WAITING, Announcer
from angelia.flow.job_runner import JobPatience
from angelia.flow.letters import Letters, Links
from angelia.flow.loop import run
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.front import app_of
from angelia.house import House, now
from angelia.inlet import Draft, Receipt, Taken
from angelia.instrument import Failed, Progress
from angelia.model.errors import BrokerUnavailable, InvalidInput
from angelia.model.job import Principal
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.scripted import ScriptedInstrument
from angelia_testing.waiting import eventually


class Away:
    """A broker that takes nothing, or hangs; until it is back."""

    def __init__(self, hangs=False):
        self.hangs, self.is_back, self.asked, self.taken = hangs, False, 0, []

    async def publish(self, events):
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3_600)
        if not self.is_back:
            raise BrokerUnavailable("away")
        if any(event.routing_key.endswith("unfit") for event in events):
            raise InvalidInput("unfit")
        self.taken += events


@pytest.fixture
async def telling(tmp_path):
    settings = load(
        environment={},
        overrides={"house": {"data_dir": str(tmp_path)}, "broker": {"outgoing": "hub"}, "exchanges": {"hub": {}}, "instruments": {"echo": {}}},
    )
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


async def test_the_life_of_a_job_is_told(telling):
    house = telling.house
    house.dispatcher.instruments["scripted"] = scripted = ScriptedInstrument()
    house.dispatcher._runner._patience = JobPatience(first_pause=0.02)
    head, alice = await house.broker.head("hub"), Principal("alice")
    stop = asyncio.Event()
    working = asyncio.create_task(run(house.dispatcher, house.hints["dispatcher"], now, stop))

    async def told(last):
        words = []
        async with asyncio.timeout(60):
            while last not in (key for key, _ in words):
                await asyncio.sleep(0.02)
                found = (await house.broker.replay("hub", head)).events
                words = [(event.routing_key, json.loads(event.body)["id"]) for event in found if event.routing_key.startswith("job.")]
        return words

    try:
        good = await house.dispatcher.submit(alice, "echo", "echo", {"text": "hello", "number": 1})
        words = await told("job.done.echo")
        assert words[0] == ("job.queued.echo", good.public_id) and words[-1] == ("job.done.echo", good.public_id)
        answers = [Failed("it is broken"), Progress(0.5)]
        scripted.on_poll = lambda _: answers.pop()
        bad = await house.dispatcher.submit(alice, "scripted", "one", {"n": 1.0})
        more = (await told("job.failed.scripted"))[len(words) :]
        assert {job for _, job in more} == {bad.public_id}
        assert [word for word, _ in more if "submitt" not in word] == ["job.queued.scripted", "job.running.scripted", "job.failed.scripted"]
    finally:
        stop.set()
        house.hints["dispatcher"]()
        await working


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


async def test_what_happens_while_the_broker_is_away_is_told_when_it_is_back(monkeypatch):  # fault F18
    monkeypatch.setattr("angelia.flow.announcer.PAUSE", 0.01)
    broker = Away()
    announcer = Announcer(broker, "hub", lambda: NOW)
    for number in range(1_200):
        announcer.accepted("ci", [Draft(f"a.n{number}", "{}")], [Receipt(number, Taken.NEW)])
    await eventually(lambda: broker.asked > 2)
    announcer.accepted("ci", [Draft("a.last", "{}")], [Receipt(1_200, Taken.NEW)])
    broker.is_back = True
    await eventually(lambda: len(broker.taken) == 1_201)
    assert [event.routing_key for event in broker.taken] == [f"message.accepted.a.n{number}" for number in range(1_200)] + ["message.accepted.a.last"]
    assert len({event.properties["message_id"] for event in broker.taken}) == 1_201
    await announcer.close()


async def test_what_can_not_be_published_holds_up_nothing():
    broker = Away()
    broker.is_back = True
    announcer = Announcer(broker, "hub", lambda: NOW)
    for kind in ("unfit", "b"):
        announcer.accepted("ci", [Draft(f"a.{kind}", "{}")], [Receipt(1, Taken.NEW)])
        await eventually(lambda: not announcer._waiting)
    assert [event.routing_key for event in broker.taken] == ["message.accepted.a.b"]
    await announcer.close()


async def test_repeats_are_not_told():
    announcer = Announcer(Away(), "hub", lambda: NOW)
    announcer.accepted("ci", [Draft("a.b", "{}")] * 2, [Receipt(1, Taken.REPEAT), Receipt(2, Taken.CONFLICT)])
    assert not announcer._waiting
