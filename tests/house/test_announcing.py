"""Outgoing events: what the hub does is told on an exchange, after the fact, never lost, and never in anybody's way."""

import asyncio
import json

import httpx2
import pytest
from tests.house.conftest import NOW, SITE, Bench

from angelia import telemetry
from angelia.broker import ExchangeSettings
from angelia.flow.announcer import AT_ONCE, Announcer
from angelia.flow.clock import now
from angelia.flow.job_runner import JobPatience
from angelia.flow.letters import Letters, Links
from angelia.flow.loop import run
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.front import app_of
from angelia.house import House
from angelia.instrument import Failed, Progress
from angelia.model.errors import BrokerUnavailable, InvalidInput, StoreUnavailable
from angelia.model.job import Principal
from angelia.model.moments import public_id
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.fixtures import opened
from angelia_testing.scripted import ScriptedInstrument
from angelia_testing.suites.store import row


class Away:
    """A broker that takes nothing, until it is back."""

    def __init__(self):
        self.is_back, self.asked, self.taken = False, 0, []

    async def publish(self, events):
        self.asked += 1
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
            bench.relay = Relay(house.store, agents, letters, Voice(house.intake.accept), lambda: NOW, Lifetimes())
            await bench.call("PUT", "/api/v1/site", SITE, 200)
            yield bench


async def told_since(house, head):
    """What is on the exchange once the announcer has nothing left."""
    announcer = next(stage for stage in house.stages if stage.name == "announcer")
    while await announcer.turn(now()):
        pass
    return (await house.broker.replay("hub", head)).events


async def test_the_life_of_a_message_is_told(telling):
    head = await telling.house.broker.head("hub")
    await telling.person("alice")
    message = await telling.post("a.b", to=["alice"], subject="secret")
    await telling.work()
    (item,) = (await telling.call("GET", "/api/v1/people/alice/inbox"))["items"]
    marked = await telling.call("POST", "/api/v1/people/alice/inbox/mark", {"ids": [item["id"]], "change": "read"}, 200)
    await telling.call("POST", "/api/v1/people/alice/inbox/undo", {"undo": marked["undo"]}, 200)
    found = await told_since(telling.house, head)
    told = {event.routing_key: json.loads(event.body) for event in found}
    assert list(told) == ["message.accepted.a.b", "delivery.delivered.mail", "inbox.read", "inbox.unread"]
    assert told["message.accepted.a.b"]["id"] == message == told["delivery.delivered.mail"]["message"]
    assert told["inbox.read"]["deliveries"] == told["inbox.unread"]["deliveries"] == [item["id"]]
    assert told["inbox.read"]["login"] == "alice"
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
                found = await told_since(house, head)
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


async def test_nothing_is_written_or_told_by_default(house):
    assert "announcer" not in {stage.name for stage in house.stages}
    await house.store.add_messages([row(1)])
    assert await house.store.announcements_waiting() == 0


async def test_what_was_to_be_told_when_it_was_asked_for_is_forgotten_when_it_is_not(house):
    house.store.announce(lambda: None)
    await house.store.add_messages([row(1)])
    house.store.is_announcing = False
    house.stop()
    await house.work()
    assert await house.store.announcements_waiting() == 0


async def test_a_hub_that_stops_while_the_broker_is_away_tells_afterwards(sqlite_url):  # fault F18, promise P9
    broker, count = Away(), AT_ONCE + 3
    store = await opened(sqlite_url)
    store.announce(lambda: None)
    await store.add_messages([row(number) for number in range(1, count)])
    announcer = Announcer(store, broker, "hub", 10_000)
    assert await announcer.turn(NOW) == await announcer.turn(NOW) == 0
    assert (broker.asked, announcer.is_restless()) == (2, True)
    await store.close()

    store = await opened(sqlite_url)
    store.announce(lambda: None)
    await store.add_messages([row(count)])
    announcer = Announcer(store, broker, "hub", 10_000)
    broker.is_back = True
    while await announcer.turn(NOW):
        pass
    assert [json.loads(event.body)["id"] for event in broker.taken] == [public_id("msg", number) for number in range(1, count + 1)]
    assert len({event.properties["message_id"] for event in broker.taken}) == count
    assert (await store.announcements_waiting(), announcer.is_restless()) == (0, False)
    await store.close()


async def test_one_that_is_told_twice_is_known_by_its_id(sqlite_store):
    broker = Away()
    broker.is_back = True
    sqlite_store.announce(lambda: None)
    await sqlite_store.add_messages([row(1), row(2)])
    announcer, settle = Announcer(sqlite_store, broker, "hub", 10_000), sqlite_store.settle_announcements

    async def dies(numbers):
        raise StoreUnavailable("killed between publishing and writing that down")

    sqlite_store.settle_announcements = dies
    with pytest.raises(StoreUnavailable):
        await announcer.turn(NOW)
    sqlite_store.settle_announcements = settle
    await settle([])
    assert await announcer.turn(NOW) == 2
    first, second, *again = [event.properties["message_id"] for event in broker.taken]
    assert again == [first, second] and first != second


async def test_too_many_lose_the_oldest_and_are_counted(sqlite_store):
    def dropped():
        return telemetry.broker_published.labels("bounded", "dropped")._value.get()

    sqlite_store.announce(lambda: None)
    await sqlite_store.add_messages([row(number) for number in range(1, 31)])
    broker, before = Away(), dropped()
    announcer = Announcer(sqlite_store, broker, "bounded", 10)
    assert await announcer.turn(NOW) == 0
    assert dropped() - before == 20
    broker.is_back = True
    assert await announcer.turn(NOW) == 10
    assert json.loads(broker.taken[0].body)["id"] == public_id("msg", 21)


async def test_what_can_not_be_published_holds_up_nothing(sqlite_store):
    broker = Away()
    broker.is_back = True
    sqlite_store.announce(lambda: None)
    await sqlite_store.add_messages([row(1)._replace(type="a.one"), row(2)._replace(type="a.unfit"), row(3)._replace(type="a.two")])
    assert await Announcer(sqlite_store, broker, "hub", 10_000).turn(NOW) == 3
    assert [event.routing_key for event in broker.taken] == ["message.accepted.a.one", "message.accepted.a.two"]
    assert await sqlite_store.announcements_waiting() == 0
