"""How many events a second does one server process write to N clients that follow the same pattern? Beside it node's `ws`, in the same run.

python benchmarks/streams.py [clients...]      needs node; `npm install ws` in the folder that NODE_PATH or --node names
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from angelia.broker import ExchangeSettings
from angelia.model.event import Event, Position
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


async def serve(port: int) -> None:
    exchanges = {"news": ExchangeSettings(access="public")}
    broker = MemoryBroker(exchanges, first=1_000_000)
    app, streams = open_streams(exchanges, broker)
    async with served(app, port, backlog=4096):
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            for _ in range(int(line) // 10):
                await broker.publish([Event("news", "build.done", BODY, "application/json")] * 10)
                await asyncio.sleep(0)
                while streams._paused:
                    await asyncio.sleep(0)
    await streams.close()


class Client(asyncio.Protocol):
    """A client that counts bytes."""

    def __init__(self, port: int, ready: asyncio.Semaphore, counter: list[int]) -> None:
        self.port, self.ready, self.counter, self.stage, self.seen = port, ready, counter, 0, b""

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
            self.stage, self.seen = 1, b""
            text = b'{"bind":{"exchange":"news","key":"build.*"}}'
            self.transport.write(b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text)
        elif self.stage == 1 and b"bound" in self.seen:
            self.stage = 2
            self.ready.release()


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def measure(name: str, argv: list[str], port: int, clients: int, deliveries: int, frame: int) -> float:
    process = await asyncio.create_subprocess_exec(*argv, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert (await process.stdout.readline()).strip() == b"ready"
    before = memory(process.pid)
    ready, counter = asyncio.Semaphore(0), [0]
    loop = asyncio.get_running_loop()
    transports = []
    for start in range(0, clients, 100):
        for _ in range(min(100, clients - start)):
            transport, _ = await loop.create_connection(lambda: Client(port, ready, counter), "127.0.0.1", port)
            transports.append(transport)
            await ready.acquire()
    idle = (memory(process.pid) - before) / clients / 1024
    best = 0.0
    for _ in range(3):
        counter[0] = 0
        events = max(10, deliveries // clients // 10 * 10)
        began = time.perf_counter()
        process.stdin.write(b"%d\n" % events)
        while counter[0] < events * clients * frame:
            await asyncio.sleep(0.002)
            assert time.perf_counter() - began < 60, (counter, events * clients * frame)
        best = max(best, events * clients / (time.perf_counter() - began))
    print(f"{name:<12} {clients:>6} clients  {best:>12,.0f} deliveries/s  {idle:6.1f} KB a connection", flush=True)
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


async def run(counts: list[int], node: str, deliveries: int) -> None:
    for clients in counts:
        ours = await measure("angelia", [sys.executable, __file__, "--serve"], free_port(), clients, deliveries, frame_size())
        if node:
            os.environ["NODE_PATH"] = node
            theirs = await measure("node ws", ["node", "-e", NODE, "--"], free_port(), clients, deliveries, 304)
            print(f"             ratio {ours / theirs:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clients", nargs="*", type=int, default=[100, 1_000])
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--node", default=os.environ.get("NODE_PATH", ""))
    parser.add_argument("--deliveries", type=int, default=300_000)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.clients[0]))
    else:
        uvloop.run(run(options.clients, options.node, options.deliveries))


if __name__ == "__main__":
    main()
