"""Roles from a source behind HTTP, beside those of the hub itself."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from angelia.making import make_directory
from angelia.model.errors import BadSettings
from angelia.outbound import Outbound
from angelia.settings import load
from angelia_testing.peers.http import Reply, ScriptedHttp

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.fixture
async def peer(bench):
    made = ScriptedHttp(lambda _: Reply(body=json.dumps({"roles": {"maintainer": ["bob"]}}).encode()))
    source = {"url": f"{made.url}/{{object}}", "ttl": 0, "stale": 0, "timeout": 2}
    settings = load(environment={}, overrides={"directories": {"builds": source}})
    outbound = Outbound("127.0.0.1/32")
    bench.planner._directory = make_directory(settings, bench.store, outbound)
    yield made
    await bench.planner._directory.close()
    await outbound.close()
    await asyncio.to_thread(made.stop)


async def people(bench):
    for login in ("alice", "bob", "carol"):
        await bench.person(login)
    await bench.call("PUT", "/api/v1/relations?object=KDE/okular", {"roles": {"maintainer": ["alice"]}}, 200)


def told(bench):
    return sorted(letter.person.login for letter in bench.mail.letters)


async def test_both_are_asked_and_whoever_either_knows_is_told(bench, peer):
    await people(bench)
    message = await bench.post("obs.build.fail", object="KDE/okular")
    await bench.work()
    assert told(bench) == ["alice", "bob"]
    assert peer.asked[0].path == "/KDE%2Fokular"
    assert (await bench.why(message, "bob"))["because"] == ["you are maintainer of KDE/okular"]


async def test_a_source_that_fails_lets_the_named_through_and_the_others_wait(bench, peer):  # case B9
    await people(bench)
    answer, peer.answer = peer.answer, lambda _: Reply(503)
    await bench.post("obs.build.fail", object="KDE/okular", to=["carol"])
    await bench.work()
    assert told(bench) == ["carol"]
    peer.answer = answer
    bench.planner._directory._directories[1]._rest = None
    await bench.work(NOW + timedelta(minutes=1))
    assert told(bench) == ["alice", "bob", "carol"]
    assert await bench.store.check() == []


async def test_a_source_that_never_answers_is_shown_to_the_operator(bench, peer, monkeypatch):
    monkeypatch.setattr("angelia.flow.planner.MOST_QUESTIONS", 2)
    await people(bench)
    peer.answer = lambda _: Reply(500)
    await bench.post("obs.build.fail", object="KDE/okular")
    for minutes in range(4):
        await bench.work(NOW + timedelta(minutes=minutes))
    (parked,) = (await bench.call("GET", "/api/v1/parked"))["items"]
    assert "builds: it answered 500" in parked["error"]


@pytest.mark.parametrize(
    "table",
    [{}, {"url": "https://x.example.org/"}, {"url": "https://127.0.0.1/{object}"}, {"url": "https://x.example.org/{object}", "tll": 1}, "x"],
)
async def test_settings_that_would_fail_at_night(house, table):
    settings = load(environment={}, overrides={"directories": {"x": table}})
    with pytest.raises(BadSettings, match="directories"):
        make_directory(settings, house.store, house.outbound)
