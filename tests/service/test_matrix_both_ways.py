"""Matrix both ways with a real homeserver: what alice does in her room answers her messages, and what she sees there hangs together."""

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from datetime import timedelta

import httpx2
import pytest

from angelia.agents.matrix import hearing
from angelia.front import app_of
from angelia.house import House
from angelia.planning import retry
from angelia.settings import load
from angelia_testing.databases import with_schema
from angelia_testing.peers.synapse import Synapse

LONG = 60.0
_logins = itertools.count()


@pytest.fixture(scope="module")
def synapse():
    made = Synapse()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def alice(synapse):
    return synapse.user("alice")


@pytest.fixture
def bot(synapse):
    """Each test has a bot of its own: a new one knows nothing of other rooms."""
    return synapse.user(f"hub{next(_logins)}")


async def until(look, what):
    """The first answer that is true; asks beside the loop."""
    deadline = time.monotonic() + LONG
    while not (found := await look()):
        assert time.monotonic() < deadline, f"waited too long for {what}"
        await asyncio.sleep(0.05)
    return found


class Site:
    """A hub in this process that works, its API, and alice in a room of hers."""

    def __init__(self, house, api, alice, bot):
        self.house, self.api, self.alice, self.bot, self.room = house, api, alice, bot, ""

    async def call(self, method, path, body=None):
        answer = await self.api.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.text else None

    async def person(self, room=""):
        """Alice, to whom all is told at once; with a room that is hers."""
        await self.call("POST", "/people", {"login": "alice"})
        await self.call("PUT", "/people/alice/preferences", {"preferences": {"*": {"web": "now", "matrix": "now"}}})
        self.room = room or await asyncio.to_thread(self.alice.room, self.bot.user_id)
        await self.call("POST", "/people/alice/addresses", {"agent": "matrix", "value": self.room, "is_verified": True})

    async def post(self, subject, **fields):
        return (await self.call("POST", "/messages", {"type": "a.b", "subject": subject, "to": ["alice"]} | fields))["id"]

    async def shown(self, count, room=""):
        """All events of the bot in the room, oldest first; waits for so many."""

        async def look():
            said = await asyncio.to_thread(self.alice.messages, room or self.room)
            ours = [event for event in said if event["sender"] == self.bot.user_id]
            return ours if len(ours) >= count else None

        return await until(look, f"{count} events")

    async def sent(self, subject, count, **fields):
        """The event of a new message, as number `count` in the room, once the hub has its receipt."""
        await self.post(subject, **fields)
        event = (await self.shown(count))[-1]
        replaced = event["content"].get("m.relates_to", {})
        receipt = replaced["event_id"] if replaced.get("rel_type") == "m.replace" else event["event_id"]

        async def look():
            found = await self.house.store.deliveries_by_receipt("matrix", [receipt])
            return any(one.state.is_final for one in found)

        await until(look, "the receipt")
        return event

    async def answers(self):
        """Subject -> (seen, acknowledged)."""
        stored = {one.message_id: one.subject for one in await self.house.store.list_messages(person_id=None, limit=100)}
        found = await self.house.store.answers(stored)
        return {stored[key]: (True, bool(each[0].acknowledged_at)) for key, each in found.items() if each}

    async def answered(self, wanted):
        async def look():
            return await self.answers() == wanted

        with contextlib.suppress(AssertionError):
            await until(look, "the answers")
        assert await self.answers() == wanted


@contextlib.asynccontextmanager
async def open_site(folder, url, bot, alice, **settings):
    table = {"server": url, "token": bot.token, "bot": bot.user_id} | settings
    wanted = {"house": {"data_dir": str(folder)}, "outbound": {"allow": "127.0.0.1/32"}, "agents": {"matrix": table}, "delivery": {"seen_wait": 0}}
    async with House.open(load(environment={}, overrides=wanted)) as house:
        working = asyncio.create_task(house.work())
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:
            try:
                yield Site(house, api, alice, bot)
            finally:
                house.stop()
                await asyncio.gather(working, return_exceptions=True)


@pytest.fixture
async def site(tmp_path, sqlite_upgraded, synapse, bot, alice, monkeypatch):
    monkeypatch.setattr(hearing, "POLL", 5.0)
    async with open_site(tmp_path, synapse.url, bot, alice) as made:
        await made.person()
        yield made


@pytest.fixture
def sqlite_upgraded(tmp_path):
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")


async def heard(site):
    """The hub follows the homeserver, and has passed its first look, in which nothing counts."""
    await until(lambda: site.house.store.ear_position("matrix"), "the first look")


async def test_a_reaction_acknowledges_and_a_receipt_marks_what_stands_before_it(site):
    await heard(site)
    first = await site.sent("first", 1)
    second = await site.sent("second", 2)
    third = await site.sent("third", 3)
    await asyncio.to_thread(site.alice.react, site.room, third["event_id"], "\N{PILE OF POO}")
    await asyncio.to_thread(site.alice.react, site.room, first["event_id"], "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}")
    await site.answered({"first": (True, True)})
    await asyncio.to_thread(site.alice.read, site.room, second["event_id"])
    await site.answered({"first": (True, True), "second": (True, False)})
    said = await asyncio.to_thread(site.alice.say, site.room, "I look at it")
    await asyncio.to_thread(site.alice.read, site.room, said)
    await site.answered({"first": (True, True), "second": (True, False), "third": (True, False)})
    unread = (await site.call("GET", "/people/alice/inbox?state=unread"))["items"]
    assert unread == []


async def test_what_runs_is_one_message_in_its_thread_and_what_she_reads_is_its_newest_state(site):
    await heard(site)
    queued = await site.sent("queued", 1, thread="job 7", params={"state": "queued"})
    running = await site.sent("running", 2, thread="job 7", params={"state": "running"})
    relation = running["content"]["m.relates_to"]
    assert relation == {"rel_type": "m.replace", "event_id": queued["event_id"]}
    assert running["content"]["m.new_content"]["body"].startswith("running")
    await asyncio.to_thread(site.alice.read, site.room, running["event_id"])
    await site.answered({"queued": (True, False), "running": (True, False)})
    done = await site.sent("done", 3, thread="job 7", params={"state": "done"})
    assert done["content"]["m.relates_to"]["rel_type"] == "m.thread"
    assert done["content"]["m.relates_to"]["event_id"] == queued["event_id"]
    other = await site.sent("other", 4, thread="job 8", params={"state": "done"})
    assert "m.relates_to" not in other["content"]
    # A receipt within a thread speaks of that thread alone.
    await asyncio.to_thread(site.alice.read, site.room, done["event_id"], queued["event_id"])
    await site.answered(dict.fromkeys(("queued", "running", "done"), (True, False)))
    shown = await asyncio.to_thread(site.alice.call, "GET", f"/rooms/{site.room}/event/{queued['event_id']}")
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == running["event_id"]


async def test_a_root_that_is_none_any_more_lets_the_letter_stand_for_itself(site):
    """The address led to another room before: what it points to is not here."""
    first = await site.sent("first", 1, object="x")
    elsewhere = await asyncio.to_thread(site.alice.room, site.bot.user_id)
    (address,) = await site.house.store.addresses((await site.house.store.person("alice")).person_id)
    site.house.agents["matrix"]._rooms[address.value] = elsewhere
    await asyncio.to_thread(site.bot.call, "POST", f"/rooms/{elsewhere}/join", {})
    await site.post("second", object="x")
    (event,) = await site.shown(1, elsewhere)
    assert "m.relates_to" not in event["content"] and event["content"]["body"].startswith("second") and first


async def test_a_room_becomes_hers_by_the_code_that_she_writes_there(site):
    await heard(site)
    room = await asyncio.to_thread(site.alice.room, site.bot.user_id)
    made = await site.call("POST", "/people/alice/addresses/link", {"agent": "matrix"})
    assert made["url"] == f"https://matrix.to/#/{site.bot.user_id}"

    async def is_in():
        return await asyncio.to_thread(site.alice.member, room, site.bot.user_id) == "join"

    await until(is_in, "the bot")
    await asyncio.to_thread(site.alice.say, room, "0" * 20)
    written = await asyncio.to_thread(site.alice.say, room, f" {made['code']}\n")

    async def look():
        found = (await site.call("GET", "/people/alice/addresses"))["items"]
        return [one for one in found if one["value"] == room and one["state"] == "ok"]

    assert await until(look, "the address")

    async def is_confirmed():
        found = await asyncio.to_thread(site.alice.call, "GET", f"/rooms/{room}/messages?dir=b&limit=50")
        marks = [event["content"]["m.relates_to"]["event_id"] for event in found["chunk"] if event["type"] == "m.reaction"]
        return marks == [written]

    assert await until(is_confirmed, "the bot's mark")


async def test_what_happened_while_nobody_listened_is_heard_after_a_restart(tmp_path, sqlite_upgraded, synapse, bot, alice, monkeypatch):
    monkeypatch.setattr(hearing, "MOST_EVENTS", 5)
    async with open_site(tmp_path, synapse.url, bot, alice) as site:
        await site.person()
        await heard(site)
        event = await site.sent("first", 1)
    await asyncio.to_thread(alice.react, site.room, event["event_id"], "\N{THUMBS UP SIGN}")
    for number in range(12):  # so many that the first look shows only the end of them
        await asyncio.to_thread(alice.say, site.room, str(number))
    invitation = await asyncio.to_thread(alice.room, bot.user_id)
    async with open_site(tmp_path, synapse.url, bot, alice) as again:
        await again.answered({"first": (True, True)})

        async def is_in():
            return await asyncio.to_thread(alice.member, invitation, bot.user_id) == "join"

        assert await until(is_in, "the bot")


async def test_invitations_from_other_servers_are_refused(tmp_path, sqlite_upgraded, synapse, bot, alice):
    room = await asyncio.to_thread(alice.room, bot.user_id)
    async with open_site(tmp_path, synapse.url, bot, alice, allow_servers="example.org"):

        async def is_out():
            return await asyncio.to_thread(alice.member, room, bot.user_id) == "leave"

        assert await until(is_out, "the refusal")


async def test_a_worker_killed_after_sending_shows_once(tmp_path, sqlite_upgraded, synapse, bot, alice):
    """The outcome was never written down: whoever comes next sends again, and the homeserver knows the transaction."""
    async with open_site(tmp_path, synapse.url, bot, alice) as site:
        await site.person()
        await site.sent("before", 1, thread="x")
        gone = asyncio.Event()

        async def never(*_):
            gone.set()
            await asyncio.Event().wait()

        site.house.store.settle = never
        await site.post("once", thread="x")
        await asyncio.wait_for(gone.wait(), LONG)
        assert len(await site.shown(2)) == 2
    async with open_site(tmp_path, synapse.url, bot, alice) as again:
        again.room = site.room

        async def is_sent():
            found = await again.house.store.conservation()
            return sum(count for state, count in found.items() if state.label in ("sending", "due")) == 0

        await until(is_sent, "the second try")
        shown = await again.shown(2)
        assert [json.dumps(event["content"]["body"])[1:].split("\\n")[0] for event in shown] == ["before", "once"]


@pytest.fixture
def short_rests(monkeypatch):
    """The real steps, fifty times as fast: a restart takes seconds, and so do the waits around it."""
    monkeypatch.setattr(retry, "STEPS", tuple(step / 50 for step in retry.STEPS))
    monkeypatch.setattr(retry, "SHORTEST_REST", retry.SHORTEST_REST / 50)
    monkeypatch.setattr(retry, "LONGEST_REST", timedelta(seconds=2))


async def test_a_homeserver_that_is_killed_and_started_again_shows_each_letter_once(short_rests, site, synapse, alice):  # fault F27
    before, during = [f"before {number}" for number in range(20)], [f"during {number}" for number in range(20)]
    await site.call("PUT", "/site", {"hourly_cap": 100_000})
    for subject in before:
        await site.post(subject)
    await site.shown(3)
    await asyncio.to_thread(synapse.kill)  # while it is being sent to
    for subject in during:
        await site.post(subject)

    async def is_left_alone():
        return [one for one in (await site.call("GET", "/breakers"))["items"] if one["is_open"]]

    (breaker,) = await until(is_left_alone, "the breaker to open")
    assert breaker["destination"] == synapse.url.replace("http://", "matrix:") and breaker["failures"] >= retry.OPENS_AFTER
    await asyncio.to_thread(synapse.start)
    shown = await site.shown(len(before + during))

    async def is_settled():
        found = await site.house.store.conservation()
        return not any(count for state, count in found.items() if not state.is_final)

    await until(is_settled, "the receipts")
    assert Counter(event["content"]["body"].split("\n")[0] for event in await site.shown(len(shown))) == Counter(before + during)

    async def is_closed():
        return not (await site.call("GET", "/breakers"))["items"]

    assert await until(is_closed, "the breaker to be forgotten")
    await asyncio.to_thread(alice.react, site.room, shown[-1]["event_id"], "\N{THUMBS UP SIGN}")

    async def is_acknowledged():
        return (True, True) in (await site.answers()).values()

    assert await until(is_acknowledged, "the bot to hear again")
