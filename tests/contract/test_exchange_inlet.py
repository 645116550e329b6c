"""Messages from an exchange of the hub's own, and what is remembered for it, on both databases."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from angelia.broker import ExchangeSettings
from angelia.brokers.embedded import EmbeddedBroker
from angelia.flow.intake import Intake
from angelia.inlets.amqp import Binding, ExchangeInlet
from angelia.inlets.mapping import load_mapping
from angelia.inlets.receiving import Receiver, Result
from angelia.model.event import Event

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LONG = "".join(sha256(bytes([number])).hexdigest() for number in range(200))
"""What can't be packed."""


@pytest.fixture
async def broker(store):
    made = EmbeddedBroker(store, {"x": ExchangeSettings(), "wf.task": ExchangeSettings()}, lambda: NOW)
    yield made
    await made.close()


@pytest.fixture
def intake(store):
    return Intake(store, lambda: int(NOW.timestamp() * 1e6), 1, lambda: None)


@pytest.fixture
async def running(store, broker, intake):
    tasks = []

    async def start(exchange="x", mapping="", keys=("#",)):
        receiver = Receiver("t", "ci", load_mapping(mapping) if mapping else None, store, lambda: NOW)
        inlet = ExchangeInlet(receiver, broker, Binding(exchange, keys, "", True, 100), store)
        # So that it begins here, whenever its task comes to look.
        if not await store.last_states(["inlet:t"]):
            await store.put_last_states({"inlet:t": str(await broker.head(exchange))}, NOW)
        tasks.append(asyncio.create_task(inlet.run(intake.accept)))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def event(number, key="k", exchange="x"):
    body = {"type": f"a.n{number}", "to": ["alice"]}
    return Event(exchange, key, json.dumps(body).encode(), "application/json", properties={"message_id": f"m{number}"})


async def types(store, count):
    async with asyncio.timeout(60):
        while len(found := await store.list_messages(person_id=None)) < count:
            await asyncio.sleep(0.02)
    return sorted(message.type for message in found)


async def test_events_become_messages(running, broker, store):
    await running(keys=("k", "deep.#"))
    await broker.publish([event(1), event(2, "deep.er"), event(3, "other"), Event("x", "k", b"{"), event(4)])
    assert await types(store, 3) == ["a.n1", "a.n2", "a.n4"]


async def test_it_goes_on_where_it_ended(running, broker, store):
    task = await running()
    await broker.publish([event(1)])
    await types(store, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await broker.publish([event(2)])
    await running()
    assert await types(store, 2) == ["a.n1", "a.n2"]


async def test_it_begins_where_it_was_started_first(store, broker, intake):
    """What comes while the hub is away is taken also where nothing had come before."""
    receiver = Receiver("t", "ci", None, store, lambda: NOW)
    inlet = ExchangeInlet(receiver, broker, Binding("x", ("#",), "", True, 100), store)
    first = asyncio.create_task(inlet.run(intake.accept))
    async with asyncio.timeout(10):
        while not await store.last_states(["inlet:t"]):
            await asyncio.sleep(0.02)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await broker.publish([event(1)])
    second = asyncio.create_task(inlet.run(intake.accept))
    assert await types(store, 1) == ["a.n1"]
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


class Late:
    """A broker that gives what came a while ago."""

    def __init__(self, *parts):
        self.parts = parts

    async def follow(self, exchange, since):
        for some in self.parts:
            yield some
        await asyncio.Event().wait()


async def test_what_another_process_has_taken_meanwhile_is_not_taken_again(store, broker, intake):
    """One that lags behind would tell of states that are over, and the other would take its next save for a change."""
    taken = []

    def task(status, number=0):
        text = json.dumps({"_id": "t", "instance_id": "i", "user_id": "alice", "status": status, "n": number})
        return Event("wf.task", "i.t", text.encode(), "application/json")

    def inlet(broker):
        receiver = Receiver("t", "ci", load_mapping("amaretti"), store, lambda: NOW)
        take = receiver.take

        async def noted(events, accept):
            taken.extend(event.position for event in events)
            return await take(events, accept)

        receiver.take = noted
        return ExchangeInlet(receiver, broker, Binding("wf.task", ("#",), "", True, 100), store)

    async def ran(inlet, until):
        running = asyncio.create_task(inlet.run(intake.accept))
        async with asyncio.timeout(60):
            while (await store.last_states(["inlet:t"])).get("inlet:t") != str(until):
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    head = await broker.head("wf.task")
    await store.put_last_states({"inlet:t": str(head)}, NOW)
    await broker.publish([task("running"), task("finished")])
    await ran(inlet(broker), await broker.head("wf.task"))
    await broker.publish([task("finished", 1), task("stopped")])
    late = (await broker.replay("wf.task", head)).events
    await ran(inlet(Late(late[:1], late[1:3], late[3:])), late[3].position)
    assert taken == [event.position for event in late]
    assert await types(store, 3) == ["amaretti.task.finished", "amaretti.task.running", "amaretti.task.stopped"]


async def test_the_same_mapping_serves_here(running, broker, store):
    await running("wf.task", "amaretti")
    for status in ("running", "running", "finished", "finished"):
        task = {"_id": "t", "instance_id": "i", "user_id": "alice", "status": status}
        await broker.publish([Event("wf.task", "i.t", json.dumps(task).encode(), "application/json")])
    await broker.publish([Event("wf.task", "i.t", b'{"_id": "u", "status": "failed"}', "application/json")])
    assert await types(store, 3) == ["amaretti.task.failed", "amaretti.task.finished", "amaretti.task.running"]


async def test_a_receiver_knows_repeats_and_what_the_database_can_not_keep(store, intake):
    receiver = Receiver("t", "ci", None, store, lambda: NOW)
    assert [entry.result for entry in await receiver.take([event(1), event(1)], intake.accept)] == [Result.TAKEN, Result.REPEAT]
    stolen = Event("x", "k", b'{"type": "b.c"}', "", properties={"message_id": "m1"})
    (outcome,) = await receiver.take([stolen], intake.accept)
    assert outcome.result is Result.POISON and "other content" in outcome.why


@pytest.mark.parametrize("what", ["\\ud800", "\\u0000", LONG], ids=["half a character", "NUL", "long"])
async def test_a_thing_with_a_name_that_no_database_keeps_stops_nobody(running, broker, store, what):
    """An index of PostgreSQL holds no long names; a text of neither holds all that JSON can say."""
    await running("wf.task", "amaretti")

    def task(name, status):
        text = f'{{"_id": "{name}", "instance_id": "i", "user_id": "alice", "status": "{status}"}}'
        return Event("wf.task", "i.t", text.encode(), "application/json")

    await broker.publish([task(what, "running"), task(what, "finished"), task("good", "failed")])
    await broker.publish([task("better", "finished")])
    head = str(await broker.head("wf.task"))
    async with asyncio.timeout(60):
        while (await store.last_states(["inlet:t"]))["inlet:t"] != head:
            await asyncio.sleep(0.02)
    assert len(await types(store, 0)) == (2 if len(what) > 100 else 4)


async def test_events_that_have_keys_of_their_own_are_known_by_them(store, intake):
    receiver = Receiver("t", "ci", None, store, lambda: NOW)
    cloud = {"specversion": "1.0", "id": "1", "source": "/x", "type": "a.b"}
    binary = {"cloudEvents:specversion": "1.0", "cloudEvents:id": "2", "cloudEvents:source": "/x", "cloudEvents:type": "a.b"}
    own = {"type": "a.c", "idempotency_key": "k"}

    def events(start):
        yield Event("x", "k", json.dumps(cloud).encode(), "application/cloudevents+json")
        yield Event("x", "k", b'{"n":1}', "application/json", binary, properties={"message_id": f"m{start}"})
        yield Event("x", "k", json.dumps(own).encode(), "application/json", properties={"message_id": f"m{start + 1}"})

    outcomes = [await receiver.take(list(events(start)), intake.accept) for start in (1, 3)]
    assert [[(entry.result, entry.why) for entry in entries] for entries in outcomes] == [[(Result.TAKEN, "")] * 3, [(Result.REPEAT, "")] * 3]


async def test_last_states_are_remembered_for_a_while(store):
    await store.put_last_states({"a": "1", "b": "2"}, NOW)
    await store.put_last_states({"a": "3"}, NOW + timedelta(days=2))
    assert await store.last_states(["a", "b", "c"]) == {"a": "3", "b": "2"}
    assert await store.last_states([]) == {}
    assert await store.forget_states(NOW + timedelta(days=1), 10) == 1
    assert await store.last_states(["a", "b"]) == {"a": "3"}


async def test_an_epoch_changes_once_for_all_who_lost_it(store):
    first = await store.exchange_epoch("amqp:x")
    assert await store.exchange_epoch("amqp:x") == first
    found = await asyncio.gather(*(store.exchange_epoch("amqp:x", lost=first) for _ in range(5)))
    assert len(set(found)) == 1 and found[0] != first
