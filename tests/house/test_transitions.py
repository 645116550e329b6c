"""Transitions over the API: what is stored, published and told, in which order, and who sees it."""

import json
from datetime import timedelta

import httpx2
import pytest

from angelia.flow.transitions import Crier, Herald, Outlets
from angelia.front import app_of
from angelia.making import make_outlets
from angelia.model.errors import BrokerUnavailable
from angelia.settings import load

PATH = "/experiments/2946"
NODE = "/locations/uk-epcc/computes/456"
T0 = 1_795_512_600
CREATE = {"timestamp": T0, "objectType": "experiment", "eventType": "create", "objectId": PATH, "source": "res-mng", "groupId": "eco2clouds",
          "userId": "alice", "objectData": {"name": "mmq-test", "duration": 600}}  # fmt: skip
COMPUTE = {"timestamp": T0 + 17, "objectType": "compute", "eventType": "create", "objectId": NODE, "source": "res-mng", "userId": "alice",
           "objectData": {"name": "BonFIRE-monitor", "experimentId": PATH, "host": "node7"}}  # fmt: skip
DONE = {"timestamp": T0 + 900, "objectType": "compute", "eventType": "state", "objectId": NODE, "source": "uk-epcc", "state": "stopped.done"}


def state(word, at=T0, path=PATH):
    return {"timestamp": at, "objectType": "experiment", "eventType": "state", "objectId": path, "source": "res-mng", "state": word}


LIFE = [CREATE, COMPUTE, state("running", T0 + 60), state("stopped", T0 + 660), DONE, state("terminated", T0 + 1260)]


class RecordingBroker:
    """Takes events while it is there."""

    name = "recording"

    def __init__(self):
        self.events, self.is_away = [], False

    async def publish(self, events):
        if self.is_away:
            raise BrokerUnavailable("the broker is away")
        self.events += events


@pytest.fixture
def broker():
    return RecordingBroker()


@pytest.fixture
def crier(house, broker):
    return Crier(house.store, broker, make_outlets(house.settings))


async def report(bench, body, status=201):
    return await bench.call("POST", "/api/v1/transitions", body, status)


@pytest.fixture
async def reporter(bench):
    """A client with the token of a source that may report transitions, and nothing else beside posting."""
    await bench.call("PUT", "/api/v1/sources/res-mng", {}, 200)
    token = (await bench.call("POST", "/api/v1/sources/res-mng/tokens", {"scopes": ["transitions"]}, 201))["secret"]
    transport = httpx2.ASGITransport(app_of(bench.house))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def bodies(events, exchange, form="detailed"):
    return [json.loads(event.body) for event in events if event.exchange == exchange and event.properties["message_type"] == f"transition.{form}"]


# ---- what is published ----------------------------------------------------------------------------------------------------------


async def test_a_life_is_published_in_order(bench, crier, broker):
    answers = (await report(bench, LIFE))["items"]
    assert [answer["status"] for answer in answers] == ["accepted"] * 6
    assert len({answer["experiment"] for answer in answers}) == 1
    key = answers[0]["key"]
    assert len(key) == 20 and int(key, 16) >= 0
    assert await crier.turn(bench.now) == 6
    keys = [event.routing_key for event in broker.events if event.exchange == "resourceUsage"]
    assert keys[::2] == keys[1::2] == [
        "res-mng.experiment.create", "res-mng.compute.create", "res-mng.experiment.state.running", "res-mng.experiment.state.stopped",
        "uk-epcc.compute.state.stopped.done", "res-mng.experiment.state.terminated",
    ]  # fmt: skip
    assert {event.routing_key for event in broker.events if event.exchange == "experiments"} == {key}
    said = [(body["type"], body["status"]) for body in bodies(broker.events, "experiments", "simple")]
    assert said == [("experiment", "ready"), ("compute", "create"), ("experiment", "running"), ("experiment", "stopped"), ("compute", "stopped.done"),
                    ("experiment", "terminated")]  # fmt: skip
    detailed = bodies(broker.events, "experiments")
    assert detailed[0] == CREATE
    assert detailed[3]["objectData"] == {"shutdownAt": T0 + 960, "destroyAt": T0 + 1260}
    # The event of the site did not say it: it is remembered from the create.
    assert detailed[4]["objectData"] == {"experimentId": PATH}
    assert await crier.turn(bench.now) == 0


async def test_what_the_broker_does_not_take_is_published_later_and_once(bench, crier, broker):
    broker.is_away = True
    await report(bench, LIFE[:3])
    assert await crier.turn(bench.now) == 0
    await report(bench, LIFE[3:])
    assert await crier.turn(bench.now) == 0
    broker.is_away = False
    assert await crier.turn(bench.now) == 6
    assert await crier.turn(bench.now + timedelta(minutes=5)) == 0
    assert [body["timestamp"] for body in bodies(broker.events, "resourceUsage")] == [entry["timestamp"] for entry in LIFE]


async def test_a_crier_that_died_is_followed_by_another(bench, crier, broker, house):
    """What it published before it could write that down comes again, with the same ids."""
    await report(bench, CREATE)
    settle, house.store.settle_transitions = house.store.settle_transitions, _dies
    with pytest.raises(RuntimeError):
        await crier.turn(bench.now)
    house.store.settle_transitions = settle
    assert await crier.turn(bench.now + timedelta(seconds=30)) == 0
    assert await crier.turn(bench.now + timedelta(seconds=61)) == 1
    ids = [event.properties["message_id"] for event in broker.events]
    assert ids[:4] == ids[4:] and len(set(ids)) == 2


async def _dies(*arguments):
    raise RuntimeError("killed")


async def test_the_house_publishes_on_its_own_broker(bench):
    head = await bench.house.broker.head("experiments")
    usage = await bench.house.broker.head("resourceUsage")
    key = (await report(bench, CREATE))["key"]
    assert await bench.stages["crier"].turn(bench.now) == 1
    events = list((await bench.house.broker.replay("experiments", head)).events)
    assert [event.routing_key for event in events] == [key, key]
    assert len((await bench.house.broker.replay("resourceUsage", usage)).events) == 2
    assert bench.house.broker.exchanges["experiments"].kind == "direct"


async def test_nothing_is_published_where_no_exchange_is_named(bench, broker):
    await report(bench, CREATE)
    assert await Crier(bench.store, broker, Outlets()).turn(bench.now) == 1
    assert not broker.events


# ---- what is refused, and what is a repeat --------------------------------------------------------------------------------------


async def test_a_repeat_is_told_and_not_published_again(bench, crier, broker):
    first = await report(bench, CREATE)
    again = await report(bench, CREATE, 200)
    assert again == first | {"status": "repeat"}
    assert (await report(bench, [CREATE, state("running")]))["items"][0]["status"] == "repeat"
    assert await crier.turn(bench.now) == 2


async def test_an_illegal_step_refuses_the_whole_batch(bench, crier):
    problem = await report(bench, [*LIFE, state("running", T0 + 2000)], 409)
    assert problem["errors"][0]["field"] == "6.state"
    assert "terminated" in problem["detail"]
    assert (await bench.call("GET", "/api/v1/experiments", status=200))["items"] == []
    assert await crier.turn(bench.now) == 0
    await report(bench, LIFE)
    problem = await report(bench, state("stopped", T0 + 3000), 409)
    assert problem["errors"][0]["field"] == "state"


@pytest.mark.parametrize(
    "body, field",
    [
        (CREATE | {"objectId": "no path"}, "objectId"),
        ([CREATE, CREATE | {"eventType": "born"}], "1.eventType"),
        ({"type": "experiment", "status": "melted", "path": PATH}, "status"),
    ],
)
async def test_a_problem_names_the_field(bench, body, field):
    assert (await report(bench, body, 422))["errors"][0]["field"] == field


async def test_other_bodies_and_methods(bench):
    answer = await bench.api.post("/api/v1/transitions", content=b"<x/>", headers={"Content-Type": "application/xml"})
    assert answer.status_code == 415
    answer = await bench.api.post("/api/v1/transitions", content=b"{")
    assert answer.status_code == 400
    answer = await bench.api.get("/api/v1/transitions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_dirty_feed_is_taken(bench, crier, broker):
    """Children before their parents, events of what nobody knows, an end without a beginning."""
    stray = DONE | {"objectId": "/locations/fr-inria/computes/1"}
    answers = (await report(bench, [stray, COMPUTE, state("stopped", T0 + 5), CREATE]))["items"]
    assert answers[0]["experiment"] is None
    assert answers[3]["state"] == "stopped"
    assert await crier.turn(bench.now) == 4
    (found,) = (await bench.call("GET", "/api/v1/experiments", status=200))["items"]
    assert (found["state"], found["owner"], found["name"]) == ("stopped", "alice", "mmq-test")


# ---- who may report, and who sees -----------------------------------------------------------------------------------------------


async def test_a_source_needs_the_scope(bench, reporter):
    assert (await reporter.post("/api/v1/transitions", json=CREATE)).status_code == 201
    token = (await bench.call("POST", "/api/v1/sources/res-mng/tokens", {}, 201))["secret"]
    answer = await reporter.post("/api/v1/transitions", json=CREATE, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, "scope transitions" in answer.text) == (403, True)


async def test_a_source_keeps_to_its_subtrees(bench, reporter):
    await bench.call("PUT", "/api/v1/sources/res-mng", {"subtrees": ["bonfire.compute"]}, 200)
    app_of(bench.house)
    assert (await reporter.post("/api/v1/transitions", json=COMPUTE)).status_code == 201
    assert (await reporter.post("/api/v1/transitions", json=[COMPUTE, CREATE])).status_code == 403


async def _reader(bench, login, scopes=("read",)):
    token = (await bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": list(scopes)}, 201))["secret"]
    return {"Authorization": f"Bearer {token}"}


async def test_each_sees_what_is_hers(bench, reporter, outside):
    for login in ("alice", "bob", "carol"):
        await bench.person(login)
    await bench.call("PUT", "/api/v1/groups/eco2clouds", {"members": ["bob"]}, 200)
    made = (await reporter.post("/api/v1/transitions", json=LIFE[:4])).json()["items"][0]
    place = f"/api/v1/experiments/{made['experiment']}"
    seen = {}
    for login in ("alice", "bob", "carol"):
        headers = await _reader(bench, login)
        answer = await outside.get(place, headers=headers)
        listed = (await outside.get("/api/v1/experiments", headers=headers)).json()["items"]
        seen[login] = answer.status_code, answer.json().get("key"), len(listed)
    assert seen == {"alice": (200, made["key"], 1), "bob": (200, None, 1), "carol": (404, None, 0)}
    assert (await reporter.get(place)).json()["key"] == made["key"]
    assert (await bench.call("GET", place, status=200))["key"] == made["key"]
    assert "key" not in (await bench.call("GET", "/api/v1/experiments", status=200))["items"][0]


async def test_the_view_of_the_owner(bench):
    place = f"/api/v1/experiments/{(await report(bench, LIFE[:4]))['items'][0]['experiment']}"
    found = await bench.call("GET", place, status=200)
    assert (found["state"], found["stopped_at"], found["shutdown_at"], found["destroy_at"]) == (
        "stopped", "2026-11-24T09:41:00Z", "2026-11-24T09:46:00Z", "2026-11-24T09:51:00Z"
    )  # fmt: skip
    assert [(item["path"], item["type"], item["name"]) for item in found["resources"]] == [(NODE, "compute", "BonFIRE-monitor")]
    assert [entry["timestamp"] for entry in found["history"]] == [T0 + 660, T0 + 60, T0 + 17, T0]
    page = await bench.call("GET", f"{place}?limit=3", status=200)
    rest = await bench.call("GET", f"{place}?limit=3&after={page['next']}", status=200)
    assert [entry["timestamp"] for entry in page["history"] + rest["history"]] == [T0 + 660, T0 + 60, T0 + 17, T0]
    await report(bench, [DONE, LIFE[5]])
    found = await bench.call("GET", place, status=200)
    assert found["resources"][0]["state"] == "stopped.done"
    assert (found["state"], "shutdown_at" in found) == ("terminated", False)
    assert len((await bench.call("GET", f"/api/v1/experiments?path={PATH}&state=terminated", status=200))["items"]) == 1
    assert (await bench.call("GET", "/api/v1/experiments?state=running", status=200))["items"] == []


# ---- who is told ----------------------------------------------------------------------------------------------------------------


async def _messages(bench, login):
    await bench.work()
    return (await bench.call("GET", f"/api/v1/people/{login}/inbox", status=200))["items"]


async def test_people_are_told_by_message(bench, outside):
    for login in ("alice", "bob", "carol"):
        await bench.person(login)
    await bench.call("PUT", "/api/v1/groups/eco2clouds", {"members": ["bob"]}, 200)
    await bench.call("PUT", "/api/v1/people/carol/preferences", {"rules": [{"id": "all", "type": "bonfire.#", "do": {"web": "now"}}]}, 200)
    await report(bench, [CREATE | {"groupId": "ECO2Clouds"}, *LIFE[1:]])
    herald = bench.stages["herald"]
    assert await herald.turn(bench.now) == 6
    assert await herald.turn(bench.now) == 0
    for login in ("alice", "bob"):
        found = [item["message"] for item in await _messages(bench, login)]
        kinds = [message["type"] for message in found]
        assert "bonfire.experiment.stopped" in kinds and "bonfire.experiment.terminated" in kinds, login
        (warning,) = [message for message in found if message["type"] == "bonfire.experiment.stopped"]
        assert (warning["severity"], warning["object"], warning["thread"]) == ("high", PATH, PATH)
        assert "2026-11-24T09:46:00Z" in warning["body"]
        (done,) = [message for message in found if message["type"] == "bonfire.compute.stopped.done"]
        assert (done["object"], done["thread"]) == (NODE, PATH)
    # An experiment is its users' own, whatever somebody else has a rule for.
    assert await _messages(bench, "carol") == []


async def test_a_herald_that_died_tells_once(bench, house):
    await bench.person("alice")
    await report(bench, CREATE)
    settle, house.store.settle_transitions = house.store.settle_transitions, _dies
    with pytest.raises(RuntimeError):
        await bench.stages["herald"].turn(bench.now)
    house.store.settle_transitions = settle
    assert await bench.stages["herald"].turn(bench.now + timedelta(seconds=61)) == 1
    assert len(await _messages(bench, "alice")) == 1


async def test_people_are_not_told_where_that_is_off(bench, house):
    await bench.person("alice")
    await report(bench, CREATE)
    assert await Herald(house.store, house.intake.accept, Outlets(has_messages=False)).turn(bench.now) == 1
    assert await _messages(bench, "alice") == []


async def test_what_is_over_for_long_is_forgotten(bench, house, crier):
    await report(bench, LIFE)
    while await crier.turn(bench.now) or await bench.stages["herald"].turn(bench.now):
        pass
    await bench.janitor.turn(bench.now + timedelta(days=400))
    assert (await bench.call("GET", "/api/v1/experiments", status=200))["items"] == []


@pytest.mark.parametrize(
    "table, text",
    [
        ({"form": "long"}, "simple, detailed or both"),
        ({"experiments": "x", "usage": "x"}, "two exchanges"),
        ({"shutdown_after": -1}, "0 or more"),
    ],
)
def test_settings_that_make_no_sense(table, text):
    with pytest.raises(Exception, match=text):
        load(environment={}, overrides={"transitions": table})


def test_an_exchange_of_ones_own_keeps_its_settings():
    made = load(environment={}, overrides={"transitions": {"usage": "mmq"}, "exchanges": {"experiments": {"kind": "direct", "keep_seconds": 5}}})
    assert (made.exchanges["experiments"].keep_seconds, made.exchanges["mmq"].kind, set(made.exchanges)) == (5, "topic", {"experiments", "mmq"})
    assert set(load(environment={}, overrides={"transitions": {"experiments": "", "usage": ""}}).exchanges) == {"events"}
