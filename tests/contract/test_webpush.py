"""Web push keeps the promises of the contract, those of the standards, and its sealing is that of RFC 8291."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key

from angelia.agent import Surroundings
from angelia.agents.webpush import WebpushAgent, WebpushSettings
from angelia.agents.webpush.sealing import Identity, is_point, packed, seal, unpacked
from angelia.model.delivery import Later, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.message import Severity
from angelia.outbound import Outbound
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.process import free_port
from angelia_testing.peers.push_service import PushService
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench

SECRET = b"s" * 32
SETTINGS = WebpushSettings(contact="mailto:operator@example.org", allow_http=True)


def test_the_example_of_rfc_8291_comes_out_byte_by_byte():
    own = derive_private_key(int.from_bytes(unpacked("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), SECP256R1())
    point = unpacked("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
    sealed = seal(
        b"When I grow up, I want to be a watermelon", point, unpacked("BTBZMqHH6r4Tts7J_aSIgg"), own=own, salt=unpacked("DGv6ra1nlYgDCS1FRnbzlw")
    )
    assert packed(sealed) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_the_key_is_that_of_the_secret():
    one, again, other = Identity(SECRET, ""), Identity(SECRET, ""), Identity(b"t" * 32, "")
    assert one.public == again.public != other.public
    assert is_point(unpacked(one.public)) and not is_point(b"\x04" + b"\x01" * 64)


def test_an_authorization_is_used_again_until_shortly_before_its_end():
    identity = Identity(SECRET, "mailto:a@example.org")
    first = identity.authorization("https://push.example.org/a", 1_000)
    assert identity.authorization("https://push.example.org/b", 40_000) == first
    assert identity.authorization("https://push.example.org/b", 42_000) != first
    assert identity.authorization("https://other.example.org/b", 1_000) != first


class TestWebpush(AgentSuite):
    @pytest.fixture
    def service(self):
        made = PushService()
        yield made
        made.stop()

    @pytest.fixture
    async def lent(self):
        outbound = Outbound("127.0.0.1/32")
        yield Surroundings(outbound=outbound, secret=SECRET)
        await outbound.close()

    @pytest.fixture
    def mute(self):
        made = ScriptedHttp(lambda _: Reply(delay=0.7))
        yield made
        made.stop()

    @pytest.fixture
    def bench(self, lent, service, mute):
        made = WebpushAgent(SETTINGS, lent)
        service.server_key = made.browser_key

        async def arrived():
            assert service.faults == []
            return [Arrival(pushed.topic, (), tuple(pushed.document)) for pushed in service.came]

        class Elsewhere(WebpushAgent):
            """The same, but whatever the address it calls another port."""

            def __init__(self, port):
                super().__init__(SETTINGS, lent)
                self.port = port

            async def deliver(self, letter):
                keys = service.address.partition("#")[2]
                return await super().deliver(replace(letter, address=replace(letter.address, value=f"http://127.0.0.1:{self.port}/push/x#{keys}")))

        return Bench(made, service.address, arrived, Elsewhere(free_port()), Elsewhere(mute.port))

    async def test_the_browser_reads_what_was_said(self, bench, service):
        letter = replace(bench.letter(7, subject="Grüße", body="a\nb", severity=Severity.URGENT), web_url="http://hub/inbox/msg_x")
        assert isinstance(await bench.agent.deliver(letter), Sent)
        (pushed,) = service.came
        assert (pushed.document["title"], pushed.document["tag"], pushed.document["stays"]) == ("Grüße", "d7", True)
        assert pushed.document["url"] == "/inbox/msg_x"
        assert (pushed.topic, pushed.urgency, pushed.ttl) == ("d7", "high", 86_400)

    async def test_a_letter_is_kept_no_longer_than_it_is_of_use(self, bench, service):
        await bench.agent.deliver(bench.letter(expires_at=datetime.now(UTC) + timedelta(seconds=100)))
        assert 90 < service.came[0].ttl <= 100

    @pytest.mark.parametrize("sign", ["x", "ы", "🎉", '"', "\\"])
    async def test_a_long_text_is_cut_to_what_fits(self, bench, service, sign):
        assert isinstance(await bench.agent.deliver(bench.letter(subject=sign * 255, body=sign * 20_000)), Sent)
        assert service.faults == [] and service.came[0].document["body"].endswith("…")

    @pytest.mark.parametrize(
        ("reply", "outcome"),
        [
            (Reply(410), Refused("this browser takes nothing any more (410): switch it on again in that browser", is_address_over=True)),
            (Reply(404), Refused("this browser takes nothing any more (404): switch it on again in that browser", is_address_over=True)),
            (Reply(413), Refused("the push service finds this letter too long (413)")),
            (
                Reply(429, headers={"Retry-After": "120"}),
                Later("the push service wants fewer letters (429)", timedelta(seconds=120), blames_destination=False),
            ),
            (Reply(403), Later("the push service does not take this hub's key (403): was the hub's secret changed?", blames_destination=False)),
            (Reply(503, headers={"Retry-After": "5"}), Later("the receiver answered 503", timedelta(seconds=5))),
            (Reply(302, headers={"Location": "http://127.0.0.1:1/"}), Later("the receiver answered 302")),
        ],
    )
    async def test_what_an_answer_means(self, bench, service, reply, outcome):
        service.reply = reply
        assert await bench.agent.deliver(bench.letter()) == outcome

    async def test_it_calls_nothing_inside(self, service):
        outbound = Outbound()
        agent = WebpushAgent(SETTINGS, Surroundings(outbound=outbound, secret=SECRET))
        keys = service.address.partition("#")[2]
        assert agent.check_address(service.address) is None
        assert agent.check_address(f"https://169.254.169.254/x#{keys}") is None
        assert agent.check_address(f"https://push.example.org/x#{keys}") is not None
        strict = WebpushAgent(replace(SETTINGS, allow_http=False), Surroundings(outbound=outbound, secret=SECRET))
        assert strict.check_address(f"http://push.example.org/x#{keys}") is None
        await outbound.close()

    @pytest.mark.parametrize("keys", ["", "x.y", f"{'B' * 87}.{'A' * 22}", f"B{'A' * 86}.{'A' * 22}"])
    def test_what_are_no_keys(self, bench, keys):
        assert bench.agent.check_address(f"https://push.example.org/x#{keys}") is None

    def test_settings_without_a_contact_say_what_to_do(self):
        with pytest.raises(BadSettings, match="contact"):
            WebpushSettings()
