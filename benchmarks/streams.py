"""How many events a second does one server process write to N clients that follow the same pattern? Beside it, in the same run and with the same
client: node's `ws`, nginx with nchan, and a loop that does nothing but write ready bytes, which is what this machine can do at most.

python benchmarks/streams.py [clients...]      what is not there is left out: node with `npm install ws` in the folder that NODE_PATH or --node
names; Debian's nginx and libnginx-mod-nchan
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from angelia.broker import ExchangeSettings
from angelia.model.event import Event, Position
from angelia.sandbox.processes import processor_seconds
from angelia.web.stream.forms import SocketForm
from angelia_testing.live import open_streams, served
from angelia_testing.memory_broker import MemoryBroker
from angelia_testing.peers.process import free_port

BODY = json.dumps({"text": "x" * 185}).encode()
NODE = """
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ port: +process.argv[1], host: "127.0.0.1", perMessageDeflate: false });
const clients = new Set();
server.on("connection", (c) => { c.on("message", () => { clients.add(c); c.send("bound"); }); c.on("close", () => clients.delete(c)); });
const text = "x".repeat(300);
process.stdin.on("data", async (line) => {
  const count = +line.toString();
  for (let i = 0; i < count; i++) {
    for (const c of clients) c.send(text);
    if (i % 10 === 9) { await new Promise(setImmediate); while ([...clients].some((c) => c.bufferedAmount > 131072)) await new Promise(setImmediate); }
  }
});
server.on("listening", () => console.log("ready"));
"""


async def serve(port: int, burst: int, rate: int = 0) -> None:
    """Publishes as many as it is told, `burst` at once, each as soon as the one before is written; with `rate` as many a second, in each turn
    of the loop what is due by then, as from a consumer that a broker feeds.
    """
    exchanges = {"news": ExchangeSettings(access="public")}
    broker = MemoryBroker(exchanges, first=1_000_000)
    app, streams = open_streams(exchanges, broker)
    async with served(app, port, backlog=4096):
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            began, left = time.perf_counter(), int(line)
            while left:
                due = int((time.perf_counter() - began) * rate) - (int(line) - left) if rate else burst
                if due:
                    await broker.publish([Event("news", "build.done", BODY, "application/json")] * min(due, left))
                    left -= min(due, left)
                await asyncio.sleep(0 if due else 0.0005)
                while streams._paused:
                    await asyncio.sleep(0)
    await streams.close()


async def serve_bare(port: int, burst: int) -> None:
    """Answers the handshake and the binding with what the client waits for, then writes the same bytes to all: no protocol, no broker."""
    clients: list[asyncio.Transport] = []
    lagging: set[object] = set()

    class Bare(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            transport.set_write_buffer_limits(131_072)

        def data_received(self, data):
            if data.startswith(b"GET"):
                self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            else:
                self.transport.write(b"bound")
                clients.append(self.transport)

        def pause_writing(self):
            lagging.add(self)

        def resume_writing(self):
            lagging.discard(self)

        def connection_lost(self, exc):
            lagging.discard(self)

    loop = asyncio.get_running_loop()
    await loop.create_server(Bare, "127.0.0.1", port, backlog=4096)
    print("ready", os.getpid(), flush=True)
    frame = b"x" * frame_size()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        for _ in range(int(line) // burst):
            data = frame * burst
            for transport in clients:
                transport.write(data)
            await asyncio.sleep(0)
            while lagging:
                await asyncio.sleep(0)


NGINX = """
load_module {module};
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; error_log {folder}/error.log warn; pid {folder}/pid;
events {{ worker_connections 15000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s; keepalive_requests 10000000; nchan_max_reserved_memory 256M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /api/v1/stream {{ nchan_subscriber websocket; nchan_channel_id news; nchan_subscriber_first_message newest; }}
    location = /publish {{ nchan_publisher; nchan_channel_id news; nchan_message_buffer_length 20; }}
  }}
}}
"""
MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


async def serve_nchan(port: int, _burst: int) -> None:
    """One nginx process; ten posts are under way at once, and the next ten go out when they were answered."""
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder, "nginx.conf")
        conf.write_text(NGINX.format(module=MODULE, folder=folder, port=port))
        nginx = subprocess.Popen(["nginx", "-c", str(conf), "-e", f"{folder}/error.log"])
        try:
            loop = asyncio.get_running_loop()
            for _ in range(200):
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                await asyncio.sleep(0.05)
            print("ready", nginx.pid, flush=True)
            post = b"POST /publish HTTP/1.1\r\nHost: bench\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                for _ in range(int(line) // 10):
                    writer.write(post * 10)
                    for _ in range(10):
                        head = (await reader.readuntil(b"\r\n\r\n")).lower()
                        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0))
        finally:
            nginx.terminate()
            nginx.wait()


class Client(asyncio.Protocol):
    """A client that counts bytes."""

    def __init__(self, port: int, ready: asyncio.Semaphore, counter: list[int], binds: bool) -> None:
        self.port, self.ready, self.counter, self.stage, self.seen, self.binds = port, ready, counter, 0, b"", binds

    def connection_made(self, transport):
        self.transport = transport
        transport.write(
            b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % self.port
        )

    def data_received(self, data):
        if self.stage == 2:
            self.counter[0] += len(data)
            return
        self.seen += data
        if self.stage == 0 and b"\r\n\r\n" in self.seen:
            if not self.binds:
                self.stage = 2
                self.ready.release()
                return
            self.stage, self.seen = 1, b""
            text = b'{"bind":{"exchange":"news","key":"build.*"}}'
            self.transport.write(b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text)
        elif self.stage == 1 and b"bound" in self.seen:
            self.stage = 2
            self.ready.release()


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def measure(name: str, argv: list[str], clients: int, deliveries: int, frame: int, binds: bool = True, burst: int = 10) -> float:
    port = free_port()
    process = await asyncio.create_subprocess_exec(*argv, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    said = (await process.stdout.readline()).split()
    assert said[0] == b"ready"
    pid = int(said[1]) if len(said) > 1 else process.pid
    before = memory(pid)
    ready, counter = asyncio.Semaphore(0), [0]
    loop = asyncio.get_running_loop()
    transports = []
    for start in range(0, clients, 100):
        for _ in range(min(100, clients - start)):
            transport, _ = await loop.create_connection(lambda: Client(port, ready, counter, binds), "127.0.0.1", port)
            transports.append(transport)
            await ready.acquire()
    idle = (memory(pid) - before) / clients / 1024
    best, least = 0.0, float("inf")
    for _ in range(3):
        counter[0] = 0
        events = max(burst, deliveries // clients // burst * burst)
        began, cpu = time.perf_counter(), processor_seconds(pid)
        process.stdin.write(b"%d\n" % events)
        while counter[0] < events * clients * frame:
            await asyncio.sleep(0.002)
            assert time.perf_counter() - began < 60, (counter, events * clients * frame)
        best = max(best, events * clients / (time.perf_counter() - began))
        least = min(least, (processor_seconds(pid) - cpu) / events / clients * 1e6)
    print(
        f"{name:<12} {clients:>6} clients  {best:>12,.0f} deliveries/s  {least:5.2f} us of its processor time each  {idle:6.1f} KB a connection",
        flush=True,
    )
    for transport in transports:
        transport.abort()
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    return best


def frame_size() -> int:
    event = replace(Event("news", "build.done", BODY, "application/json"), position=Position("memory", 1_000_001))
    return len(SocketForm().event(event, "news@memory-1000001"))


AIMS = {100: 1_000_000, 1_000: 300_000, 5_000: 120_000}
BURSTS = (10, 50)
"""Events that are published together. What waits together is one write for each client: with few clients that is most of the cost."""


async def run(counts: list[int], node: str, deliveries: int) -> None:
    ours = 0.0
    for clients in counts:
        if clients in AIMS:
            print(f"aim of Angelia at {clients:,} clients: {AIMS[clients]:,}/s; node ws at 1,000: ratio 3; nchan at 1,000: ratio 1.5", flush=True)
        for burst in BURSTS if clients <= 100 else BURSTS[:1]:
            print(f"events that are published together: {burst}", flush=True)
            argv = [sys.executable, __file__, "--burst", str(burst)]
            most = await measure("bare writes", [*argv, "--bare"], clients, deliveries, frame_size(), burst=burst)
            found = await measure("angelia", [*argv, "--serve"], clients, deliveries, frame_size(), burst=burst)
            print(f"             ratio to bare writes {found / most:.2f}", flush=True)
            ours = found if burst == BURSTS[0] else ours
        if clients in AIMS:
            rate = AIMS[clients] * 21 // 20 // clients
            print(f"events that are offered: {rate:,}/s", flush=True)
            argv = [sys.executable, __file__, "--rate", str(rate), "--serve"]
            await measure("angelia", argv, clients, rate * clients * 3, frame_size(), burst=1)
        if node and clients <= 1_000:
            os.environ["NODE_PATH"] = node
            theirs = await measure("node ws", ["node", "-e", NODE, "--"], clients, deliveries, 304)
            print(f"             ratio to node ws {ours / theirs:.2f}", flush=True)
        if MODULE.exists() and clients <= 1_000:
            theirs = await measure("nginx, nchan", [sys.executable, __file__, "--nchan"], clients, deliveries, 304, binds=False)
            print(f"             ratio to nchan {ours / theirs:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clients", nargs="*", type=int, default=[100, 1_000, 5_000])
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--nchan", action="store_true")
    parser.add_argument("--burst", type=int, default=10)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--node", default=os.environ.get("NODE_PATH", ""))
    parser.add_argument("--deliveries", type=int, default=300_000)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    serving = {"serve": serve, "bare": serve_bare, "nchan": serve_nchan}
    if options.rate:
        uvloop.run(serve(options.clients[0], 1, options.rate))
    elif (which := next((name for name in serving if getattr(options, name)), None)) is not None:
        uvloop.run(serving[which](options.clients[0], options.burst))
    else:
        uvloop.run(run(options.clients, options.node, options.deliveries))


if __name__ == "__main__":
    main()
