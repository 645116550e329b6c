"""The relay with an agent that takes its time: places are filled again at once, and what waits too long is given back."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from angelia.flow import attempt as attempt_module
from angelia.flow import relay as relay_module
from angelia.flow.lane import Lane
from angelia.flow.loop import Hint, run
from angelia.model.delivery import Later, Refused, Sent, State
from angelia.model.errors import StoreUnavailable
from angelia_testing.recording import RecordingAgent
from angelia_testing.waiting import eventually


class SlowAgent(RecordingAgent):
    """Each try lasts until `gate` is open, or for `seconds`."""

    def __init__(self, concurrency, seconds=0.0):
        super().__init__(concurrency=concurrency)
        self.seconds, self.gate, self.most, self.running = seconds, None, 0, 0

    async def deliver(self, letter):
        self.running += 1
        self.most = max(self.most, self.running)
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(self.seconds))
        self.running -= 1
        return await super().deliver(letter)


@pytest.fixture
async def backlog(bench):
    """Makes so many mails that are due, for an agent of the test's."""

    async def make(agent, count):
        bench.mail = agent
        bench.relay._lanes["mail"] = Lane(agent)
        await bench.call("PUT", "/api/v1/site", {"preferences": {"*": {"mail": "now"}}, "hourly_cap": 10_000}, 200)
        await bench.person("alice")
        messages = [{"type": "a.b", "to": ["alice"], "subject": str(number)} for number in range(count)]
        await bench.call("POST", "/api/v1/messages", messages)
        while await bench.planner.turn(bench.now):
            pass
        return agent

    return make


async def count(bench, state):
    return (await bench.store.conservation()).get(state, 0)


async def test_a_backlog_is_worked_off_without_waiting_for_the_clock(bench, backlog):
    agent = await backlog(SlowAgent(concurrency=4, seconds=0.005), 200)
    stop, hint = asyncio.Event(), Hint()
    bench.relay._wake = hint
    began = time.monotonic()
    running = asyncio.create_task(run(bench.relay, hint, lambda: bench.now, stop))
    while await count(bench, State.DELIVERED) < 200 and time.monotonic() - began < 30:
        await asyncio.sleep(0.02)
    took = time.monotonic() - began
    stop.set()
    hint()
    await running
    assert len(agent.letters) == 200
    assert agent.most == 4
    assert len({letter.message.subject for letter in agent.letters}) == 200
    assert took < 10  # by the clock alone, 4 a second, it would be 50 s


class OneHangs(RecordingAgent):
    """The letters numbered 0, 4, 8, ... go to a destination that never answers."""

    def __init__(self):
        super().__init__(concurrency=10)
        self.hanging = 0

    def destination(self, letter):
        number = int(letter.message.subject)
        return "dead" if number % 4 == 0 else f"host{number % 7}"

    async def deliver(self, letter):
        if self.destination(letter) == "dead":
            self.hanging += 1
            await asyncio.Event().wait()
        return await super().deliver(letter)


async def test_a_destination_that_hangs_leaves_the_places_to_the_others(bench, backlog, monkeypatch):
    monkeypatch.setattr(attempt_module, "LONGEST_TRY", 60.0)  # as long as this test
    monkeypatch.setattr(relay_module, "LONGEST_WAIT", 60.0)
    agent = await backlog(OneHangs(), 100)
    stop, hint = asyncio.Event(), Hint()
    bench.relay._wake = hint
    running = asyncio.create_task(run(bench.relay, hint, lambda: bench.now, stop))
    await eventually(lambda: len(agent.letters) == 75, 30)
    assert agent.hanging == 2
    stop.set()
    hint()
    for task in bench.relay._tries:
        task.cancel()
    await running


async def test_the_only_destination_may_have_all_places_however_slow(bench, backlog):
    agent = await backlog(SlowAgent(concurrency=10), 20)
    agent.gate = asyncio.Event()
    await bench.relay.turn(bench.now)
    await eventually(lambda: agent.running == 10, 30)
    agent.gate.set()
    await bench.settled()


async def test_what_waits_too_long_for_a_place_is_given_back_untried(bench, backlog, monkeypatch):
    agent = await backlog(SlowAgent(concurrency=2), 10)
    lane = bench.relay._lanes["mail"]
    lane._ended_before = 6  # as if it had been quick a second ago
    agent.gate = asyncio.Event()
    assert await bench.relay.turn(bench.now) == 8
    assert await count(bench, State.SENDING) == 8
    monkeypatch.setattr(relay_module, "LONGEST_WAIT", -1.0)
    bench.relay._looked_at = 0.0
    bench.relay._lanes["mail"]._ended_before = 0
    await bench.relay._look()
    while bench.relay._settled or not bench.relay._flusher.done():
        await asyncio.sleep(0.01)
    assert await count(bench, State.SENDING) == 2
    assert await count(bench, State.DUE) == 8
    due = await bench.store.list_deliveries(states={State.DUE})
    assert {delivery.attempts for delivery in due} == {0}
    monkeypatch.undo()
    agent.gate.set()
    await bench.work()
    assert sorted(int(letter.message.subject) for letter in agent.letters) == list(range(10))


async def test_after_a_pause_one_failure_is_no_end(bench, backlog):
    agent = await backlog(SlowAgent(concurrency=1), 2)
    agent.gate = asyncio.Event()
    bench.relay._lanes["mail"]._ended_before = 6
    assert await bench.relay.turn(bench.now) == 2
    await bench.store.pause_agent("mail", True)
    bench.relay._looked_at = 0.0
    await bench.relay._look()
    agent.gate.set()
    await bench.settled()
    await bench.store.pause_agent("mail", False)
    agent.gate, agent.answer = None, lambda _: Later("451 not now")
    bench.relay._looked_at = 0.0
    await bench.work(bench.now + timedelta(days=6))
    assert [state for state, _ in await bench.states()].count("due") == 1
    assert await bench.store.list_deliveries(states={State.EXPIRED}) == []


async def test_a_stop_gives_back_what_waits_and_ends_what_runs(bench, backlog):
    agent = await backlog(SlowAgent(concurrency=2, seconds=0.05), 10)
    bench.relay._lanes["mail"]._ended_before = 6
    await bench.relay.turn(bench.now)
    await asyncio.sleep(0)
    await bench.relay.drain()
    assert len(agent.letters) == 2
    assert await count(bench, State.DELIVERED) == 2
    assert await count(bench, State.DUE) == 8


async def test_a_claim_that_could_not_be_read_leaves_room_for_the_next(bench, backlog, monkeypatch):
    await backlog(SlowAgent(concurrency=2), 4)

    async def broken(*_):
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(bench.relay._letters, "write", broken)
        with pytest.raises(StoreUnavailable):
            await bench.relay.turn(bench.now)
    assert bench.relay._lanes["mail"].in_hand == 0
    await bench.work()
    assert await count(bench, State.DELIVERED) == 2
    assert await bench.store.requeue_expired_leases(datetime(2026, 11, 25, tzinfo=UTC)) == 2


async def test_an_answer_that_no_database_can_keep_is_mended_and_holds_up_nobody(bench, backlog):
    agent = await backlog(SlowAgent(concurrency=2), 2)
    agent.answer = lambda letter: Refused("caf\udce9\x00!") if letter.message.subject == "0" else Sent("ok")
    await bench.work()
    assert await count(bench, State.DELIVERED) == 1
    (bounced,) = await bench.store.list_deliveries(states={State.BOUNCED})
    assert bounced.last_error == "caf?!"
