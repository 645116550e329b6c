"""How much of a bare consumer's rate is left when each message is made durable, or put into the tail of an exchange?

Run: python benchmarks/broker.py [messages]. Starts its own RabbitMQ; both sides of each pair run in this process, one after the other, on
the same messages. Only the ratio means anything.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, time_ns

import aio_pika
import uvloop

from angelia.broker import ExchangeSettings
from angelia.brokers.rabbitmq import RabbitMQBroker
from angelia.flow.intake import Intake
from angelia.inlets.amqp import AmqpInlet, Binding
from angelia.inlets.receiving import Receiver
from angelia.model.event import Event
from angelia.stores.sql import make_store, upgrade
from angelia_testing.peers.rabbitmq import RabbitMQ

PREFETCH = 1_000
GROUP = 200
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-dead-letter-exchange": "angelia.dead"}


async def filled(url, queue, count):
    """A queue bound to x, with so many messages of about 300 bytes."""
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("x", aio_pika.ExchangeType.TOPIC, durable=True)
    made = await channel.declare_queue(queue, durable=True, arguments=QUORUM)
    await made.bind(exchange, queue)
    for start in range(0, count, 500):
        bodies = [
            json.dumps({"type": "bench.done", "to": ["alice"], "body": "x" * 220, "params": {"n": str(n)}})
            for n in range(start, min(count, start + 500))
        ]
        messages = [
            aio_pika.Message(body.encode(), content_type="application/json", message_id=f"{queue}-{start + n}", delivery_mode=2)
            for n, body in enumerate(bodies)
        ]
        await asyncio.gather(*(exchange.publish(message, queue) for message in messages))
    await connection.close()


async def bare(url, queue, count, arguments=None):
    """aio-pika, a callback that counts, one acknowledgement for a group."""
    connection = await aio_pika.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=PREFETCH)
    source = await channel.get_queue(queue)
    done, seen = asyncio.Event(), 0

    async def take(message):
        nonlocal seen
        seen += 1
        if seen % GROUP == 0 or seen == count:
            await message.ack(multiple=True)
        if seen == count:
            done.set()

    began = perf_counter()
    await source.consume(take, arguments=arguments)
    await done.wait()
    rate = count / (perf_counter() - began)
    await connection.close()
    return rate


async def inlet(url, queue, count, folder):
    """The inlet with the hub's intake on SQLite, each message durable before it is acknowledged."""
    database = f"sqlite:///{folder / queue}.db"
    await asyncio.to_thread(upgrade, database)
    store = make_store(database)
    await store.open()
    intake = Intake(store, lambda: time_ns() // 1_000, 1, lambda: None)
    done, taken = asyncio.Event(), 0

    async def accept(source, drafts):
        nonlocal taken
        receipts = await intake.accept(source, drafts)
        taken += len(drafts)
        if taken >= count:
            done.set()
        return receipts

    receiver = Receiver("bench", "bench", None, store, lambda: datetime.now(UTC))
    began = perf_counter()
    task = asyncio.create_task(AmqpInlet(receiver, url, Binding("x", (queue,), queue, True, PREFETCH)).run(accept))
    await done.wait()
    rate = count / (perf_counter() - began)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()
    return rate


async def followed(url, count, folder):
    """Published once; then a bare consumer of the stream, and the broker's replay and following over it."""
    database = f"sqlite:///{folder}/follow.db"
    await asyncio.to_thread(upgrade, database)
    store = make_store(database)
    await store.open()
    broker = RabbitMQBroker(url, {"live": ExchangeSettings()}, store)
    head = await broker.head("live")
    for start in range(0, count, 500):
        await broker.publish([Event("live", "a.b", b"x" * 300) for _ in range(start, start + 500)])
    queue = f"angelia.live.{head.epoch}"
    plain = await bare(url, queue, count, {"x-stream-offset": head.sequence + 1})
    other = RabbitMQBroker(url, {"live": ExchangeSettings()}, store)
    await other.head("live")
    began, seen = perf_counter(), 0
    async with aclosing(other.follow("live", head)) as follower:
        async for some in follower:
            seen += len(some)
            if seen >= count:
                break
    ours = count / (perf_counter() - began)
    began = perf_counter()
    replay = await other.replay("live", head, 10_000)
    replayed = perf_counter() - began
    assert replay.is_complete
    await other.close()
    await broker.close()
    await store.close()
    return plain, ours, len(replay.events), replayed


async def main(count):
    node = RabbitMQ()
    try:
        url = node.vhost().url
        with tempfile.TemporaryDirectory() as folder:
            for turn in (1, 2):
                await filled(url, f"bare{turn}", count)
                await filled(url, f"inlet{turn}", count)
                plain = await bare(url, f"bare{turn}", count)
                ours = await inlet(url, f"inlet{turn}", count, Path(folder))
                print(f"inlet: {ours:,.0f} durable messages/s, bare aio-pika {plain:,.0f}/s, ratio {ours / plain:.2f}", flush=True)
            plain, ours, events, seconds = await followed(url, count, Path(folder))
            print(f"replay by following: {ours:,.0f} events/s, bare aio-pika {plain:,.0f}/s, ratio {ours / plain:.2f}")
            print(f"replay of {events:,} events: {seconds:.2f} s")
    finally:
        node.stop()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
