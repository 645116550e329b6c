"""The table of states of experiments, the forms of transitions, routing keys, and what is understood of a dirty feed."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.flow.transitions import Form, Outlets, events_of
from angelia.model.errors import Conflict, InvalidInput, TooLarge
from angelia.model.experiment import (
    STATES,
    STEPS,
    CleanUp,
    Experiment,
    ExperimentState,
    IllegalTransition,
    StoredTransition,
    Transition,
    after,
    detailed_body,
    message_type,
    routing_key,
    simple_body,
    told_text,
)
from angelia.model.message import TYPE_LENGTH, checked_type
from angelia.wire.transition_feed import Remark, key_parts, transition_of
from angelia.wire.transitions import parse_transitions

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
UNKNOWN, READY, RUNNING, STOPPED, TERMINATED = ExperimentState
PATH = "/experiments/2946"
# The worked example of a real consumer.
CREATE = {
    "timestamp": 1370860773, "eventType": "create", "objectType": "experiment", "objectId": PATH, "source": "res-mng",
    "groupId": "eco2clouds", "userId": "demo", "objectData": {"name": "mmq-test-eco2clouds", "duration": 600},
}  # fmt: skip
COMPUTE = {
    "timestamp": 1370860790, "eventType": "create", "objectType": "compute", "objectId": "/locations/uk-epcc/computes/456", "source": "res-mng",
    "groupId": "eco2clouds", "userId": "demo", "objectData": {"name": "BonFIRE-monitor", "experimentId": PATH, "host": "node7"},
}  # fmt: skip


def of_experiment(state="", event_type="state", at=NOW, **more):
    return Transition(at=at, object_type="experiment", event_type=event_type, path=PATH, experiment=PATH, state=state, **more)


def experiment(state=UNKNOWN, *, is_created=True, **more):
    return Experiment(path=PATH, state=state, is_created=is_created, changed_at=NOW, **more)


def one(fields):
    (transition,), is_batch = parse_transitions(json.dumps(fields).encode(), NOW)
    assert not is_batch
    return transition


# ---- the table ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, state, then",
    [
        (READY, "running", RUNNING),
        (RUNNING, "stopped", STOPPED),
        (STOPPED, "terminated", TERMINATED),
        (READY, "terminated", TERMINATED),
        (RUNNING, "terminated", TERMINATED),
        (RUNNING, "running", RUNNING),
        (TERMINATED, "terminated", TERMINATED),
        (UNKNOWN, "stopped", STOPPED),
        (READY, "stopped", None),
        (RUNNING, "ready", None),
        (STOPPED, "running", None),
        (TERMINATED, "running", None),
        (TERMINATED, "stopped", None),
    ],
)
def test_steps(before, state, then):
    if then is None:
        with pytest.raises(IllegalTransition, match=before.label) as told:
            after(experiment(before), of_experiment(state))
        assert told.value.field == "state"
        assert isinstance(told.value, Conflict)
    else:
        assert after(experiment(before), of_experiment(state)).state is then


@pytest.mark.parametrize("before", ExperimentState)
def test_deleting_goes_straight_to_terminated(before):
    ended = after(experiment(before), of_experiment(event_type="delete"))
    assert ended.state is TERMINATED
    assert ended.stopped_at is None


def test_a_life_keeps_its_times():
    life = experiment(is_created=False)
    life = after(life, one(CREATE))
    assert (life.state, life.owner, life.group, life.duration, life.name) == (READY, "demo", "eco2clouds", 600, "mmq-test-eco2clouds")
    life = after(life, of_experiment("running", at=NOW))
    life = after(life, of_experiment("stopped", at=NOW + timedelta(seconds=600), user="mallory"))
    assert (life.started_at, life.stopped_at, life.owner) == (NOW, NOW + timedelta(seconds=600), "demo")


def test_a_create_that_comes_late_takes_no_state_back():
    late = after(experiment(RUNNING, is_created=False), one(CREATE))
    assert (late.state, late.owner, late.is_created) == (RUNNING, "demo", True)


def test_a_second_create_is_refused():
    with pytest.raises(IllegalTransition) as told:
        after(experiment(READY), one(CREATE))
    assert told.value.field == "eventType"


@given(st.lists(st.sampled_from([*STATES, "delete", "update", "create"]), max_size=12), st.sampled_from(ExperimentState))
def test_no_way_leads_back(words, start):
    """Whatever is reported: a state only grows, each change is a step of the table, and what is refused changes nothing."""
    now = experiment(start, is_created=False)
    for word in words:
        is_event = word in ("delete", "update", "create")
        try:
            then = after(now, of_experiment("" if is_event else word, event_type=word if is_event else "state"))
        except IllegalTransition:
            continue
        assert then.state is now.state or then.state in STEPS[now.state]
        assert then.state >= now.state
        now = then


# ---- forms and keys -------------------------------------------------------------------------------------------------------------


def test_the_worked_example():
    create, compute = one(CREATE), one(COMPUTE)
    assert detailed_body(create) == CREATE
    assert detailed_body(compute) == COMPUTE
    assert (routing_key(create), routing_key(compute)) == ("res-mng.experiment.create", "res-mng.compute.create")
    assert compute.experiment == PATH
    assert simple_body(create) == {"timestamp": 1370860773, "type": "experiment", "status": "ready", "path": PATH}
    assert simple_body(compute) == {"timestamp": 1370860790, "type": "compute", "status": "create", "path": COMPUTE["objectId"]}


@pytest.mark.parametrize(
    "fields, key",
    [
        ({"eventType": "state", "state": "terminated"}, "res-mng.experiment.state.terminated"),
        ({"eventType": "state", "objectType": "compute", "source": "fr-inria", "state": "stopped.done"}, "fr-inria.compute.state.stopped.done"),
        ({"eventType": "state", "objectType": "compute", "state": "stopped", "substate": "done"}, "res-mng.compute.state.stopped.done"),
        ({"eventType": "state", "objectType": "compute", "state": "resume"}, "res-mng.compute.state.resume"),
        ({"eventType": "delete", "objectType": "site_link"}, "res-mng.site_link.delete"),
    ],
)
def test_routing_keys(fields, key):
    assert routing_key(one({name: value for name, value in CREATE.items() if name != "objectData"} | fields)) == key


def test_a_deleted_experiment_is_terminated_in_the_simple_form():
    assert simple_body(of_experiment(event_type="delete"))["status"] == "terminated"


def test_a_stopped_experiment_says_what_is_cleaned_up_when():
    clean_up = CleanUp(timedelta(seconds=300), timedelta(seconds=300))
    stopped = of_experiment("stopped", source="res-mng", data={"name": "mine"})
    t0 = int(NOW.timestamp())
    assert detailed_body(stopped, clean_up)["objectData"] == {"name": "mine", "shutdownAt": t0 + 300, "destroyAt": t0 + 600}
    subject, text = told_text(stopped, clean_up)
    assert subject == "Experiment mine: stopped"
    assert "shut down at 2026-11-24T09:05:00Z" in text
    assert "destroyed at 2026-11-24T09:10:00Z" in text
    assert "destroyed" not in told_text(of_experiment("terminated"), clean_up)[1]
    assert "shutdownAt" not in detailed_body(replace(stopped, object_type="compute"), clean_up)["objectData"]


@pytest.mark.parametrize("form, forms", [("simple", {"simple"}), ("detailed", {"detailed"}), ("both", {"simple", "detailed"})])
def test_what_is_published_where(form, forms):
    outlets = Outlets("experiments", "resourceUsage", Form(form))
    known = StoredTransition(7, one(COMPUTE), experiment(key="0123456789abcdef0123"))
    events = list(events_of(known, outlets))
    assert {(event.exchange, event.routing_key) for event in events} == {
        ("experiments", "0123456789abcdef0123"), ("resourceUsage", "res-mng.compute.create")
    }  # fmt: skip
    assert {event.properties["message_type"] for event in events} == {f"transition.{name}" for name in forms}
    assert len({event.properties["message_id"] for event in events}) == len(forms)
    loose = list(events_of(StoredTransition(7, one(COMPUTE)), outlets))
    assert {event.exchange for event in loose} == {"resourceUsage"}
    assert not list(events_of(known, Outlets()))


_words = st.text("abcXYZ019_-", min_size=1, max_size=64)
_paths = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=80).map(lambda text: f"/{text}")
_transitions = st.builds(
    lambda object_type, event_type, path, source, state, substate, seconds, user, data: Transition(
        at=datetime.fromtimestamp(seconds, UTC),
        object_type=object_type,
        event_type=event_type if state or event_type != "state" else "update",
        path=path,
        source=source,
        state=state,
        substate=substate if state else "",
        user=user,
        data=data,
    ),
    st.sampled_from(["compute", "network", "storage", "site_link", "gpu"]),
    st.sampled_from(["create", "state", "update", "delete"]),
    _paths,
    _words,
    st.one_of(st.just(""), _words),
    st.one_of(st.just(""), _words),
    st.integers(0, 7_000_000_000),
    st.sampled_from(["", "alice", "bob"]),
    st.dictionaries(
        st.sampled_from(["name", "host", "x"]), st.one_of(st.integers(), st.text("ab ü", max_size=5).filter(lambda text: text != "null"))
    ),
)


@given(_transitions)
def test_what_is_published_is_read_again(transition):
    """The detailed form is taken back as it was, by the strict reader and by that of feeds; keys and types keep to their grammar."""
    body = detailed_body(transition)
    assert one(body) == transition
    assert transition_of(routing_key(transition), json.dumps(body).encode(), NOW) == transition
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.\w+\.(create|state|update|delete)(\.[A-Za-z0-9_-]+){0,2}", routing_key(transition))
    assert len(routing_key(transition).encode()) <= 255
    assert checked_type(message_type(transition)) == message_type(transition)
    assert len(message_type(transition)) <= TYPE_LENGTH
    assert set(simple_body(transition)) == {"timestamp", "type", "status", "path"}


# ---- what is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, field",
    [
        ({"objectType": "a.b"}, "objectType"),
        ({"eventType": "born"}, "eventType"),
        ({"objectId": "experiments/1"}, "objectId"),
        ({"objectId": "/a b"}, "objectId"),
        ({"timestamp": "1370860773"}, "timestamp"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": 1e12}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"eventType": "state"}, "state"),
        ({"eventType": "state", "state": "melted"}, "state"),
        ({"eventType": "state", "state": "a.b.c", "objectType": "compute"}, "state"),
        ({"eventType": "state", "state": "a.b", "substate": "c", "objectType": "compute"}, "substate"),
        ({"substate": "done"}, "state"),
        ({"userId": "a\nb"}, "userId"),
        ({"source": "a.b"}, "source"),
        ({"objectData": []}, "objectData"),
        ({"objectData": {"x": "\x00"}}, "objectData"),
        ({"objectData": {"x": "y" * 20_000}}, "objectData"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_fault_names_its_field(change, field):
    with pytest.raises(InvalidInput) as told:
        one(CREATE | change)
    assert told.value.field == field
    with pytest.raises(InvalidInput) as told:
        parse_transitions(json.dumps([CREATE, CREATE | change]).encode(), NOW)
    assert told.value.field == f"1.{field}"


@pytest.mark.parametrize("missing", ["objectType", "eventType", "objectId"])
def test_what_is_missing_is_named(missing):
    with pytest.raises(InvalidInput) as told:
        one({name: value for name, value in CREATE.items() if name != missing})
    assert told.value.field == missing


@pytest.mark.parametrize(
    "fields, field", [({"status": "melted"}, "status"), ({"status": "state"}, "status"), ({"type": "a b"}, "type"), ({"path": ""}, "path")]
)
def test_faults_of_the_simple_form(fields, field):
    with pytest.raises(InvalidInput) as told:
        one({"timestamp": 1, "type": "experiment", "status": "ready", "path": PATH} | fields)
    assert told.value.field == field


def test_the_simple_form():
    said = one({"timestamp": 5, "type": "compute", "status": "stopped.done", "path": "/computes/1"})
    assert (said.event_type, said.state, said.substate, said.path, said.at.timestamp()) == ("state", "stopped", "done", "/computes/1", 5)
    assert one({"type": "compute", "status": "create", "path": "/computes/1"}).event_type == "create"
    assert one({"type": "experiment", "status": "running", "path": PATH}).experiment == PATH


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"null", b'"x"', b"[5]", b'{"a":1,"a":2}', b'{"timestamp":NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_transition(body):
    with pytest.raises(InvalidInput):
        parse_transitions(body, NOW)


def test_too_much():
    with pytest.raises(InvalidInput, match="1000"):
        parse_transitions(json.dumps([CREATE] * 1_001).encode(), NOW)
    with pytest.raises(TooLarge):
        one(CREATE | {"objectData": {"x": "y" * 20_000}})


# ---- a feed as it is ------------------------------------------------------------------------------------------------------------


def fed(key, fields):
    return transition_of(key, fields if isinstance(fields, bytes) else json.dumps(fields).encode(), NOW)


@pytest.mark.parametrize(
    "key, parts",
    [
        ("res-mng.compute.create", ("res-mng", "compute", "create", "")),
        ("uk-epcc.compute.state.stopped.done", ("uk-epcc", "compute", "state", "stopped.done")),
        ("de.hlrs.site.compute.state.stopped.done.late", ("de.hlrs.site", "compute", "state", "stopped.done")),
        ("res-mng.gpu.create", ("", "", "", "")),
        ("0123456789abcdef0123", ("", "", "", "")),
        ("", ("", "", "", "")),
        ("...", ("", "", "", "")),
    ],
)
def test_parts_of_keys(key, parts):
    found = key_parts(key)
    assert (found.source, found.object_type, found.event_type, found.state) == parts


@pytest.mark.parametrize("host", [None, "null"])
def test_a_host_that_is_null_is_no_host(host):
    said = fed("res-mng.compute.create", COMPUTE | {"objectData": COMPUTE["objectData"] | {"host": host}})
    assert said.data == {"name": "BonFIRE-monitor", "experimentId": PATH}
    assert said.experiment == PATH


def test_a_stop_without_an_experiment():
    said = fed("fr-inria.compute.state.stopped.done", {"timestamp": 1370860999, "objectId": "/locations/fr-inria/computes/1", "objectData": None})
    assert (said.source, said.object_type, said.event_type, said.full_state) == ("fr-inria", "compute", "state", "stopped.done")
    assert said.experiment == ""


def test_what_the_body_says_counts():
    said = fed("res-mng.compute.state.resume", COMPUTE | {"source": "be-ibbt", "eventType": "UPDATE"})
    assert (said.source, said.event_type, said.state) == ("be-ibbt", "update", "")


@pytest.mark.parametrize("at", ["1370860773", 1370860773, 1370860773.0])
def test_times_of_all_kinds(at):
    assert fed("k", CREATE | {"timestamp": at}).at == datetime.fromtimestamp(1370860773, UTC)


@pytest.mark.parametrize("at", [None, "soon", -5, 1e30, True, [], "nan", 10**400])
def test_times_that_are_none(at):
    assert fed("k", CREATE | {"timestamp": at}).at == NOW


def test_the_foreign_body():
    said = fed("0123456789abcdef0123", {"Timestamp": 1370860773.25, "From": "COCOMA", "Message": "the load begins"})
    assert said == Remark(datetime.fromtimestamp(1370860773.25, UTC), "COCOMA", "the load begins")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"5", b"[]", {}, {"From": "x"}, {"objectId": 5}, {"path": "/x"}, {"objectId": "/x", "eventType": "born"},
                                  {"objectId": "/x", "eventType": "create"}, b"[" * 100_000])  # fmt: skip
def test_what_else_is_on_the_exchange_is_none(body):
    assert fed("some.key", body) is None


def test_an_unknown_state_of_an_experiment_is_told():
    with pytest.raises(InvalidInput) as told:
        fed("res-mng.experiment.state.melted", {"objectId": PATH})
    assert told.value.field == "state"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["null", "experiment", "create", "stopped.done"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_names = ["timestamp", "type", "status", "path", "objectType", "eventType", "objectId", "source", "groupId", "userId", "objectData", "state", "Message",
          "From", "Timestamp"]  # fmt: skip


@given(st.text(max_size=30), st.dictionaries(st.sampled_from(_names), _json))
def test_nothing_crashes_the_reader(key, fields):
    try:
        said = fed(key, fields)
    except InvalidInput:
        return
    if isinstance(said, Transition):
        assert said.path.startswith("/")
        json.dumps(detailed_body(said), allow_nan=False).encode()
        assert len(routing_key(said).encode()) <= 255
