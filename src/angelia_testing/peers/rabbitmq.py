"""A real RabbitMQ for the tests, a fresh virtual host for each."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiormq
from aiormq.abc import AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError
from pamqp import commands as spec

from angelia_testing.peers.process import Server, free_port, missing, scratch

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
disk_free_limit.absolute = 50MB
management.rates_mode = none
log.file.level = warning
"""


class RabbitMQ:
    """One node on ports of its own, with the management API."""

    def __init__(self) -> None:
        if not (PROGRAMS / "rabbitmq-server").exists():
            missing("RabbitMQ")
        self.folder = scratch("rabbitmq")
        self.port, self.management, distribution = free_port(), free_port(), free_port()
        self._vhosts = 0
        folder = self.folder
        (folder / "home").mkdir()
        (folder / "rabbitmq.conf").write_text(_CONFIG.format(port=self.port, management=self.management))
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        self._env = os.environ | {
            "HOME": str(folder / "home"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"angelia{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": str(folder / "log" / "node.log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"),
        }
        self.start()

    def start(self) -> None:
        """Start, and wait until it takes connections and its API answers."""
        self.server = Server("rabbitmq", [str(PROGRAMS / "rabbitmq-server")], [], self.folder, env=self._env)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                self.api("GET", "/overview")
                self.server.wait_for(self.port)
            except (OSError, urllib.error.URLError):
                if self.server.process.poll() is not None:
                    break
                time.sleep(0.2)
            else:
                return
        raise RuntimeError(f"RabbitMQ does not start: {self.server.log()}")

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call of the management API, as the node's administrator."""
        headers = {"Authorization": "Basic " + b64encode(b"guest:guest").decode(), "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}/api{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def vhost(self, *, port: int = 0, options: str = "") -> "Vhost":
        """A new empty virtual host; by `port` it is reached another way, through a proxy."""
        self._vhosts += 1
        name = f"test{self._vhosts}"
        self.api("PUT", f"/vhosts/{name}", {})
        self.api("PUT", f"/permissions/{name}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        return Vhost(self, name, port or self.port, options)

    def ctl(self, *arguments: str) -> str:
        """Its command line. Slow: it starts a machine of its own."""
        argv = [str(PROGRAMS / "rabbitmqctl"), "-q", *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, env=self._env, timeout=60).stdout

    def settle(self) -> None:
        """Until what was declared survives a kill: the node writes with a delay, and a stream killed before that is known, and never comes back."""
        time.sleep(3)

    def kill9(self) -> None:
        """As if the machine had lost it."""
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        self.server.kill()
        self.server.process.wait(10)

    def freeze(self) -> None:
        """Stop it where it is: connections stay, and nothing answers."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGCONT)

    def close_connections(self) -> None:
        """As an operator does."""
        for entry in self.api("GET", "/connections"):
            self.api("DELETE", f"/connections/{quote(entry['name'], safe='')}")

    def stop(self) -> None:
        """Stop and forget."""
        self.server.kill(signal.SIGTERM)
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Vhost:
    """One virtual host, and what an operator can do to it."""

    def __init__(self, node: RabbitMQ, name: str, port: int, options: str) -> None:
        self.node, self.name = node, name
        self.url = f"amqp://guest:guest@127.0.0.1:{port}/{name}{options}"

    def queues(self) -> list[str]:
        """Names of its queues."""
        return [entry["name"] for entry in self.node.api("GET", f"/queues/{self.name}")]

    def delete_queue(self, queue: str) -> None:
        """While it is used."""
        self.node.api("DELETE", f"/queues/{self.name}/{quote(queue, safe='')}")

    def delete_exchange(self, exchange: str) -> None:
        """While it is used."""
        self.node.api("DELETE", f"/exchanges/{self.name}/{quote(exchange, safe='')}")

    def declare_exchange(self, exchange: str, kind: str = "topic") -> None:
        """As its owner does."""
        self.node.api("PUT", f"/exchanges/{self.name}/{quote(exchange, safe='')}", {"type": kind, "durable": True})


class Wire:
    """Another program on the same broker: publishes, looks at queues, and comes back after a restart."""

    def __init__(self, url: str, connection: AbstractConnection) -> None:
        self._url, self._connection = url, connection
        self._publishing: Any = None

    @classmethod
    async def open(cls, url: str) -> "Wire":
        """Connected."""
        return cls(url, await aiormq.connect(url))

    async def _channel(self) -> Any:
        if self._connection.is_closed:
            self._connection = await aiormq.connect(self._url)
        return await self._connection.channel()

    async def exchange(self, name: str, kind: str = "topic") -> None:
        """Declare it."""
        await (await self._channel()).exchange_declare(name, exchange_type=kind, durable=True)

    async def bind(self, queue: str, exchange: str, key: str = "#") -> None:
        """One more binding."""
        await (await self._channel()).queue_bind(queue, exchange, routing_key=key)

    async def publish(self, exchange: str, key: str, body: bytes, **properties: Any) -> None:
        """Confirmed."""
        if self._publishing is None or self._publishing.is_closed:
            self._publishing = await self._channel()
        properties.setdefault("content_type", "application/json")
        await self._publishing.basic_publish(
            body, exchange=exchange, routing_key=key, properties=spec.Basic.Properties(delivery_mode=2, **properties)
        )

    async def _look(self, queue: str) -> Any:
        with suppress(AMQPError, OSError):
            channel = await self._channel()
            found = await channel.queue_declare(queue, passive=True)
            await channel.close()
            return found
        return None

    async def has_queue(self, queue: str) -> bool:
        """Is it there?"""
        return await self._look(queue) is not None

    async def consumers(self, queue: str) -> int:
        """How many take from it."""
        found = await self._look(queue)
        return found.consumer_count if found else 0

    async def ready(self, queue: str) -> int:
        """How many wait in it, those in hand left out."""
        found = await self._look(queue)
        return found.message_count if found else 0

    async def is_empty(self, queue: str) -> bool:
        """Nothing waits, and nothing is in hand: what is in hand comes back to who asks for all."""
        return await self.has_queue(queue) and await self.ready(queue) == 0

    async def get(self, queue: str, count: int) -> list[DeliveredMessage]:
        """Take so many, waiting for them."""
        channel = await self._channel()
        found: list[DeliveredMessage] = []
        deadline = time.monotonic() + 30
        while len(found) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {count} came")
            message = await channel.basic_get(queue, no_ack=True)
            if isinstance(message.delivery, spec.Basic.GetOk):
                found.append(message)
            else:
                await asyncio.sleep(0.05)
        return found

    async def close(self) -> None:
        """Give it back."""
        with suppress(AMQPError, OSError):
            await self._connection.close()
