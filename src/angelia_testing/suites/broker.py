"""Every promise of `angelia.broker` as a test. Subclass it and give a fixture `brokers`.

class TestMine(BrokerSuite):
    @pytest.fixture
    async def brokers(self): ...   # a callable: `make(exchanges) -> Broker`, on one and the same site each time; closed by the fixture
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import pytest

from angelia.broker import Broker, ExchangeSettings, Gap
from angelia.model.errors import BrokerUnavailable, InvalidInput, NotFound
from angelia.model.event import Event, Position

MakeBroker = Callable[..., Broker]
WITHIN = 20.0
EXCHANGES = {"runs": ExchangeSettings(), "jobs": ExchangeSettings(kind="direct"), "other": ExchangeSettings()}


def event(number: int, exchange: str = "runs", key: str = "a.b") -> Event:
    """The number is its body."""
    return Event(exchange, key, b"%d" % number, "application/json", {"number": number}, {"message_id": f"m{number}"})


def numbers(events: Sequence[Event]) -> list[int]:
    """What `event` put in."""
    return [int(entry.body) for entry in events]


def position(entry: Event) -> Position:
    """Where it is; whatever comes from a broker is somewhere."""
    assert entry.position is not None
    return entry.position


async def taken(follower: "AsyncGenerator[Sequence[Event] | Gap, None]", count: int) -> list[Event]:
    """The next so many events of a follower; a gap fails."""
    found: list[Event] = []
    async with asyncio.timeout(WITHIN):
        while len(found) < count:
            some = await anext(follower)
            assert not isinstance(some, Gap), some
            found += some
    assert len(found) == count
    return found


async def replayed(broker: Broker, at: Position, limit: int) -> list[int]:
    """All of `runs` after a position, part by part."""
    found: list[int] = []
    has_more = True
    while has_more:
        replay = await broker.replay("runs", at, limit)
        assert replay.is_complete and len(replay.events) <= limit
        found += numbers(replay.events)
        at, has_more = replay.until, replay.has_more
    return found


class BrokerSuite:
    """What streams and inlets rely on."""

    @pytest.fixture
    def broker(self, brokers: MakeBroker) -> Broker:
        """One node."""
        return brokers(EXCHANGES)

    async def test_a_follower_gets_each_event_once_in_order(self, broker: Broker) -> None:
        head = await broker.head("runs")
        async with aclosing(broker.follow("runs", head)) as follower:
            for start in range(0, 300, 30):
                await broker.publish([event(number) for number in range(start, start + 30)])
            found = await taken(follower, 300)
        assert numbers(found) == list(range(300))
        sequences = [position(entry).sequence for entry in found]
        assert sequences == sorted(set(sequences)) and sequences[0] > head.sequence
        assert {position(entry).epoch for entry in found} == {head.epoch}

    async def test_an_event_comes_as_it_went(self, broker: Broker) -> None:
        sent = Event("runs", "a.ü", b"\x00\xff{", "application/x-odd", {"text": "ä", "number": -7, "is": True},
                     {"message_id": "m", "timestamp": 1_700_000_000, "app_id": "amaretti"})  # fmt: skip
        head = await broker.head("runs")
        await broker.publish([sent])
        async with aclosing(broker.follow("runs", head)) as follower:
            (found,) = await taken(follower, 1)
        assert (found.exchange, found.routing_key, found.body, found.content_type) == ("runs", "a.ü", b"\x00\xff{", "application/x-odd")
        assert found.headers == sent.headers
        assert {name: found.properties.get(name) for name in sent.properties} == sent.properties
        assert not found.is_redelivered

    async def test_a_direct_exchange_gives_every_key(self, broker: Broker) -> None:
        head = await broker.head("jobs")
        await broker.publish([event(1, "jobs", "one"), event(2, "jobs", ""), event(3, "jobs", "three.four")])
        async with aclosing(broker.follow("jobs", head)) as follower:
            assert [entry.routing_key for entry in await taken(follower, 3)] == ["one", "", "three.four"]

    async def test_exchanges_do_not_mix(self, broker: Broker) -> None:
        heads = {name: await broker.head(name) for name in ("runs", "other")}
        await broker.publish([event(1, "runs"), event(2, "other"), event(3, "runs")])
        for name, expected in (("runs", [1, 3]), ("other", [2])):
            async with aclosing(broker.follow(name, heads[name])) as follower:
                assert numbers(await taken(follower, len(expected))) == expected

    async def test_who_follows_from_now_gets_what_comes(self, broker: Broker) -> None:
        await broker.publish([event(0)])
        async with aclosing(broker.follow("runs")) as follower:
            first = asyncio.create_task(anext(follower))
            # Nobody can see from outside that it follows: so publish until it does.
            number = 0
            async with asyncio.timeout(WITHIN):
                while not first.done():
                    number += 1
                    await broker.publish([event(number)])
                    await asyncio.wait([first], timeout=0.1)
            some = first.result()
        assert not isinstance(some, Gap)
        found = numbers(some)
        assert found[0] > 0 and found == list(range(found[0], found[0] + len(found)))

    async def test_several_followers_get_the_same(self, broker: Broker) -> None:
        head = await broker.head("runs")
        followers = [broker.follow("runs", head) for _ in range(5)]
        await broker.publish([event(number) for number in range(20)])
        for follower in followers:
            async with aclosing(follower):
                assert numbers(await taken(follower, 20)) == list(range(20))

    async def test_many_who_publish_at_once(self, broker: Broker) -> None:
        head = await broker.head("runs")
        await asyncio.gather(*(broker.publish([event(who * 100 + number) for number in range(5)]) for who in range(20)))
        async with aclosing(broker.follow("runs", head)) as follower:
            found = numbers(await taken(follower, 100))
        for who in range(20):
            assert [number for number in found if number // 100 == who] == [who * 100 + number for number in range(5)]

    async def test_what_another_node_publishes_is_followed(self, brokers: MakeBroker) -> None:
        one, two = brokers(EXCHANGES), brokers(EXCHANGES)
        head = await one.head("runs")
        async with aclosing(one.follow("runs", head)) as follower:
            for number in range(10):
                await (one if number % 2 else two).publish([event(number)])
            assert numbers(await taken(follower, 10)) == list(range(10))

    async def test_head_is_after_what_was_published_before(self, broker: Broker) -> None:
        for number in range(3):
            await broker.publish([event(number)])
            head = await broker.head("runs")
            replay = await broker.replay("runs", head)
            assert (list(replay.events), replay.is_complete) == ([], True)
            assert replay.until.epoch == head.epoch and replay.until.sequence >= head.sequence

    async def test_replay_gives_what_was_missed(self, broker: Broker) -> None:
        head = await broker.head("runs")
        await broker.publish([event(number) for number in range(50)])
        replay = await broker.replay("runs", head)
        assert numbers(replay.events) == list(range(50)) and replay.is_complete
        assert replay.until.sequence >= position(replay.events[-1]).sequence
        assert not (await broker.replay("runs", replay.until)).events
        later = await broker.replay("runs", position(replay.events[19]))
        assert numbers(later.events) == list(range(20, 50)) and later.is_complete

    async def test_replay_goes_on_where_its_limit_ended(self, broker: Broker) -> None:
        at = await broker.head("runs")
        await broker.publish([event(number) for number in range(25)])
        assert await replayed(broker, at, 10) == list(range(25))

    async def test_replay_says_whether_there_is_more_even_where_a_part_holds_no_event(self, brokers: MakeBroker) -> None:
        one, two = brokers(EXCHANGES), brokers(EXCHANGES)
        at = await one.head("runs")
        for _ in range(25):  # what some brokers keep of such questions has a place in the stream, too
            await one.head("runs")
        await one.publish([event(number) for number in range(3)])
        for broker in (one, two):  # one that was there, and one that must read
            assert await replayed(broker, at, 10) == [0, 1, 2]
        async with aclosing(one.follow("runs", at)) as follower:
            at = position((await taken(follower, 3))[-1])
            await one.publish([event(number) for number in range(3, 7)])
            await taken(follower, 4)
            for limit in (1, 2, 4, 10):  # what is remembered
                assert await replayed(one, at, limit) == [3, 4, 5, 6]
        end = (await two.replay("runs", at)).until
        assert not (await two.replay("runs", end)).has_more

    async def test_follow_goes_on_where_replay_ended(self, broker: Broker) -> None:
        head = await broker.head("runs")
        await broker.publish([event(number) for number in range(10)])
        replay = await broker.replay("runs", head, limit=4)
        async with aclosing(broker.follow("runs", replay.until)) as follower:
            await broker.publish([event(10)])
            assert numbers(replay.events) + numbers(await taken(follower, 7)) == list(range(11))

    async def test_positions_are_the_same_in_replay_and_in_following(self, broker: Broker) -> None:
        head = await broker.head("runs")
        await broker.publish([event(number) for number in range(10)])
        async with aclosing(broker.follow("runs", head)) as follower:
            followed = [entry.position for entry in await taken(follower, 10)]
        assert [entry.position for entry in (await broker.replay("runs", head)).events] == followed

    async def test_a_position_of_another_epoch_is_a_gap(self, broker: Broker) -> None:
        await broker.publish([event(1), event(2)])
        replay = await broker.replay("runs", Position("elsewhere", 0))
        assert not replay.is_complete and replay.until.epoch != "elsewhere"
        async with aclosing(broker.follow("runs", Position("elsewhere", 7))) as follower:
            async with asyncio.timeout(WITHIN):
                gap = await anext(follower)
            assert isinstance(gap, Gap) and gap.resumes_at.epoch == replay.until.epoch

    async def test_a_position_ahead_of_the_head_is_a_gap(self, broker: Broker) -> None:
        await broker.publish([event(1)])
        head = await broker.head("runs")
        ahead = Position(head.epoch, head.sequence + 1_000)
        replay = await broker.replay("runs", ahead)
        assert (list(replay.events), replay.is_complete) == ([], False) and head.sequence <= replay.until.sequence < ahead.sequence
        async with aclosing(broker.follow("runs", ahead)) as follower:
            async with asyncio.timeout(WITHIN):
                gap = await anext(follower)
            assert isinstance(gap, Gap) and head.sequence <= gap.resumes_at.sequence < ahead.sequence
            await broker.publish([event(2)])
            assert numbers(await taken(follower, 1)) == [2]

    async def test_an_exchange_that_is_not_in_the_settings(self, broker: Broker) -> None:
        with pytest.raises(NotFound):
            await broker.publish([event(1, "nowhere")])
        with pytest.raises(NotFound):
            await broker.head("nowhere")
        with pytest.raises(NotFound):
            await broker.replay("nowhere", Position("x", 0))
        with pytest.raises(NotFound):
            await anext(broker.follow("nowhere"))

    @pytest.mark.parametrize("key", ["x" * 256, "a\x00b", "\ud800"])
    async def test_what_no_broker_can_take_publishes_nothing(self, broker: Broker, key: str) -> None:
        head = await broker.head("runs")
        with pytest.raises(InvalidInput):
            await broker.publish([event(1), event(2, key=key)])
        await broker.publish([event(3)])
        assert numbers((await broker.replay("runs", head)).events) == [3]

    async def test_all_is_well(self, broker: Broker) -> None:
        await broker.publish([event(1)])
        assert await broker.faults() == {}

    async def test_a_follower_that_rests_disturbs_nobody(self, broker: Broker) -> None:
        head = await broker.head("runs")
        resting, awake = broker.follow("runs", head), broker.follow("runs", head)
        await broker.publish([event(0)])
        async with aclosing(resting), aclosing(awake):
            await taken(resting, 1)
            await taken(awake, 1)
            await broker.publish([event(number) for number in range(1, 200)])
            assert numbers(await taken(awake, 199)) == list(range(1, 200))
            assert numbers(await taken(resting, 199)) == list(range(1, 200))

    async def test_what_was_published_survives_the_node(self, brokers: MakeBroker) -> None:
        one = brokers(EXCHANGES)
        head = await one.head("runs")
        await one.publish([event(number) for number in range(5)])
        await one.close()
        two = brokers(EXCHANGES)
        replay = await two.replay("runs", head)
        assert numbers(replay.events) == list(range(5)) and replay.is_complete

    async def test_closing_ends_followers_and_publishing(self, broker: Broker) -> None:
        async def all_of(exchange: str) -> int:
            return sum([len(some) async for some in broker.follow(exchange) if not isinstance(some, Gap)])

        following = [asyncio.create_task(all_of(name)) for name in ("runs", "runs", "other")]
        await broker.publish([event(1)])
        await broker.close()
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(*following)
        with pytest.raises(BrokerUnavailable):
            await broker.publish([event(2)])
