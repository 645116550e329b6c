"""How many 500-byte messages a second are durable before the answer? One server process, 64 connections, load client in a second process."""

import asyncio
import json
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
import uvloop

from angelia import telemetry
from angelia.front import Front
from angelia.house import House
from angelia.serving import sweep_seldom
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia.wire.asgi import body_of, headers_of, respond
from angelia.wire.connection import Limits, protocol
from angelia.wire.fields import draft_of, parse_many, parse_one
from angelia_testing.peers.process import free_port

MESSAGE = {
    "type": "obs.build.fail", "to": ["alice"], "subject": "okular failed to build", "body": "x" * 230, "severity": "high",
    "object": "KDE/okular", "params": {"project": "KDE", "package": "okular", "arch": "x86_64"}, "thread": "KDE/okular",
}  # fmt: skip
SECONDS = 4


def serve(port: int, folder: str, database: str, is_bare: bool) -> None:
    async def run() -> None:
        telemetry.configure_logs("json", "error")
        if is_bare:
            sweep_seldom()
            await uvicorn.Server(config(bare)).serve()
            return
        overrides = {"house": {"data_dir": folder, "database": database}, "web": {"open_posting": True}}
        async with House.open(load(environment={}, overrides=overrides)) as house:
            sweep_seldom()
            front = Front(house)
            await uvicorn.Server(config(front.app(), front.express())).serve()

    def config(app, express=None):
        return uvicorn.Config(app, port=port, loop="none", http=protocol(Limits(), express), lifespan="off", log_config=None, access_log=False)

    uvloop.run(run())


async def bare(scope, receive, send):
    """The reference: parses and validates the same way, answers, stores nothing."""
    body = await body_of(headers_of(scope), receive, 1 << 24)
    now = lambda: datetime.now(UTC)  # noqa: E731
    drafts = [draft_of(f, now) for f in parse_many(body)] if body[:1] == b"[" else [draft_of(parse_one(body), now)]
    await respond(send, 201, b'{"id":"msg_0000000000000","status":"accepted"}' * min(1, len(drafts)), [(b"content-type", b"application/json")], scope)


class Client(asyncio.Protocol):
    def __init__(self, request, until, times):
        self.request, self.until, self.times, self.buffer = request, until, times, b""

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        assert b" 201 " in head[:20], self.buffer[:300]
        self.buffer = b""
        now = time.perf_counter()
        self.times.append(now - self.sent)
        if now < self.until:
            self.send()
        else:
            self.transport.close()


def measure(body: bytes, connections: int, *, database: str = "", is_bare: bool = False) -> tuple[float, float, float]:
    """Requests a second, p50 and p99 in ms."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if not is_bare:
            upgrade(database or f"sqlite:///{folder}/angelia.db")
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(port, folder, database, is_bare))
        server.start()
        times: list[float] = []

        async def load_it() -> float:
            loop = asyncio.get_running_loop()
            for _ in range(400):
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
            head = b"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            began = time.perf_counter()
            clients = [
                (await loop.create_connection(lambda: Client(head + body, began + SECONDS, times), "127.0.0.1", port))[1] for _ in range(connections)
            ]
            while any(not client.transport.is_closing() for client in clients):
                await asyncio.sleep(0.02)
            return time.perf_counter() - began

        took = uvloop.run(load_it())
        server.terminate()
        server.join()
    cuts = statistics.quantiles(times, n=100)
    return len(times) / took, cuts[49] * 1e3, cuts[98] * 1e3


def executemany() -> float:
    """The limit of the store: the same rows into the same tables by sqlite3 alone, 500 in a transaction, flushed; rows a second."""
    payload = json.dumps(MESSAGE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "angelia.db"
        upgrade(f"sqlite:///{path}")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-65536")
        began, rows = time.perf_counter(), 0
        while (took := time.perf_counter() - began) < SECONDS:
            batch = [(number << 12, "ci", MESSAGE["type"], 1_700_000_000_000_000, None, b"", payload) for number in range(rows, rows + 500)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO messages (id, source, type, received_us, idem_key, fingerprint, payload) VALUES (?, ?, ?, ?, ?, ?, ?)", batch
            )
            connection.execute("COMMIT")
            rows += 500
        connection.close()
    return rows / took


def main() -> None:
    one, many = json.dumps(MESSAGE).encode(), json.dumps([MESSAGE] * 500).encode()
    databases = [("SQLite", "")] + ([("PostgreSQL", sys.argv[1])] if len(sys.argv) > 1 else [])
    print("| what | messages/s | p50 ms | p99 ms | share of the reference |\n|---|---|---|---|---|")
    for name, body, connections, size in (("one a request, 64 connections", one, 64, 1), ("batches of 500, 4 connections", many, 4, 500)):
        reference = measure(body, connections, is_bare=True)
        print(f"| {name}: reference, parses and answers | {reference[0] * size:,.0f} | {reference[1]:.1f} | {reference[2]:.1f} | 1 |")
        for database, url in databases:
            rate, p50, p99 = measure(body, connections, database=url)
            print(f"| {name}: {database} | {rate * size:,.0f} | {p50:.1f} | {p99:.1f} | {rate / reference[0]:.2f} |", flush=True)
            if size > 1 and database == "SQLite":
                limit = executemany()
                print(
                    f"| rows by sqlite3's executemany, 500 a transaction | {limit:,.0f} | | | ours is {rate * size / limit:.2f} of it |", flush=True
                )


if __name__ == "__main__":
    main()
