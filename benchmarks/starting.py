"""Start and rest: help, serving, memory and processor while nothing happens; the same with 1,000,000 deliveries that wait."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from angelia.stores.sql import upgrade
from angelia_testing.peers.process import Server, free_port

WAITING, PEOPLE = 1_000_000, 10_000
REST = 60  # seconds: longer than the janitor's numbers are apart


def main() -> None:
    began = time.perf_counter()
    for _ in range(5):
        subprocess.run([sys.executable, "-m", "angelia", "--help"], check=True, capture_output=True)
    print(f"| what | |\n|---|---|\n| `angelia --help` | {(time.perf_counter() - began) / 5:.3f} s |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        observe("an empty site", folder, rest=0)
        observe("an empty site", folder, rest=10)
        fill(folder / "hub" / "angelia.db")
        observe(f"{WAITING:,} waiting", folder, rest=REST)


def observe(what: str, folder: Path, rest: int) -> None:
    """Start, look, stop; the first start of a folder only makes its database and is not shown."""
    port, began = free_port(), time.perf_counter()
    argv = [sys.executable, "-m", "angelia", "serve", "--data-dir", str(folder / "hub"), "--port", str(port)]
    server = Server("angelia", argv, [port], folder)
    served = time.perf_counter() - began
    wait_until_ready(port)
    ready = time.perf_counter() - began
    try:
        if not rest:
            return
        time.sleep(3)
        ticks, at = cpu(server.process.pid), time.perf_counter()
        time.sleep(rest)
        share = (cpu(server.process.pid) - ticks) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - at)
        now, most = (memory(server.process.pid, name) for name in ("VmRSS", "VmHWM"))
        print(f"| {what}: serving, ready after | {served:.2f} s, {ready:.2f} s |")
        print(f"| {what}: memory at rest, at most | {now:.0f} MB, {most:.0f} MB |\n| {what}: processor over {rest} s | {share:.1%} |", flush=True)
    finally:
        server.stop()


def wait_until_ready(port: int) -> None:
    """Until /healthz/ready says 200."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz/ready", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def fill(path: Path) -> None:
    """Half of them held for a digest of tomorrow, half due tomorrow; a message for each ten, with its ledger, as the planner leaves them."""
    upgrade(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    now_us, payload = time.time_ns() // 1000, '{"type":"a.b","subject":"s","body":"' + "x" * 400 + '"}'
    tomorrow = now_us + 86_400_000_000
    with connection:
        connection.executemany("INSERT INTO persons (id, login, time_zone) VALUES (?, ?, 'UTC')", ((n, f"p{n}") for n in range(1, PEOPLE + 1)))
        messages = ((n, "ci", "a.b", now_us, payload, 1) for n in range(1, WAITING // 10 + 1))
        connection.executemany("INSERT INTO messages (id, source, type, received_us, payload, plan_state) VALUES (?, ?, ?, ?, ?, ?)", messages)
        rows = (
            (n, n // 10 + 1, n % PEOPLE + 1, "mail", n % PEOPLE + 1, 1 + n % 2, tomorrow, "daily" if n % 2 == 0 else "", "full", "schedule")
            for n in range(WAITING)
        )
        names = "id, message_id, person_id, agent, address_id, state, due_us, schedule, form, reason"
        connection.executemany(f"INSERT INTO deliveries ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def memory(pid: int, name: str) -> float:
    """MB by /proc: VmRSS now, VmHWM at most."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
