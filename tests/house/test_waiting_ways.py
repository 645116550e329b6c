"""What waits for its way while something happens elsewhere: she reads it, she takes it over, the address breaks, the agent is paused."""

from datetime import timedelta

import pytest
from tests.house.conftest import NOW
from tests.house.ways import reach, subjects, trail, with_three_agents

from angelia.flow.clock import now
from angelia.model.delivery import Later, Refused

NEXT_DAY = NOW + timedelta(days=1)
WANTS = {"preferences": {"*": {"web": "now", "mail": "now"}}, "fallback": ["mail", "pager"]}
BY_DIGEST = WANTS | {"preferences": {"*": {"web": "now", "mail": "daily"}}}


@pytest.fixture
async def ways(bench):
    with_three_agents(bench)
    await bench.person("alice", preferences=WANTS)
    await reach(bench, "alice", "pager")
    return bench


async def wish(ways, wants):
    await ways.call("PUT", "/api/v1/people/alice/preferences", wants, 200)


async def send(ways, subject="look", **fields):
    return await ways.post("a.b", **({"subject": subject, "to": ["alice"]} | fields))


async def pause(ways, *, is_paused):
    await ways.call("PATCH", "/api/v1/agents/mail", {"is_paused": is_paused}, 200)
    ways.relay._looked_at = 0.0  # it looks once a second


async def acknowledge(ways, *messages):
    await ways.call("POST", "/api/v1/people/alice/inbox/acknowledge", {"ids": list(messages)}, 200)


def digests(ways, agent="mail"):
    found = [letter.digest for letter in ways.pushed[agent].letters if letter.digest is not None]
    return [[line.subject for group in digest.groups for line in group.lines] for digest in found]


async def address_of(ways, agent):
    found = (await ways.call("GET", "/api/v1/people/alice/addresses", status=200))["items"]
    return next(one for one in found if one["agent"] == agent)


async def test_what_she_took_over_elsewhere_is_not_sent_once_the_paused_agent_goes_on(ways):
    await pause(ways, is_paused=True)
    taken, left = await send(ways, "taken"), await send(ways, "left")
    await ways.work()
    await acknowledge(ways, taken)
    await pause(ways, is_paused=False)
    await ways.work(now() + timedelta(minutes=10))  # the intake has the clock of the machine
    assert subjects(ways, "mail") == ["left"] and subjects(ways, "pager") == []
    assert await trail(ways, taken) == [("mail", "suppressed", "seen")]
    assert await trail(ways, left) == [("mail", "delivered", "chosen")]
    assert await ways.store.check() == []


async def test_what_she_took_over_between_two_tries_is_not_tried_again(ways):
    ways.answers["mail"].append(Later("busy", timedelta(minutes=5)))
    message = await send(ways)
    await ways.work()
    await acknowledge(ways, message)
    await ways.work(now() + timedelta(hours=1))
    assert len(ways.mail.letters) == 1 and await trail(ways, message) == [("mail", "suppressed", "seen")]


async def test_an_address_that_breaks_while_its_digest_is_awaited_sends_it_the_next_way(ways):
    await wish(ways, BY_DIGEST | {"preferences": BY_DIGEST["preferences"] | {"a.c": {"mail": "now"}}})
    waiting = await send(ways, "waiting")
    await ways.work()
    ways.answers["mail"].append(Refused("no such user", is_address_bad=True))
    pressing = await ways.post("a.c", subject="pressing", to=["alice"])
    await ways.work()
    assert (await address_of(ways, "mail"))["state"] == "bouncing"
    await ways.work(NEXT_DAY)
    assert await trail(ways, pressing) == [("mail", "bounced", "refused"), ("pager", "delivered", "fallback")]
    assert digests(ways) == [] and digests(ways, "pager") == [["waiting"]]
    assert (await ways.why(waiting, "alice"))["agents"]["pager"]["decided_by"] == "fallback:mail"
    assert await ways.store.check() == []


async def test_an_address_that_is_deleted_while_a_letter_waits_sends_it_the_next_way(ways):
    await pause(ways, is_paused=True)
    message = await send(ways)
    await ways.work()
    address = await address_of(ways, "mail")
    await ways.call("DELETE", f"/api/v1/people/alice/addresses/{address['id']}", status=204)
    await pause(ways, is_paused=False)
    await ways.work(NOW + timedelta(minutes=1))
    assert subjects(ways, "mail") == [] and subjects(ways, "pager") == ["look"]
    assert (await trail(ways, message))[-1] == ("pager", "delivered", "fallback")


@pytest.mark.parametrize("read", [("one", "two"), ("one",)])
async def test_a_digest_that_could_not_go_says_what_she_has_not_read_meanwhile(ways, read):
    """It was made and is tried again: the server was away meanwhile."""
    await wish(ways, BY_DIGEST)
    messages = {subject: await send(ways, subject) for subject in ("one", "two")}
    await ways.work()
    ways.answers["mail"].append(Later("away", timedelta(minutes=5)))
    await ways.work(NEXT_DAY)
    assert [sorted(digest) for digest in digests(ways)] == [["one", "two"]]
    await acknowledge(ways, *(messages[subject] for subject in read))
    await ways.work(NEXT_DAY + timedelta(hours=1))
    assert digests(ways)[1:] == ([["two"]] if len(read) == 1 else [])
    assert (("suppressed", "seen") in await ways.states()) == (len(read) == 2)
    assert await ways.store.check() == []


SECRET = {"restricted": True, "to": ["group:ops"]}


@pytest.fixture
async def ops(ways):
    """Alice is in a group, until she is not."""
    await ways.call("PUT", "/api/v1/groups/ops", {"members": ["alice"]})

    async def leave():
        await ways.call("PUT", "/api/v1/groups/ops", {"members": []})

    return leave


async def test_who_has_lost_the_right_to_see_a_letter_that_waited_does_not_get_it(ways, ops):
    ways.answers["mail"].append(Later("busy", timedelta(minutes=5)))
    message = await send(ways, "secret", **SECRET)
    await ways.work()
    assert subjects(ways, "mail") == ["secret"]
    await ops()
    await ways.work(NOW + timedelta(hours=1))
    assert subjects(ways, "mail") == ["secret"] and subjects(ways, "pager") == []
    assert await trail(ways, message) == [("mail", "suppressed", "access_lost")]


@pytest.mark.parametrize("is_late", [False, True], ids=["before it is made", "before it goes"])
@pytest.mark.parametrize("others", [0, 1])
async def test_nor_in_a_digest(ways, ops, is_late, others):
    """Promise P14: whenever the right is lost, the digest says what remains; or nothing, and then there is none."""
    await wish(ways, BY_DIGEST)
    message = await send(ways, "secret", **SECRET)
    for _ in range(others):
        await send(ways, "open")
    await ways.work()
    if is_late:
        ways.answers["mail"].append(Later("away", timedelta(minutes=5)))
        await ways.work(NEXT_DAY)
        assert len(digests(ways)) == 1 and "secret" in digests(ways)[0]
    await ops()
    await ways.work(NEXT_DAY + timedelta(hours=1))
    assert digests(ways)[is_late:] == [["open"]] * others
    assert is_late or await trail(ways, message) == [("mail", "suppressed", "access_lost")]
    assert await ways.store.check() == []
