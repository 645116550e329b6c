"""XMPP against a real server: what people and rooms get, read by clients of their own."""

import asyncio
import itertools
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from angelia.agents.xmpp import LOOK_AGAIN, XmppAgent, XmppSettings, outcome_of
from angelia.model.delivery import Later, Refused, Sent
from angelia.model.errors import BadSettings
from angelia_testing.peers.process import free_port
from angelia_testing.peers.xmpp import DOMAIN, ROOMS, Ejabberd, Prosody, Reader
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench

_numbers = itertools.count()


@pytest.fixture(scope="module")
def prosody():
    made = Prosody()
    made.user("hub")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def ejabberd():
    made = Ejabberd()
    made.user("hub")
    yield made
    made.stop()


@pytest.fixture
def peer(request):
    return request.getfixturevalue(getattr(request, "param", "prosody"))


on_both = pytest.mark.parametrize("peer", ["prosody", "ejabberd"], indirect=True)


@pytest.fixture(scope="module")
def bare():
    """The same without stream management and without TLS."""
    made = Prosody(without=("smacks", "tls"))
    made.user("hub")
    yield made
    made.stop()


@pytest.fixture
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def agent_of(peer, **settings):
    values = {"jid": f"hub@{DOMAIN}", "password": "secret", "server": peer.server, "ca_file": peer.ca_file} | settings
    return XmppAgent(XmppSettings(**values))


@pytest.fixture
async def agent(peer):
    made = agent_of(peer)
    yield made
    await made.close()


@pytest.fixture
async def alice(peer):
    """An account of this test's own, signed in."""
    async with Reader(peer, peer.user(f"alice{next(_numbers)}")) as made:
        yield made


async def eventually(condition, within=30.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.02)


def letter_to(address, number=1, **fields):
    return Bench(XmppAgent(XmppSettings(jid="a@b", password="c")), address).letter(number, **fields)


def is_bad_address(outcome, why):
    """Some servers say more after it."""
    return isinstance(outcome, Refused) and outcome.is_address_bad and outcome.why.startswith(why)


def arrivals(reader):
    async def arrived():
        return [Arrival(got["id"], (got["to"].bare,), tuple(sorted(child.tag for child in got.xml))) for got in reader.got]

    return arrived


@on_both
class TestChat(AgentSuite):
    @pytest.fixture
    def bench(self, peer, agent, alice, silent_port):
        away, silent = (agent_of(peer, server=f"127.0.0.1:{port}") for port in (free_port(), silent_port))
        return Bench(agent, alice.jid, arrivals(alice), away, silent)

    async def test_what_she_reads(self, bench, alice):
        await bench.agent.deliver(bench.letter(3, subject="Grüße <b>&</b> ☢", body="bell \x07 and \ufffe gone"))
        await eventually(lambda: alice.got)
        (got,) = alice.got
        assert got["type"] == "chat" and got["body"].startswith("Grüße <b>&</b> ☢\n\nbell  and  gone")
        assert got["id"] == got["origin_id"]["id"] and got["id"].startswith("dlv_")

    @pytest.mark.parametrize(
        "value", ["alice", "alice@", "@test.example", "a b@test.example", "alice@test.example/phone", "a@b@c", "a/b@c", "room@c?leave"]
    )
    def test_what_is_no_address(self, bench, value):
        assert bench.agent.check_address(value) is None

    def test_links_are_addresses_too(self, bench):
        assert bench.agent.check_address("xmpp:Alice@Test.Example") == "alice@test.example"


@on_both
class TestRoom(AgentSuite):
    @pytest.fixture
    async def bench(self, agent, alice):
        return Bench(agent, await alice.room(f"ops{next(_numbers)}"), arrivals(alice))

    async def test_who_was_thrown_out_comes_again(self, bench, alice):
        assert isinstance(await bench.agent.deliver(bench.letter(1)), Sent)
        room = bench.address.removesuffix("?join")
        rooms = alice.client.plugin["xep_0045"]
        await rooms.set_role(room, "angelia", "none")
        outcomes = [await bench.agent.deliver(bench.letter(2)) for _ in range(2)]
        assert isinstance(outcomes[-1], Sent)
        await rooms.set_affiliation(room, "outcast", jid=f"hub@{DOMAIN}")
        outcomes = [await bench.agent.deliver(bench.letter(3)) for _ in range(2)]
        assert is_bad_address(outcomes[-1], "the room refuses: forbidden")


@on_both
async def test_a_room_that_is_not_there_is_not_made(agent, alice):
    room = f"nothing{next(_numbers)}@{ROOMS}?join"
    assert is_bad_address(await agent.deliver(letter_to(room)), "the room refuses: item-not-found")
    assert is_bad_address(await agent.deliver(letter_to(room)), "the room refuses: item-not-found")


@on_both
async def test_nobody_of_that_name_ends_the_address_and_others_get_theirs(peer, agent, alice):
    nobody, hers = await asyncio.gather(*(agent.deliver(letter_to(to, number)) for number, to in enumerate((f"nobody@{DOMAIN}", alice.jid))))
    number, deadline = 2, time.monotonic() + 30
    while isinstance(nobody, Sent):  # acknowledged first and refused then: the next one is refused in its stead
        assert isinstance(peer, Ejabberd) and time.monotonic() < deadline
        nobody, number = await agent.deliver(letter_to(f"nobody@{DOMAIN}", number)), number + 1
    assert isinstance(nobody, Refused) and nobody.is_address_bad and isinstance(hers, Sent)
    await eventually(lambda: alice.got)


async def test_an_error_after_the_acknowledgement_is_told_by_the_next_letter(agent, alice):
    """Some servers do so now and then; this one does not, so what they say comes from here."""
    assert isinstance(await agent.deliver(letter_to(alice.jid, 1)), Sent)
    late = alice.client.make_message(mto=f"hub@{DOMAIN}", mfrom=alice.jid, mtype="error")
    late["id"] = "dlv_0000000000001"
    late["error"]["type"], late["error"]["condition"] = "cancel", "service-unavailable"
    agent._connection._client.event("message_error", late)
    assert await agent.deliver(letter_to(alice.jid, 2)) == Refused("the server refuses: service-unavailable", is_address_bad=True)
    assert isinstance(await agent.deliver(letter_to(alice.jid, 3)), Sent)


@on_both
async def test_who_is_away_finds_it_when_she_comes(agent, peer):
    jid = peer.user(f"bob{next(_numbers)}")
    assert isinstance(await agent.deliver(letter_to(jid)), Sent)
    async with Reader(peer, jid) as bob:
        await eventually(lambda: bob.got)
        assert bob.got[0]["body"].startswith("hello")


async def test_a_server_that_was_killed_is_found_again():
    server = Prosody()
    agent = None
    try:
        server.user("hub")
        jid = server.user("carol")
        agent = agent_of(server)
        assert isinstance(await agent.deliver(letter_to(jid, 1)), Sent)
        server.kill()
        outcomes = await asyncio.gather(*(agent.deliver(letter_to(jid, number)) for number in (2, 3, 4)))
        assert all(isinstance(outcome, Later) for outcome in outcomes)
        server.start()
        outcomes = await asyncio.gather(*(agent.deliver(letter_to(jid, number)) for number in (2, 3, 4)))
        assert all(isinstance(outcome, Sent) for outcome in outcomes)
        async with Reader(server, jid) as carol:
            await eventually(lambda: len(carol.got) >= 3)
            assert len({got["id"] for got in carol.got}) == len(carol.got)
    finally:
        if agent is not None:
            await agent.close()
        server.stop()


async def test_a_session_lost_under_way_is_later_and_the_repeat_has_its_id(peer, alice):
    """Fault F29: the server stops where it is; what was sent is not answered."""
    agent = agent_of(peer, timeout=1.0)
    first = await agent.deliver(letter_to(alice.jid, 1))
    peer.process.kill(19)
    try:
        outcome = await agent.deliver(letter_to(alice.jid, 7))
    finally:
        peer.process.kill(18)
    assert isinstance(first, Sent) and outcome == Later("the server did not answer within 1 s")
    again = await agent.deliver(letter_to(alice.jid, 7))
    assert isinstance(again, Sent)
    await eventually(lambda: len(alice.got) >= 2)
    assert {got["id"] for got in alice.got} == {first.receipt, again.receipt}
    await agent.close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"password": "wrong"}, "agents.xmpp.password"),
        ({"jid": f"nobody@{DOMAIN}"}, "agents.xmpp.jid"),
        ({"ca_file": ""}, "certificate"),
    ],
)
async def test_what_only_the_operator_can_mend_says_where(peer, alice, settings, why):
    agent = agent_of(peer, **settings)
    outcome = await agent.deliver(letter_to(alice.jid))
    assert isinstance(outcome, Later) and why in outcome.why and "secret" not in outcome.why
    await agent.close()


async def test_without_encryption_no_password_is_shown(bare):
    agent = agent_of(bare)
    assert await agent.deliver(letter_to(f"hub@{DOMAIN}")) == Later("the server offers no encryption")
    await agent.close()


async def test_a_server_without_stream_management_answers_too(bare):
    agent = agent_of(bare, allow_plain=True, ca_file="")
    async with Reader(bare, bare.user("dave"), is_plain=True) as dave:
        outcomes = await asyncio.gather(*(agent.deliver(letter_to(to, number)) for number, to in enumerate((dave.jid, f"nobody@{DOMAIN}"))))
        assert isinstance(outcomes[0], Sent) and isinstance(outcomes[1], Refused)
        await eventually(lambda: dave.got)
    await agent.close()


async def test_a_letter_waits_while_she_is_busy_but_not_an_urgent_one(peer, alice):
    agent = agent_of(peer, wait_while_busy=3600)
    letter = letter_to(alice.jid)
    urgent = replace(letter, delivery=replace(letter.delivery, is_urgent=True))
    late = replace(letter, delivery=replace(letter.delivery, first_tried_at=datetime.now(UTC) - timedelta(hours=2)))
    alice.client.roster.auto_authorize = True
    assert isinstance(await agent.deliver(letter), Sent)  # her presence is asked for by this
    alice.client.send_presence(pshow="dnd")
    outcome, deadline = None, time.monotonic() + 5
    while not isinstance(outcome, Later):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
        outcome = await agent.deliver(letter)
    assert outcome.retry_after == LOOK_AGAIN and not outcome.blames_destination
    assert isinstance(await agent.deliver(urgent), Sent) and isinstance(await agent.deliver(late), Sent)
    alice.client.send_presence()
    while not isinstance(outcome, Sent):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
        outcome = await agent.deliver(letter)
    await agent.close()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (("wait", "policy-violation", "slow down"), Later("the server refuses: policy-violation (slow down)", blames_destination=False)),
        (("wait", "resource-constraint"), Later("the server refuses: resource-constraint", blames_destination=False)),
        (("cancel", "remote-server-not-found"), Later("the server refuses: remote-server-not-found", blames_destination=False)),
        (("modify", "policy-violation"), Refused("the server refuses: policy-violation")),
        (("modify", "jid-malformed"), Refused("the server refuses: jid-malformed", is_address_bad=True)),
        (("cancel", "gone"), Refused("the server refuses: gone", is_address_bad=True)),
        (("auth", "forbidden"), Refused("the server refuses: forbidden", is_address_bad=True)),
    ],
)
def test_what_an_error_means(error, outcome):
    assert outcome_of(*error) == outcome


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "account"),
        ({"jid": "hub@example.org"}, "password"),
        ({"server": "example.org"}, "host:port"),
        ({"server": "example.org:5222", "allow_plain": True}, "this machine"),
        ({"allow_plain": True}, "this machine"),
        ({"nick": " "}, "name in rooms"),
        ({"timeout": 0}, "above 0"),
    ],
)
def test_settings_say_what_is_wrong(settings, why):
    values = settings if not settings or set(settings) == {"jid"} else {"jid": "hub@example.org", "password": "x"} | settings
    with pytest.raises(BadSettings, match=why):
        XmppSettings(**values)
