"""RabbitMQ's promises on a real node, and its faults: killed, blocked, channels closed, exchanges and streams deleted, silent."""

import asyncio
from contextlib import aclosing

import pytest

from angelia.broker import ExchangeSettings, Gap
from angelia.brokers.rabbitmq import RabbitMQBroker
from angelia.model.errors import BrokerUnavailable
from angelia_testing.suites.broker import EXCHANGES, BrokerSuite, event, numbers, taken


@pytest.fixture
async def brokers(vhost, sqlite_store):
    made = []

    def make(exchanges, url=""):
        made.append(RabbitMQBroker(url or vhost.url, exchanges, sqlite_store))
        return made[-1]

    yield make
    for broker in made:
        await broker.close()


class TestRabbitMQ(BrokerSuite):
    """On a virtual host of its own for each test."""


async def until(what, seconds=60.0):
    """Poll until it holds."""
    async with asyncio.timeout(seconds):
        while not (found := await what()):
            await asyncio.sleep(0.1)
    return found


async def published(broker, entry, seconds=60.0):
    """Publish as a caller does who tries again; how often it was refused."""
    refused = 0
    async with asyncio.timeout(seconds):
        while True:
            try:
                await broker.publish([entry])
            except BrokerUnavailable:
                refused += 1
                await asyncio.sleep(0.2)
            else:
                return refused


async def test_a_stream_killed_just_after_its_birth_is_replaced_and_the_gap_is_told(rabbitmq, brokers, monkeypatch):
    monkeypatch.setattr("angelia.brokers.rabbitmq.DOWN_FOR", 3.0)
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    async with aclosing(broker.follow("runs", head)) as follower:
        await broker.publish([event(0)])
        rabbitmq.kill9()
        await asyncio.to_thread(rabbitmq.start)
        await published(broker, event(1))
        seen, gaps = [], 0
        async with asyncio.timeout(60):
            while 1 not in seen:
                some = await anext(follower)
                if isinstance(some, Gap):
                    gaps += 1
                else:
                    seen += numbers(some)
    assert gaps or 0 in seen, "no hole that is not told"


@pytest.mark.parametrize(
    ("alarm", "calm"),
    [
        (("set_vm_memory_high_watermark", "absolute", "1MB"), ("set_vm_memory_high_watermark", "0.4")),
        (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "50MB")),
    ],
    ids=["memory", "disk"],
)
async def test_a_blocked_broker_is_told_in_time_and_followers_live(rabbitmq, brokers, monkeypatch, alarm, calm):  # fault F18
    monkeypatch.setattr("angelia.brokers.rabbitmq.PUBLISH_WITHIN", 2.0)
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    await broker.publish([event(0)])
    await asyncio.to_thread(rabbitmq.ctl, *alarm)
    try:
        # The broker tells and stops reading a moment after the command: what came before is taken.
        with pytest.raises(BrokerUnavailable, match="alarm"):  # noqa: PT012
            for number in range(1_000, 1_100):
                await broker.publish([event(number)])
        async with aclosing(broker.follow("runs", head)) as follower:
            assert 0 in numbers(await anext(follower))
    finally:
        await asyncio.to_thread(rabbitmq.ctl, *calm)
    await published(broker, event(1))
    assert numbers((await broker.replay("runs", head)).events)[-1] == 1


async def test_a_follower_lives_on_where_the_broker_ends_slow_consumers(rabbitmq, brokers):  # fault F19
    """What a follower has not yet acknowledged may lie for longer than the broker waits: it closes the channel, and nobody misses anything."""
    short = "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500)."
    usual = "application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000)."
    await asyncio.to_thread(rabbitmq.ctl, "eval", short)
    try:
        broker = brokers(EXCHANGES)
        head = await broker.head("runs")
        async with aclosing(broker.follow("runs", head)) as follower:
            await broker.publish([event(1)])
            assert numbers(await taken(follower, 1)) == [1]
            ended = asyncio.Event()
            consume_once = broker._consume_once

            async def noticed(room):
                ended.set()
                await consume_once(room)

            broker._consume_once = noticed
            async with asyncio.timeout(60):
                await ended.wait()
            await asyncio.to_thread(rabbitmq.ctl, "eval", usual)
            await broker.publish([event(2), event(3)])
            assert numbers(await taken(follower, 2)) == [2, 3]
    finally:
        await asyncio.to_thread(rabbitmq.ctl, "eval", usual)


async def test_a_deleted_stream_is_a_gap_and_life_goes_on(vhost, brokers):
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    async with aclosing(broker.follow("runs", head)) as follower:
        await broker.publish([event(1)])
        assert numbers(await taken(follower, 1)) == [1]
        (queue,) = [name for name in vhost.queues() if ".runs." in name]
        await asyncio.to_thread(vhost.delete_queue, queue)
        await published(broker, event(2))
        async with asyncio.timeout(60):
            gap = await anext(follower)
        assert isinstance(gap, Gap) and gap.resumes_at.epoch != head.epoch
        assert numbers(await taken(follower, 1)) == [2]
    assert not (await broker.replay("runs", head)).is_complete


async def test_a_deleted_exchange_of_ours_comes_back(vhost, brokers):
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    await broker.publish([event(1)])
    await asyncio.to_thread(vhost.delete_exchange, "runs")
    await published(broker, event(2))
    async with aclosing(broker.follow("runs", head)) as follower:
        assert numbers(await taken(follower, 2)) == [1, 2]


async def test_an_exchange_that_is_missing_is_told_and_found_later(vhost, brokers):
    broker = brokers(EXCHANGES | {"theirs": ExchangeSettings(declare=False)})
    assert "no such exchange" in (await broker.faults())["theirs"]
    with pytest.raises(BrokerUnavailable):
        await broker.publish([event(1, "theirs")])
    await broker.publish([event(2)])
    following = asyncio.create_task(anext(broker.follow("theirs")))
    await asyncio.to_thread(vhost.declare_exchange, "theirs")
    number = 2
    async with asyncio.timeout(60):
        while not following.done():
            number += 1
            await published(broker, event(number, "theirs"))
            await asyncio.wait([following], timeout=0.2)
    assert numbers(following.result())

    async def is_well():
        return not await broker.faults()

    await until(is_well)


@pytest.mark.parametrize("exchanges", [EXCHANGES, {"runs": ExchangeSettings()}], ids=["several", "one"])
async def test_a_broker_that_is_away_is_told_as_such(brokers, exchanges):
    """With one exchange, too, it is the broker that is away and not the exchange: health says whether there is a connection."""
    found = await brokers(exchanges, "amqp://guest:guest@127.0.0.1:1/").faults()
    assert list(found) == [""] and "refuses or is away" in found[""]


async def test_an_exchange_of_another_kind_is_told_and_disturbs_nobody(vhost, brokers):
    await asyncio.to_thread(vhost.declare_exchange, "runs", "fanout")
    broker = brokers(EXCHANGES)
    head = await broker.head("other")
    assert "inequivalent arg 'type'" in (await broker.faults())["runs"]
    await broker.publish([event(1, "other")])
    assert numbers((await broker.replay("other", head)).events) == [1]


async def test_a_direct_exchange_of_others_is_followed_by_named_keys(vhost, brokers):
    broker = brokers({"jobs": ExchangeSettings(kind="direct", keys="one, two")})
    head = await broker.head("jobs")
    for key in ("one", "elsewhere", "two"):
        body = {"properties": {}, "routing_key": key, "payload": key, "payload_encoding": "string"}
        await asyncio.to_thread(vhost.node.api, "POST", f"/exchanges/{vhost.name}/jobs/publish", body)
    async with aclosing(broker.follow("jobs", head)) as follower:
        assert [entry.routing_key for entry in await taken(follower, 2)] == ["one", "two"]


async def test_a_silent_broker_is_noticed_by_its_heartbeat(rabbitmq, brokers, vhost):
    broker = brokers(EXCHANGES, f"{vhost.url}?heartbeat=1")
    head = await broker.head("runs")
    async with aclosing(broker.follow("runs", head)) as follower:
        await broker.publish([event(1)])
        await taken(follower, 1)
        rabbitmq.freeze()
        try:
            assert await until(broker.faults, 40)
        finally:
            rabbitmq.thaw()
        await published(broker, event(2))
        assert 2 in numbers(await anext(follower))


async def test_a_cut_connection_leaves_no_hole(rabbitmq, brokers):
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    async with aclosing(broker.follow("runs", head)) as follower:
        for number in range(1, 4):
            await published(broker, event(number))
            await asyncio.to_thread(rabbitmq.close_connections)
            found = numbers(await taken(follower, 1))
            assert found == [number]
