"""Outages in fake time: a server gone for half an hour and for days, poison among good letters, and the nights when clocks change."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from angelia.flow.clock import SteadyClock
from angelia.model.delivery import Later, Sent, State
from angelia.model.errors import StoreUnavailable
from angelia.planning.retry import LONGEST_REST

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
ROOMY = {"preferences": {"*": {"web": "now", "mail": "now"}}, "hourly_cap": 100_000, "schedules": {"nightly": {"every": "day", "at": ["02:30"]}}}


async def posted(bench, count, **fields):
    messages = [{"type": "a.b", "to": ["alice"], "subject": f"s{number}"} | fields for number in range(count)]
    for start in range(0, count, 500):
        await bench.call("POST", "/api/v1/messages", messages[start : start + 500], 201)


async def test_letters_of_one_person_are_tried_in_the_order_of_acceptance(bench):  # promise P5
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    for login in ("alice", "bob"):
        await bench.person(login)
    await posted(bench, 100, to=["alice", "bob"])
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": True}, 200)
    await bench.work()
    await posted(bench, 50, to=["bob", "alice"], thread="t")
    await bench.work()
    assert not bench.mail.letters
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": False}, 200)
    bench.relay._looked_at = 0.0
    await bench.work()
    for login in ("alice", "bob"):
        tried = [letter.message for letter in bench.mail.letters if letter.person.login == login]
        assert len(tried) == 150
        assert [message.message_id for message in tried] == sorted(message.message_id for message in tried)
        assert all(earlier.received_at <= later.received_at for earlier, later in pairwise(tried))


async def test_a_mail_server_that_is_gone_for_half_an_hour(bench):  # figure R4
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    await bench.person("alice")
    await bench.person("bob", mail=False)
    bench.mail.answer = lambda _: Later("the mail server can't be reached")
    await posted(bench, 1_000)
    await bench.work()
    counts = {(row.agent): row.due for row in await bench.store.backlog()}
    assert counts == {"mail": 1_000}  # the inbox had all at once
    now = NOW
    while now < NOW + timedelta(minutes=30):
        now += timedelta(minutes=1)
        await bench.work(now)
    # Others are served at once, meanwhile: what goes to the inbox does not wait behind a thousand mails.
    await posted(bench, 1, to=["bob"])
    await bench.work(now)
    assert (await bench.call("GET", "/api/v1/people/bob/inbox"))["items"]
    assert len(bench.mail.letters) < 300, "the breaker spares the server"
    bench.mail.letters.clear()
    bench.mail.answer = lambda _: Sent("250")
    back_at = now
    while now < back_at + 2 * LONGEST_REST:
        now += timedelta(minutes=1)
        await bench.work(now)
    # Those few that probed the server while it was gone wait for their own next try, half an hour after the fifth.
    assert len(bench.mail.letters) >= 990
    await bench.work(back_at + timedelta(minutes=60))
    sent = Counter(letter.delivery.delivery_id for letter in bench.mail.letters)
    assert len(sent) == 1_000
    assert set(sent.values()) == {1}
    assert Counter(state for state, _ in await all_states(bench)) == {"delivered": 1_000}
    assert await bench.store.check() == []


async def all_states(bench):
    person = await bench.store.person("alice")
    found = await bench.store.list_deliveries(states=list(State), agent="mail", person_id=person.person_id, limit=5_000)
    return [(delivery.state.label, delivery.reason.value) for delivery in found]


async def test_after_five_days_all_is_given_up_and_the_owner_is_told_once(bench):  # figure R4, promise P8
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    await bench.person("alice")
    bench.mail.answer = lambda _: Later("the mail server can't be reached")
    await posted(bench, 50)
    for hours in range(0, 24 * 6, 2):
        await bench.work(NOW + timedelta(hours=hours))
    told = (await bench.call("GET", "/api/v1/people/alice/inbox?type=angelia"))["items"]
    assert [item["message"]["type"] for item in told] == ["angelia.delivery.expired", "angelia.delivery.late"]
    assert all("alice@example.org" in item["message"]["body"] and "can't be reached" in item["message"]["body"] for item in told)
    states = Counter(await all_states(bench))
    assert states[("expired", "lifetime_over")] == 50
    # What tells her waits for the server as well, and nothing else is there.
    assert sum(states.values()) == 52
    # Nobody was reached by mail: it was the server, and her address may work.
    assert (await address_of(bench, "alice"))["state"] == "ok"


async def address_of(bench, login):
    (address,) = (await bench.call("GET", f"/api/v1/people/{login}/addresses"))["items"]
    return address


async def test_an_address_that_alone_fails_is_told_after_a_day_and_switched_off_after_five(bench):  # promise P8
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    for login in ("alice", "bob"):
        await bench.person(login)
    bench.mail.answer = lambda letter: Later("450 greylisted", blames_destination=False) if letter.person.login == "alice" else Sent()
    told = {}
    for hours in range(0, 24 * 6, 2):
        bench.now = NOW + timedelta(hours=hours)
        if hours in (0, 2, 26, 24 * 5 + 10):
            await posted(bench, 1, to=["alice", "bob"])
        await bench.work(bench.now)
        for item in (await bench.call("GET", "/api/v1/people/alice/inbox?type=angelia"))["items"]:
            told.setdefault(item["message"]["type"], hours)
    assert 24 <= told.pop("angelia.delivery.late") <= 30
    assert 24 * 4.5 <= told.pop("angelia.address.unreachable") <= 24 * 5 + 2
    assert told == {}
    assert (await address_of(bench, "alice"))["state"] == "bouncing" and (await address_of(bench, "bob"))["state"] == "ok"
    # What still waited, and what came after, is not tried: it is told why.
    states = Counter(await all_states(bench))
    assert states.keys() == {("expired", "lifetime_over"), ("suppressed", "no_verified_address")}
    tried = len(bench.mail.letters)
    await posted(bench, 1, to=["alice"])
    await bench.work(bench.now)
    assert len(bench.mail.letters) == tried
    assert (await bench.call("GET", "/api/v1/people/bob/inbox?type=angelia"))["items"] == []


@pytest.mark.parametrize("is_mended", [True, False])
async def test_a_backlog_that_was_paused_for_days_is_tried_before_it_is_given_up(bench, is_mended):  # promise P13
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    await bench.person("alice")
    bench.mail.answer = lambda _: Later("the mail server can't be reached")
    await posted(bench, 50)
    await bench.work()
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": True}, 200)
    bench.relay._looked_at = 0.0
    await bench.work(NOW + timedelta(days=6))
    assert Counter(await all_states(bench)) == {("due", "chosen"): 50}
    if is_mended:
        bench.mail.answer = lambda _: Sent("250")
    deliver = bench.mail.deliver

    async def slowly(letter):
        await asyncio.sleep(0.05)  # so that others are looked at while one is a probe
        return await deliver(letter)

    bench.mail.deliver = slowly
    await bench.call("PATCH", "/api/v1/agents/mail", {"is_paused": False}, 200)
    for minutes in range(30):
        bench.relay._looked_at = 0.0
        await bench.work(NOW + timedelta(days=6, minutes=minutes))
    found = Counter(await all_states(bench))
    assert found[("delivered", "chosen") if is_mended else ("expired", "lifetime_over")] == 50
    assert (("expired", "lifetime_over") in found) is not is_mended


async def test_what_waited_while_nobody_worked_is_no_older(bench):  # promise P13
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    await bench.person("alice")
    bench.mail.answer = lambda _: Later("the mail server can't be reached")
    assert await bench.store.attend(NOW, is_back=True) == timedelta()
    await posted(bench, 10)
    await bench.work()
    later = NOW + timedelta(days=6)
    assert await bench.store.attend(later, is_back=True) == timedelta(days=6)
    await bench.work(later)
    await bench.work(later + timedelta(hours=1))
    assert Counter(await all_states(bench)) == {("due", "chosen"): 10}
    bench.mail.answer = lambda _: Sent("250")
    for minutes in range(30):
        await bench.work(later + timedelta(hours=2, minutes=minutes))
    assert Counter(await all_states(bench)) == {("delivered", "chosen"): 10}


async def test_a_store_that_goes_away_between_claim_and_letters_takes_no_room(bench):  # found by figure R7
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    await bench.person("alice")
    await posted(bench, 20)
    await bench.house.people.refresh()
    await bench.planner.turn(NOW)
    write = bench.relay._letters.write

    async def gone(claimed, now):
        raise StoreUnavailable("gone")

    bench.relay._letters.write = gone
    with pytest.raises(StoreUnavailable):
        await bench.relay.turn(NOW)
    bench.relay._letters.write = write
    after = NOW + timedelta(minutes=1)
    assert await bench.store.requeue_expired_leases(after) == 20
    await bench.work(after)
    assert Counter(await all_states(bench)) == {("delivered", "chosen"): 20}


@pytest.mark.parametrize("part", ["refresh", "drain"])
async def test_where_one_part_breaks_the_others_end_before_the_house_is_closed(house, monkeypatch, part):
    drained, relay, janitor = [], *(next(stage for stage in house.stages if stage.name == name) for name in ("relay", "janitor"))

    async def breaks():
        raise TimeoutError

    async def drain():
        await asyncio.sleep(0.2)
        drained.append("janitor")

    monkeypatch.setattr(janitor, "drain", drain)
    monkeypatch.setattr(*((house, "refresh", breaks) if part == "refresh" else (relay, "drain", breaks)))
    working = asyncio.create_task(house.work())
    await asyncio.sleep(0.2)
    house._stale() if part == "refresh" else house.stop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20):
            await working
    assert drained == ["janitor"]


async def test_poison_among_a_thousand(bench):  # figure R9
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    await bench.person("alice")

    def answer(letter):
        if letter.message.subject.endswith("00"):
            raise RuntimeError("boom")
        return Sent()

    bench.mail.answer = answer
    await posted(bench, 1_100)
    await bench.work()
    poison = sum(f"s{number}".endswith("00") for number in range(1_100))
    assert poison == 10
    assert Counter(await all_states(bench)) == {("delivered", "chosen"): 1_090, ("due", "chosen"): 10}
    for hours in range(1, 8):
        await bench.work(NOW + timedelta(hours=hours))
    assert Counter(await all_states(bench)) == {("delivered", "chosen"): 1_090, ("dead", "poison"): 10}
    tries = Counter(letter.delivery.delivery_id for letter in bench.mail.letters)
    assert Counter(tries.values()) == {1: 1_090, 5: 10}


async def test_one_digest_a_night_also_when_clocks_change(bench):  # figure R10, fault F35, promise P11
    zones = {"alice": "Europe/Zurich", "bob": "Australia/Lord_Howe", "carol": "America/St_Johns"}
    await bench.call("PUT", "/api/v1/site", ROOMY, 200)
    for login, zone in zones.items():
        await bench.person(login, time_zone=zone, preferences={"preferences": {"*": {"mail": "nightly"}}})
    sent = []
    bench.mail.answer = lambda letter: sent.append((letter.person.login, bench.now)) or Sent()
    bench.house.intake._clock_us = lambda: int(bench.now.timestamp() * 1_000_000)
    for first in (datetime(2026, month, day, tzinfo=UTC) for month, day in ((3, 5), (3, 26), (4, 2), (10, 1), (10, 22), (10, 29))):
        await bench.work(first)  # what was left of the stretch before
        sent.clear()
        bench.mail.letters.clear()
        for hours in range(5 * 24):
            bench.now = first + timedelta(hours=hours)
            if hours % 3 == 0:
                await posted(bench, 1, to=list(zones))
            await bench.work(bench.now + timedelta(seconds=1))
        for login, zone in zones.items():
            nights = [moment.astimezone(ZoneInfo(zone)).date() for who, moment in sent if who == login]
            assert len(nights) == len(set(nights)), (login, nights)
            assert len(nights) in (4, 5), (login, nights)
            days = [(later - earlier).days for earlier, later in pairwise(nights)]
            assert set(days) == {1}, (login, nights)
            assert all(letter.digest.messages <= 10 for letter in bench.mail.letters)
    assert await bench.store.check() == []


def test_the_clock_of_the_house_goes_on_evenly():  # promise P13
    wall, elapsed = [10**18], [5 * 10**9]
    clock = SteadyClock(lambda: wall[0], lambda: elapsed[0])

    def after(seconds, jump=0.0):
        elapsed[0] += int(seconds * 10**9)
        wall[0] += int((seconds + jump) * 10**9)
        return clock.us()

    begun = clock.us()
    assert begun == 10**15
    for jump in (86_400, -86_400, 3_600, -3_600):
        was = clock.us()
        moved = after(1, jump) - was
        assert 900_000 <= moved <= 1_100_000
        clock.us()
        after(1, -jump)
    # A small difference is made up, and then kept.
    after(0.0, 0.5)
    for _ in range(60):
        after(0.1)
    assert abs(clock.us() - wall[0] // 1_000) <= 1
