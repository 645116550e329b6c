"""Experiments on pages: hers in a list, one with its resources, its history and its key; those of others are not there."""

import pytest
from tests.house.browsing import browsers  # noqa: F401 - a fixture


def told(number, event, kind="experiment", **more):
    place = f"/experiments/{number}" if kind == "experiment" else f"/locations/x/computes/{number}"
    return {"objectType": kind, "eventType": event, "objectId": place, "userId": "alice", "timestamp": 1_370_860_773 + number} | more


@pytest.fixture
async def known(bench):
    made = await bench.call("POST", "/api/v1/transitions", told(1, "create", objectData={"name": "Wake <b>of</b> a cylinder"}), 201)
    compute = told(9, "create", "compute", objectData={"experimentId": "/experiments/1", "name": "node one"})
    await bench.call("POST", "/api/v1/transitions", compute, 201)
    return made["experiment"]


async def test_she_sees_hers_with_all_that_was_reported(bench, browsers, known):  # noqa: F811
    alice = await browsers("alice")
    listed = await alice.get("/experiments")
    assert f"/experiments/{known}" in listed and "Wake &lt;b&gt;of&lt;/b&gt; a cylinder" in listed
    assert "No experiment fits" in await alice.get("/experiments?state=running")
    shown = await alice.get(f"/experiments/{known}")
    key = (await bench.call("GET", f"/api/v1/experiments/{known}"))["key"]
    assert key in shown and "node one" in shown and "experiment create" in shown


async def test_those_of_others_are_not_there(browsers, known):  # noqa: F811
    bob = await browsers("bob")
    assert "No experiment of yours is known here" in await bob.get("/experiments")
    await bob.get(f"/experiments/{known}", 404)
