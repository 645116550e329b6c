"""Apprise keeps the promises of the contract, stays within our limits, and says nothing of what is in its URLs."""

import asyncio
import json
import logging
import os
import re
import subprocess
import threading
from dataclasses import replace

import pytest

from angelia.agent import Surroundings
from angelia.agents.apprise import AppriseAgent, AppriseSettings, _is_fit
from angelia.model.delivery import Later, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.outbound import Outbound
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.process import free_port
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench

SECRET = "pass-of-hers-7f3c"
SETTINGS = AppriseSettings(schemes="json", timeout=1.0)


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


class TestApprise(AgentSuite):
    @pytest.fixture
    async def outbound(self):
        made = Outbound("127.0.0.1/32")
        yield made
        await made.close()

    @pytest.fixture
    def receiver(self):
        made = ScriptedHttp()
        yield made
        made.stop()

    @pytest.fixture
    def mute(self):
        made = ScriptedHttp(lambda _: Reply(delay=0.7))
        yield made
        made.stop()

    @pytest.fixture
    def bench(self, outbound, receiver, mute):
        async def arrived():
            bodies = [json.loads(asked.body) for asked in receiver.asked]
            return [Arrival(re.findall(r"#d\d+$", body["message"])[0], (), tuple(body)) for body in bodies]

        class Elsewhere(AppriseAgent):
            """The same, but whatever the address it calls another port."""

            def __init__(self, port):
                super().__init__(SETTINGS, Surroundings(outbound=outbound))
                self.port = port

            async def deliver(self, letter):
                return await super().deliver(replace(letter, address=replace(letter.address, value=f"json://127.0.0.1:{self.port}/x")))

        agent = AppriseAgent(SETTINGS, Surroundings(outbound=outbound))
        return Bench(agent, f"json://alice:{SECRET}@127.0.0.1:{receiver.port}/hook", arrived, Elsewhere(free_port()), Elsewhere(mute.port))

    async def test_the_text_arrives_with_its_password(self, bench, receiver):
        assert await bench.agent.deliver(bench.letter(3, subject="Grüße", body="a\nb")) == Sent()
        (asked,) = receiver.asked
        body = json.loads(asked.body)
        assert (body["title"], body["message"]) == ("Grüße", body["message"])
        assert body["message"].startswith("a\nb\n") and body["message"].endswith("\n\n#d3")
        assert asked.path == "/hook" and asked.headers["authorization"].startswith("Basic ")

    @pytest.mark.parametrize(
        ("status", "outcome"),
        [
            (410, Refused("the service says that it is gone (410)", is_address_bad=True)),
            (403, Later("the service answered 403", blames_destination=False)),
            (503, Later("the service answered 503")),
            (302, Later("the service answered 302", blames_destination=False)),
        ],
    )
    async def test_what_an_answer_means(self, bench, receiver, status, outcome):
        receiver.answer = lambda _: Reply(status, headers={"Location": f"{receiver.url}/elsewhere"})
        assert await bench.agent.deliver(bench.letter()) == outcome
        assert len(receiver.asked) == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    async def test_it_calls_nothing_inside_by_address_nor_by_name(self, bench, receiver, host):
        strict = AppriseAgent(SETTINGS, Surroundings(outbound=Outbound()))
        letter = bench.letter()
        letter = replace(letter, address=replace(letter.address, value=f"json://{host}:{receiver.port}/x"))
        assert await strict.deliver(letter) == Refused("this leads to an address that the hub may not call", is_address_bad=True)
        assert receiver.asked == []

    @pytest.mark.parametrize("act", [lambda: subprocess.run(["true"], check=False), lambda: os.system("true")])
    async def test_a_service_that_starts_something_is_refused(self, bench, monkeypatch, act):
        class Starting:
            def notify(self, **_):
                act()

        monkeypatch.setattr(bench.agent, "_target", lambda _: Starting())
        outcome = await bench.agent.deliver(bench.letter())
        assert isinstance(outcome, Refused) and "starts programs" in outcome.why

    async def test_other_threads_connect_as_before(self, bench, receiver):
        strict = AppriseAgent(SETTINGS, Surroundings(outbound=Outbound()))
        await strict.deliver(bench.letter())
        assert isinstance(await bench.agent.deliver(bench.letter()), Sent)

    async def test_tries_that_hang_are_few_and_make_room_when_they_end(self, bench, outbound, monkeypatch):
        agent = AppriseAgent(replace(SETTINGS, concurrency=1, timeout=0.1), Surroundings(outbound=outbound))
        is_over = threading.Event()

        class Hanging:
            def notify(self, **_):
                return is_over.wait(60)

        monkeypatch.setattr(agent, "_target", lambda _: Hanging())
        try:
            assert await agent.deliver(bench.letter()) == Later("no answer within 0.1 s", blames_destination=False)
            assert await agent.deliver(bench.letter()) == Later("too many tries still wait for an answer", blames_destination=False)
        finally:
            is_over.set()
        async with asyncio.timeout(60):
            while await agent.deliver(bench.letter()) != Sent():
                await asyncio.sleep(0.01)

    async def test_so_many_at_a_time_over_the_same_threads(self, bench, outbound, receiver):
        agent = AppriseAgent(replace(SETTINGS, concurrency=3, timeout=30), Surroundings(outbound=outbound))

        async def some(first):
            for number in range(first, 30, 3):
                assert await agent.deliver(bench.letter(number)) == Sent()

        await asyncio.gather(*(some(first) for first in range(3)))
        assert len(receiver.asked) == 30 and len({json.loads(asked.body)["message"] for asked in receiver.asked}) == 30
        assert sum(len(kept) for kept in agent._idle.values()) <= 3 and agent._crew._count <= 3
        await agent.close()

    async def test_secrets_are_in_no_outcome_and_no_log(self, bench, receiver, caplog):
        caplog.set_level(logging.DEBUG)
        for answer in (Reply(500), Reply(is_cut=True), Reply()):
            receiver.answer = lambda _, answer=answer: answer
            assert SECRET not in repr(await bench.agent.deliver(bench.letter()))
        assert SECRET not in caplog.text
        shown = bench.agent.shown(bench.address)
        assert SECRET not in shown and "hook" not in shown and shown.startswith("json://")
        assert SECRET not in bench.agent.destination(bench.letter())

    @pytest.mark.parametrize(
        "value", ["mailto://a:b@example.org", "file:///etc/passwd", "json://", "json://host/ x", "JSON://host/x", "jsons://host/x"]
    )
    def test_what_is_no_address(self, bench, value):
        assert bench.agent.check_address(value) is None

    def test_the_schemes_that_are_allowed_unless_said_otherwise_are_known(self, outbound):
        agent = AppriseAgent(AppriseSettings(), Surroundings(outbound=outbound))
        assert agent.check_address(agent.address_example) and agent.check_address("gotifys://host.example.org/token12")

    def test_more_than_a_hundred_services_can_be_allowed(self, bench, outbound):
        known = bench.agent._library.plugins.N_MGR
        fit = sorted(scheme for scheme in known.schemas() if _is_fit(known, scheme))
        agent = AppriseAgent(AppriseSettings(schemes=", ".join(fit)), Surroundings(outbound=outbound))
        assert len({known[scheme] for scheme in fit}) > 100
        assert agent.check_address("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js")
        assert agent.check_address("46elks://user:secret@15551231234") and agent.check_address("mailto://a:b@example.org") is None

    def test_settings_that_can_not_work_are_told(self, outbound, monkeypatch):
        for scheme in ("nosuchthing", "syslog", "mqtt", "mailto", "amqp"):
            with pytest.raises(BadSettings, match=f"{scheme} is nothing that the library speaks over HTTP"):
                AppriseAgent(AppriseSettings(schemes=f"json,{scheme}"), Surroundings(outbound=outbound))
        with pytest.raises(BadSettings, match="beginnings of URLs"):
            AppriseSettings(schemes=" , ")
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
        with pytest.raises(BadSettings, match="proxy"):
            AppriseAgent(SETTINGS, Surroundings(outbound=outbound))
