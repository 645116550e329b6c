"""Start and rest: help, commands, serving, memory and processor while nothing happens; the same with 1,000,000 deliveries that wait."""

import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from angelia.sandbox.processes import processor_seconds
from angelia.stores.sql import upgrade
from angelia_testing.peers.process import Server, free_port

WAITING, PEOPLE = 1_000_000, 10_000
REST = 35  # seconds: longer than the janitor's numbers are apart


def main() -> None:
    print("| what | | aim |\n|---|---|---|")
    wall, used = asked("--help")
    print(f"| `angelia --help` | {wall:.3f} s, {used:.2f} s of processor | 0.2 s |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        observe("an empty site", folder, rest=0)
        observe("an empty site", folder, rest=REST, aims=("1.5 s", "120 MB"))
        asked("--data-dir", str(folder / "site"), "db", "upgrade", times=1)
        for command in ("people add alice", "prefs export alice", "people list"):
            wall, used = asked("--data-dir", str(folder / "site"), *command.split(), times=1 if "add" in command else 3)
            print(f"| `angelia {command}` | {wall:.2f} s, {used:.2f} s of processor | 1 s of processor |", flush=True)
        fill(folder / "hub" / "angelia.db")
        observe(f"{WAITING:,} waiting", folder, rest=REST, aims=("10 s", "300 MB"))


def asked(*arguments: str, times: int = 5) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, that a command takes."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(times):
        subprocess.run([sys.executable, "-m", "angelia", *arguments], check=True, capture_output=True)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (time.perf_counter() - began) / times, (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / times


def observe(what: str, folder: Path, rest: int, aims: tuple[str, str] = ("", "")) -> None:
    """Start, look, stop; the first start of a folder only makes its database and is not shown."""
    port, began = free_port(), time.perf_counter()
    argv = [sys.executable, "-m", "angelia", "serve", "--data-dir", str(folder / "hub"), "--port", str(port)]
    server = Server("angelia", argv, [port], folder)
    served, used = time.perf_counter() - began, processor_seconds(server.process.pid)
    wait_until_ready(port)
    ready = time.perf_counter() - began
    try:
        if not rest:
            return
        print(f"| {what}: serving | {served:.2f} s, {used:.2f} s of processor | {aims[0]} |\n| {what}: ready after | {ready:.2f} s | {aims[0]} |")
        wait_until_ready(port, "/version")  # the framework is read now, and not while we look
        time.sleep(5)
        before, at = processor_seconds(server.process.pid), time.perf_counter()
        time.sleep(rest)
        share = (processor_seconds(server.process.pid) - before) / (time.perf_counter() - at)
        now, most = (memory(server.process.pid, name) for name in ("VmRSS", "VmHWM"))
        print(f"| {what}: memory at rest, at most | {now:.0f} MB, {most:.0f} MB | {aims[1]} |")
        print(f"| {what}: processor over {rest} s | {share:.2%} | 1 % |", flush=True)
    finally:
        server.stop()


def wait_until_ready(port: int, path: str = "/healthz/ready") -> None:
    """Until it says 200."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10):
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


if __name__ == "__main__":
    main()
