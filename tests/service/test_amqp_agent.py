"""Letters into people's own queues on a real broker."""

import asyncio
import json
import socket
import time
from dataclasses import replace

import pytest

from angelia.agents.amqp import AmqpAgent, AmqpSettings
from angelia.model.delivery import Later, Refused, Sent
from angelia.model.errors import BadSettings
from angelia_testing.peers.process import free_port
from angelia_testing.peers.rabbitmq import Wire
from angelia_testing.suites.agent import AgentSuite, Arrival, Bench


@pytest.fixture
async def wire(vhost):
    made = await Wire.open(vhost.url)
    yield made
    await made.close()


@pytest.fixture
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def make_queue(vhost, name):
    vhost.node.api("PUT", f"/queues/{vhost.name}/{name}", {"durable": True})


class TestAmqp(AgentSuite):
    @pytest.fixture
    def bench(self, vhost, wire, silent_port):
        make_queue(vhost, "hub.alice")
        got = []

        async def arrived():
            for message in await wire.get("hub.alice", await wire.ready("hub.alice")):
                body = json.loads(message.body)
                properties = message.header.properties
                assert properties.delivery_mode == 2
                got.append(Arrival(properties.message_id, (message.routing_key, body["person"]), tuple(sorted(set(body) - {"schedule"}))))
            return list(got)

        def agent(url):
            return AmqpAgent(AmqpSettings(url=url, prefix="hub."))

        return Bench(agent(vhost.url), "hub.alice", arrived, *(agent(f"amqp://127.0.0.1:{port}/") for port in (free_port(), silent_port)))

    def at(self, bench, address, number=1):
        letter = bench.letter(number)
        return replace(letter, address=replace(letter.address, value=address))

    @pytest.mark.parametrize("value", ["alice", "hub.a/b/c", "/hub.a", "hub.a/", "hub.a b", "hub.a#", "hub.a/*"])
    def test_what_is_no_place_of_a_person(self, bench, value):
        assert bench.agent.check_address(value) is None

    def test_the_brokers_own_exchanges_are_no_address(self):
        agent = AmqpAgent(AmqpSettings(url="amqp://127.0.0.1/"))
        assert agent.check_address("amq.topic/a") is None and agent.check_address("mine/a.b") == "mine/a.b"

    async def test_an_exchange_with_something_bound(self, bench, vhost, wire):
        await asyncio.to_thread(vhost.declare_exchange, "hub.news")
        assert (await bench.agent.deliver(self.at(bench, "hub.news/a.b"))).is_address_bad
        await asyncio.to_thread(vhost.node.api, "POST", f"/bindings/{vhost.name}/e/hub.news/q/hub.alice", {"routing_key": "a.#"})
        assert isinstance(await bench.agent.deliver(self.at(bench, "hub.news/a.b")), Sent)
        (message,) = await wire.get("hub.alice", 1)
        assert json.loads(message.body)["subject"] == "hello"

    async def test_what_is_not_there_ends_its_address_and_no_other(self, bench):
        wrong = ["hub.nobody", "hub.nothing/a", "hub.nothing/b"]
        outcomes = await asyncio.gather(*(bench.agent.deliver(self.at(bench, to, n)) for n, to in enumerate([*wrong, "hub.alice", "hub.alice"], 1)))
        assert all(isinstance(outcome, Refused) and outcome.is_address_bad for outcome in outcomes[:3])
        assert all(isinstance(outcome, Sent) for outcome in outcomes[3:])
        assert isinstance(await bench.agent.deliver(self.at(bench, "hub.alice", 9)), Sent)

    async def test_a_lost_connection_is_made_anew(self, bench, rabbitmq):
        assert isinstance(await bench.agent.deliver(bench.letter(1)), Sent)
        await asyncio.to_thread(rabbitmq.close_connections)
        outcomes = [await bench.agent.deliver(bench.letter(2)) for _ in range(2)]
        assert isinstance(outcomes[-1], Sent)

    async def test_a_broker_that_stands_still_is_later_and_nothing_piles_up_before_it(self, bench, vhost, rabbitmq, monkeypatch):
        """Once the broker is late, letters wait until the wire takes those before them."""
        agent = AmqpAgent(AmqpSettings(url=vhost.url, timeout=1.0))
        await self.sent(agent, bench.letter(1))
        monkeypatch.setattr(agent, "_body", lambda letter: b"x" * 8_000_000)  # more than the sockets on both sides hold
        put, write = [], asyncio.StreamWriter.write

        def counted(writer, data):
            put.append(len(data))
            write(writer, data)

        monkeypatch.setattr(asyncio.StreamWriter, "write", counted)
        rabbitmq.freeze()
        try:
            outcomes = [await agent.deliver(bench.letter(2))]
            outcomes += await asyncio.gather(*(agent.deliver(bench.letter(number)) for number in range(3, 7)))
        finally:
            rabbitmq.thaw()
        assert all(isinstance(outcome, Later) and "alarm" in outcome.why for outcome in outcomes)
        assert len([size for size in put if size > 1_000_000]) <= 2
        monkeypatch.undo()
        await self.sent(agent, bench.letter(8))
        await agent.close()

    async def sent(self, agent, letter):
        """However slow the machine is now."""
        outcome, deadline = None, time.monotonic() + 60
        while not isinstance(outcome, Sent):
            assert time.monotonic() < deadline, outcome
            outcome = await agent.deliver(letter)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "amqp://"),
        ({"url": "http://x"}, "amqp://"),
        ({"url": "amqp://x", "prefix": "a b"}, "prefix"),
        ({"url": "amqp://x", "timeout": 0}, "above 0"),
    ],
)
def test_settings_say_what_is_wrong(settings, why):
    with pytest.raises(BadSettings, match=why):
        AmqpSettings(**settings)
