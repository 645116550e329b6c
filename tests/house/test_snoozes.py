"""Entries of an inbox that are put off: gone until their time, then back and unread, by API and by page."""

from datetime import UTC, datetime, timedelta

import pytest

from angelia.store import Session
from angelia.web.pages.marking import later
from angelia.wire.callers import secret_hash


@pytest.fixture
async def alice(bench):
    await bench.person("alice", time_zone="Europe/Berlin")
    await bench.call("PUT", "/api/v1/site", {"preferences": {"*": {"web": "now"}}}, 200)
    for number in range(3):
        await bench.post("a.b", to=["alice"], subject=f"number {number}", object=f"o/{number}")
    await bench.work()
    return await bench.store.person("alice")


async def subjects(bench, state=""):
    found = await bench.call("GET", f"/api/v1/people/alice/inbox?state={state}", status=200)
    return [item["message"]["subject"] for item in found["items"]]


async def mark(bench, change, status=200, **more):
    return await bench.call("POST", "/api/v1/people/alice/inbox/mark", {"change": change} | more, status)


async def ids(bench):
    return {item["message"]["subject"]: item["id"] for item in (await bench.call("GET", "/api/v1/people/alice/inbox?state=all"))["items"]}


async def test_what_is_put_off_comes_back_unread(bench, alice):
    one, until = (await ids(bench))["number 1"], bench.house.now() + timedelta(hours=1)
    await mark(bench, "read", ids=[one])
    assert (await mark(bench, "snooze", ids=[one], until=until.isoformat()))["changed"] == 1
    assert await subjects(bench) == ["number 2", "number 0"] and await subjects(bench, "unread") == ["number 2", "number 0"]
    (put_off,) = (await bench.call("GET", "/api/v1/people/alice/inbox?state=snoozed"))["items"]
    assert datetime.fromisoformat(put_off["snoozed_until"]) == until
    assert (await bench.call("GET", "/api/v1/people/alice/inbox/counts"))["total"] == 2
    assert await bench.store.wake_snoozed(until - timedelta(seconds=1)) == frozenset()
    stamp = await bench.store.inbox_stamp(alice.person_id)
    assert await bench.store.wake_snoozed(until) == {alice.person_id}
    assert await bench.store.inbox_stamp(alice.person_id) != stamp
    assert await subjects(bench) == ["number 2", "number 1", "number 0"]
    assert await subjects(bench, "back") == ["number 1"] and await subjects(bench, "snoozed") == []
    assert (await bench.call("GET", "/api/v1/people/alice/inbox/counts"))["unread"] == 3
    await mark(bench, "read", ids=[one])
    assert await subjects(bench, "back") == [] and await bench.store.wake_snoozed(until) == frozenset()


async def test_it_is_taken_back_and_an_archived_one_stays_away(bench, alice):
    named, until = await ids(bench), bench.house.now() + timedelta(hours=1)
    made = await mark(bench, "snooze", until=until.isoformat())
    assert made["changed"] == 3 and await subjects(bench) == []
    assert (await bench.call("POST", "/api/v1/people/alice/inbox/undo", {"undo": made["undo"]}))["changed"] == 3
    await mark(bench, "snooze", ids=[named["number 0"], named["number 1"]], until=until.isoformat())
    await bench.call("POST", "/api/v1/people/alice/inbox/mark?state=all", {"change": "archive", "ids": [named["number 0"]]}, 200)
    await bench.call("POST", "/api/v1/people/alice/inbox/mark?state=all", {"change": "unsnooze", "ids": [named["number 1"]]}, 200)
    assert await subjects(bench) == ["number 2", "number 1"]
    assert await bench.store.wake_snoozed(until) == frozenset() and await subjects(bench, "archived") == ["number 0"]


@pytest.mark.parametrize("until", [None, "2024-01-01T00:00:00Z", "2200-01-01T00:00:00Z", "tomorrow", "2026-03-20T08:00:00"])
async def test_no_time_to_come(bench, alice, until):
    assert "until" in str(await mark(bench, "snooze", 422, until=until))
    assert len(await subjects(bench)) == 3


@pytest.mark.parametrize(
    ("choice", "now", "then"),
    [
        ("hour", "2024-03-31T00:30:00+00:00", "2024-03-31T01:30:00+00:00"),
        ("tomorrow", "2024-03-30T23:30:00+00:00", "2024-04-01T06:00:00+00:00"),  # half past midnight on Sunday in Berlin, then summer time
        ("monday", "2024-03-31T12:00:00+00:00", "2024-04-01T06:00:00+00:00"),
        ("monday", "2024-03-25T12:00:00+00:00", "2024-04-01T06:00:00+00:00"),
        ("never", "2024-03-25T12:00:00+00:00", "2024-03-25T13:00:00+00:00"),
    ],
)
def test_when_it_comes_back(choice, now, then):
    assert later(choice, datetime.fromisoformat(now), "Europe/Berlin").astimezone(UTC) == datetime.fromisoformat(then)


async def test_the_pages(bench, alice, outside):
    now = bench.house.now()
    session = Session(person_id=alice.person_id, provider="", device="", created_at=now, seen_at=now, ends_at=now + timedelta(days=9))
    await bench.store.open_session(session, secret_hash("alice"), "")
    outside.cookies.set("angelia", "alice")
    one, own = (await ids(bench))["number 1"], {"Sec-Fetch-Site": "same-origin"}
    place = (await outside.post("/inbox/mark", data={"change": "snooze", "ids": one, "later": "tomorrow"}, headers=own)).headers["location"]
    page = (await outside.get(place)).text
    assert "One message is snoozed." in page and "number 1" not in page and "number 2" in page
    assert "number 1" in (await outside.get("/inbox?state=snoozed")).text
    assert "snoozed until" in (await outside.get(f"/inbox/{one}")).text
    await bench.house._wake_snoozed(now + timedelta(days=3))
    page = (await outside.get("/inbox")).text
    assert "One message that you snoozed is back." in page and "number 1" in page
    assert "number 2" not in (await outside.get("/inbox?state=back")).text
