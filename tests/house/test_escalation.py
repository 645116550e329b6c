"""What nobody answers goes on: to the next agent, the next person, and in the end to the last resort; each step once, and none after an answer."""

import asyncio
from datetime import timedelta

import pytest
from tests.house.conftest import NOW, SITE
from tests.house.ways import reach, subjects, trail, with_three_agents

from angelia.flow.escalator import LEASE
from angelia.model.errors import StoreUnavailable
from angelia.store import Step

CHAIN = {"after": "10m", "to": ["pager", "person:bob", "group:ops"]}
USUAL = {"*": {"web": "now", "mail": "now"}}
STEP = timedelta(minutes=10, seconds=1)


@pytest.fixture
async def ways(bench):
    """alice, whose urgent messages go on to her pager, to bob, and to the group of carol."""
    with_three_agents(bench)
    for login in ("alice", "bob", "carol", "dave"):
        await bench.person(login, preferences={"preferences": USUAL})
    await bench.call("PUT", "/api/v1/groups/ops", {"members": ["carol"]})
    await reach(bench, "alice", "pager", "horn")
    await bench.call("PUT", "/api/v1/site", SITE | {"preferences": USUAL, "last_resort": ["dave"]}, 200)
    await wish(bench, CHAIN)
    return bench


async def wish(bench, chain, **wants):
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"preferences": USUAL, "escalate": {"*": chain}} | wants, 200)


async def send(ways, **fields):
    return await ways.post("a.b", **({"subject": "it burns", "severity": "urgent", "to": ["alice"]} | fields))


async def answered(ways, login, message):
    assert await ways.call("POST", f"/api/v1/people/{login}/inbox/acknowledge", {"ids": [message]}, 200) == {"changed": 1}


def told(ways, login):
    """Subjects of what went to somebody by mail."""
    return [letter.message.subject for letter in ways.mail.letters if letter.person.login == login]


async def test_step_by_step_until_the_last_resort(ways):
    message = await send(ways)
    await ways.work()
    assert told(ways, "alice") == ["it burns"] and subjects(ways, "pager") == []
    await ways.work(NOW + timedelta(minutes=9))
    assert subjects(ways, "pager") == []
    await ways.work(NOW + STEP)
    assert subjects(ways, "pager") == ["it burns"] and told(ways, "bob") == []
    await ways.work(NOW + 2 * STEP)
    assert told(ways, "bob") == ["it burns"] and told(ways, "carol") == []
    await ways.work(NOW + 3 * STEP)
    assert told(ways, "carol") == ["it burns"] and told(ways, "dave") == []
    await ways.work(NOW + 4 * STEP)
    assert told(ways, "dave") == ["Nobody has answered: it burns"]
    await ways.work(NOW + 9 * STEP)
    assert [len(told(ways, login)) for login in ("alice", "bob", "carol", "dave")] == [1, 1, 1, 1]
    assert await trail(ways, message) == [("mail", "delivered", "chosen"), ("pager", "delivered", "escalated")]
    why = await ways.why(message, "alice")
    assert (why["escalation"]["step"], why["escalation"]["ending"]) == (3, "over")
    assert why["agents"]["pager"]["decided_by"] == "escalate:1"
    why = await ways.why(message, "bob")
    assert why["reasons"] == ["escalated:alice"] and why["because"] == ["alice has not answered it"]
    assert (await ways.call("GET", "/api/v1/people/bob/inbox/counts"))["unread"] == 1
    heard_of = {entry["key"]: entry for entry in (await ways.call("GET", "/api/v1/people/bob/types"))["items"]}
    assert heard_of["a.b"]["messages"] == 1, "who is called finds the type in her list, and may say what she wants of it"
    assert await ways.store.check() == []


@pytest.mark.parametrize("login, steps", [("alice", 0), ("alice", 1), ("bob", 2)])
async def test_an_answer_of_anybody_ends_it(ways, login, steps):
    message = await send(ways)
    await ways.work()
    for step in range(1, steps + 1):
        await ways.work(NOW + step * STEP)
    await answered(ways, login, message)
    why = (await ways.why(message, "alice"))["escalation"]
    assert (why["step"], why["ending"], why["due_at"]) == (steps, "acknowledged", None), "it is over at once, and not when its next step is due"
    await ways.work(NOW + 9 * STEP)
    assert [len(subjects(ways, "pager")), len(told(ways, "bob")), len(told(ways, "carol"))] == [int(steps > 0), int(steps > 1), 0]
    assert (await ways.why(message, "alice"))["escalation"]["ending"] == "acknowledged"
    assert told(ways, "dave") == []


async def test_only_her_own_answer_ends_it_where_she_says_so(ways):
    await wish(ways, CHAIN | {"by_anybody": False})
    message = await send(ways, to=["alice", "bob"])
    await ways.work()
    await answered(ways, "bob", message)
    await ways.work(NOW + STEP)
    assert subjects(ways, "pager") == ["it burns"]
    await answered(ways, "alice", message)
    await ways.work(NOW + 3 * STEP)
    assert told(ways, "carol") == []


@pytest.mark.parametrize("until, went_on", [("seen", []), ("acknowledged", ["it burns"])])
async def test_to_have_read_it_is_enough_where_she_says_so(ways, until, went_on):
    await wish(ways, CHAIN | {"until": until})
    await send(ways)
    await ways.work()
    (entry,) = (await ways.call("GET", "/api/v1/people/alice/inbox"))["items"]
    await ways.call("POST", "/api/v1/people/alice/inbox/mark", {"ids": [entry["id"]], "change": "read"}, 200)
    await ways.work(NOW + STEP)
    assert subjects(ways, "pager") == went_on


@pytest.mark.parametrize(
    "chain, fields",
    [(CHAIN, {"severity": "high"}), (CHAIN | {"to": []}, {}), (CHAIN, {"expires_at": "2026-11-24T09:35:00Z"}), (CHAIN | {"after": "7d"}, {})],
)
async def test_what_does_not_press_or_is_past_does_not_go_on(ways, chain, fields):
    await wish(ways, chain)
    await send(ways, **fields)
    await ways.work()
    await ways.work(NOW + 2 * STEP)
    assert subjects(ways, "pager") == [] and told(ways, "bob") == []


async def test_what_she_switched_off_and_who_is_away_is_passed_over_at_once(ways):
    await wish(ways, CHAIN, paused=["pager"])
    away = {"hold": {"until": "2026-12-01T09:00:00Z", "pass_from": "urgent"}, "preferences": {"*": {"web": "now", "mail": "off"}}}
    await ways.call("PUT", "/api/v1/people/bob/preferences", away, 200)
    await send(ways)
    await ways.work()
    await ways.work(NOW + STEP)
    assert subjects(ways, "pager") == [] and told(ways, "bob") == []
    assert told(ways, "carol") == ["it burns"]


async def test_a_digest_that_waits_goes_at_once(ways):
    await wish(ways, CHAIN | {"to": ["mail"]}, preferences={"*": {"web": "now", "mail": "daily"}})
    message = await send(ways)
    await ways.work()
    assert await trail(ways, message) == [("mail", "held", "schedule")]
    await ways.work(NOW + STEP)
    assert told(ways, "alice") == ["it burns"]
    assert await trail(ways, message) == [("mail", "delivered", "escalated")]
    assert await ways.store.check() == []


async def test_the_chain_begins_when_the_poster_lets_it_out(ways):
    await ways.call("PUT", "/api/v1/people/bob/preferences", {"preferences": {"*": {"mail": "daily"}}}, 200)
    let_out = NOW + timedelta(days=5)
    await send(ways, not_before=let_out.isoformat())
    for step in range(6):
        await ways.work(NOW + step * STEP)
    await ways.work(let_out - timedelta(seconds=1))
    assert subjects(ways, "pager") == [] and ways.mail.letters == []
    await ways.work(let_out)
    assert told(ways, "alice") == ["it burns"] and subjects(ways, "pager") == []
    await ways.work(let_out + STEP)
    assert subjects(ways, "pager") == ["it burns"] and told(ways, "bob") == []
    await ways.work(let_out + 2 * STEP)
    assert told(ways, "bob") == ["it burns"]


async def test_who_may_not_see_it_is_not_told(ways):
    await send(ways, restricted=True)
    await ways.work()
    for step in range(1, 6):
        await ways.work(NOW + step * STEP)
    assert subjects(ways, "pager") == ["it burns"]
    assert told(ways, "bob") == told(ways, "carol") == []
    assert told(ways, "dave") == ["Nobody has answered: a.b"]


async def test_the_chain_of_the_site_serves_by_type_where_she_has_none(ways):
    site = SITE | {"preferences": USUAL, "escalate": {"a": {"after": "5m", "to": ["horn"], "severity": "high"}}}
    await ways.call("PUT", "/api/v1/site", site, 200)
    await ways.call("PUT", "/api/v1/people/alice/preferences", {"preferences": USUAL}, 200)
    await send(ways, severity="high")
    await ways.post("other.type", severity="urgent", to=["alice"])
    await ways.work()
    await ways.work(NOW + STEP)
    assert subjects(ways, "horn") == ["it burns"]


async def test_a_step_that_was_not_recorded_comes_again_and_two_workers_tell_once(ways, monkeypatch):
    await send(ways)
    await ways.work()
    record = ways.store.record_step

    async def fail(*_):
        raise StoreUnavailable("down")

    at = NOW + STEP
    monkeypatch.setattr(ways.store, "record_step", fail)
    with pytest.raises(StoreUnavailable):
        await ways.escalator.turn(at)
    monkeypatch.setattr(ways.store, "record_step", record)
    assert await ways.escalator.turn(at) == 0  # it is leased
    later = at + LEASE + timedelta(seconds=1)
    (mine,) = await ways.store.due_escalations(10, LEASE, later)
    (theirs,) = await ways.store.due_escalations(10, LEASE, later + LEASE + timedelta(seconds=1))
    assert (mine.step, theirs.step) == (0, 0)
    told = await asyncio.gather(*(ways.store.record_step(Step(one, 1, later + STEP), later) for one in (mine, theirs)))
    assert told == ["stale", "told"]
