"""The embedded broker's promises on both databases, and what only it has: its memory in the store."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from angelia.broker import ExchangeSettings, Gap
from angelia.brokers.embedded import EmbeddedBroker
from angelia.brokers.tail import Tail
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Position
from angelia.stores.sql import make_store
from angelia_testing.suites.broker import EXCHANGES, BrokerSuite, event, numbers, taken

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
async def brokers(store):
    made, stores = [], []

    async def connected():
        """Each node has a store of its own on the same database, as processes have."""
        other = make_store(store.url)
        await other.open()
        stores.append(other)

    for _ in range(2):
        await connected()
    rest = iter(stores)

    def make(exchanges, now=lambda: NOW):
        made.append(EmbeddedBroker(next(rest), exchanges, now))
        return made[-1]

    yield make
    for broker in made:
        await broker.close()
    for other in stores:
        await other.close()


class TestEmbedded(BrokerSuite):
    """On each database."""


async def test_old_events_are_forgotten_and_the_gap_is_told(brokers):
    at = [NOW]
    broker = brokers({"runs": ExchangeSettings(keep_seconds=60)}, lambda: at[0])
    head = await broker.head("runs")
    await broker.publish([event(number) for number in range(10)])
    at[0] = NOW + timedelta(seconds=50)
    await broker.publish([event(number) for number in range(10, 15)])
    at[0] = NOW + timedelta(seconds=61)
    await broker.prune(at[0])
    replay = await broker.replay("runs", head)
    assert numbers(replay.events) == [10, 11, 12, 13, 14] and not replay.is_complete
    edge = Position(head.epoch, replay.events[0].position.sequence - 1)
    assert (await broker.replay("runs", edge)).is_complete
    async with aclosing(broker.follow("runs", head)) as follower:
        assert await anext(follower) == Gap(edge)
        assert numbers(await taken(follower, 5)) == [10, 11, 12, 13, 14]


async def test_the_budget_of_bytes_holds(brokers):
    broker = brokers({"runs": ExchangeSettings(keep_bytes=5_000)})
    head = await broker.head("runs")
    await broker.publish([event(number) for number in range(1_000)])
    await broker.prune(NOW)
    left = (await broker.replay("runs", head)).events
    assert 20 < len(left) < 60 and numbers(left)[-1] == 999
    await broker.prune(NOW)
    assert len((await broker.replay("runs", head)).events) == len(left)


async def test_an_exchange_that_is_all_forgotten_keeps_its_place(brokers):
    broker = brokers({"runs": ExchangeSettings(keep_seconds=1)})
    head = await broker.head("runs")
    await broker.publish([event(1), event(2)])
    at = await broker.head("runs")
    await broker.prune(NOW + timedelta(seconds=5))
    assert await broker.head("runs") == at
    assert (await broker.replay("runs", at)).is_complete and not (await broker.replay("runs", head)).is_complete
    await broker.publish([event(3)])
    assert numbers((await broker.replay("runs", at)).events) == [3]


async def test_a_store_that_is_gone_is_told(store, brokers):
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    await broker._store.close()
    with pytest.raises(BrokerUnavailable):
        await broker.publish([event(1)])
    with pytest.raises(BrokerUnavailable):
        await broker.replay("runs", head)


async def test_publishing_does_not_wait_for_others_to_give_up(brokers):
    """Who is cancelled while it waits takes its events back, and those behind it go on."""
    broker = brokers(EXCHANGES)
    head = await broker.head("runs")
    first = asyncio.create_task(broker.publish([event(1)]))
    await asyncio.sleep(0)
    first.cancel()
    await broker.publish([event(2)])
    assert numbers((await broker.replay("runs", head)).events)[-1] == 2


def at(sequence):
    return Position("e", sequence)


def placed(low, high):
    return [event(number).__class__("runs", "k", b"x" * 10, position=at(number)) for number in range(low, high)]


async def test_a_tail_says_only_what_it_knows():
    tail = Tail(at(5))
    assert tail.after(at(5), 10) == [] and tail.after(at(4), 10) is None and tail.after(at(6), 10) is None
    tail.extend(placed(6, 10))
    assert [entry.position.sequence for entry in tail.after(at(6), 2)] == [7, 8]
    assert tail.after(Position("other", 6), 2) is None
    tail.reset(at(20))
    assert tail.after(at(9), 1) is None and tail.after(at(20), 1) == []


@pytest.mark.parametrize("limits", [{"most_events": 100}, {"most_bytes": 1_000}])
async def test_a_tail_is_bounded(limits):
    tail = Tail(at(0), **limits)
    for start in range(1, 1_000, 7):
        tail.extend(placed(start, start + 7))
        assert len(tail._events) <= 100
        assert tail.after(tail.start, 1)[0].position.sequence == tail.start.sequence + 1
        assert tail.after(tail.head, 1) == []
