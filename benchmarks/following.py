"""Latency, memory and catching up of live clients: one server process, all clients in another, on loopback.

python benchmarks/following.py [memory|rabbitmq]      with rabbitmq it starts a broker of its own, and events go through it
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from angelia.broker import ExchangeSettings
from angelia.brokers.rabbitmq import RabbitMQBroker
from angelia.model.event import Event, Position
from angelia.sandbox.processes import processor_seconds
from angelia.web.stream.forms import SocketForm
from angelia_testing.fixtures import opened
from angelia_testing.live import open_streams, served
from angelia_testing.memory_broker import MemoryBroker
from angelia_testing.peers.process import free_port
from angelia_testing.peers.rabbitmq import RabbitMQ

PAD = "x" * 185
BARE = "bare"
EXCHANGES = {"news": ExchangeSettings(access="public")}


def event() -> Event:
    """With the time at which it was made; both processes read one monotonic clock."""
    return Event("news", "build.done", json.dumps({"at": time.monotonic(), "text": PAD}).encode(), "application/json")


@contextlib.asynccontextmanager
async def broker_of(url):
    if not url:
        yield MemoryBroker(EXCHANGES, first=1_000_000)
        return
    with tempfile.TemporaryDirectory() as folder:
        store = await opened(f"sqlite:///{folder}/a.db")
        broker = RabbitMQBroker(url, EXCHANGES, store)
        try:
            yield broker
        finally:
            await broker.close()
            await store.close()


async def serve(port, url):
    """Publishes what a line on standard input asks for: how many, in lists of, every so many seconds. Answers with the processor time it took."""

    async with broker_of(url) as broker:
        app, streams = open_streams(EXCHANGES, broker)
        async with served(app, port, backlog=4096):
            print("ready", flush=True)
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                count, at_once, every = json.loads(line)
                began = due = time.perf_counter()
                for _ in range(count // at_once):
                    await broker.publish([event() for _ in range(at_once)])
                    due += every
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
        await streams.close()


class Bare(asyncio.Protocol):
    """The reference: it writes the same bytes to the same clients, and does nothing else."""

    def __init__(self, transports):
        self.transports, self.is_open = transports, False

    def connection_made(self, transport):
        self.transport = transport
        self.transports.append(transport)

    def data_received(self, data):
        self.transport.write(b'"cursor":"x"' if self.is_open else b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        self.is_open = True

    def connection_lost(self, error):
        self.transports.remove(self.transport)


async def serve_bare(port):
    """As `serve`, without Angelia."""
    loop, transports, form = asyncio.get_running_loop(), [], SocketForm()
    server = await loop.create_server(lambda: Bare(transports), "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        count, at_once, every = json.loads(line)
        began = due = time.perf_counter()
        for number in range(count // at_once):
            data = b"".join(form.event(replace(event(), position=Position("e", number * at_once + one)), "news@e-1") for one in range(at_once))
            for transport in transports:
                transport.write(data)
            due += every
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    server.close()


class Client(asyncio.Protocol):
    """Binds, then counts frames (by a word that each holds once) and keeps how late the last frame of each read was."""

    def __init__(self, port, command, lates=None):
        self.port, self.command, self.lates = port, command, lates
        self.bound, self.count, self.rest, self.cursor = asyncio.Event(), 0, b"", ""
        self.is_open = False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(
            b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % self.port
        )

    def data_received(self, data):
        if self.bound.is_set():
            data = self.rest + data
            self._count(data)
            return
        self.rest += data
        if not self.is_open and b"\r\n\r\n" in self.rest:
            self.is_open, self.rest = True, b""
            text = json.dumps(self.command).encode()
            size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
            self.transport.write(b"\x81" + size + b"\0\0\0\0" + text)
        elif self.is_open and b'"cursor":"' in self.rest:
            begin = self.rest.index(b'"cursor":"') + 10
            end = self.rest.index(b'"', begin)
            self.cursor = self.rest[begin:end].decode()
            rest, self.rest = self.rest[end:], b""
            self.bound.set()
            self._count(rest)

    def _count(self, data):
        self.count += data.count(b'"at":')
        self.rest = data[-4:] if b'"at":' not in data[-4:] else b""
        if self.lates is not None and (found := data.rfind(b'"at":')) >= 0 and (end := data.find(b",", found)) > 0:
            self.lates.append(time.monotonic() - float(data[found + 5 : end]))


class Hub:
    """The server process."""

    def __init__(self, process, port):
        self.process, self.port = process, port

    def memory(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def cpu(self):
        return processor_seconds(self.process.pid)

    async def publish(self, count, at_once=10, every=0.0):
        self.process.stdin.write(json.dumps([count, at_once, every]).encode() + b"\n")
        return json.loads(await self.process.stdout.readline())["seconds"]

    async def join(self, count, command=None, lates=None):
        command = command or {"bind": {"exchange": "news", "key": "build.*"}}
        clients = []
        loop = asyncio.get_running_loop()
        for start in range(0, count, 100):
            some = [Client(self.port, command, lates) for _ in range(min(100, count - start))]
            await asyncio.gather(*(loop.create_connection(lambda made=made: made, "127.0.0.1", self.port) for made in some))
            for client in some:
                await client.bound.wait()
            clients += some
        return clients


def leave(clients):
    for client in clients:
        client.transport.abort()


@contextlib.asynccontextmanager
async def hub(url):
    port = free_port()
    argv = [sys.executable, __file__, "--serve", str(port), "--url", url]
    process = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert (await process.stdout.readline()).strip() == b"ready"
    try:
        yield Hub(process, port)
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(is_done, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not is_done():
            await asyncio.sleep(0.002)


async def latency(url):
    for who, where in (("Angelia", url), ("bare writes", BARE)):
        await late(who, where)


async def late(who, url):
    async with hub(url) as there:
        lates: list[float] = []
        clients = await there.join(1_000, lates=lates)
        await there.publish(100, 1, 0.01)
        lates.clear()
        cpu = there.cpu()
        await there.publish(1_000, 1, 0.01)
        await asyncio.sleep(0.5)
        found = sorted(lates)
        middle, last = found[len(found) // 2], found[int(len(found) * 0.99)]
        print(
            f"latency, {who}: 1,000 clients, 100 events/s: median {middle * 1e3:.1f} ms, p99 {last * 1e3:.1f} ms (aim: 20 ms),"
            f" server {(there.cpu() - cpu) * 10:.0f} % of a core"
        )
        leave(clients)


async def memory(url):
    async with hub(url) as there:
        leave(await there.join(50))
        before = there.memory()
        clients = await there.join(1_000)
        print(f"memory: {(there.memory() - before) / 1_000 / 1024:.1f} KB an idle connection with one binding (aim: 20)")
        leave(clients)
    async with hub(url) as there:
        leave(await there.join(50))
        before = there.memory()
        for number in range(1_000):
            await there.join(1, {"bind": [{"exchange": "news", "key": f"a{number}.b{key}.*"} for key in range(64)]})
        print(f"memory: {(there.memory() - before) / 64_000 / 1024:.2f} KB a binding, connections with it (aim: 1)")


async def deaf(url):
    """Clients that never read, while one that reads gets 20 MB."""
    async with hub(url) as there:
        (reader,) = await there.join(1)
        clients = await there.join(100)
        for client in clients:
            client.transport.pause_reading()
        await there.publish(100)
        before = there.memory()
        most = before
        for _ in range(35):
            await there.publish(2_000)
            most = max(most, there.memory())
        await until(lambda: reader.count >= 70_100)
        print(f"memory: {(most - before) / 1e6:+.1f} MB for 100 clients that never read, over 70,000 events (aim: +50 MB)")
        leave([reader, *clients])


async def catching_up(url, clients=1_000, missed=100):
    async with hub(url) as there:
        (first,) = await there.join(1)
        since = first.cursor
        await there.publish(10_000, 500)
        for turn in ("first", "again"):
            began, cpu = time.perf_counter(), there.cpu()
            (one,) = await there.join(1, {"bind": {"exchange": "news", "key": "build.*"}, "since": since})
            await until(lambda one=one: one.count >= 10_000)
            print(
                f"catching up, {turn}: one client, 10,000 events: {time.perf_counter() - began:.2f} s (aim: 1 s),"
                f" server {there.cpu() - cpu:.2f} s of processor time"
            )
            leave([one])
        (mark,) = await there.join(1)
        await there.publish(missed, min(missed, 500))
        began, cpu = time.perf_counter(), there.cpu()
        all_of_them = await there.join(clients, {"bind": {"exchange": "news", "key": "build.*"}, "since": mark.cursor})
        await until(lambda: all(client.count >= missed for client in all_of_them))
        took = time.perf_counter() - began
        print(
            f"catching up: {clients:,} clients at once, {missed:,} events each: {took:.2f} s (aim: 10 s),"
            f" server {there.cpu() - cpu:.2f} s of processor time"
        )
        leave([first, mark, *all_of_them])


async def run(kind):
    node = RabbitMQ() if kind == "rabbitmq" else None
    try:
        for question in (latency, memory, deaf, catching_up):
            await question(node.vhost().url if node is not None else "")
            sys.stdout.flush()
    finally:
        if node is not None:
            node.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", nargs="?", default="memory", choices=["memory", "rabbitmq"])
    parser.add_argument("--serve", type=int, default=0)
    parser.add_argument("--url", default="")
    options = parser.parse_args()
    if options.serve and options.url == BARE:
        uvloop.run(serve_bare(options.serve))
    elif options.serve:
        uvloop.run(serve(options.serve, options.url))
    else:
        uvloop.run(run(options.kind))


if __name__ == "__main__":
    main()
