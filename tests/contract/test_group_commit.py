"""Group commit: who is in which commit, who is refused, and that nothing refused is written and nobody is forgotten."""

import asyncio
from collections import deque
from threading import Lock

import pytest

from angelia.inlet import Receipt, Taken
from angelia.model.errors import InvalidInput, StoreUnavailable
from angelia.stores import group_commit
from angelia.stores.group_commit import GroupCommit
from angelia_testing.suites.store import row


class Engine:
    """Holds what it is asked for until it is told to do it."""

    def __init__(self, commits_ahead=2):
        self.commits_ahead, self.asked, self.given_up = commits_ahead, [], 0

    def begin(self, work, told):
        self.asked.append((work, told))
        return self._give_up

    def _give_up(self):
        self.given_up += 1

    def run(self, at=0):
        """Do it; what it says is said later."""
        work, told = self.asked.pop(at)
        try:
            result = work(None)
        except Exception as error:
            failure = error
            return lambda: told(failure, None)
        return lambda: told(None, result)


class Group:
    """What is written by which commit."""

    def __init__(self, engine):
        self.engine, self.commits, self.types, self.bad = engine, [], [], set()
        self.group = GroupCommit(engine, self._add, self.types.append)
        self.put = self.group.put

    def _add(self, connection, rows, fresh):
        if ids := self.bad & {one.message_id for one in rows}:
            raise InvalidInput(f"bad: {ids}")
        self.commits.append([one.message_id for one in rows])
        fresh.update(one.type for one in rows)
        return [Receipt(one.message_id, Taken.NEW) for one in rows]


@pytest.fixture
async def group():
    return Group(Engine())


def ids(future):
    return [receipt.message_id for receipt in future.result()]


async def test_who_comes_while_one_runs_goes_into_the_next(group):
    first = group.put([row(1)])
    told = group.engine.run()
    others = [group.put([row(number), row(number + 100)]) for number in (2, 3)]
    assert len(group.engine.asked) == 1, "the next is asked for while the first is not told of"
    late = group.put([row(4)])
    group.engine.run()()
    told()
    await asyncio.sleep(0)
    assert group.commits == [[1], [2, 102, 3, 103, 4]]
    assert ids(first) == [1] and [ids(other) for other in others] == [[2, 102], [3, 103]] and ids(late) == [4]
    assert group.types == [{"obs.build.fail"}] * 2 and group.engine.asked == []


async def test_no_more_are_asked_for_than_serve():
    group = Group(Engine(commits_ahead=1))
    group.put([row(1)])
    told = group.engine.run()
    waiting = group.put([row(2)])
    assert group.engine.asked == []
    told()
    group.engine.run()()
    assert ids(waiting) == [2]


async def test_what_one_brings_does_not_refuse_the_others(group):
    group.bad = {2}
    waiting = [group.put([row(number)]) for number in (1, 2, 3)]
    group.engine.run()()
    assert not any(future.done() for future in waiting)
    while group.engine.asked:
        group.engine.run()()
    assert ids(waiting[0]) == [1] and ids(waiting[2]) == [3] and isinstance(waiting[1].exception(), InvalidInput)
    after = group.put([row(4)])
    group.engine.run()()
    assert ids(after) == [4]


async def test_a_database_that_takes_nothing_is_said_to_each_at_once(group):
    waiting = [group.put([row(number)]) for number in (1, 2)]
    _, told = group.engine.asked.pop()
    told(StoreUnavailable("full"), None)
    assert [str(future.exception()) for future in waiting] == ["full", "full"]
    again = group.put([row(3)])
    group.engine.run()()
    assert ids(again) == [3] and group.commits == [[3]]


@pytest.mark.parametrize("is_begun", [False, True])
async def test_who_waited_too_long_is_refused_and_what_was_not_begun_is_never_written(group, monkeypatch, is_begun):
    monkeypatch.setattr(group_commit, "LONGEST_COMMIT", 0.01)
    waiting = group.put([row(1)])
    told = group.engine.run() if is_begun else None
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await waiting
    assert group.engine.given_up == 1
    monkeypatch.setattr(group_commit, "LONGEST_COMMIT", 60.0)
    later = group.put([row(2)])
    if told is None:
        group.engine.run()()  # the old one: it leaves the new row alone
        assert group.commits == [] and not later.done()
    else:
        told()
    group.engine.run()()
    assert ids(later) == [2] and group.commits[-1] == [2]


async def test_a_transaction_that_runs_again_takes_who_came_meanwhile(group):
    first = group.put([row(1)])
    work, told = group.engine.asked.pop()
    work(None)
    second = group.put([row(2)])
    result = work(None)
    told(None, result)
    group.engine.run()()
    assert group.commits == [[1], [1, 2], []] and ids(first) == [1] and ids(second) == [2]


async def test_who_is_gone_is_written_all_the_same(group):
    gone, here = group.put([row(1)]), group.put([row(2)])
    gone.cancel()
    group.engine.run()()
    assert group.commits == [[1, 2]] and ids(here) == [2]


async def test_who_comes_when_the_last_was_just_taken_asks_for_another(group):
    class Waiting(deque):
        """Somebody comes in the moment between the look that finds nobody and its end."""

        def popleft(self):
            if not self and not late:
                late.append(None)
                late[0] = group.put([row(2)])
                raise IndexError
            return super().popleft()

    late = []
    group.group._waiting = Waiting()
    first = group.put([row(1)])
    told = group.engine.run()
    assert len(group.engine.asked) == 1
    told()
    group.engine.run()()
    assert ids(first) == [1] and ids(late[0]) == [2]


async def test_a_row_that_comes_in_any_moment_is_in_one_commit():
    """With a thread that begins commits as it likes, as SQLite's does."""
    engine, loop = Engine(), asyncio.get_running_loop()
    group, lock, stopped = Group(engine), Lock(), False

    def thread():
        while not stopped or engine.asked:
            with lock:
                told = engine.run() if engine.asked else None
            if told is not None:
                loop.call_soon_threadsafe(told)

    running = loop.run_in_executor(None, thread)
    waiting = []
    for number in range(2_000):
        waiting.append(group.put([row(number)]))
        if number % 7 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        receipts = await asyncio.gather(*waiting)
    stopped = True
    await running
    assert [one.message_id for [one] in receipts] == list(range(2_000)) == [number for commit in group.commits for number in commit]
