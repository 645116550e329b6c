"""A person's own deliveries as a stream, where several workers write: what is committed late is not passed over, and nothing comes twice."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from types import SimpleNamespace

import pytest

from angelia.broker import Gap
from angelia.flow import inbox_feed
from angelia.flow.inbox_feed import LONGEST_WRITE, WithInboxes
from angelia.model.delivery import State
from angelia.model.event import Position
from angelia.model.moments import ids_of, next_id, to_us
from angelia.stores import inbox
from angelia_testing.suites.store.making import NOW, delivery, planned

SECOND = timedelta(seconds=1)
START = next_id(to_us(NOW), 0, 0)


@pytest.fixture
def inboxes(store):
    def made(looks_back):
        return WithInboxes(SimpleNamespace(name="none", exchanges={}), store, lambda item: str(item.delivery_id).encode(), looks_back=looks_back)

    return made


async def delivered(store, *ages, **fields):
    """Deliveries to person 1, each with the id of so many seconds after the start."""
    for age in ages:
        number = START + ids_of(age * SECOND)
        await planned(store, number, [delivery(number, number, agent="web", state=State.DELIVERED, ended_at=NOW)], **fields)


async def next_ages(feed):
    """Seconds after the start of what comes next, and of the place that a cursor would have then."""
    async with asyncio.timeout(20):
        events = await anext(feed)
    assert not isinstance(events, Gap)
    return [round((int(event.body) - START) / ids_of(SECOND)) for event in events], {
        round((event.position.sequence - START) / ids_of(SECOND)) for event in events
    }


async def test_what_was_committed_late_comes_all_the_same_and_once(store, inboxes):
    await delivered(store, 1, 5)
    sources = inboxes(LONGEST_WRITE)
    async with aclosing(sources.follow("me/1")) as feed:
        following = asyncio.create_task(next_ages(feed))
        await asyncio.sleep(0.1)
        await delivered(store, 8)
        sources.look()
        assert await following == ([8], {8})  # and not those that were there
        await delivered(store, 4, 6)
        sources.look()
        assert await next_ages(feed) == ([4, 6], {8})
        await delivered(store, 9, 7)
        sources.look()
        found = await next_ages(feed)
        if len(found[0]) == 1:  # seen one by one
            found = [*found[0], *(await next_ages(feed))[0]]
        assert sorted(found if isinstance(found[0], int) else found[0]) == [7, 9]


async def test_who_comes_back_gets_what_follows(store, inboxes):
    await delivered(store, 1, 2, 3)
    sources = inboxes(LONGEST_WRITE)
    head = await sources.head("me/1")
    await delivered(store, 5)
    async with aclosing(sources.follow("me/1", head)) as feed:
        assert await next_ages(feed) == ([5], {5})
        await delivered(store, 4)
        sources.look()
        assert await next_ages(feed) == ([4], {5})


async def test_what_is_older_than_any_write_takes_is_not_looked_for(store, inboxes):
    await delivered(store, 20)
    sources = inboxes(LONGEST_WRITE)
    async with aclosing(sources.follow("me/1")) as feed:
        following = asyncio.create_task(next_ages(feed))
        await asyncio.sleep(0.1)
        await delivered(store, 1, 21)
        sources.look()
        assert await following == ([21], {21})


async def test_what_retention_removed_is_a_gap_for_whoever_comes_back_to_before_it(store, inboxes):
    await delivered(store, 1, 2, 3)
    sources, day = inboxes(timedelta()), timedelta(days=1)
    places = [(await sources.replay("me/1", Position("inbox", START - 1), limit)).until for limit in (1, 3)]
    assert await store.purge(NOW + 100 * day, 50 * day, 100) == 3
    assert await sources.head("me/1") == places[1]  # a place goes forwards only
    await delivered(store, 9)
    before, after = [await sources.replay("me/1", place) for place in places]
    assert not before.is_complete and after.is_complete
    assert [[event.body for event in found.events] for found in (before, after)] == [[str(START + ids_of(9 * SECOND)).encode()]] * 2
    async with aclosing(sources.follow("me/1", places[0])) as feed:
        assert isinstance(await anext(feed), Gap)
        assert (await next_ages(feed))[0] == [9]


async def test_who_has_lost_all_is_told_of_the_gap_once(store, inboxes):
    await delivered(store, 1, 2)
    sources = inboxes(timedelta())
    first = (await sources.replay("me/1", Position("inbox", START - 1), 1)).until
    assert await store.purge(NOW + timedelta(days=100), timedelta(days=50), 100) == 2
    found = await sources.replay("me/1", first)
    assert (found.is_complete, found.events) == (False, [])
    assert (await sources.replay("me/1", found.until)).is_complete


async def test_however_much_she_may_no_longer_see_what_follows_comes(store, inboxes, monkeypatch):
    for room, sizes in ((inbox_feed, {"PAGE": 2}), (inbox, {"PAGE": 2, "MOST_SCANNED": 4})):
        for name, size in sizes.items():
            monkeypatch.setattr(room, name, size)
    await delivered(store, 1)
    await delivered(store, *range(2, 9), is_restricted=True, access=("bob",))
    await delivered(store, 9)
    sources, start = inboxes(timedelta()), Position("inbox", START)
    async with aclosing(sources.follow("me/1", start)) as feed:
        assert [await next_ages(feed) for _ in range(2)] == [([1], {1}), ([9], {9})]
    events, replay = [], await sources.replay("me/1", start)
    while replay.has_more:
        events += replay.events
        replay = await sources.replay("me/1", replay.until)
    assert len([*events, *replay.events]) == 2 and replay.is_complete
    assert replay.until == await sources.head("me/1")
