"""How many letters a second does each agent hand to its local server? Beside it: a bare loop of the same client library with ready texts.

`python benchmarks/agents.py [NAME ...]`, all of the registry without one. What speaks HTTP goes to a receiver that only says yes; mail to Postfix's smtp-sink;
amqp and xmpp to the real servers. The bare loop of webpush seals with http-ece; that of apprise runs the library in as many threads.
"""

import asyncio
import json
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from statistics import median
from typing import Any

import aiormq
import aiosmtplib
import apprise as apprise_library
import http_ece
import httpcore2
import slixmpp
import uvloop
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pamqp import commands as spec

from angelia.agent import Surroundings
from angelia.agents.amqp import AmqpAgent, AmqpSettings
from angelia.agents.apprise import AppriseAgent, AppriseSettings
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.agents.matrix import MatrixAgent, MatrixSettings
from angelia.agents.ntfy import NtfyAgent, NtfySettings
from angelia.agents.telegram import TelegramAgent, TelegramSettings
from angelia.agents.webhook import WebhookAgent, WebhookSettings
from angelia.agents.webpush import WebpushAgent, WebpushSettings
from angelia.agents.webpush.sealing import Identity, packed
from angelia.agents.xmpp import XmppAgent, XmppSettings
from angelia.model.delivery import Sent
from angelia.outbound import Outbound
from angelia.plugins import agent_classes
from angelia_testing.peers.process import Server, free_port, scratch
from angelia_testing.peers.rabbitmq import RabbitMQ
from angelia_testing.peers.smtp_sink import PROGRAM
from angelia_testing.peers.xmpp import Prosody
from angelia_testing.suites.agent import Bench

COUNT, AT_ONCE, ROUNDS = 500, 20, 9
LONGEST = 12.0  # seconds for the rounds of one agent, but three of them
AIM = 0.7
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
    rounds: list[tuple[float, ...]] = []
    until = time.monotonic() + LONGEST
    while len(rounds) < 3 or (len(rounds) < ROUNDS and time.monotonic() < until):
        rounds.append((*await timed(one), *await timed(bare)))
    await agent.close()
    ours, us, theirs, us_bare = (median(column) for column in zip(*rounds, strict=True))
    print(
        f"| {agent.name} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} | {us:,.0f} | {us_bare:,.0f} | {us_bare / us:.2f} | {AIM} |", flush=True
    )


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
            if name == "apprise":
                await threaded(port, lent)
                continue
            async with httpcore2.AsyncConnectionPool(max_connections=AT_ONCE) as pool:

                async def bare(_: int, pool: Any = pool, headers: Any = None, made: Any = lambda: ready) -> None:
                    answer = await pool.request("POST", f"{url}/hook", headers={"Content-Type": "application/json"} | (headers or {}), content=made())
                    assert answer.status == 200

                if name == "webpush":
                    await sealed(url, lent, bare)
                else:
                    made, address = kinds[name]
                    await compare(made(), address, bare)
    finally:
        await outbound.close()
        receiver.stop()


async def sealed(url: str, lent: Surroundings, post: Callable[..., Awaitable[Any]]) -> None:
    """A browser's keys, and letters sealed for it; the word of who sends is signed once, as the agent does."""
    point = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    auth = b"sixteen bytes ok"
    identity = Identity(b"s" * 32, "mailto:operator@example.org").authorization(url, time.time())
    plain = json.dumps({"title": "okular failed", "body": BODY}).encode()
    headers = {"Authorization": identity, "TTL": "86400", "Content-Encoding": "aes128gcm"}

    async def bare(number: int) -> None:
        own = generate_private_key(SECP256R1())
        await post(number, headers=headers, made=lambda: http_ece.encrypt(plain, private_key=own, dh=point, auth_secret=auth, version="aes128gcm"))

    agent = WebpushAgent(WebpushSettings(contact="mailto:operator@example.org", allow_http=True), lent)
    await compare(agent, f"{url}/hook#{packed(point)}.{packed(auth)}", bare)


async def threaded(port: int, lent: Surroundings) -> None:
    """The library waits in threads: as many for the bare loop as the agent has places."""
    address = f"json://127.0.0.1:{port}/hook"
    agent = AppriseAgent(AppriseSettings(schemes="json", concurrency=AT_ONCE), lent)
    asset = apprise_library.AppriseAsset(secure_logging=True, storage_mode="memory", http_redirects=False)
    target = apprise_library.Apprise.instantiate(address, asset=asset)
    target.request_rate_per_sec = 0
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(AT_ONCE) as pool:

        async def bare(_: int) -> None:
            assert await loop.run_in_executor(pool, lambda: target.notify(title="okular failed", body=BODY, body_format="text"))

        await compare(agent, address, bare)


async def mail() -> None:
    """To a server that takes all, over as many kept connections; the bare loop sends a ready letter."""
    port, folder = free_port(), scratch("sink")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    server = Server("sink", [str(PROGRAM), *user, f"127.0.0.1:{port}", "1000"], [port], folder)
    ready = EmailMessage()
    ready["From"], ready["To"], ready["Subject"] = "hub@example.org", "alice@example.org", "okular failed"
    ready.set_content(BODY)
    ready.add_alternative(f"<pre>{BODY}</pre>", subtype="html")
    raw = ready.as_bytes()
    connections = [aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False) for _ in range(AT_ONCE)]
    try:
        for connection in connections:
            await connection.connect()

        async def bare(number: int) -> None:
            await connections[number % AT_ONCE].sendmail("hub@example.org", ["alice@example.org"], raw)

        agent = MailAgent(MailSettings(url=f"smtp://127.0.0.1:{port}", sender="hub@example.org", domain="example.org"))
        await compare(agent, "alice@example.org", bare)
        for connection in connections:
            await connection.quit()
    finally:
        server.stop()


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


HTTP = ("webhook", "ntfy", "telegram", "matrix", "webpush", "apprise")
OTHERS = {"mail": mail, "amqp": amqp, "xmpp": xmpp}


async def main(names: list[str]) -> None:
    print("| agent | letters/s | bare loop | ratio | us of processor | bare loop | ratio | aim |\n|---|---|---|---|---|---|---|---|", flush=True)
    if asked := [name for name in HTTP if name in names]:
        await http(asked)
    for name, one in OTHERS.items():
        if name in names:
            await one()
    for name, kind in agent_classes().items():
        if kind.is_pull and name in names:
            print(f"| {name} | nothing leaves: what is recorded is delivered | | | | | | |")
        assert kind.is_pull or name in HTTP or name in OTHERS, f"{name} has no row"
    print(f"\nAim: {AIM} of the bare loop or more; processor times are those of this process, the servers have their own.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--receive"]:
        uvloop.run(receive(int(sys.argv[2])))
    else:
        uvloop.run(main(sys.argv[1:] or list(agent_classes())))
