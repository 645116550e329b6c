"""Live streams over a real RabbitMQ that is killed in the middle: clients go on without a hole, and nothing is told twice."""

import asyncio
import json
from dataclasses import replace

import pytest

from angelia.broker import ExchangeSettings
from angelia.front import app_of
from angelia.house import House
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event
from angelia.settings import BrokerSettings, load
from angelia.stores.sql import upgrade
from angelia_testing.live import following, served


@pytest.fixture
async def house(tmp_path, vhost):
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}})
    upgrade(settings.database)
    exchanges = {"wf.task": ExchangeSettings(access="public")}
    async with House.open(replace(settings, broker=BrokerSettings(url=vhost.url), exchanges=exchanges)) as made:
        yield made


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
    async with served(app_of(house)) as port:
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
