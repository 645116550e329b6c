"""Seen once is enough: what was read in one place is not told again in the others."""

from datetime import timedelta

import pytest
from tests.house.conftest import NOW

from angelia.flow.clock import now
from angelia.flow.outbox import Patience
from angelia.flow.planner import Planner

DIGEST = {"preferences": {"*": {"web": "now", "mail": "daily"}}}


async def read(bench, *messages):
    entries = (await bench.call("GET", "/api/v1/people/alice/inbox", status=200))["items"]
    ids = [entry["id"] for entry in entries if entry["message"]["id"] in messages]
    assert len(ids) == len(messages)
    await bench.call("POST", "/api/v1/people/alice/inbox/mark", {"ids": ids, "change": "read"}, 200)


async def test_what_was_read_drops_out_of_the_next_digest(bench):
    await bench.person("alice", preferences=DIGEST)
    first, second = await bench.post("a.b", subject="first", to=["alice"]), await bench.post("a.b", subject="second", to=["alice"])
    await bench.work()
    await read(bench, first)
    await bench.work(NOW + timedelta(days=2))
    (letter,) = bench.mail.letters
    assert [line.subject for group in letter.digest.groups for line in group.lines] == ["second"]
    assert (await bench.why(first, "alice"))["deliveries"]
    assert ("suppressed", "seen") in await bench.states() and second


async def test_where_all_was_read_there_is_no_digest(bench):
    await bench.person("alice", preferences=DIGEST)
    only = await bench.post("a.b", to=["alice"])
    await bench.work()
    await read(bench, only)
    await bench.work(NOW + timedelta(days=2))
    assert bench.mail.letters == []
    assert await bench.states() == [("suppressed", "seen")]


@pytest.fixture
def patient(bench):
    """The same stages, but mail waits five minutes."""
    house = bench.house
    bench.planner = Planner(
        house.store, house.people, house.directory, house.intake, lambda: None, Patience(timedelta(minutes=5), frozenset({"mail"}))
    )
    return bench


async def test_mail_waits_a_little_and_is_not_sent_once_it_was_read(patient):
    await patient.person("alice", preferences={"preferences": {"*": {"web": "now", "mail": "now"}}})
    quiet, again = await patient.post("a.b", to=["alice"]), await patient.post("a.c", subject="unread", to=["alice"])
    await patient.post("a.d", subject="it burns", severity="high", to=["alice"])
    await patient.work()
    assert [letter.message.subject for letter in patient.mail.letters] == ["it burns"]
    await read(patient, quiet)
    await patient.work(now() + timedelta(minutes=6))  # the intake has the clock of the machine
    assert [letter.message.subject for letter in patient.mail.letters] == ["it burns", "unread"]
    assert (await patient.why(quiet, "alice"))["agents"] and again


async def test_mail_does_not_wait_where_there_is_no_inbox_for_it(patient):
    await patient.person("alice", preferences={"preferences": {"*": {"web": "off", "feed": "off", "mail": "now"}}})
    await patient.post("a.b", subject="only here", to=["alice"])
    await patient.work()
    assert [letter.message.subject for letter in patient.mail.letters] == ["only here"]
