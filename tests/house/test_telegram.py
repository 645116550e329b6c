"""Telegram both ways: a chat is linked by a tap, urgent letters are acknowledged under the letter, and what goes on is one message."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from tests.house.conftest import NOW, knows

from angelia.agent import Surroundings
from angelia.agents.telegram import TelegramAgent, TelegramSettings
from angelia.flow import ear as ear_module
from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.model.errors import StoreUnavailable
from angelia.outbound import Outbound
from angelia_testing.peers.telegram_api import TOKEN, TelegramApi, refusal
from angelia_testing.waiting import eventually

LONG = 30.0
ALICE = 1001
PREFERENCES = {"preferences": {"*": {"web": "now", "telegram": "now"}}}


@pytest.fixture
def api():
    made = TelegramApi()
    yield made
    made.stop()


@contextlib.asynccontextmanager
async def listening(house, agent):
    task = asyncio.create_task(house.ears.run({agent.name: agent}))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def bot(bench, api, monkeypatch):
    """The bench with a bot, which hears."""
    monkeypatch.setattr(ear_module, "LONGEST_PENANCE", 0.01)
    outbound = Outbound("127.0.0.1/32")
    agent = TelegramAgent(TelegramSettings(token=TOKEN, api=api.url, poll=2), Surroundings(outbound=outbound))
    house = bench.house
    house.agents["telegram"] = agent
    knows(house, "telegram")
    letters = Letters(house.store, house.people, Links("http://hub", house.secret), editing=frozenset({"telegram"}))
    agents = dict(house.agents) | {"mail": bench.mail}
    bench.relay = Relay(house.store, agents, letters, Voice(house.intake.accept), lambda: bench.now, Lifetimes())
    async with listening(house, agent):
        await eventually(lambda: api.updates.polls, LONG)
        yield agent
    await outbound.close()


async def addresses(bench, login="alice"):
    return [(one["value"], one["state"]) for one in (await bench.call("GET", f"/api/v1/people/{login}/addresses"))["items"]]


async def linked(bench, api, login="alice", chat=ALICE, language="en"):
    """A person whose chat is linked; what the bot said there."""
    await bench.person(login, mail=False, preferences=PREFERENCES)
    made = await bench.call("POST", f"/api/v1/people/{login}/addresses/link", {"agent": "telegram"}, 201)
    assert made["url"] == f"https://t.me/angelia_test_bot?start={made['code']}"
    before = len(api.sent)
    api.says(chat, f"/start {made['code']}", language)
    await eventually(lambda: len(api.sent) > before, LONG)
    return made["code"], api.messages[-1]


async def test_a_chat_is_linked_by_a_code_that_is_good_once(bench, api, bot):
    code, said = await linked(bench, api, language="de")
    assert said.startswith("Verbunden")
    assert await addresses(bench) == [("1001", "ok")]
    for text, answer in ((f"/start {code}", "over"), ("/start 123456", "over"), ("/start", "make a link"), ("/start@angelia_test_bot x", "over")):
        before = len(api.sent)
        api.says(2002, text)
        await eventually(lambda before=before: len(api.sent) > before, LONG)
        assert answer in api.messages[-1] and api.sent[-1]["chat_id"] == 2002
    assert await addresses(bench) == [("1001", "ok")]


async def test_a_code_may_also_be_written(bench, api, bot):
    await bench.person("alice", mail=False)
    made = await bench.call("POST", "/api/v1/people/alice/addresses/link", {"agent": "telegram"}, 201)
    api.says(ALICE, f" {made['code']} ")
    await eventually(lambda: api.sent, LONG)
    assert await addresses(bench) == [("1001", "ok")]


async def test_what_is_not_for_the_bot_gets_no_answer(bench, api, bot):
    for text in ("hello", "/startled", "/start@other_bot code", "/help", "x" * 4_096):
        api.says(ALICE, text)
    await eventually(lambda: api.updates.offsets[-1] == 106, LONG)
    assert api.sent == []


async def test_an_urgent_letter_is_acknowledged_by_its_button(bench, api, bot):
    await linked(bench, api)
    message = await bench.post(subject="dome open in rain", to=["alice"], severity="urgent")
    await bench.post(subject="nothing much", to=["alice"])
    await bench.work()
    texts = {number: shown for (chat, number), shown in api.shown.items() if chat == str(ALICE)}
    urgent = next(number for number, shown in texts.items() if "dome open" in shown["text"])
    assert [number for number, shown in texts.items() if "reply_markup" in shown] == [urgent]
    api.presses(ALICE, urgent)
    await eventually(lambda: api.edits, LONG)
    assert [one["text"] for one in api.pressed] == ["Noted, thank you."]
    assert "reply_markup" not in api.shown[str(ALICE), urgent]
    entries = (await bench.call("GET", "/api/v1/people/alice/inbox?state=read", status=200))["items"]
    assert [entry["message"]["id"] for entry in entries] == [message]


async def test_a_press_elsewhere_acknowledges_nothing(bench, api, bot):
    """Numbers of messages count in each chat: the same number in another chat is another message."""
    await linked(bench, api)
    await linked(bench, api, "bob", 2002)
    await bench.post(subject="dome open in rain", to=["alice"], severity="urgent")
    await bench.work()
    (number,) = [number for (chat, number), shown in api.shown.items() if chat == str(ALICE) and "reply_markup" in shown]
    api.shown["3003", number] = api.shown[str(ALICE), number] | {"chat": {"id": 3003, "type": "private"}}
    api.presses(3003, number)
    await eventually(lambda: api.pressed, LONG)
    assert api.pressed[0]["text"].startswith("This is not open here")
    assert (await bench.call("GET", "/api/v1/people/alice/inbox?state=read", status=200))["items"] == []


def progress(state, number):
    return {"subject": f"{state} {number}", "to": ["alice"], "thread": "job 7", "params": {"state": state}}


async def test_a_running_job_is_one_message_and_its_end_answers_it(bench, api, bot):
    await linked(bench, api)
    for number, state in enumerate(("queued", "running", "running", "done")):
        await bench.post(**progress(state, number))
        await bench.work()
    first, last = [number for (chat, number) in api.shown if chat == str(ALICE)][1:]
    assert [edit["message_id"] for edit in api.edits] == [first, first]
    assert api.shown[str(ALICE), first]["text"].startswith("running 2")
    assert api.shown[str(ALICE), last]["text"].startswith("done 3")
    assert api.shown[str(ALICE), last]["reply_to_message"]["message_id"] == first


async def test_what_is_too_old_to_be_edited_is_said_anew(bench, api, bot):
    await linked(bench, api)
    await bench.post(**progress("queued", 0))
    await bench.work()
    first = max(number for chat, number in api.shown if chat == str(ALICE))
    api.too_old.add(first)
    await bench.post(**progress("running", 1))
    await bench.work()
    await bench.post(**progress("running", 2))
    await bench.work()
    assert [text.split("\n")[0] for text in api.messages[1:]] == ["queued 0", "running 1"]
    second = max(number for chat, number in api.shown if chat == str(ALICE))
    assert api.shown[str(ALICE), second]["text"].startswith("running 2")
    assert api.shown[str(ALICE), second]["reply_to_message"]["message_id"] == first


async def test_a_group_that_has_moved_gets_its_letters_where_it_is_now(bench, api, bot):
    await linked(bench, api, chat=-50)
    api.moved["-50"] = -1007
    api.chats.add("-1007")
    for subject in ("one", "two"):
        await bench.post(subject=subject, to=["alice"])
    await bench.work()
    await bench.work(NOW + timedelta(minutes=1))
    assert await addresses(bench) == [("-1007", "ok")]
    assert sorted((body["chat_id"], body["text"].split("\n")[0]) for body in api.sent[1:]) == [(-1007, "one"), (-1007, "two")]


async def test_a_group_that_has_moved_to_where_she_is_already_is_refused(bench, api, bot):
    await linked(bench, api, chat=-50)
    await bench.call("POST", "/api/v1/people/alice/addresses", {"agent": "telegram", "value": "-1007", "is_verified": True}, 201)
    api.moved["-50"] = -1007
    api.chats.add("-1007")
    await bench.post(subject="one", to=["alice"])
    await bench.work()
    assert sorted(await addresses(bench)) == [("-1007", "ok"), ("-50", "bouncing")]


async def test_a_bot_that_was_blocked_refuses_the_address(bench, api, bot):  # fault F28
    await linked(bench, api)
    api.refusals.append(refusal(403, "Forbidden: bot was blocked by the user"))
    await bench.post(subject="one", to=["alice"])
    await bench.work()
    assert await addresses(bench) == [("1001", "bouncing")]


async def test_after_a_conflict_or_a_fault_it_listens_again_and_nothing_is_lost(bench, api, bot, monkeypatch):
    api.updates.is_taken_elsewhere = True
    polls = api.updates.polls
    api.says(ALICE, "hello")  # ends the question that runs
    await eventually(lambda: api.faults, LONG)
    assert api.faults[-1].startswith("Conflict") and api.updates.polls == polls
    api.says(ALICE, "/start nothing")
    api.updates.is_taken_elsewhere = False
    await eventually(lambda: api.sent, LONG)
    assert [body["chat_id"] for body in api.sent] == [ALICE]


async def test_a_restart_goes_on_where_it_was(bench, api, bot):
    await linked(bench, api)
    await eventually(lambda: api.updates.offsets[-1] == 102, LONG)
    assert await bench.house.store.ear_position("telegram") == "102"


async def test_updates_wait_while_the_store_is_away(bench, api, bot, monkeypatch):
    """What was not taken is not confirmed to the server, and comes again."""
    await bench.person("alice", mail=False)
    made = await bench.call("POST", "/api/v1/people/alice/addresses/link", {"agent": "telegram"}, 201)
    take, tries = bench.house.store.take_link_code, []

    async def fails_once(*given):
        tries.append(given)
        if len(tries) == 1:
            raise StoreUnavailable("no disk")
        return await take(*given)

    monkeypatch.setattr(bench.house.store, "take_link_code", fails_once)
    api.says(ALICE, f"/start {made['code']}")
    await eventually(lambda: api.sent, LONG)
    assert api.messages[-1].startswith("Linked") and len(tries) == 2


def test_links_need_the_bots_name_and_ears_the_operators_will(api):
    assert TelegramAgent(TelegramSettings(token=TOKEN, api=api.url)).link_to("x") == ""  # not asked yet
    assert TelegramAgent(TelegramSettings(token=TOKEN, api=api.url, bot="our_bot")).link_to("x") == "https://t.me/our_bot?start=x"
    assert TelegramAgent(TelegramSettings(token=TOKEN, api=api.url, listens=False)).listen is None
