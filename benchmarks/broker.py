"""How much of a bare consumer's rate is left when each message is made durable, or put into the tail of an exchange?

Run: python benchmarks/broker.py [messages]. Starts its own RabbitMQ; both sides of each pair run in this process, one after the other, on
the same messages. Only the ratio means anything.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time, time_ns

import aio_pika
import uvloop
from streams import BODY, Client

from angelia.broker import ExchangeSettings
from angelia.brokers.rabbitmq import RabbitMQBroker
from angelia.flow.intake import Intake
from angelia.inlets.amqp import AmqpInlet, Binding
from angelia.inlets.receiving import Receiver
from angelia.model.event import Event
from angelia.web.stream.forms import SocketForm
from angelia_testing.fixtures import opened
from angelia_testing.live import open_streams, served
from angelia_testing.peers.process import free_port
from angelia_testing.peers.rabbitmq import RabbitMQ

PREFETCH = 1_000
GROUP = 200
CLIENTS = 100
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
    store = await opened(f"sqlite:///{folder / queue}.db")
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
    store = await opened(f"sqlite:///{folder}/follow.db")
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


class Past:
    """A broker whose exchange seems to stand where it stood before: who binds now gets all that came since, by the shared follower."""

    def __init__(self, broker, since):
        self._broker, self._since, self.exchanges, self.name = broker, since, broker.exchanges, broker.name

    async def head(self, exchange):
        return self._since

    def __getattr__(self, name):
        return getattr(self._broker, name)


async def read_all(port, clients, least):
    """In a process of its own: clients that count bytes."""
    ready, counter = asyncio.Semaphore(0), [0]
    loop = asyncio.get_running_loop()
    for _ in range(clients):
        await loop.create_connection(lambda: Client(port, ready, counter, True), "127.0.0.1", port)
    while counter[0] < least:
        await asyncio.sleep(0.002)


async def to_sockets(url, count):
    """Events of the stream, consumed, matched, framed and written to 100 clients in another process; beside it the bare consumer."""
    exchanges = {"news": ExchangeSettings(access="public")}
    with tempfile.TemporaryDirectory() as folder:
        store = await opened(f"sqlite:///{folder}/a.db")
        broker = RabbitMQBroker(url, exchanges, store)
        head = await broker.head("news")
        for _ in range(count // 500):
            await broker.publish([Event("news", "build.done", BODY, "application/json")] * 500)
        frame = len(SocketForm().event(replace(Event("news", "build.done", BODY, "application/json"), position=head), f"news@{head}"))
        async with asyncio.timeout(90):
            cpu = process_time()
            plain = await bare(url, f"angelia.news.{head.epoch}", count, {"x-stream-offset": head.sequence + 1})
            plain_cpu = process_time() - cpu
            other = RabbitMQBroker(url, exchanges, store)
            await other.head("news")
            app, streams = open_streams(exchanges, Past(other, head))
            async with served(app, free_port(), backlog=4096) as port:
                # The trunk is made by the first who binds; it begins to follow at once, so the clients' bindings are waited for.
                streams._follow = held = Held(streams._follow)
                argv = [sys.executable, __file__, "--read", str(port), str(CLIENTS), str(int(CLIENTS * count * frame * 0.99))]
                reading = await asyncio.create_subprocess_exec(*argv)
                while streams.listeners < CLIENTS or any(listener.positions is not None for listener in streams._listeners.values()):
                    await asyncio.sleep(0.01)
                began, cpu = perf_counter(), process_time()
                held.go.set()
                await reading.wait()
                rate, ours_cpu = count / (perf_counter() - began), process_time() - cpu
            await streams.close()
            await other.close()
            print(
                f"RabbitMQ to {CLIENTS} sockets: {rate:,.0f} events/s, {ours_cpu / count * 1e6:.0f} us of processor time each; bare aio-pika"
                f" {plain:,.0f}/s, {plain_cpu / count * 1e6:.0f} us; ratio {rate / plain:.2f} (aim: 10,000/s, 0.7)",
                flush=True,
            )
        await broker.close()
        await store.close()


class Held:
    """Following that begins when it may."""

    def __init__(self, follow):
        self._follow, self.go = follow, asyncio.Event()

    async def __call__(self, trunk):
        await self.go.wait()
        await self._follow(trunk)


async def main(count):
    node = RabbitMQ()
    try:
        url = node.vhost().url
        with tempfile.TemporaryDirectory() as folder:
            for turn in (1, 2):
                await filled(url, f"bare{turn}", count)
                await filled(url, f"inlet{turn}", count)
                cpu = process_time()
                plain = await bare(url, f"bare{turn}", count)
                middle = process_time()
                ours = await inlet(url, f"inlet{turn}", count, Path(folder))
                mine, theirs = ((process_time() - middle) / count * 1e6, (middle - cpu) / count * 1e6)
                print(
                    f"inlet: {ours:,.0f} durable messages/s, {mine:.0f} us of processor time each; bare aio-pika {plain:,.0f}/s, {theirs:.0f} us;"
                    f" ratio {ours / plain:.2f} (aim: 8,000/s, 0.7)",
                    flush=True,
                )
            plain, ours, events, seconds = await followed(url, count, Path(folder))
            print(f"replay by following: {ours:,.0f} events/s, bare aio-pika {plain:,.0f}/s, ratio {ours / plain:.2f}")
            print(f"replay of {events:,} events: {seconds:.2f} s (aim: 1 s with the writing)")
            await to_sockets(node.vhost().url, 4 * count)  # long enough that its start does not count
    finally:
        node.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        uvloop.run(read_all(*map(int, sys.argv[2:])))
    else:
        uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
