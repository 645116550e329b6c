"""The ear of the Matrix bot against a strict fake of the homeserver: what no real one does at a test's will."""

import asyncio
import json
from urllib.parse import unquote

import pytest

from angelia.agents.matrix import hearing
from angelia.agents.matrix.hearing import Hearing, NotHeard
from angelia.agents.matrix.settings import MatrixSettings, plain_key
from angelia.model.errors import StoreUnavailable
from angelia.outbound import Answer, NoAnswer

ME, ALICE = "@hub:test.example", "@alice:test.example"
UP = "\N{THUMBS UP SIGN}"


class Homeserver:
    """Answers /sync with what a test has put, then stays silent; knows events by room, and refuses what it does not know."""

    def __init__(self, *syncs):
        self.syncs, self.asked, self.events, self.context, self.odd = list(syncs), [], {}, {}, []

    async def call(self, method, path, body=None, *, query=None, patience=0.0):
        self.asked.append((method, unquote(path), query or {}))
        if self.odd and (found := self.odd.pop(0)) is not None:
            return found
        match method, path.split("/")[1:]:
            case "GET", ["account", "whoami"]:
                return said({"user_id": ME})
            case "GET", ["sync"]:
                assert patience and json.loads(query["filter"])["room"]["ephemeral"] == {"types": ["m.receipt"]}
                if not self.syncs:
                    await asyncio.Event().wait()
                return said(self.syncs.pop(0))
            case "GET", ["rooms", room, "event", event]:
                known = self.events.get((unquote(room), unquote(event)))
                return said(known) if known else refused(404, "M_NOT_FOUND")
            case "GET", ["rooms", room, "context", event]:
                known = self.context.get((unquote(room), unquote(event)))
                return said(known) if known else refused(404, "M_NOT_FOUND")
            case "POST", ["rooms", _, "join" | "leave"]:
                assert body == {}
                return said({})
        raise AssertionError(f"no such request: {method} {path}")


class Recorder:
    """An ear that keeps what it is told."""

    def __init__(self, since="s0"):
        self.told, self.since, self.fails = [], since, False

    async def seen(self, address, receipt):
        return await self._tell("seen", address, receipt)

    async def acknowledged(self, address, receipt):
        return await self._tell("acknowledged", address, receipt)

    async def verified(self, code, address):
        return await self._tell("verified", address, code)

    async def _tell(self, *what):
        if self.fails:
            raise StoreUnavailable("no store")
        self.told.append(what)
        return True

    async def cursor(self):
        return self.since

    async def keep_cursor(self, text):
        self.since = text


def said(document):
    return Answer(200, {}, json.dumps(document).encode())


def refused(status, kind, **more):
    return Answer(status, {}, json.dumps({"errcode": kind} | more).encode())


def sync(number, room="!r", timeline=(), receipts=None, invite=None, **limited):
    joined = {room: {"timeline": {"events": list(timeline)} | limited, "ephemeral": {"events": []}}}
    if receipts:
        joined[room]["ephemeral"]["events"] = [{"type": "m.receipt", "content": receipts}]
    return {"next_batch": f"s{number}", "rooms": {"join": joined, "invite": invite or {}}}


def reaction(event="$1", key=UP, sender=ALICE):
    return {"type": "m.reaction", "sender": sender, "content": {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": key}}}


def ours(event, relation=None, sender=ME):
    return {"event_id": event, "sender": sender, "type": "m.room.message", "content": {"m.relates_to": relation} if relation else {}}


def text(body, sender=ALICE):
    return {"type": "m.room.message", "sender": sender, "event_id": "$c", "content": {"body": body}}


def read(event, user=ALICE, **receipt):
    return {event: {"m.read": {user: {"ts": 1} | receipt}}}


async def heard(server, ear=None, **settings):
    """What the ear was told once all was worked off."""
    ear = ear or Recorder()
    wanted = MatrixSettings(server="https://m.example.org", token="t", **settings)
    running = asyncio.create_task(Hearing(server, wanted, ear).run())
    async with asyncio.timeout(30):
        while (server.syncs or server.asked[-1:] == [] or server.asked[-1][1] != "/sync") and not running.done():
            await asyncio.sleep(0)
    running.cancel()
    ended = (await asyncio.gather(running, return_exceptions=True))[0]
    if isinstance(ended, Exception):
        raise ended
    return ear.told


async def test_only_the_chosen_reactions_of_others_to_our_own_events_in_that_room_count():
    server = Homeserver(
        sync(1, timeline=[reaction(), reaction("$2"), reaction("$3"), reaction("$4"), reaction(key="\N{PILE OF POO}"), reaction(sender=ME)]),
        sync(2, room="!his", timeline=[reaction("$1")]),
    )
    server.events = {
        ("!r", "$1"): ours("$1"),
        ("!r", "$2"): ours("$2", sender=ALICE),
        ("!r", "$3"): ours("$3", {"rel_type": "m.replace", "event_id": "$1"}),
    }
    assert await heard(server) == [("acknowledged", "", "$1"), ("acknowledged", "", "$1")]


async def test_the_acknowledging_reactions_are_a_setting():
    server = Homeserver(sync(1, timeline=[reaction(), reaction(key="\N{EYES}")]))
    server.events = {("!r", "$1"): ours("$1")}
    assert await heard(server, acknowledge="\N{EYES}") == [("acknowledged", "", "$1")]
    assert (
        plain_key("\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-6}") == UP
        and plain_key("\N{HEAVY CHECK MARK}\ufe0f") in "\N{HEAVY CHECK MARK}"
    )


IN_THREAD = {"rel_type": "m.thread", "event_id": "$1"}


@pytest.mark.parametrize(
    ("receipt", "seen"),
    [({}, ["$1", "$2", "$3"]), ({"thread_id": "main"}, ["$1", "$3"]), ({"thread_id": "$1"}, ["$1", "$2"])],
    ids=["everywhere", "outside threads", "in one thread"],
)
async def test_a_receipt_reads_what_stands_before_it_in_its_thread_once(receipt, seen):
    server = Homeserver(sync(1, receipts=read("$9", **receipt)), sync(2, receipts=read("$9", **receipt)), sync(3, receipts=read("$9", ME)))
    before = [ours("$1"), ours("$2", IN_THREAD), ours("$3"), ours("$4", sender=ALICE)]
    server.context = {("!r", "$9"): {"event": ours("$9", sender=ALICE), "events_before": before}}
    assert await heard(server) == [("seen", "", event) for event in seen]
    assert len([path for _, path, _ in server.asked if "/context/" in path]) == 2  # our own receipts are not looked at


async def test_what_was_edited_is_seen_again():
    server = Homeserver(sync(1, receipts=read("$1")), sync(2, receipts=read("$2")))
    edit = ours("$2", {"rel_type": "m.replace", "event_id": "$1"})
    server.context = {("!r", "$1"): {"event": ours("$1")}, ("!r", "$2"): {"event": edit, "events_before": [ours("$1")]}}
    assert await heard(server) == [("seen", "", "$1")] * 2


async def test_only_what_looks_like_a_code_is_tried():
    code = "0123456789abcdef0123"
    server = Homeserver(sync(1, timeline=[text("hello"), text(code.upper()), text(f"{code} 1"), text(f" {code}", sender=ME), text(f" {code}\n")]))
    server.odd = [None, None, said({"event_id": "$mark"})]
    assert await heard(server) == [("verified", "!r", code)]
    assert "/send/m.reaction/" in server.asked[2][1]


def invitation(sender):
    return {"!new": {"invite_state": {"events": [{"type": "m.room.member", "state_key": ME, "sender": sender}, {"type": "m.room.name"}]}}}


@pytest.mark.parametrize(
    ("allowed", "sender", "way"),
    [("", "@a:any.example", "join"), ("test.example", "@a:TEST.example", "join"), ("test.example", "@a:evil.example", "leave"),
     ("test.example", "@a:evil.example:test.example", "leave"), ("test.example", "", "leave")],
)  # fmt: skip
async def test_whose_invitations_are_taken(allowed, sender, way):
    server = Homeserver(sync(1, invite=invitation(sender)))
    await heard(server, Recorder(since=""), allow_servers=allowed)  # also at the very first start
    assert ("POST", f"/rooms/!new/{way}", {}) in server.asked
    assert len([one for one in server.asked if one[0] == "POST"]) == 1


async def test_an_invitation_that_was_taken_back_is_put_away():
    server = Homeserver(sync(1, invite=invitation(ALICE)))
    server.odd = [None, None, refused(403, "M_FORBIDDEN")]
    await heard(server)
    assert [path for method, path, _ in server.asked if method == "POST"] == ["/rooms/!new/join", "/rooms/!new/leave"]


async def test_at_the_very_first_start_the_past_counts_for_nothing():
    server, ear = Homeserver(sync(1, timeline=[reaction()]), sync(2, timeline=[reaction()])), Recorder(since="")
    server.events = {("!r", "$1"): ours("$1")}
    assert await heard(server, ear) == [("acknowledged", "", "$1")]
    assert ear.since == "s2"


async def test_the_cursor_moves_only_when_all_is_done():
    server, ear = Homeserver(sync(1), sync(2, timeline=[reaction()])), Recorder()
    server.events, ear.fails = {("!r", "$1"): ours("$1")}, True
    with pytest.raises(StoreUnavailable):
        await heard(server, ear)
    assert ear.since == "s1"
    server.syncs, ear.fails = [sync(2, timeline=[reaction()])], False
    assert await heard(server, ear) == [("acknowledged", "", "$1")]
    assert server.asked[-1][2]["since"] == "s2"


async def test_a_gap_is_read_back_page_by_page():
    server = Homeserver(sync(1, timeline=[reaction("$3")], limited=True, prev_batch="p1"))
    server.events = {("!r", f"${number}"): ours(f"${number}") for number in (1, 2, 3)}
    server.odd = [None, None, said({"chunk": [reaction("$2")], "end": "p0"}), None, said({"chunk": [reaction("$1")]})]
    assert await heard(server) == [("acknowledged", "", f"${number}") for number in (2, 1, 3)]
    pages = [query for _, path, query in server.asked if path.endswith("/messages")]
    assert [(page["from"], page["to"]) for page in pages] == [("p1", "s0"), ("p0", "s0")]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (NoAnswer("refused"), "no answer"),
        (refused(401, "M_UNKNOWN_TOKEN"), "agents.matrix.token"),
        (Answer(502, {}, b"<html>"), "502"),
        (refused(403, "M_FORBIDDEN"), "M_FORBIDDEN"),
    ],
)
async def test_what_ends_the_listening(answer, why):
    server = Homeserver()
    server.odd = [None, answer]
    with pytest.raises(NotHeard, match=why):
        await heard(server)


async def test_limits_are_waited_for_as_long_as_the_server_says(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    server = Homeserver(sync(1, timeline=[reaction()]))
    server.events = {("!r", "$1"): ours("$1")}
    server.odd = [None, None, refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=1_500), refused(429, "M_LIMIT_EXCEEDED")]
    with monkeypatch.context() as patched:
        patched.setattr(hearing, "wait", sleep)
        assert await heard(server) == [("acknowledged", "", "$1")]
    assert slept == [1.5, 5.0]


HOSTILE = [
    {"rooms": []}, {"rooms": {"join": [], "invite": 3}}, {"rooms": {"join": {"!r": None, "!s": {"timeline": [], "ephemeral": 7}}}},
    {"rooms": {"join": {"!r": {"timeline": {"events": [None, 3, {}, {"type": "m.reaction"}, {"type": "m.reaction", "content": {"m.relates_to": 3}},
     {"type": "m.room.message", "content": []}, reaction(event=None), reaction(event={}), reaction(key=["x"]), text(None), text({"x": 1})],
     "limited": True, "prev_batch": 7}, "ephemeral": {"events": [{"content": {"$1": 3, "$2": {"m.read": [1]}, "$3": {"m.read": {ALICE: None}}}}]}}}}},
    {"rooms": {"invite": {"!r": {"invite_state": {"events": [{"type": "m.room.member", "state_key": ME, "sender": None}]}}}}},
]  # fmt: skip


@pytest.mark.parametrize("document", HOSTILE, ids=range(len(HOSTILE)))
async def test_whatever_the_homeserver_says_is_survived(document):
    server = Homeserver({"next_batch": "s1"} | document)

    async def lenient(method, path, body=None, *, query=None, patience=0.0, call=server.call):
        return refused(404, "M_NOT_FOUND") if path.endswith("/messages") else await call(method, path, body, query=query, patience=patience)

    server.call = lenient
    assert await heard(server) == []


@pytest.mark.parametrize("document", [{}, {"next_batch": None}, {"next_batch": ""}])
async def test_a_sync_without_a_position_ends_the_listening(document):
    with pytest.raises(NotHeard, match="next_batch"):
        await heard(Homeserver(document))
