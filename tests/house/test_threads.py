"""One thread at one address has one root, whichever process sends the letter with which it begins."""

import asyncio
from datetime import timedelta

import pytest

from angelia.flow.letters import ROOT_WAIT, Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.model.delivery import Later, Sent
from angelia_testing.recording import RecordingAgent
from angelia_testing.waiting import eventually

LONG = 30.0


class Slow(RecordingAgent):
    """Shows a letter only when it is let go; its receipts are the subjects."""

    edits_in_place = True

    def __init__(self):
        super().__init__()
        self.go, self.outcome = asyncio.Event(), None

    async def deliver(self, letter):
        await super().deliver(letter)
        await self.go.wait()
        return self.outcome or Sent(letter.message.subject)


@pytest.fixture
async def nodes(bench):
    """Two workers at one store, each with an agent of its own."""
    made = []
    for _ in range(2):
        letters = Letters(bench.store, bench.house.people, Links("http://hub", bench.house.secret), editing=frozenset({"mail"}))
        agents = dict(bench.house.agents) | {"mail": Slow()}
        made.append(Relay(bench.store, agents, letters, Voice(bench.house.intake.accept), lambda: bench.now, Lifetimes()))
    await bench.person("alice")
    yield made
    for node in made:
        agent_of(node).go.set()
        await node.drain()


def agent_of(node):
    return node._lanes["mail"].agent


async def turned(bench, node, after=0.0):
    bench.now += timedelta(seconds=after)
    await bench.house.people.refresh()
    await bench.planner.turn(bench.now)
    await node.turn(bench.now)


async def recorded(node):
    """Until what came of all tries is in the store."""
    await eventually(lambda: not node._tries, LONG)
    await eventually(lambda: node._flusher is None or node._flusher.done(), LONG)


async def test_a_letter_waits_for_the_one_with_which_another_worker_begins_its_thread(bench, nodes):
    one, other = nodes
    await bench.post(to=["alice"], subject="first", thread="x")
    await turned(bench, one)
    await eventually(lambda: agent_of(one).letters, LONG)
    await bench.post(to=["alice"], subject="second", thread="x")
    await bench.post(to=["alice"], subject="elsewhere", thread="y")
    agent_of(other).go.set()
    await turned(bench, other)
    await recorded(other)
    assert [letter.message.subject for letter in agent_of(other).letters] == ["elsewhere"]
    agent_of(one).go.set()
    await recorded(one)
    await turned(bench, other, ROOT_WAIT.total_seconds())
    await recorded(other)
    second = agent_of(other).letters[-1]
    assert (second.message.subject, second.thread_root, second.attempt) == ("second", "first", 1)


async def test_where_the_first_fails_another_begins_the_thread(bench, nodes):
    one, other = nodes
    await bench.post(to=["alice"], subject="first", thread="x")
    agent_of(one).outcome = Later("the server is away")
    agent_of(one).go.set()
    await turned(bench, one)
    await recorded(one)
    await bench.post(to=["alice"], subject="second", thread="x")
    agent_of(other).go.set()
    await turned(bench, other)
    await recorded(other)
    assert [(letter.message.subject, letter.thread_root) for letter in agent_of(other).letters] == [("second", "")]
    agent_of(one).outcome = None
    await turned(bench, one, 60)
    await recorded(one)
    assert agent_of(one).letters[-1].thread_root == "second"


async def test_one_worker_sends_the_letters_of_a_thread_in_turn_and_waits_for_nobody(bench, nodes):
    one, _ = nodes
    agent_of(one).go.set()
    for subject in ("first", "second", "third"):
        await bench.post(to=["alice"], subject=subject, thread="x")
        await turned(bench, one)
    await recorded(one)
    assert [letter.message.subject for letter in agent_of(one).letters] == ["first", "second", "third"]
    assert [letter.thread_root for letter in agent_of(one).letters] == ["", "first", "first"]
