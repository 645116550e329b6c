"""A message whose way failed goes the next way of the order: once, in the transaction of the failure, and only as she wishes."""

from datetime import timedelta

import pytest
from tests.house.conftest import NOW, SITE
from tests.house.ways import reach, subjects, trail, with_three_agents

from angelia.model.delivery import Later, Refused, State
from angelia.model.moments import number_of

GONE = Refused("no such user")
BROKEN = Refused("no such user", is_address_bad=True)
USUAL = {"*": {"web": "now", "mail": "now"}}
WANTS = {"preferences": USUAL, "fallback": ["mail", "pager", "horn"]}


@pytest.fixture
async def ways(bench):
    with_three_agents(bench)
    await bench.person("alice", preferences=WANTS)
    await reach(bench, "alice", "pager", "horn")
    return bench


async def wish(ways, **wants):
    await ways.call("PUT", "/api/v1/people/alice/preferences", WANTS | wants, 200)


async def send(ways, **fields):
    return await ways.post("a.b", **({"subject": "look", "to": ["alice"]} | fields))


async def test_what_was_refused_comes_the_next_way_and_says_why(ways):
    ways.answers["mail"].append(GONE)
    message = await send(ways)
    await ways.work()
    assert await trail(ways, message) == [("mail", "bounced", "refused"), ("pager", "delivered", "fallback")]
    assert ways.pushed["pager"].letters[0].decided_by == "fallback:mail"
    assert (await ways.why(message, "alice"))["agents"]["pager"]["decided_by_text"] == "mail could not reach you"
    assert await ways.store.check() == []


async def test_an_address_that_is_over_is_deleted_and_its_message_goes_the_next_way(ways):
    ways.answers["mail"].append(Refused("gone", is_address_over=True))
    message = await send(ways)
    await ways.work()
    assert subjects(ways, "pager") == ["look", "Your mail address has ended"] and subjects(ways, "horn") == []
    assert await trail(ways, message) == [("mail", "bounced", "refused"), ("pager", "delivered", "fallback")]
    assert "mail" not in [one["agent"] for one in (await ways.call("GET", "/api/v1/people/alice/addresses"))["items"]]
    inbox = (await ways.call("GET", "/api/v1/people/alice/inbox"))["items"]
    assert [one["message"]["subject"] for one in inbox].count("Your mail address has ended") == 1


async def test_it_goes_down_the_order_and_ends(ways):
    for name in ("mail", "pager", "horn"):
        ways.answers[name].append(GONE)
    message = await send(ways)
    await ways.work()
    assert await trail(ways, message) == [("mail", "bounced", "refused"), ("pager", "bounced", "refused"), ("horn", "bounced", "refused")]
    assert await ways.store.check() == []


async def test_a_lifetime_that_is_over_and_a_poisoned_letter_are_failures(ways):
    def fail(_):
        raise RuntimeError("a bug")

    ways.mail.answer = lambda _: Later("busy", retry_after=timedelta(days=6))
    late = await send(ways, subject="late")
    await ways.work()
    await ways.work(NOW + timedelta(days=6))
    assert subjects(ways, "pager") == ["late"] and (await trail(ways, late))[0] == ("mail", "expired", "lifetime_over")
    ways.mail.answer = fail
    poisoned = await send(ways, subject="poisoned")
    for hour in range(10):
        await ways.work(ways.now + timedelta(hours=hour))
    assert "poisoned" in subjects(ways, "pager") and (await trail(ways, poisoned))[0] == ("mail", "dead", "poison")


async def test_where_there_is_no_address_the_next_stands_in_from_the_start(ways):
    ways.answers["mail"].append(BROKEN)
    await send(ways, subject="first")
    await ways.work()
    second = await send(ways, subject="second")
    await ways.work()
    assert subjects(ways, "mail") == ["first"]
    assert {"first", "second"} <= set(subjects(ways, "pager"))
    assert await trail(ways, second) == [("pager", "delivered", "fallback")]
    assert ways.pushed["horn"].letters == []
    assert await ways.store.check() == []


async def test_an_address_by_name_that_is_lost_is_none_though_there_is_another(ways):
    wants = {"preferences": {"*": {"web": "now", "mail:alice@mail.example.org": "now"}}}
    await reach(ways, "alice", "mail")
    await wish(ways, **wants)
    ways.answers["mail"].append(BROKEN)
    await send(ways, subject="first")
    await ways.work()
    second = await send(ways, subject="second")
    await ways.work()
    assert await trail(ways, second) == [("pager", "delivered", "fallback")]
    await wish(ways, preferences={"*": {"web": "now", "mail:alice@mail.example.org": "now", "mail:alice@example.org": "now"}})
    third = await send(ways, subject="third")
    await ways.work()
    assert await trail(ways, third) == [("mail", "delivered", "chosen")]


@pytest.mark.parametrize(
    "wants",
    [
        {"preferences": USUAL | {"a": {"pager": "off"}}},
        {"paused": ["pager"]},
        {"rules": [{"id": "r", "type": "a", "final": False, "do": {"pager": "off"}}]},
        {"fallback": ["horn"]},
    ],
)
async def test_what_she_switched_off_is_passed_over(ways, wants):
    await wish(ways, **wants)
    ways.answers["mail"].append(GONE)
    message = await send(ways)
    await ways.work()
    assert await trail(ways, message) == [("mail", "bounced", "refused"), ("horn", "delivered", "fallback")]


async def test_what_the_site_switched_off_serves_where_she_named_it_herself(ways):
    await ways.call("PUT", "/api/v1/site", SITE | {"preferences": {"*": {"web": "now", "mail": "now", "pager": "off"}}, "fallback": ["pager"]}, 200)
    for own, wanted in ((["pager"], ["pager"]), (None, []), ([], [])):
        await wish(ways, fallback=own)
        ways.answers["mail"].append(GONE)
        message = await send(ways)
        await ways.work()
        assert [agent for agent, _, _ in await trail(ways, message)] == ["mail", *wanted]


async def test_the_order_of_the_site_serves_where_she_has_none(ways):
    await ways.call("PUT", "/api/v1/site", SITE | {"fallback": ["horn"]}, 200)
    await wish(ways, fallback=None)
    ways.answers["mail"].append(GONE)
    message = await send(ways)
    await ways.work()
    assert (await trail(ways, message))[-1] == ("horn", "delivered", "fallback")


async def test_quiet_hours_hold_for_who_stands_in(ways):
    await ways.call("PUT", "/api/v1/site", SITE | {"interruptive": ["pager"]}, 200)
    await wish(ways, quiet=["09:00", "11:00"])
    ways.answers["mail"].append(GONE)
    message = await send(ways)
    await ways.work()
    assert (await trail(ways, message))[-1] == ("pager", "due", "quiet_hours")
    await ways.work(NOW + timedelta(hours=2))
    assert subjects(ways, "pager") == ["look"]


async def test_nothing_stands_in_where_another_way_reaches_her_or_she_has_read_it(ways):
    await wish(ways, preferences={"*": {"web": "now", "mail": "now", "horn": "now"}})
    ways.answers["mail"].append(GONE)
    both = await send(ways)
    await ways.work()
    assert [agent for agent, _, _ in await trail(ways, both)] == ["mail", "horn"]
    await wish(ways)
    ways.mail.answer = lambda _: Later("busy")
    read = await send(ways)
    await ways.work()
    alice = await ways.store.person("alice")
    assert await ways.house.answers.seen(alice.person_id, [number_of("msg", read)], "web") == 1
    await ways.work(NOW + timedelta(days=9))
    assert [agent for agent, _, _ in await trail(ways, read)] == ["mail"]


async def test_of_two_ways_that_fail_together_one_stands_in(ways):
    await wish(ways, preferences={"*": {"web": "now", "mail": "now", "horn": "now"}})
    for name in ("mail", "horn"):
        ways.answers[name].append(GONE)
    message = await send(ways)
    await ways.work()
    assert sorted(agent for agent, _, _ in await trail(ways, message)) == ["horn", "mail", "pager"]
    assert subjects(ways, "pager") == ["look"]


async def test_a_digest_that_failed_comes_as_a_digest(ways):
    await wish(ways, preferences={"*": {"web": "now", "mail": "daily"}})
    for number in range(3):
        await send(ways, subject=f"number {number}")
    await ways.work()
    ways.answers["mail"].append(GONE)
    await ways.work(NOW + timedelta(days=1))
    (letter,) = ways.pushed["pager"].letters
    assert sorted(line.subject for group in letter.digest.groups for line in group.lines) == ["number 0", "number 1", "number 2"]
    assert await ways.store.check() == []


async def test_a_report_that_comes_later_sends_it_the_next_way_once(ways):
    message = await send(ways)
    await ways.work()
    (sent,) = await ways.store.list_deliveries(states=[State.DELIVERED], agent="mail")
    assert await ways.house.fallbacks.bounced(sent, "550 no such user", ways.now)
    assert not await ways.house.fallbacks.bounced(sent, "550 no such user", ways.now)
    await ways.work()
    assert await trail(ways, message) == [("mail", "bounced", "came_back"), ("pager", "delivered", "fallback")]
    assert subjects(ways, "pager") == ["look"]
    assert await ways.store.check() == []


@pytest.mark.parametrize(
    "place", ["ops@example.org", f"ops@{'long-' * 11}a.{'long-' * 11}b.{'long-' * 11}c.{'long-' * 11}d.example.org"], ids=["short", "long"]
)
async def test_whoever_has_an_address_that_is_refused_hears_of_it_once_a_day(bench, place):
    """One address may be that of several people, and may be longer than a key."""
    bench.mail.answer = lambda _: Refused("550 unknown", is_address_bad=True)
    for login in ("alice", "bob"):
        await bench.person(login, mail=False)
    addresses = {}
    for day in range(2):
        for login in ("alice", "bob"):
            body = {"agent": "mail", "value": place, "is_verified": True}
            if login in addresses:
                await bench.call("DELETE", f"/api/v1/people/{login}/addresses/{addresses[login]}", None, 204)
            addresses[login] = (await bench.call("POST", f"/api/v1/people/{login}/addresses", body, 201))["id"]
        await bench.post(subject=f"day {day}", to=["alice", "bob"])
        await bench.work(bench.now + timedelta(days=day))
        for login in ("alice", "bob"):
            items = (await bench.call("GET", f"/api/v1/people/{login}/inbox"))["items"]
            assert [one["message"]["type"] for one in items].count("angelia.address.refused") == day + 1, login
