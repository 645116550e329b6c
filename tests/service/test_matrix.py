"""Matrix against a real homeserver: what is in the room, by what the people in it see."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from angelia.agent import Surroundings
from angelia.agents.matrix import MatrixAgent, MatrixSettings
from angelia.model.delivery import Later, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.outbound import Outbound
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.process import free_port
from angelia_testing.peers.synapse import Synapse
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench

_numbers = itertools.count()


@pytest.fixture(scope="module")
def synapse():
    made = Synapse()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def bot(synapse):
    return synapse.user("hub")


@pytest.fixture(scope="module")
def alice(synapse):
    return synapse.user("alice")


@pytest.fixture
async def lent():
    outbound = Outbound("127.0.0.1/32")
    yield Surroundings(outbound=outbound)
    await outbound.close()


@pytest.fixture
def mute():
    made = ScriptedHttp(lambda _: Reply(delay=0.7))
    yield made
    made.stop()


class TestMatrix(AgentSuite):
    @pytest.fixture
    def bench(self, synapse, bot, alice, lent, mute):
        room = alice.room(bot.user_id)

        def agent(url):
            return MatrixAgent(MatrixSettings(server=url, token=bot.token), lent)

        async def arrived():
            said = await asyncio.to_thread(alice.messages, room)
            # A transaction is known to a homeserver for its device only: what alice sees is the event, once for each.
            return [Arrival(event["event_id"], (event["room_id"],), tuple(sorted(event["content"]))) for event in said]

        return Bench(agent(synapse.url), room, arrived, agent(f"http://127.0.0.1:{free_port()}"), agent(mute.url))

    async def test_a_letter_sent_twice_shows_once(self, bench):
        first, second = await bench.agent.deliver(bench.letter(7)), await bench.agent.deliver(bench.letter(7))
        assert first == second and first.receipt.startswith("$")
        assert len(await bench.arrived()) == 1

    async def test_text_and_markup(self, bench, alice):
        await bench.agent.deliver(bench.letter(3, subject="Grüße", body="**bold** <script>x</script>", body_format="markdown"))
        (event,) = await asyncio.to_thread(alice.messages, bench.address)
        content = event["content"]
        assert content["body"].startswith("Grüße") and "<strong>bold</strong>" in content["formatted_body"]
        assert "<script" not in content["formatted_body"] and content["msgtype"] == "m.text"

    @pytest.mark.parametrize("body_format", ["text", "markdown", "html"])
    async def test_no_text_rings_for_the_room_or_looks_like_a_reply(self, bench, alice, body_format):  # bad input E11.124
        text = '<font color="red" size="7">x</font> @room <mx-reply>y</mx-reply> <a href="https://matrix.to/#/@admin:test.example">admin</a>'
        await bench.agent.deliver(bench.letter(3, subject="@room", body=text, body_format=body_format))
        (event,) = await asyncio.to_thread(alice.messages, bench.address)
        content = event["content"]
        assert content["m.mentions"] == {}
        assert "<font" not in content["formatted_body"] and "<mx-reply" not in content["formatted_body"]

    async def test_a_room_has_an_alias_too(self, bench, bot, alice):
        room = await asyncio.to_thread(lambda: alice.room(bot.user_id, alias=f"alarms{next(_numbers)}"))
        alias = alice.call("GET", f"/rooms/{room}/state/m.room.canonical_alias")["alias"]
        letter = bench.letter(4)
        assert isinstance(await bench.agent.deliver(replace(letter, address=replace(letter.address, value=alias))), Sent)
        assert len(await asyncio.to_thread(alice.messages, room)) == 1

    async def test_a_bot_that_is_not_invited_ends_the_address_and_one_thrown_out_comes_back(self, bench, bot, alice):
        stranger = await asyncio.to_thread(alice.room)
        letter = bench.letter(5)
        outcome = await bench.agent.deliver(replace(letter, address=replace(letter.address, value=stranger)))
        assert outcome == Refused("the bot is not invited to this room", is_address_bad=True)
        await bench.agent.deliver(bench.letter(6))
        alice.call("POST", f"/rooms/{bench.address}/kick", {"user_id": bot.user_id})
        assert await bench.agent.deliver(bench.letter(8)) == Refused("the bot may not write into this room", is_address_bad=True)
        alice.call("POST", f"/rooms/{bench.address}/invite", {"user_id": bot.user_id})
        assert isinstance(await bench.agent.deliver(bench.letter(9)), Sent)

    async def test_a_token_that_is_gone_is_the_operators(self, bench, synapse, lent):
        agent = MatrixAgent(MatrixSettings(server=synapse.url, token="nonsense"), lent)
        outcome = await agent.deliver(bench.letter())
        assert isinstance(outcome, Later) and "agents.matrix.token" in outcome.why

    @pytest.mark.parametrize(
        "value", ["!room", "!a/../b:test.example", "room:test.example", "@alice:test.example", "!a b:test.example", "#alias", "!a:test.example?x"]
    )
    def test_what_is_no_room(self, bench, value):
        if value in ("!room", "!a/../b:test.example"):
            assert bench.agent.check_address(value) == value  # new rooms have no server in their number; it stands quoted in the path
        else:
            assert bench.agent.check_address(value) is None

    def test_only_rooms_of_allowed_servers(self, lent):
        agent = MatrixAgent(MatrixSettings(server="https://m.example.org", token="t", allow_servers="example.org, test.example"), lent)
        assert agent.check_address("!a:test.example") and agent.check_address("!a:evil.example") is None


async def test_a_bot_whose_logins_were_all_ended_goes_on_with_a_new_token(synapse, alice, lent):
    """Fault F27, recipe "logout-all": the letter waits for the operator, its address is not to blame, and it shows once."""
    robot = await asyncio.to_thread(synapse.user, f"robot{next(_numbers)}")
    room = await asyncio.to_thread(alice.room, robot.user_id)
    bench = Bench(MatrixAgent(MatrixSettings(server=synapse.url, token=robot.token), lent), room)
    assert isinstance(await bench.agent.deliver(bench.letter(1)), Sent)
    await asyncio.to_thread(robot.call, "POST", "/logout/all", {})
    for _ in range(2):
        outcome = await bench.agent.deliver(bench.letter(2))
        assert isinstance(outcome, Later) and "agents.matrix.token" in outcome.why
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": robot.user_id}, "password": "secret"}
    status, made = await asyncio.to_thread(synapse.call, "POST", "/_matrix/client/v3/login", login)
    assert status == 200
    again = MatrixAgent(MatrixSettings(server=synapse.url, token=made["access_token"]), lent)
    assert isinstance(await again.deliver(bench.letter(2)), Sent)
    assert len(await asyncio.to_thread(alice.messages, room)) == 2
    await asyncio.to_thread(alice.call, "POST", f"/rooms/{room}/ban", {"user_id": robot.user_id})
    assert await again.deliver(bench.letter(3)) == Refused("the bot may not write into this room", is_address_bad=True)


async def test_a_homeserver_behind_a_broken_proxy_is_asked_again_under_one_transaction(lent):
    """Fault F27: 5xx, and answers that are no JSON."""
    answers = [
        Reply(502, b"<html>bad gateway</html>"),
        Reply(503, b"{}", {"Retry-After": "7"}),
        Reply(200, b"not JSON"),
        Reply(200, b'{"event_id": "$1"}'),
    ]
    proxy = ScriptedHttp(lambda asked: answers.pop(0) if "/send/" in asked.path else Reply(200, b'{"room_id": "!a:test.example"}'))
    try:
        bench = Bench(MatrixAgent(MatrixSettings(server=proxy.url, token="t"), lent), "!a:test.example")
        outcomes = [await bench.agent.deliver(bench.letter(1)) for _ in range(4)]
    finally:
        proxy.stop()
    assert [type(outcome) for outcome in outcomes] == [Later, Later, Later, Sent]
    assert outcomes[1].retry_after == timedelta(seconds=7)
    assert len({asked.path for asked in proxy.asked if "/send/" in asked.path}) == 1


async def test_the_homeservers_own_limits_are_obeyed(lent):
    server = Synapse("{per_second: 0.2, burst_count: 3}")
    try:
        bot, alice = server.user("hub"), server.user("alice")
        bench = Bench(MatrixAgent(MatrixSettings(server=server.url, token=bot.token), lent), alice.room(bot.user_id))
        outcomes = [await bench.agent.deliver(bench.letter(number)) for number in range(1, 8)]
        assert sum(isinstance(outcome, Sent) for outcome in outcomes) >= 2
        limited = [outcome for outcome in outcomes if isinstance(outcome, Later)]
        assert limited and all(timedelta(0) < outcome.retry_after <= timedelta(seconds=10) for outcome in limited)
        assert not any(outcome.blames_destination for outcome in limited)
        server.stop()
        assert isinstance(await bench.agent.deliver(bench.letter(1)), Later)
        server.start()
        again = await bench.agent.deliver(bench.letter(1))
        assert isinstance(again, Sent | Later)
        assert len(alice.messages(bench.address)) == sum(isinstance(outcome, Sent) for outcome in outcomes)
    finally:
        server.stop()


def test_settings_say_what_is_missing():
    with pytest.raises(BadSettings, match="homeserver"):
        MatrixSettings()
    with pytest.raises(BadSettings, match="access token"):
        MatrixSettings(server="https://m.example.org")
