"""Live streams over a real RabbitMQ that is killed in the middle: clients go on without a hole, and nothing is told twice."""

import asyncio
import json
from dataclasses import replace

import pytest

from angelia.broker import ExchangeSettings
from angelia.flow.loop import run
from angelia.house import House, now
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event
from angelia.model.job import JobState, Principal
from angelia.settings import BrokerSettings, load
from angelia.stores.sql import upgrade
from angelia_testing.live import following, served
from angelia_testing.waiting import eventually


@pytest.fixture
async def house(tmp_path, vhost):
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}})
    upgrade(settings.database)
    exchanges = {"wf.task": ExchangeSettings(access="public")}
    async with House.open(replace(settings, broker=BrokerSettings(url=vhost.url), exchanges=exchanges)) as made:
        yield made


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
    upgrade(settings.database)
    async with House.open(settings) as made:
        stop = asyncio.Event()
        working = asyncio.create_task(run(made.dispatcher, made.hints["dispatcher"], now, stop))
        yield made
        stop.set()
        made.hints["dispatcher"]()
        await working


@pytest.mark.timeout(240)
async def test_what_the_hub_does_waits_for_a_broker_that_is_blocked(telling, rabbitmq, monkeypatch):  # fault F18
    """Jobs run on, nothing of what became of them is lost, and it comes in order."""
    monkeypatch.setattr("angelia.brokers.rabbitmq.PUBLISH_WITHIN", 2.0)
    waiting = telling.announcer._waiting

    async def ended(number):
        job = await telling.dispatcher.submit(Principal("alice"), "echo", "echo", {"text": "hello", "number": number})
        async with asyncio.timeout(60):
            while (await telling.store.job(job.job_id)).state is not JobState.DONE:
                await asyncio.sleep(0.05)
        return job.public_id

    async def told(client, job):
        """The keys of what is said of a job, up to its end."""
        keys = []
        while not keys or keys[-1] != "job.done.echo":
            event = (await client.next(60))["event"]
            if event["key"].startswith("job."):
                assert event["body"]["id"] == job
                keys.append(event["key"])
        return keys

    async with served(telling.app()) as port, following(port) as client:
        await client.ask({"bind": {"exchange": "hub", "key": "#"}})
        first = await ended(1)
        assert (await told(client, first))[0] == "job.queued.echo"
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            # The broker stops reading a moment after the command.
            await eventually(lambda: telling.announcer._is_away or not telling.announcer._tell("probe", {}), every=0.2)
            later = [await ended(number) for number in (2, 3)]
            assert len(waiting) >= 4
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.4")
        for job in later:
            assert (await told(client, job))[0] == "job.queued.echo"
        await eventually(lambda: not waiting)


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


async def numbers_until(client, last):
    """The numbers that come, without those that a publisher repeated, and how many gaps were told."""
    seen, gaps = [], 0
    while not seen or seen[-1] != last:
        frame = await client.next(60)
        if "gap" in frame:
            gaps += 1
        elif frame["event"]["body"] not in seen:
            seen.append(frame["event"]["body"])
    return seen, gaps, frame["cursor"]


@pytest.mark.timeout(240)
async def test_a_stream_lives_through_a_restart_of_the_broker(house, rabbitmq, monkeypatch):
    monkeypatch.setattr("angelia.brokers.rabbitmq.DOWN_FOR", 3.0)
    async with served(house.app()) as port:
        async with following(port) as client, following(port) as other:
            for each in (client, other):
                answer = await each.ask({"bind": {"exchange": "wf.task", "key": "ok1.#"}})
            await publish(house, *range(5))
            seen, _, cursor = await numbers_until(client, 4)
            assert seen == list(range(5)) and answer["cursor"]
            await asyncio.to_thread(rabbitmq.kill9)
            await asyncio.to_thread(rabbitmq.start)
            await publish(house, *range(5, 10))
            for each, expected in ((client, range(5, 10)), (other, range(10))):
                seen, gaps, _ = await numbers_until(each, 9)
                assert seen == list(expected) or gaps, "no hole that is not told"
        async with following(port) as client:
            await client.ask({"bind": {"exchange": "wf.task", "key": "ok1.#"}, "since": cursor})
            seen, gaps, _ = await numbers_until(client, 9)
            assert seen == list(range(5, 10)) or gaps
