"""Live streams over a real RabbitMQ that is killed in the middle: clients go on without a hole, and nothing is told twice."""

import asyncio
import contextlib
import json
from collections import Counter

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey
from sqlalchemy import text

from angelia.flow.clock import now
from angelia.flow.loop import run
from angelia.front import app_of
from angelia.house import House
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event
from angelia.model.job import JobState, Principal
from angelia.settings import load
from angelia_testing.databases import with_schema
from angelia_testing.hub import crowd
from angelia_testing.live import following, served
from angelia_testing.peers.rabbitmq import Wire
from angelia_testing.waiting import eventually


@pytest.fixture
async def telling(tmp_path, vhost):
    """A house that tells what it does on an exchange of the broker; its jobs run."""
    settings = load(
        environment={},
        overrides={
            "house": {"data_dir": str(tmp_path)},
            "broker": {"url": vhost.url, "outgoing": "hub"},
            "exchanges": {"hub": {"access": "public"}},
            "instruments": {"echo": {}},
        },
    )
    with_schema(settings.database)
    async with House.open(settings) as made:
        stop = asyncio.Event()
        stages = [stage for stage in made.stages if stage.name in ("dispatcher", "announcer")]
        working = [asyncio.create_task(run(stage, made.hints[stage.name], now, stop)) for stage in stages]
        yield made
        stop.set()
        for stage in stages:
            made.hints[stage.name]()
        await asyncio.gather(*working)


@pytest.mark.timeout(240)
async def test_what_the_hub_does_waits_for_a_broker_that_is_blocked(telling, rabbitmq, monkeypatch):  # fault F18
    """Jobs run on, nothing of what became of them is lost, and it comes in order."""
    monkeypatch.setattr("angelia.brokers.rabbitmq.PUBLISH_WITHIN", 2.0)
    announcer = next(stage for stage in telling.stages if stage.name == "announcer")

    async def ended(number):
        job = await telling.dispatcher.submit(Principal("alice"), "echo", "echo", {"text": "hello", "number": number})
        async with asyncio.timeout(60):
            while (await telling.store.job(job.job_id)).state is not JobState.DONE:
                await asyncio.sleep(0.05)
        return job.public_id

    known = set()

    async def told(client, job):
        """The keys of what is said of a job, up to its end. What the broker took and did not confirm in time comes again, and is known by its id."""
        keys = []
        while not keys or keys[-1] != "job.done.echo":
            event = (await client.next(60))["event"]
            is_new = event["properties"]["message_id"] not in known
            known.add(event["properties"]["message_id"])
            if is_new and event["key"].startswith("job."):
                assert event["body"]["id"] == job
                keys.append(event["key"])
        return keys

    async with served(app_of(telling)) as port, following(port) as client:
        await client.ask({"bind": {"exchange": "hub", "key": "#"}})
        first = await ended(1)
        assert (await told(client, first))[0] == "job.queued.echo"
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            # The broker stops reading a moment after the command.
            later = [await ended(2)]
            await eventually(announcer.is_restless)
            later.append(await ended(3))
            assert await telling.store.announcements_waiting() >= 3
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.4")
        for job in later:
            assert (await told(client, job))[0] == "job.queued.echo"
        async with asyncio.timeout(60):
            while await telling.store.announcements_waiting():
                await asyncio.sleep(0.05)


async def publish(house, *numbers):
    for number in numbers:
        event = Event("wf.task", f"ok1.{number}", json.dumps(number).encode(), "application/json")
        async with asyncio.timeout(60):
            while True:
                try:
                    await house.broker.publish([event])
                    break
                except BrokerUnavailable:
                    await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def opened(folder, vhost, key, *, has_inlet=True):
    """A house whose inlet takes what is told, served; its port."""
    (folder / "auth.pub").write_bytes(key.as_pem(private=False))
    settings = load(
        environment={},
        overrides={
            "house": {"data_dir": str(folder)},
            "broker": {"url": vhost.url},
            "exchanges": {"wf.task": {"access": "public"}, "theirs": {"access": "public", "declare": False}},
            "inlets": {"amqp": {"ci": {"exchange": "wf.task", "keys": "told.#"}} if has_inlet else {}},
            "streams": {"public_key": str(folder / "auth.pub")},
        },
    )
    with_schema(settings.database)
    async with House.open(settings) as house, served(app_of(house)) as port:
        taking = [asyncio.create_task(inlet.run(house.intake.accept)) for inlet in house.inlets]
        yield house, port
        for task in taking:
            task.cancel()
        await asyncio.gather(*taking, return_exceptions=True)


@pytest.fixture
def key():
    return RSAKey.generate_key(2048)


def old(port, key):
    """A client of brainlife/event."""
    token = jws.serialize_compact({"alg": "RS256"}, json.dumps({"sub": 1, "exp": 4e9}), key, ["RS256"])
    return following(port, f"/api/event/subscribe?jwt={token}")


async def health(port):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as api:
        return (await api.get("/api/event/health")).json()


async def until(what):
    async with asyncio.timeout(60):
        while not await what():
            await asyncio.sleep(0.1)


async def read(client, seen):
    """The numbers that come, as they come; "gap" for a hole that is told."""
    while True:
        frame = await client.next(400)
        seen.append(frame["event"]["body"] if "event" in frame else frame.get("msg", "gap"))


class Publishing:
    """Publishes on and on: a number for those who watch, and a message with it for the inlet; what was confirmed counts."""

    def __init__(self, house):
        self.house, self.confirmed, self.last = house, [], -1
        self.task = asyncio.create_task(self.go_on())

    async def go_on(self):
        while True:
            self.last += 1
            message = {"type": "ci.done", "to": ["bob"], "params": {"n": str(self.last)}}
            events = [
                Event("wf.task", f"ok1.{self.last}", json.dumps(self.last).encode(), "application/json"),
                Event("wf.task", "told.x", json.dumps(message).encode(), "application/json", properties={"message_id": f"m{self.last}"}),
            ]
            try:
                await self.house.broker.publish(events)
                self.confirmed.append(self.last)
            except BrokerUnavailable:
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.01)

    async def confirms(self, more, seconds):
        before = len(self.confirmed)
        async with asyncio.timeout(seconds):
            while len(self.confirmed) < before + more:
                await asyncio.sleep(0.02)


@pytest.mark.timeout(420)
async def test_five_kills_of_the_broker_cost_nothing(tmp_path, rabbitmq, vhost, key):  # figure R8, fault F17, section 1.6 rows 8 and 9
    """What was confirmed is seen once and in order by clients of both protocols, without a gap, and taken once by the inlet."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with opened(tmp_path / "first", vhost, key) as (house, port), following(port) as client, old(port, key) as page:
        await client.ask({"bind": {"exchange": "wf.task", "key": "ok1.#"}})
        await page.say({"bind": {"ex": "wf.task", "key": "ok1.#"}})
        await eventually(lambda: len(house.streams._trunks["wf.task"].index) == 2)
        wire = await Wire.open(vhost.url)
        await until(lambda: wire.consumers("angelia.inlet.ci"))
        await wire.close()
        seen, theirs = [], []
        reading = [asyncio.create_task(read(client, seen)), asyncio.create_task(read(page, theirs))]
        publishing = Publishing(house)
        try:
            await publishing.confirms(5, 60)
            # A stream that is killed just after its birth never comes back: that is another test.
            await asyncio.to_thread(rabbitmq.settle)
            for number in range(5):
                rabbitmq.kill9()

                async def is_told(asked=port):
                    return (await health(asked))["status"] == "failed"

                await until(is_told)
                if number < 4:
                    await asyncio.to_thread(rabbitmq.start)
                    await publishing.confirms(20, 10 * crowd())
            # A hub that starts without a broker serves, and says what it lacks.
            async with opened(tmp_path / "second", vhost, key, has_inlet=False) as (_, other):
                assert (await health(other))["amqp_connected"] is False
                await asyncio.to_thread(rabbitmq.start)
                await publishing.confirms(20, 10 * crowd())
                async with following(other) as newcomer:

                    async def is_bound():
                        return "bound" in await newcomer.ask({"bind": {"exchange": "wf.task", "key": "ok1.#"}})

                    await until(is_bound)
                    await publishing.confirms(1, 60)
                    assert (await newcomer.next(60))["event"]["body"] > 0
            publishing.task.cancel()
            await asyncio.gather(publishing.task, return_exceptions=True)
            confirmed = publishing.confirmed
            await eventually(lambda: all(confirmed[-1] in found for found in (seen, theirs)))
        finally:
            for task in (publishing.task, *reading):
                task.cancel()
            await asyncio.gather(publishing.task, *reading, return_exceptions=True)
        assert "gap" not in seen
        for found in (seen, theirs):
            # One that was not confirmed may be there, too.
            assert [one for one in found if one in set(confirmed)] == confirmed
        wanted = {f"m{number}" for number in confirmed}

        async def are_taken():
            return wanted <= set(await taken(house))

        await until(are_taken)
        assert all(times == 1 for times in Counter(await taken(house)).values())


async def taken(house):
    """The ids of what the inlet took."""
    found = await house.store.engine.read(lambda connection: connection.execute(text("SELECT idem_key FROM messages")).scalars().all())
    return list(found)


async def test_an_exchange_that_is_not_there_harms_nobody(tmp_path, vhost, key):  # section 1.6, row 4
    async with opened(tmp_path, vhost, key) as (house, port), old(port, key) as other, old(port, key) as client:
        await other.say({"bind": {"ex": "wf.task", "key": "#"}})
        await eventually(lambda: "wf.task" in house.streams._trunks and len(house.streams._trunks["wf.task"].index) == 1)
        for _ in range(2):
            await client.say({"bind": {"ex": "theirs", "key": "#"}})
            assert await client.next(60) == {"error": "Access denided theirs"}
            await publish(house, 1)
            assert (await other.next(60))["msg"] == 1
        assert "theirs" in (await health(port))["message"]
        await asyncio.to_thread(vhost.declare_exchange, "theirs")

        async def is_well():
            return (await health(port))["status"] == "ok"

        await until(is_well)
        await client.say({"bind": {"ex": "theirs", "key": "#"}})
        await eventually(lambda: "theirs" in house.streams._trunks and len(house.streams._trunks["theirs"].index) == 1)
        await house.broker.publish([Event("theirs", "k", b"2", "application/json")])
        assert (await client.next(60))["msg"] == 2
