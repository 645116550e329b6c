"""The agents that speak HTTP keep the promises of the contract, and those of the protocols that they speak."""

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from angelia.agent import Surroundings
from angelia.agents.ntfy import NtfyAgent, NtfySettings
from angelia.agents.telegram import TelegramAgent, TelegramSettings
from angelia.agents.webhook import WebhookAgent, WebhookSettings
from angelia.model.delivery import Later, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.message import Severity
from angelia.outbound import Outbound
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.process import free_port
from angelia_testing.peers.telegram_api import CHANNEL, TOKEN, TelegramApi, refusal
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench

SECRET = b"s" * 32


@pytest.fixture
async def lent():
    outbound = Outbound("127.0.0.1/32")
    yield Surroundings(outbound=outbound, secret=SECRET)
    await outbound.close()


@pytest.fixture
def receiver():
    made = ScriptedHttp()
    yield made
    made.stop()


@pytest.fixture
def mute():
    """Takes requests and says nothing for long."""
    made = ScriptedHttp(lambda _: Reply(delay=0.7))
    yield made
    made.stop()


def names(value, path=""):
    """The names of all parts of a JSON document."""
    if isinstance(value, dict):
        return [name for key, inner in value.items() for name in (f"{path}.{key}", *names(inner, f"{path}.{key}"))]
    return []


class TestWebhook(AgentSuite):
    @pytest.fixture
    def bench(self, lent, receiver, mute):
        async def arrived():
            bodies = [(asked, json.loads(asked.body)) for asked in receiver.asked]
            return [Arrival(asked.headers["webhook-id"], (asked.path,), (*sorted(asked.headers), *names(body))) for asked, body in bodies]

        made = WebhookAgent(WebhookSettings(allow_http=True), lent)

        class Elsewhere(WebhookAgent):
            """The same, but whatever the address it calls another port."""

            def __init__(self, port):
                super().__init__(WebhookSettings(allow_http=True), lent)
                self.port = port

            async def deliver(self, letter):
                return await super().deliver(replace(letter, address=replace(letter.address, value=f"http://127.0.0.1:{self.port}/x")))

        return Bench(made, f"{receiver.url}/hook", arrived, Elsewhere(free_port()), Elsewhere(mute.port))

    async def test_the_official_verifier_takes_it(self, bench, receiver):
        await bench.agent.deliver(bench.letter(subject="Grüße", body="a\nb"))
        (asked,) = receiver.asked
        key = bench.agent.note(bench.letter().address)
        data = Webhook(key).verify(asked.body, asked.headers)
        assert (data["type"], data["data"]["subject"], data["data"]["person"]) == ("obs.build.fail", "Grüße", "alice")
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(asked.body.replace(b"alice", b"bobby"), asked.headers)
        other = bench.agent.note(replace(bench.letter().address, value=f"{receiver.url}/other"))
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(asked.body, asked.headers)

    async def test_while_keys_change_both_are_good(self, bench, receiver, lent):
        old = bench.agent.note(bench.letter().address)
        agent = WebhookAgent(WebhookSettings(allow_http=True, key_number=2, old_key_number=1), lent)
        await agent.deliver(bench.letter())
        (asked,) = receiver.asked
        new = agent.note(bench.letter().address)
        assert new != old
        for key in (old, new):
            Webhook(key).verify(asked.body, asked.headers)

    @pytest.mark.parametrize(
        ("reply", "outcome"),
        [
            (Reply(204), Sent("204")),
            (Reply(410), Refused("the receiver says that it is gone (410)", is_address_bad=True)),
            (Reply(302, headers={"Location": "http://127.0.0.1:1/"}), Later("the receiver answered 302")),
            (Reply(404), Later("the receiver answered 404")),
            (Reply(503, headers={"Retry-After": "120"}), Later("the receiver answered 503", timedelta(seconds=120))),
            (Reply(429, headers={"Retry-After": "99999999"}), Later("the receiver answered 429", timedelta(days=1))),
            (Reply(429, headers={"Retry-After": "9" * 40}), Later("the receiver answered 429", timedelta(days=1))),
            (Reply(500, headers={"Retry-After": "soon"}), Later("the receiver answered 500")),
            (Reply(500, headers={"Retry-After": "-5"}), Later("the receiver answered 500")),
            (Reply(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), Later("the receiver answered 503", timedelta(0))),
            (Reply(503, headers={"Retry-After": "Tue, 31 Dec 9999 23:59:59 GMT"}), Later("the receiver answered 503", timedelta(days=1))),
            (Reply(301, headers={"Location": "file:///etc/passwd"}), Later("the receiver answered 301")),
            (Reply(508), Refused("this address leads back to the hub itself (508)", is_address_bad=True)),
        ],
    )
    async def test_what_an_answer_means(self, bench, receiver, reply, outcome):
        receiver.answer = lambda _: reply
        assert await bench.agent.deliver(bench.letter()) == outcome
        assert len(receiver.asked) == 1

    @pytest.mark.parametrize("text", ["a\u2028b\u2029c", "NaN Infinity", "x\ud800y", "\x00\x1f", '"}, {"'])
    async def test_any_text_is_good_json_under_a_good_signature(self, bench, receiver, text):  # bad input E11.129
        await bench.agent.deliver(bench.letter(subject=text, body=text))
        (asked,) = receiver.asked

        def refused(constant):
            raise AssertionError(constant)

        data = Webhook(bench.agent.note(bench.letter().address)).verify(asked.body, asked.headers)
        assert json.loads(asked.body, parse_constant=refused) == data
        assert data["data"]["person"] == "alice" and data["type"] == "obs.build.fail"

    async def test_an_endless_answer_is_cut(self, bench, receiver):
        receiver.answer = lambda _: Reply(200, b"x" * 100_000)
        assert isinstance(await bench.agent.deliver(bench.letter()), Later)

    async def test_it_calls_nothing_inside(self, receiver):
        outbound = Outbound()
        agent = WebhookAgent(WebhookSettings(allow_http=True), Surroundings(outbound=outbound, secret=SECRET))
        assert agent.check_address(f"{receiver.url}/hook") is None
        assert agent.check_address("http://169.254.169.254/latest") is None
        strict = WebhookAgent(WebhookSettings(), Surroundings(outbound=outbound, secret=SECRET))
        assert strict.check_address("http://hooks.example.org/x") is None
        assert strict.check_address("https://Hooks.Example.org/X?y=1") == "https://hooks.example.org/X?y=1"
        await outbound.close()


class TestNtfy(AgentSuite):
    @pytest.fixture
    def bench(self, lent, receiver, mute):
        def agent(url, token="tk_site"):
            return NtfyAgent(NtfySettings(server=url, token=token, allow_http=True), lent)

        async def arrived():
            bodies = [json.loads(asked.body) for asked in receiver.asked]
            return [Arrival(body["sequence_id"], (body["topic"],), tuple(names(body))) for body in bodies]

        return Bench(agent(receiver.url), "alice-7f3c", arrived, agent(f"http://127.0.0.1:{free_port()}"), agent(mute.url))

    async def test_the_token_goes_to_the_sites_own_server_only(self, bench, receiver, lent):
        assert isinstance(await bench.agent.deliver(bench.letter()), Sent)
        own = receiver.asked[-1].headers
        assert own["authorization"] == "Bearer tk_site"
        elsewhere = NtfyAgent(NtfySettings(token="tk_site", allow_http=True), lent)
        letter = replace(bench.letter(), address=replace(bench.letter().address, value=f"{receiver.url}/topic"))
        assert isinstance(await elsewhere.deliver(letter), Sent)
        assert "authorization" not in receiver.asked[-1].headers
        assert json.loads(receiver.asked[-1].body)["topic"] == "topic"
        assert elsewhere.note(letter.address) == f"{receiver.url}/topic"

    async def test_the_sites_own_server_may_be_an_inner_one_and_no_other(self, bench, receiver):
        outbound, inner = Outbound(), ScriptedHttp()
        agent = NtfyAgent(NtfySettings(server=receiver.url, allow_http=True), Surroundings(outbound=outbound))
        assert isinstance(await agent.deliver(bench.letter()), Sent)
        letter = replace(bench.letter(), address=replace(bench.letter().address, value=f"{inner.url}/topic"))
        assert isinstance(await agent.deliver(letter), Refused) and inner.asked == []
        await outbound.close()
        inner.stop()

    async def test_severity_is_priority_and_long_texts_stay_texts(self, bench, receiver):
        await bench.agent.deliver(bench.letter(severity=Severity.URGENT, body="ы" * 10_000))
        body = json.loads(receiver.asked[0].body)
        assert body["priority"] == 5
        assert len(body["message"].encode()) <= 4_000 and body["message"].endswith("…")

    @pytest.mark.parametrize(
        "value", ["a/b", "ä", "x" * 65, "http://127.0.0.1:80/", "http://127.0.0.1/a/b", "http://127.0.0.1/a?b", "ftp://x/y", "http://10.0.0.1/t"]
    )
    def test_what_is_no_topic(self, bench, value):
        assert bench.agent.check_address(value) is None


class TestTelegram(AgentSuite):
    @pytest.fixture
    def api(self):
        made = TelegramApi()
        yield made
        made.stop()

    @pytest.fixture
    def bench(self, lent, api, mute):
        def agent(url):
            return TelegramAgent(TelegramSettings(token=TOKEN, api=url), lent)

        async def arrived():
            return [Arrival(re.findall(r"#d\d+$", body["text"])[0], (str(body["chat_id"]),), tuple(names(body))) for body in api.sent]

        return Bench(agent(api.url), CHANNEL, arrived, agent(f"http://127.0.0.1:{free_port()}"), agent(mute.url))

    async def test_a_long_text_is_cut_as_telegram_counts(self, bench, api):
        assert isinstance(await bench.agent.deliver(bench.letter(body="🎉" * 5_000)), Sent)
        (body,) = api.sent
        assert 4_000 < len(body["text"].encode("utf-16-le")) // 2 <= 4_096
        assert "…" in body["text"]

    @pytest.mark.parametrize(
        ("reply", "outcome"),
        [
            (refusal(429, "Too Many Requests: retry after 5", retry_after=5), Later("Too Many Requests: retry after 5", timedelta(seconds=5), blames_destination=False)),
            (refusal(403, "Forbidden: bot was blocked by the user"), Refused("Forbidden: bot was blocked by the user", is_address_bad=True)),
            (refusal(400, "Bad Request: chat not found"), Refused("Bad Request: chat not found", is_address_bad=True)),
            (refusal(400, "Bad Request: can't parse entities"), Refused("Bad Request: can't parse entities")),
            (refusal(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1007), Later("the group is now -1007", timedelta(0), blames_destination=False, moved_to="-1007")),
            (refusal(401, "Unauthorized"), Later("Telegram does not know this bot: look at agents.telegram.token")),
            (refusal(409, "Conflict: x"), Later("Conflict: x")),
            (refusal(400, "Bad Request: message is not modified: x"), Later("Bad Request: message is not modified: x")),
            (refusal(429, "x", retry_after=10**9), Later("x", timedelta(days=1), blames_destination=False)),
            (refusal(429, "x"), Later("x", timedelta(seconds=30), blames_destination=False)),
            (refusal(502, "Bad Gateway"), Later("Bad Gateway")),
            ((200, {}), Later("Telegram answered 200")),
        ],
    )  # fmt: skip
    async def test_what_an_answer_means(self, bench, api, reply, outcome):
        api.refusals.append(reply)
        assert await bench.agent.deliver(bench.letter()) == outcome
        assert api.sent == []

    async def test_an_edit_keeps_its_receipt_also_where_nothing_changes(self, bench, api):
        first = await bench.agent.deliver(bench.letter(7, subject="running"))
        for _ in range(2):
            assert await bench.agent.deliver(replace(bench.letter(7, subject="running on"), replaces=first.receipt)) == first
        assert (len(api.sent), len(api.edits)) == (1, 1)

    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (refusal(400, "Bad Request: message can't be edited"), Sent),
            (refusal(400, "Bad Request: message to edit not found"), Sent),
            (refusal(429, "Too Many Requests", retry_after=5), Later),
            (refusal(403, "Forbidden: bot was blocked by the user"), Refused),
            (refusal(502, "Bad Gateway"), Later),
        ],
    )
    async def test_an_edit_that_fails_becomes_a_message_where_only_the_edit_was_the_fault(self, bench, api, reply, kind):
        first = await bench.agent.deliver(bench.letter(1))
        api.refusals.append(reply)
        outcome = await bench.agent.deliver(replace(bench.letter(2), replaces=first.receipt, thread_root=first.receipt))
        assert isinstance(outcome, kind) and (len(api.sent) == 2) == isinstance(outcome, Sent)
        assert api.sent[-1].get("reply_parameters", {}).get("message_id") == (1 if kind is Sent else None)

    async def test_what_a_thread_began_with_may_be_gone(self, bench, api):
        assert isinstance(await bench.agent.deliver(replace(bench.letter(2), thread_root="77")), Sent)
        assert "reply_to_message" not in api.shown[CHANNEL, 1]

    async def test_only_urgent_letters_have_a_button_and_only_where_presses_are_heard(self, bench, api, lent):
        deaf = TelegramAgent(TelegramSettings(token=TOKEN, api=api.url, listens=False), lent)
        for agent, severity in ((bench.agent, Severity.URGENT), (bench.agent, Severity.HIGH), (deaf, Severity.URGENT)):
            assert isinstance(await agent.deliver(bench.letter(severity=severity)), Sent)
        assert ["reply_markup" in body for body in api.sent] == [True, False, False]

    async def test_the_token_is_never_in_an_outcome(self, bench):
        outcome = await bench.unreachable.deliver(bench.letter())
        assert TOKEN not in repr(outcome)

    def test_settings_without_a_token_say_what_to_do(self):
        with pytest.raises(BadSettings, match="BotFather"):
            TelegramSettings()
