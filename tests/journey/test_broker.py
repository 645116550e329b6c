"""The real program with a real RabbitMQ that is killed in the middle: who watches and what is taken in go on, and the end is clean."""

import asyncio
import contextlib
import json

import httpx2
import pytest
from aiormq.exceptions import AMQPError

from angelia.model.errors import BrokerUnavailable
from angelia_testing.hub import Hub
from angelia_testing.live import following
from angelia_testing.peers.rabbitmq import Wire

SETTINGS = {
    "ANGELIA__EXCHANGES__WF.TASK__ACCESS": "public",
    "ANGELIA__INLETS__AMQP__CI__EXCHANGE": "wf.task",
    "ANGELIA__INLETS__AMQP__CI__KEYS": "told.#",
}


@pytest.fixture
def hub(folder, vhost):
    made = Hub(folder, ANGELIA__BROKER__URL=vhost.url, **SETTINGS)
    yield made
    made.stop()


async def publish(wire, numbers):
    """Each until it is confirmed: a broker that has just come back refuses some."""
    for number in numbers:
        message = {"type": "ci.done", "to": ["bob"], "params": {"n": str(number)}}
        await confirmed(wire, f"seen.{number}", number)
        await confirmed(wire, f"told.{number}", message, message_id=f"m{number}")


async def confirmed(wire, key, body, **properties):
    text = json.dumps(body).encode()
    async with asyncio.timeout(90):
        while True:
            with contextlib.suppress(AMQPError, TimeoutError):
                async with asyncio.timeout(10):
                    return await wire.publish("wf.task", key, text, content_type="application/json", **properties)
            await asyncio.sleep(0.3)


async def until(is_so, seconds=60):
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.2)


async def connected(vhost):
    async with asyncio.timeout(60):
        while True:
            try:
                return await Wire.open(vhost.url)
            except (OSError, BrokerUnavailable):
                await asyncio.sleep(0.3)


async def test_a_broker_that_dies_costs_nothing_and_the_end_is_clean(hub, rabbitmq, vhost):
    wire = await connected(vhost)
    async with following(hub.port) as client:
        await client.ask({"bind": {"exchange": "wf.task", "key": "seen.#"}})
        await until(lambda: wire.consumers("angelia.inlet.ci"))
        await publish(wire, range(5))
        assert await client.bodies(5, 30) == list(range(5))
        # The node writes its list of queues with a delay; one killed before that never finds the youngest again, and nothing tells when it is done.
        await asyncio.sleep(6)
        rabbitmq.kill9()
        await asyncio.to_thread(rabbitmq.start)
        wire = await connected(vhost)
        await until(lambda: wire.consumers("angelia.inlet.ci"), 90)

        async def is_ready():
            async with httpx2.AsyncClient(base_url=hub.url) as asking:
                return (await asking.get("/healthz/ready")).status_code == 200

        # Before its stream is there the broker has no place for an event, and confirms it all the same.
        await until(is_ready)
        await publish(wire, range(5, 10))
        seen, gaps = [], 0
        while not seen or seen[-1] != 9:
            frame = await client.next(60)
            if "gap" in frame:
                gaps += 1
            elif frame["event"]["body"] not in seen:  # what was not confirmed may have been kept
                seen.append(frame["event"]["body"])
        assert seen == list(range(5, 10)) or gaps, "no hole that is not told"

        async def are_taken():
            return hub.rows("SELECT count(*) FROM messages WHERE type = 'ci.done'") == [(10,)]

        await until(are_taken)
        ending = asyncio.create_task(asyncio.to_thread(hub.stop))
        while "closing" not in (frame := await client.next(20)):
            pass
        assert frame["closing"]["retry_in_ms"] >= 0
        assert (await client.closed())[0] == 1012
        assert await ending == 0
    # What it had is given back, and its queue waits for it.
    await publish(wire, range(10, 12))
    assert await wire.consumers("angelia.inlet.ci") == 0 and await wire.ready("angelia.inlet.ci") == 2
    await wire.close()
