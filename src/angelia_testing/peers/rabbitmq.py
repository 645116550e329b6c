"""A real RabbitMQ for the tests, a fresh virtual host for each."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
        with urllib.request.urlopen(request, timeout=10) as answer:
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
