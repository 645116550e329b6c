"""The AMQP inlet on a real RabbitMQ: durable before it is acknowledged, bounded, and what can't be read put aside with its reason."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from aiormq.exceptions import ChannelPreconditionFailed

from angelia.inlet import Receipt, Taken
from angelia.inlets.amqp import DEAD, AmqpInlet, Binding
from angelia.inlets.mapping import MessageMapping, load_mapping
from angelia.inlets.receiving import LARGEST, MOST_TRIES, Receiver
from angelia.inlets.transitions import TransitionReceiver
from angelia.model.errors import StoreUnavailable
from angelia_testing.peers.rabbitmq import Wire

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Intake:
    """Keeps what it accepts; like the real one it knows keys, and may refuse for a while."""

    def __init__(self):
        self.kept, self.refusing, self.asked, self.largest = {}, False, 0, 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def accept(self, source, drafts):
        self.asked += 1
        self.largest = max(self.largest, len(drafts))
        await self.gate.wait()
        if self.refusing:
            raise StoreUnavailable("the disk is full")
        receipts = []
        for draft in drafts:
            first = self.kept.setdefault((source, draft.idempotency_key), draft)
            taken = Taken.NEW if first is draft else Taken.REPEAT if first.fingerprint == draft.fingerprint else Taken.CONFLICT
            receipts.append(Receipt(1, taken))
        return receipts

    def types(self):
        return sorted(draft.type for draft in self.kept.values())


@pytest.fixture
async def intake():
    return Intake()


@pytest.fixture
async def wire(vhost):
    made = await Wire.open(vhost.url)
    await made.exchange("x")
    yield made
    await made.close()


@pytest.fixture
async def running(vhost, sqlite_store, intake, wire):
    """Starts an inlet; the queue is there when it returns."""
    tasks = []

    async def start(mapping="", *, prefetch=100, queue="q", keys=("#",)):
        receiver = Receiver("t", "ci", load_mapping(mapping) if mapping else None, sqlite_store, lambda: NOW)
        inlet = AmqpInlet(receiver, vhost.url, Binding("x", keys, queue, True, prefetch))
        tasks.append(asyncio.create_task(inlet.run(intake.accept)))
        await until(lambda: wire.has_queue(queue))
        await until(lambda: wire.consumers(queue))
        return inlet

    start.tasks = tasks
    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(what, seconds=60):
    async with asyncio.timeout(seconds):
        while True:
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.05)


def body(number):
    return json.dumps({"type": "a.b", "to": ["alice"], "params": {"n": str(number)}}).encode()


async def test_messages_are_taken_and_acknowledged(running, intake, wire):
    intake.gate.clear()
    await running()
    for number in range(300):
        await wire.publish("x", "k", body(number), message_id=f"m{number}")
    intake.gate.set()
    await until(lambda: len(intake.kept) == 300)
    await until(lambda: wire.is_empty("q"))
    assert {source for source, _ in intake.kept} == {"ci"}
    assert intake.largest > 1


async def test_what_the_store_does_not_take_stays_in_the_queue(running, intake, wire, vhost):
    intake.refusing = True
    inlet = await running(prefetch=10)
    for number in range(50):
        await wire.publish("x", "k", body(number), message_id=f"m{number}")
    await until(lambda: inlet.fault)
    assert inlet.fault == "the disk is full" and not intake.kept
    await asyncio.sleep(0.5)
    assert intake.largest <= 10
    intake.refusing = False
    await until(lambda: len(intake.kept) == 50)
    await until(lambda: wire.is_empty("q"))
    assert inlet.fault == ""


POISON = [  # rows 53, 54 and 56 of catalogue E4
    (b"{", {}, "JSON"),
    (b"", {}, "JSON"),
    (body(1), {"content_type": "application/xml"}, "not application/xml"),
    (body(1), {"content_encoding": "gzip"}, "packed"),
    (b'{"type": "a.b", "colour": "red"}', {}, "colour"),
    (b'{"type": "a.b", "type": "c"}', {}, "twice"),
    (b'{"type": "a.b", "body": "' + b"x" * LARGEST + b'"}', {}, "at most"),
    (b"[" * 10_000, {}, "JSON"),
    (body(1), {"headers": {"x-delivery-count": 1_000}}, "1000 times"),
]


async def test_what_can_not_be_read_is_put_aside_with_its_reason(running, intake, wire):
    await running()
    for number, (poison, properties, _) in enumerate(POISON):
        await wire.publish("x", f"bad.{number}", poison, **({"message_id": f"p{number}"} | properties))
        await wire.publish("x", "good", body(number), message_id=f"m{number}")
    await until(lambda: len(intake.kept) == len(POISON))
    dead = await wire.get(DEAD, len(POISON))
    assert [entry.routing_key for entry in dead] == [f"bad.{number}" for number in range(len(POISON))]
    for entry, (poison, _, why) in zip(dead, POISON, strict=True):
        assert entry.body == poison
        assert why in entry.header.properties.headers["x-angelia-reason"]
        assert entry.header.properties.headers["x-angelia-exchange"] == "x"
    await until(lambda: wire.is_empty("q"))


async def test_the_largest_message_of_a_broker_is_put_aside_and_others_flow(running, intake, wire):  # E4.53
    """134,217,728 bytes: more no RabbitMQ takes."""
    await running()
    await wire.publish("x", "huge", bytes(134_217_728), message_id="huge")
    await wire.publish("x", "good", body(1), message_id="m")
    await until(lambda: intake.kept)
    (dead,) = await wire.get(DEAD, 1)
    assert len(dead.body) == 134_217_728 and "at most" in dead.header.properties.headers["x-angelia-reason"]
    await until(lambda: wire.is_empty("q"))


async def test_repeats_are_absorbed_and_a_stolen_id_is_put_aside(running, intake, wire):  # E4.54
    await running()
    await wire.publish("x", "k", body(1), message_id="m")
    await until(lambda: intake.kept)
    await wire.publish("x", "k", body(1), message_id="m")
    await wire.publish("x", "k", body(2), message_id="m")
    (dead,) = await wire.get(DEAD, 1)
    assert "other content" in dead.header.properties.headers["x-angelia-reason"]
    await until(lambda: wire.is_empty("q"))
    assert len(intake.kept) == 1


class Bytes(str):
    """A text whose bytes on the wire are no text."""

    def encode(self, *_):
        return b"\xff\xfe\x00k"


class Far(datetime):
    """A moment that no calendar has."""

    def timestamp(self):
        return 2**63


def nested(depth):
    found = None
    for _ in range(depth):
        found = {"d": found}
    return found


@pytest.mark.parametrize(
    "odd",
    [
        {"headers": {"deep": nested(100)}},  # E4.55
        {"headers": {Bytes("k"): 1}},
        {"key": Bytes("k")},
        {"timestamp": datetime.fromtimestamp(0, UTC)},
        {"timestamp": Far.fromtimestamp(0, UTC)},
        {"app_id": "root", "user_id": "guest", "headers": {"source": "root"}},  # E4.57
        {"reply_to": "other"},  # E4.58
        {"priority": 255},  # E4.59
    ],
    ids=["deep", "binary name", "binary key", "timestamp 0", "timestamp 2**63", "spoofed", "reply to", "priority"],
)
async def test_odd_properties_harm_nobody(running, intake, wire, vhost, odd):
    """Taken as if they were not there, or put aside with a reason."""
    await running()
    await wire.exchange("replies", "fanout")
    await asyncio.to_thread(vhost.node.api, "PUT", f"/queues/{vhost.name}/other", {"durable": True})
    await wire.publish("x", odd.pop("key", "k"), body(1), **odd)
    await wire.publish("x", "k", body(2), message_id="good")
    await until(lambda: ("ci", "good") in intake.kept)
    await until(lambda: wire.is_empty("q"))
    assert {source for source, _ in intake.kept} == {"ci"}
    if len(intake.kept) == 1:
        (dead,) = await wire.get(DEAD, 1)
        assert dead.body == body(1) and dead.header.properties.headers["x-angelia-reason"]
    assert await wire.ready("other") == 0


async def test_an_expiration_that_is_none_is_refused_by_the_broker(running, intake, wire):  # E4.59
    await running()
    with pytest.raises(ChannelPreconditionFailed):
        await wire.publish("x", "k", body(1), expiration="abc")
    await wire.publish("x", "k", body(2))
    await until(lambda: len(intake.kept) == 1)


async def test_what_breaks_the_reader_is_put_aside_at_once(running, intake, wire, monkeypatch):  # E4.61
    broken = MessageMapping.mapped
    tried = []

    def mapped(self, event, states):
        if event.routing_key == "i1.bad":
            tried.append(event)
            raise ZeroDivisionError
        return broken(self, event, states)

    monkeypatch.setattr(MessageMapping, "mapped", mapped)
    await running("amaretti")
    task = {"_id": "t1", "user_id": "alice", "instance_id": "i1", "service": "s", "status": "finished"}
    for key in ("i1.bad", "i1.t1"):
        await wire.publish("x", key, json.dumps(task).encode())
    (dead,) = await wire.get(DEAD, 1)
    assert "ZeroDivisionError" in dead.header.properties.headers["x-angelia-reason"]
    assert 1 <= len(tried) <= MOST_TRIES
    await wire.exchange("wf.task")
    await until(lambda: wire.is_empty("q"))


async def test_what_kills_its_worker_each_time_comes_five_times_at_most(running, intake, wire, vhost, sqlite_store):  # E4.61
    """Of such a death nothing can be written down by us: the broker counts."""

    async def begun():
        receiver = Receiver("t", "ci", None, sqlite_store, lambda: NOW)
        return asyncio.create_task(AmqpInlet(receiver, vhost.url, Binding("x", ("#",), "q", True, 100)).run(intake.accept))

    async def is_taken_or_dead():
        return intake.asked > deaths or await wire.ready(DEAD)

    intake.gate.clear()
    deaths, worker = 0, await begun()
    await until(lambda: wire.consumers("q"))
    await wire.publish("x", "k", body(1), message_id="deadly")
    while True:
        await until(is_taken_or_dead)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        if intake.asked == deaths:
            break
        deaths += 1
        assert deaths <= MOST_TRIES + 1
        worker = await begun()
    assert deaths > 1 and [entry.body for entry in await wire.get(DEAD, 1)] == [body(1)]
    intake.gate.set()
    await running()
    await wire.publish("x", "k", body(2), message_id="good")
    await until(lambda: ("ci", "good") in intake.kept)
    assert len(intake.kept) == 1


async def test_the_prefetch_bounds_what_is_in_hand(running, intake, wire):
    intake.gate.clear()
    await running(prefetch=7)
    for number in range(200):
        await wire.publish("x", "k", body(number), message_id=f"m{number}")
    await until(lambda: intake.asked)

    async def all_else_waits():
        return await wire.ready("q") == 193

    await until(all_else_waits)
    intake.gate.set()
    await until(lambda: len(intake.kept) == 200)
    assert intake.largest <= 7


async def test_status_changes_only_through_restarts(running, intake, wire, sqlite_store):
    await wire.exchange("wf.task")
    await running("amaretti")
    await wire.bind("q", "wf.task")
    task = {"_id": "t1", "user_id": "alice", "instance_id": "i1", "service": "s"}
    for status, count in (("requested", 3), ("running", 20), ("finished", 2)):
        for number in range(count):
            await wire.publish("wf.task", "i1.t1", json.dumps(task | {"status": status, "status_msg": f"{number}"}).encode())
    await wire.publish("wf.task", "i1.t1", b"null")
    await until(lambda: len(intake.kept) == 3)
    await until(lambda: wire.is_empty("q"))
    assert intake.types() == ["amaretti.task.finished", "amaretti.task.requested", "amaretti.task.running"]

    async def last_is_remembered():
        return await sqlite_store.last_states(["amaretti task t1", "x"]) == {"amaretti task t1": "finished"}

    await until(last_is_remembered)


async def test_of_several_processes_one_takes_and_another_goes_on(running, intake, wire, vhost):
    """What tells of one thing stays in its order: two that shared the queue would overtake each other."""
    inlets = [await running(), await running()]

    async def both_are_there():
        found = await asyncio.to_thread(vhost.node.api, "GET", f"/consumers/{vhost.name}")
        return [entry["queue"]["name"] for entry in found].count("q") == 2

    await until(both_are_there)
    taken = []
    for inlet, task in zip(inlets, running.tasks, strict=True):
        take = inlet._receiver.take

        async def noted(events, accept, take=take, task=task):
            taken.append(task)
            return await take(events, accept)

        inlet._receiver.take = noted
    for number in range(20):
        await wire.publish("x", "k", body(number), message_id=f"m{number}")
    await until(lambda: len(intake.kept) == 20)
    assert len(set(taken)) == 1
    first = taken[0]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await wire.publish("x", "k", body(20), message_id="m20")
    await until(lambda: len(intake.kept) == 21)
    assert taken[-1] is not first
    await until(lambda: wire.is_empty("q"))


async def test_a_deleted_queue_is_made_again(running, intake, wire, vhost):
    await running()
    await asyncio.to_thread(vhost.delete_queue, "q")
    await until(lambda: wire.has_queue("q"))
    await until(lambda: wire.consumers("q"))
    await wire.publish("x", "k", body(1))
    await until(lambda: intake.kept)


async def test_a_queue_of_other_arguments_is_told(running, wire, vhost, sqlite_store, intake):
    await asyncio.to_thread(vhost.node.api, "PUT", f"/queues/{vhost.name}/other", {"durable": True})
    receiver = Receiver("t", "ci", None, sqlite_store, lambda: NOW)
    inlet = AmqpInlet(receiver, vhost.url, Binding("x", ("#",), "other", True, 10))
    task = asyncio.create_task(inlet.run(intake.accept))
    await until(lambda: "inequivalent" in inlet.fault)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_delivery_that_takes_too_long_is_taken_once(rabbitmq, running, intake, wire):
    """The broker closes the channel of a consumer that acknowledges too late (fault F19): the inlet comes back, and nothing is doubled."""
    short = "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500)."
    usual = "application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000)."
    await asyncio.to_thread(rabbitmq.ctl, "eval", short)
    try:
        intake.gate.clear()
        inlet = await running()
        for number in range(3):
            await wire.publish("x", "k", body(number), message_id=f"m{number}")

        async def is_cut_off():
            return intake.asked and await wire.consumers("q") == 0

        await until(is_cut_off)
    finally:
        await asyncio.to_thread(rabbitmq.ctl, "eval", usual)
    intake.gate.set()
    await until(lambda: wire.consumers("q"))
    await wire.publish("x", "k", body(3), message_id="m3")
    await until(lambda: len(intake.kept) == 4)
    await until(lambda: wire.is_empty("q"))
    assert intake.types() == ["a.b"] * 4 and inlet.fault == ""


async def test_transitions_are_stored_as_if_they_were_posted(vhost, sqlite_store, intake, wire):
    receiver = TransitionReceiver("t", "testbed", None, sqlite_store, lambda: NOW, lambda: None)
    task = asyncio.create_task(AmqpInlet(receiver, vhost.url, Binding("x", ("#",), "q", True, 100)).run(intake.accept))
    try:
        await until(lambda: wire.has_queue("q"))
        await until(lambda: wire.consumers("q"))
        for word in ("running", "ready", "stopped"):
            said = {"timestamp": 1_370_860_773, "type": "experiment", "status": word, "path": "/experiments/1"}
            await wire.publish("x", "res-mng.experiment.state", json.dumps(said).encode())
        (dead,) = await wire.get(DEAD, 1)
        assert "is running; what may follow" in dead.header.properties.headers["x-angelia-reason"]
        await until(lambda: wire.is_empty("q"))
        (experiment,) = await sqlite_store.list_experiments()
        assert experiment.state.label == "stopped" and experiment.reporter == "testbed"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
