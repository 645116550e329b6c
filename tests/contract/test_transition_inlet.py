"""Transitions from an exchange, on both databases: they work as those that are posted, and a bad one stops nobody."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from angelia.flow.intake import Intake
from angelia.flow.transitions import Crier, Outlets
from angelia.inlets.mapping import load_mapping
from angelia.inlets.receiving import Receiver, Result
from angelia.inlets.transitions import TransitionReceiver
from angelia.model.event import Event
from angelia.model.experiment import ExperimentState

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
T0 = int(NOW.timestamp())
PATH, NODE = "/experiments/2946", "/locations/uk-epcc/computes/456"
TAKEN, REPEAT, NOTHING, POISON = Result.TAKEN, Result.REPEAT, Result.NOTHING, Result.POISON


class Recorder:
    """A broker that keeps what is published."""

    def __init__(self):
        self.events = []

    async def publish(self, events):
        self.events += events


@pytest.fixture
def woken():
    return []


@pytest.fixture
def receiver(store, woken):
    return TransitionReceiver("t", "testbed", None, store, lambda: NOW, lambda: woken.append(1))


@pytest.fixture
def accept(store):
    return Intake(store, lambda: int(NOW.timestamp() * 1e6), 1, lambda: None).accept


def said(key, body, **properties):
    return Event("x", key, body if isinstance(body, bytes) else json.dumps(body).encode(), "application/json", properties=properties)


def of_experiment(state, at=T0, path=PATH):
    return said(
        f"res-mng.experiment.state.{state}", {"timestamp": at, "objectType": "experiment", "eventType": "state", "objectId": path, "state": state}
    )


CREATE = said("res-mng.experiment.create", {"timestamp": T0, "objectId": PATH, "userId": "alice", "objectData": {"name": "a", "duration": 600}})
COMPUTE = said("res-mng.compute.create", {"timestamp": T0, "objectId": NODE, "objectData": {"experimentId": PATH, "host": "null"}})


async def results(receiver, accept, events):
    return [outcome.result for outcome in await receiver.take(events, accept)]


async def test_a_life_is_stored_published_and_known_again(receiver, accept, store, woken):
    life = [
        CREATE,
        COMPUTE,
        of_experiment("running"),
        of_experiment("stopped", T0 + 600),
        said("uk-epcc.compute.state.stopped", {"objectId": NODE, "timestamp": T0 + 700}),
    ]
    assert await results(receiver, accept, life) == [TAKEN] * 5
    assert woken
    (experiment,) = await store.list_experiments()
    assert (experiment.state, experiment.owner, experiment.reporter) == (ExperimentState.STOPPED, "alice", "testbed")
    recorder = Recorder()
    assert await Crier(store, recorder, Outlets("experiments", "usage")).turn(NOW) == 5
    keys = [event.routing_key for event in recorder.events if event.exchange == "usage"][::2]
    assert keys == [event.routing_key for event in life]
    assert {event.routing_key for event in recorder.events if event.exchange == "experiments"} == {experiment.key}
    assert await results(receiver, accept, life) == [REPEAT] * 5


async def test_one_without_a_place_is_put_aside_and_the_others_are_taken(receiver, accept, store):
    events = [of_experiment("running"), of_experiment("ready"), said("a.compute.create", {"objectId": "/a b"}), of_experiment("terminated", T0 + 1)]
    outcomes = await receiver.take(events, accept)
    assert [outcome.result for outcome in outcomes] == [TAKEN, POISON, POISON, TAKEN]
    assert outcomes[1].why == "state: /experiments/2946 is running; what may follow is stopped, terminated, not ready"
    assert outcomes[2].why == "objectId: this is no path"
    (experiment,) = await store.list_experiments()
    assert experiment.state is ExperimentState.TERMINATED


async def test_a_body_without_a_time_is_known_again_by_that_of_the_broker(receiver, accept, store):
    event = said("a.compute.create", {"objectId": NODE, "objectData": {"experimentId": PATH}}, timestamp=T0 - 60)
    later = TransitionReceiver("t", "testbed", None, store, lambda: NOW + timedelta(minutes=1), lambda: None)
    assert await results(receiver, accept, [event]) == [TAKEN]
    assert await results(later, accept, [event]) == [REPEAT]
    (stored,) = await store.transitions_of((await store.list_experiments())[0].experiment_id)
    assert stored.transition.at == NOW - timedelta(minutes=1)


async def test_what_is_no_transition_goes_by_the_mapping_or_is_passed_over(receiver, accept, store):
    remark = Event("experiments", "0123456789abcdef0123", b'{"From": "tool", "Message": "almost full", "Timestamp": 1}', "application/json")
    assert await results(receiver, accept, [remark, said("k", b"not JSON"), CREATE]) == [NOTHING, NOTHING, TAKEN]
    rest = Receiver("t", "testbed", load_mapping("bonfire"), store, lambda: NOW)
    both = TransitionReceiver("t", "testbed", rest, store, lambda: NOW, lambda: None)
    assert await results(both, accept, [remark, of_experiment("running"), said("k", b"not JSON")]) == [TAKEN, TAKEN, POISON]
    assert [message.type for message in await store.list_messages(person_id=None)] == ["bonfire.experiment.note"]
