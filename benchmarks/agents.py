"""How many letters a second does each agent hand to its local server? Beside it: a bare loop of the same client library with ready texts.

`python benchmarks/agents.py [webhook ntfy telegram matrix amqp xmpp]`. What speaks HTTP goes to a receiver that only says yes; amqp and xmpp to the real servers.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import aiormq
import httpcore2
import slixmpp
import uvloop
from pamqp import commands as spec

from angelia.agent import Surroundings
from angelia.agents.amqp import AmqpAgent, AmqpSettings
from angelia.agents.matrix import MatrixAgent, MatrixSettings
from angelia.agents.ntfy import NtfyAgent, NtfySettings
from angelia.agents.telegram import TelegramAgent, TelegramSettings
from angelia.agents.webhook import WebhookAgent, WebhookSettings
from angelia.agents.xmpp import XmppAgent, XmppSettings
from angelia.model.delivery import Sent
from angelia.outbound import Outbound
from angelia_testing.peers.process import Server, free_port, scratch
from angelia_testing.peers.rabbitmq import RabbitMQ
from angelia_testing.peers.xmpp import Prosody
from angelia_testing.suites.agent import Bench

COUNT, AT_ONCE, ROUNDS = 500, 20, 9
BODY = "ld: cannot find -lpoppler\n" * 10
YES = b'{"ok": true, "room_id": "!a:b", "event_id": "$1", "result": {"message_id": 1}}'


class Receiver(asyncio.Protocol):
    """Reads whole requests (the head, then as many bytes as it names) and says yes."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(YES), YES))


async def receive(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", port)
    await server.serve_forever()


async def timed(one: Callable[[int], Awaitable[Any]]) -> tuple[float, float]:
    """Letters a second by the clock, and microseconds of our processor for each; the server is a process of its own."""
    began, used = time.perf_counter(), time.process_time()

    async def some(start: int) -> None:
        for number in range(start, COUNT, AT_ONCE):
            await one(number)

    await asyncio.gather(*(some(start) for start in range(AT_ONCE)))
    return COUNT / (time.perf_counter() - began), (time.process_time() - used) / COUNT * 1e6


async def compare(agent: Any, address: str, bare: Callable[[int], Awaitable[Any]]) -> None:
    """In turns, since the machine has other things to do; the middle of the rounds counts."""
    bench = Bench(agent, address)
    letters = [bench.letter(number, subject=f"okular {number} failed", body=BODY) for number in range(COUNT)]

    async def one(number: int) -> None:
        outcome = await agent.deliver(letters[number])
        assert isinstance(outcome, Sent), outcome

    await timed(one)  # connected, joined, all that is kept is kept
    await timed(bare)
    rounds = [(*await timed(one), *await timed(bare)) for _ in range(ROUNDS)]
    await agent.close()
    ours, us, theirs, us_bare = (median(column) for column in zip(*rounds, strict=True))
    print(f"| {agent.name} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} | {us:,.0f} | {us_bare:,.0f} | {us_bare / us:.2f} |", flush=True)


async def http(names: list[str]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    receiver = Server("receiver", [sys.executable, str(Path(__file__).resolve()), "--receive", str(port)], [port], scratch("receiver"))
    outbound = Outbound("127.0.0.1/32")
    lent = Surroundings(outbound=outbound, secret=b"s" * 32)
    kinds = {
        "webhook": (lambda: WebhookAgent(WebhookSettings(allow_http=True), lent), f"{url}/hook"),
        "ntfy": (lambda: NtfyAgent(NtfySettings(server=url, allow_http=True), lent), "alice"),
        "telegram": (lambda: TelegramAgent(TelegramSettings(token=f"123:{'a' * 30}", api=url), lent), "123"),
        "matrix": (lambda: MatrixAgent(MatrixSettings(server=url, token="t"), lent), "!a:b"),
    }
    ready = json.dumps({"type": "obs.build.fail", "data": {"subject": "okular failed", "text": BODY}}).encode()
    try:
        for name in names:
            async with httpcore2.AsyncConnectionPool(max_connections=AT_ONCE) as pool:

                async def bare(_: int, pool: Any = pool) -> None:
                    answer = await pool.request("POST", f"{url}/hook", headers={"Content-Type": "application/json"}, content=ready)
                    assert answer.status == 200

                made, address = kinds[name]
                await compare(made(), address, bare)
    finally:
        await outbound.close()
        receiver.stop()


async def amqp() -> None:
    node = await asyncio.to_thread(RabbitMQ)
    try:
        vhost = node.vhost()
        for queue in ("alice", "bare"):
            node.api("PUT", f"/queues/{vhost.name}/{queue}", {"durable": True})
        connection = await aiormq.connect(vhost.url)
        channel = await connection.channel(publisher_confirms=True)
        properties = spec.Basic.Properties(delivery_mode=2)

        async def bare(_: int) -> None:
            await channel.basic_publish(BODY.encode(), routing_key="bare", properties=properties, mandatory=True)

        await compare(AmqpAgent(AmqpSettings(url=vhost.url)), "alice", bare)
        await connection.close()
    finally:
        await asyncio.to_thread(node.stop)


async def xmpp() -> None:
    server = Prosody()
    try:
        server.user("hub")
        alice = server.user("alice")
        settings = {"password": "secret", "server": server.server, "ca_file": server.ca_file}
        # She reads nothing: what is measured is what the server takes, and keeps for her.
        agent = XmppAgent(XmppSettings(jid="hub@test.example", **settings))
        client = slixmpp.ClientXMPP("hub@test.example", "secret", ssl_context=ssl.create_default_context(cafile=server.ca_file))
        client.enable_direct_tls = False
        client.register_plugin("xep_0199")
        started = asyncio.get_running_loop().create_future()
        client.add_event_handler("session_start", started.set_result)
        await client.connect("127.0.0.1", server.port)
        await started
        server_itself = slixmpp.JID("test.example")

        async def bare(_: int) -> None:
            client.send_message(mto=slixmpp.JID(alice), mbody=BODY, mtype="chat")
            await client.plugin["xep_0199"].send_ping(server_itself)

        await compare(agent, alice, bare)
        with suppress(TimeoutError):
            await client.disconnect(1.0)
    finally:
        server.stop()


async def main(names: list[str]) -> None:
    print("| agent | letters/s | bare loop | ratio | us of processor | bare loop | ratio |\n|---|---|---|---|---|---|---|", flush=True)
    if asked := [name for name in ("webhook", "ntfy", "telegram", "matrix") if name in names]:
        await http(asked)
    if "amqp" in names:
        await amqp()
    if "xmpp" in names:
        await xmpp()
    print("\nAim: 0.7 of the bare loop or more.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--receive"]:
        uvloop.run(receive(int(sys.argv[2])))
    else:
        uvloop.run(main(sys.argv[1:] or ["webhook", "ntfy", "telegram", "matrix", "amqp", "xmpp"]))
