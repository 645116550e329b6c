"""What comes back from a medium, and how its letters hang together: threads, and one message for what goes on."""

import asyncio
import contextlib
import re
from datetime import timedelta

import httpx2
import pytest
from tests.house.browsing import FROM_OWN_PAGE, WORDS, Browser
from tests.house.conftest import NOW, SITE

from angelia.agent import LostLease
from angelia.flow import ear as ear_module
from angelia.flow.ear import Heard
from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.front import app_of
from angelia_testing.chat import ChatAgent
from angelia_testing.waiting import eventually

LONG = 30.0


@contextlib.asynccontextmanager
async def listening(heard, agent):
    task = asyncio.create_task(heard.run({agent.name: agent}))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def relay_with(bench, agent):
    house = bench.house
    letters = Letters(house.store, house.people, Links("http://hub", house.secret), editing=frozenset({agent.name}))
    return Relay(house.store, {agent.name: agent}, letters, Voice(house.intake.accept), lambda: bench.now, Lifetimes())


@pytest.fixture
async def chat(bench):
    """The bench with an agent that answers in place of mail, and the house's ears on it."""
    agent = ChatAgent()
    bench.mail = bench.house.agents["mail"] = agent  # the house's own: so the API knows that it hears
    bench.relay = relay_with(bench, agent)
    await bench.person("alice")
    async with listening(bench.house.ears, agent):
        yield agent


async def say(agent, what):
    """What the ear answered."""
    count = len(agent.told)
    agent.said.put_nowait(what)
    await eventually(lambda: len(agent.told) > count, LONG)
    return agent.told[-1]


async def answer(bench, message):
    number = bench.house.store.answers({(await stored(bench, message)).message_id})
    return [one for found in (await number).values() for one in found]


async def stored(bench, message):
    return next(one for one in await bench.store.list_messages(person_id=None, limit=100) if one.subject == message)


async def test_receipts_come_back_as_answers_by_the_address_and_by_it_alone(bench, chat):
    await bench.post("a.b", subject="one", to=["alice"])
    await bench.work()
    assert not await say(chat, lambda ear: ear.seen("bob@example.org", "$1"))
    assert not await say(chat, lambda ear: ear.seen("alice@example.org", "$2"))
    assert not await say(chat, lambda ear: ear.acknowledged("", ""))
    assert await answer(bench, "one") == []
    assert await say(chat, lambda ear: ear.seen("alice@example.org", "$1"))
    (said,) = await answer(bench, "one")
    assert (said.seen_by, said.acknowledged_at) == ("mail", None)
    assert await say(chat, lambda ear: ear.acknowledged("", "$1"))
    (said,) = await answer(bench, "one")
    assert said.acknowledged_by == "mail"
    (entry,) = (await bench.call("GET", "/api/v1/people/alice/inbox?state=read", status=200))["items"]
    assert entry["message"]["subject"] == "one"


async def test_who_answers_a_digest_answers_all_that_is_in_it(bench, chat):
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"preferences": {"*": {"web": "now", "mail": "daily"}}}, 200)
    for subject in ("one", "two"):
        await bench.post("a.b", subject=subject, to=["alice"])
    await bench.work()
    await bench.work(NOW + timedelta(days=2))
    assert [letter.digest.messages for letter in chat.letters] == [2]
    await bench.post("a.b", subject="three", to=["alice"])
    assert await say(chat, lambda ear: ear.acknowledged("alice@example.org", "$1"))
    answered = [bool(await answer(bench, subject)) for subject in ("one", "two", "three")]
    assert answered == [True, True, False]


async def test_a_code_that_comes_in_makes_its_place_an_address(bench, chat):
    await bench.person("bob", mail=False)
    await bench.call("POST", "/api/v1/people/bob/addresses/link", {"agent": "web"}, 422)
    made = await bench.call("POST", "/api/v1/people/bob/addresses/link", {"agent": "mail"}, 201)
    assert made["url"] == f"https://chat.example.org/?start={made['code']}"
    assert not await say(chat, lambda ear: ear.verified("guessed", "room@example.org"))
    assert not await say(chat, lambda ear: ear.verified(made["code"], "no address"))
    assert await say(chat, lambda ear: ear.verified(made["code"], "room@example.org"))
    assert not await say(chat, lambda ear: ear.verified(made["code"], "other@example.org"))
    (address,) = (await bench.call("GET", "/api/v1/people/bob/addresses"))["items"]
    assert (address["value"], address["state"]) == ("room@example.org", "ok")
    await bench.post("a.b", subject="hello", to=["bob"])
    await bench.work()
    assert [letter.address.value for letter in chat.letters] == ["room@example.org"]


async def test_the_page_for_addresses_gives_a_code_once(bench, chat):
    await bench.person("bob", mail=False)
    await bench.call("PUT", "/api/v1/people/bob/password", {"password": WORDS}, 204)
    transport = httpx2.ASGITransport(app_of(bench.house))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=FROM_OWN_PAGE) as api:
        browser = Browser(api)
        await browser.sign_in("bob")
        assert 'action="/addresses/link"' in await browser.get("/addresses")
        await browser.post("/addresses/link", 422, agent="web")
        page = await browser.post("/addresses/link", 200, agent="mail")
        code = re.search(r"<code>([0-9a-f]{20})</code>", page)[1]
        assert f"https://chat.example.org/?start={code}" in page
        assert code not in await browser.get("/addresses")
        assert await say(chat, lambda ear: ear.verified(code, "room@example.org"))
        assert "room@example.org" in await browser.get("/addresses")


async def test_one_of_two_hears_and_the_other_takes_over(bench, chat, monkeypatch):
    monkeypatch.setattr(ear_module, "RENEW", 0.05)
    await eventually(lambda: chat.hearing == 1, LONG)
    await say(chat, lambda ear: ear.keep_cursor("s1"))
    house, second = bench.house, ChatAgent()
    clock = [house.ears.clock()]
    other = Heard(house.store, house.answers, lambda: clock[0], house.secret, lambda _: None)
    async with listening(other, second):
        await asyncio.sleep(0.2)
        assert (chat.hearing, second.hearing) == (1, 0)
        clock[0] += timedelta(minutes=5)  # to the other the lease has run out
        await eventually(lambda: second.hearing == 1, LONG)
        assert await say(second, lambda ear: ear.cursor()) == "s1"
        chat.said.put_nowait(lambda ear: ear.keep_cursor("s0"))
        await eventually(lambda: chat.hearing == 0, LONG)
        assert await house.store.ear_position("mail") == "s1"


async def test_an_ear_that_fails_is_started_again(bench, chat, monkeypatch):
    monkeypatch.setattr(ear_module, "LONGEST_PENANCE", 0.01)

    async def fails(_):
        raise LostLease("away")

    chat.said.put_nowait(fails)
    await eventually(lambda: chat.starts == 2, LONG)
    assert await say(chat, lambda ear: ear.cursor()) == ""


STATES = ("queued", "running", "running", "done", "running", "failed")


def progress(state, number, **fields):
    return {"subject": f"{state} {number}", "to": ["alice"], "thread": "job 7", "params": {"state": state}} | fields


@pytest.mark.parametrize("is_at_once", [False, True], ids=["one by one", "in one batch"])
async def test_what_goes_on_is_one_message_and_its_end_another(bench, chat, is_at_once):
    """Also where the store knows nothing yet of the one before."""
    await bench.call("PUT", "/api/v1/site", SITE | {"hourly_cap": 1_000}, 200)
    for number, state in enumerate(STATES):
        await bench.post("a.b", **progress(state, number))
        if not is_at_once:
            await bench.work()
            bench.relay = relay_with(bench, chat)  # as after a restart: nothing but the store remembers
    await bench.post("a.b", subject="another", to=["alice"], thread="job 8", params={"state": "running"})
    await bench.post("a.b", subject="no thread", to=["alice"], params={"state": "running"})
    await bench.work()
    said = {letter.message.subject: (letter.replaces, letter.thread_root) for letter in chat.letters}
    assert said == {
        "queued 0": ("", ""),
        "running 1": ("$1", "$1"),
        "running 2": ("$1", "$1"),
        "done 3": ("", "$1"),
        "running 4": ("", "$1"),
        "failed 5": ("", "$1"),
        "another": ("", ""),
        "no thread": ("", ""),
    }
    assert [letter.message.subject for letter in chat.letters][:6] == [f"{state} {number}" for number, state in enumerate(STATES)]


async def test_each_place_has_its_own_thread(bench, chat):
    await bench.person("bob")
    for number in range(2):
        await bench.post("a.b", subject=str(number), to=["alice", "bob"], object="x")
        await bench.work()
    roots = {(letter.person.login, letter.message.subject): letter.thread_root for letter in chat.letters}
    assert {login: roots[login, "0"] for login in ("alice", "bob")} == {"alice": "", "bob": ""}
    assert {roots["alice", "1"], roots["bob", "1"]} == {"$1", "$2"}
    assert [chat.letters[int(letter.thread_root[1:]) - 1].person for letter in chat.letters[2:]] == [letter.person for letter in chat.letters[2:]]


async def test_an_answer_to_what_was_edited_answers_all_that_stood_there(bench, chat):
    for number, state in enumerate(("queued", "running")):
        await bench.post("a.b", **progress(state, number))
        await bench.work()
    assert await say(chat, lambda ear: ear.seen("alice@example.org", "$1"))
    assert all([await answer(bench, subject) for subject in ("queued 0", "running 1")])
