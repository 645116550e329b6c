"""Many limits of time under one timer behave as `asyncio.timeout` does."""

import asyncio
import time

import pytest

from angelia.deadlines import Deadlines


async def test_what_takes_too_long_is_cut_and_what_is_quick_is_not():
    deadlines = Deadlines()

    async def one(seconds, limit):
        with deadlines.within(limit):
            await asyncio.sleep(seconds)
            return "done"

    began = time.monotonic()
    found = await asyncio.gather(one(0, 30), one(30, 0.05), one(0, 0.05), one(30, 0.1), return_exceptions=True)
    assert [type(entry) for entry in found] == [str, TimeoutError, str, TimeoutError]
    assert time.monotonic() - began < 20


async def test_a_later_limit_that_is_shorter_is_not_held_up_by_a_longer_one():
    deadlines = Deadlines()
    with deadlines.within(1_000), pytest.raises(TimeoutError):
        with deadlines.within(0.01):
            await asyncio.sleep(30)


async def test_the_outer_limit_counts_where_it_is_the_shorter():
    deadlines, passed = Deadlines(), []

    async def inner():
        try:
            with deadlines.within(1_000):
                await asyncio.sleep(30)
        except TimeoutError:
            passed.append("inner")

    with pytest.raises(TimeoutError):
        with deadlines.within(0.01):
            await inner()
    assert not passed
    assert asyncio.current_task().cancelling() == 0


async def test_a_wish_to_stop_goes_through_and_wins_over_a_limit():
    deadlines = Deadlines()
    entered = asyncio.Event()

    async def one():
        with deadlines.within(0.01):
            entered.set()
            time.sleep(0.05)  # both come in the same turn of the loop
            await asyncio.sleep(30)

    task = asyncio.create_task(one())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_within_stays_itself():
    deadlines = Deadlines()
    with pytest.raises(KeyError):
        with deadlines.within(30):
            raise KeyError("x")


def test_it_may_serve_one_loop_after_another():
    deadlines = Deadlines()

    async def one():
        with deadlines.within(0.01):
            await asyncio.sleep(30)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(one())
