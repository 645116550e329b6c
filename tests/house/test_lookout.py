"""One look for all stages: they rest until somebody writes or the clock brings something, and nothing comes later for that."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from angelia.flow.lookout import LookOut
from angelia.flow.loop import Hint, run
from angelia.stores.sql import make_store
from angelia_testing.fixtures import opened
from angelia_testing.suites.store import row

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Looked:
    """Of the store, what a look asks."""

    def __init__(self):
        self.written, self.due_at, self.asked = 1, None, 0

    async def pulse(self):
        return self.written

    async def next_due_at(self, agents, now):
        self.asked += 1
        return self.due_at


@pytest.fixture
def store_urls(sqlite_url, postgresql_url):
    return sqlite_url, postgresql_url


@pytest.fixture
def store():
    return Looked()


@pytest.fixture
def rings():
    return []


@pytest.fixture
def look_out(store, rings):
    return LookOut(store, ["mail"], lambda: rings.append(1), lambda: NOW)


async def test_it_rings_for_what_was_written_and_else_keeps_still(look_out, store, rings):
    assert await look_out.look(NOW, 100.0)
    assert [await look_out.look(NOW, 100.0 + seconds) for seconds in range(1, 9)] == [False] * 8
    store.written = 2
    assert await look_out.look(NOW, 110.0)
    assert len(rings) == 2
    assert store.asked == 2


async def test_it_rings_when_the_time_of_something_has_come(look_out, store):
    store.due_at = NOW + 5 * SECOND
    await look_out.look(NOW, 100.0)
    assert not await look_out.look(NOW + 4 * SECOND, 104.0)
    assert await look_out.look(NOW + 5 * SECOND, 105.0)


async def test_what_never_stops_rings_once_a_second(look_out, store, rings):
    for step in range(40):
        store.written += 1
        await look_out.look(NOW, 100.0 + step / 8)
    assert len(rings) == 5


async def test_a_machine_that_slept_is_no_excuse(look_out):
    await look_out.look(NOW, 100.0)
    assert await look_out.look(NOW + 3600 * SECOND, 102.0, has_slept=True)


class Resting:
    """A stage that finds nothing to do."""

    name = "resting"

    def __init__(self, *, is_restless):
        self.turns, self._is_restless = asyncio.Queue(), is_restless

    async def turn(self, now):
        self.turns.put_nowait(now)
        return 0

    def is_restless(self):
        return self._is_restless

    async def drain(self):
        pass


@pytest.mark.parametrize("is_restless", [True, False])
async def test_a_stage_rests_long_unless_it_is_restless_or_rung_for(monkeypatch, is_restless):
    monkeypatch.setattr("angelia.flow.loop.SHORT_REST", 0.01)
    stage, hint, stop = Resting(is_restless=is_restless), Hint(), asyncio.Event()
    running = asyncio.create_task(run(stage, hint, lambda: NOW, stop, 3600.0))
    async with asyncio.timeout(30):
        await stage.turns.get()
        if is_restless:
            await stage.turns.get()
        else:
            assert stage.turns.empty()
            hint()
            await stage.turns.get()
        stop.set()
        hint()
        await running


async def test_what_another_process_wrote_is_seen(store_urls):
    """Without a hint between them."""
    for url in store_urls:
        ours, theirs = await opened(url), make_store(url)
        await theirs.open()
        rung, stop = asyncio.Event(), asyncio.Event()
        looking = asyncio.create_task(LookOut(ours, ["mail"], rung.set, lambda: datetime.now(UTC)).run(stop))
        async with asyncio.timeout(60):
            await rung.wait()
            rung.clear()
            await theirs.add_messages([row(1)])
            await rung.wait()
            stop.set()
            await looking
        await ours.close()
        await theirs.close()
