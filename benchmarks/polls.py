"""How many polls of a job does a hub answer to 32 connections, beside a bare FastAPI endpoint that reads one row?

python benchmarks/polls.py [--rounds 5] [--seconds 3]
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import uvloop

from angelia.sandbox.processes import processor_seconds
from angelia.wire.site_tokens import SiteTokens
from angelia_testing.hub import Hub
from angelia_testing.peers.process import Server, free_port

CONNECTIONS = 32
SECRET = "benchmark " * 4
REFERENCE = """
    import sqlite3, sys
    from fastapi import FastAPI
    import uvicorn
    app, store = FastAPI(), sqlite3.connect(sys.argv[1])

    @app.get("/row")
    async def row(id: int):
        found = store.execute("SELECT id, state, progress, message FROM jobs WHERE id = ?", (id,)).fetchone()
        return dict(zip(("id", "state", "progress", "message"), found))

    uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


class Asking(asyncio.Protocol):
    """One connection that asks the same again as soon as it is answered; `times` are in seconds."""

    def __init__(self, request: bytes, until: float, ended: asyncio.Future) -> None:
        self.request, self.until, self.ended = request, until, ended
        self.times: list[float] = []
        self.got, self.whole = b"", 0

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        self.asked_at = time.perf_counter()
        self.got, self.whole = b"", 0
        self.transport.write(self.request)

    def data_received(self, data):
        self.got += data
        if not self.whole and (end := self.got.find(b"\r\n\r\n")) >= 0:
            head = self.got[:end].lower()
            assert head.startswith(b"http/1.1 200"), self.got
            self.whole = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if self.whole and len(self.got) >= self.whole:
            now = time.perf_counter()
            self.times.append(now - self.asked_at)
            if now < self.until:
                self.ask()
            elif not self.ended.done():
                self.ended.set_result(None)
                self.transport.close()

    def connection_lost(self, error):
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionResetError("the server closed"))


async def load(url: str, seconds: float) -> list[float]:
    """The times of all answers to so many connections."""
    address = httpx2.URL(url)
    target = address.raw_path.decode()
    request = f"GET {target} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n\r\n".encode()
    loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds
    asking = [Asking(request, until, loop.create_future()) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(loop.create_connection(lambda one=one: one, address.host, address.port) for one in asking))
    await asyncio.gather(*(one.ended for one in asking))
    return [spent for one in asking for spent in one.times]


def measured(url: str, pid: int, seconds: float) -> tuple[float, float, float]:
    """Answers a second; the p99 in ms; microseconds of the server's processor for each."""
    before, began = processor_seconds(pid), time.perf_counter()
    times = sorted(uvloop.run(load(url, seconds)))
    took = time.perf_counter() - began
    return len(times) / took, times[int(len(times) * 0.99)] * 1e3, (processor_seconds(pid) - before) / len(times) * 1e6


def poll_of(hub: Hub) -> str:
    """A job that is done, as its client asks for it while it waits."""
    token = SiteTokens(SECRET).sign({"sub": "alice@example.org", "name": "Alice", "roles": "general", "exp": time.time() + 3600})
    place = f"{hub.url}/dispatch-data/run_analysis"
    asked = {"instrument": "echo", "product_type": "echo", "query_type": "Real", "token": token, "session_id": "ABCDEFGHIJKLMNOP", "api": "True"}
    answer = httpx2.get(place, params=asked | {"query_status": "new"}).json()
    again = asked | {"query_status": "submitted", "job_id": answer["job_monitor"]["job_id"]}
    while httpx2.get(place, params=again).json()["query_status"] != "ready":
        time.sleep(0.1)
    return f"{place}?{urlencode(again)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        hub = Hub(folder / "hub", ANGELIA__ODA__SECRET=SECRET, ANGELIA__INSTRUMENTS__ECHO__MOST_AT_ONCE="100")
        program = folder / "reference.py"
        program.write_text(textwrap.dedent(REFERENCE))
        port = free_port()
        try:
            poll = poll_of(hub)
            (job_id,) = sqlite3.connect(hub.folder / "angelia.db").execute("SELECT max(id) FROM jobs").fetchone()
            bare = Server("reference", [sys.executable, str(program), str(hub.folder / "angelia.db"), str(port)], [port], folder)
            try:
                rounds = []
                for _ in range(told.rounds):
                    ours = measured(poll, hub.server.process.pid, told.seconds)
                    rounds.append((ours, measured(f"http://127.0.0.1:{port}/row?id={job_id}", bare.process.pid, told.seconds)))
            finally:
                bare.stop()
        finally:
            hub.stop()
    print("| who | answers/s | p99 ms | processor us each |\n|---|---|---|---|")
    for name, index in (("run_analysis of a job that is done", 0), ("reference: FastAPI, one row of SQLite", 1)):
        print(f"| {name} |", " | ".join(f"{statistics.median(found[index][what] for found in rounds):,.0f}" for what in range(3)), "|")
    ratio = statistics.median(found[0][2] / found[1][2] for found in rounds)
    print(f"\naims: 2,000/s, p99 30 ms, and no dearer than the reference: {ratio:.2f} x its processor time")


if __name__ == "__main__":
    main()
