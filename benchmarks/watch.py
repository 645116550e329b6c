"""The watcher: how fast it looks through a log by 10 rules, beside `grep -F -f` on the same file; rest with 50 files; memory; delay.

`python benchmarks/watch.py [speed] [rest] [delay]`. The delay is that of a whole way: a line written, the watcher, a hub of its own (SQLite with
flushing on), a webhook that arrives; one clock for both ends. The lines come at random moments, some seconds' worth of looks apart.
"""

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles

from angelia.sandbox.processes import processor_seconds
from angelia.watch.settings import WatchSettings
from angelia.watch.watching import Watch
from angelia_testing.hub import Hub, furnish
from angelia_testing.peers.http import Asked, Reply, ScriptedHttp
from angelia_testing.peers.process import Server

MEGABYTES = 200
FILES = 50
REST = 20
DELAYED = 100  # lines
AIMS = "Aims: 50 MB/s, 300,000 lines/s; 0.5 % of a processor, 60 MB; p99 1.5 s by looks a second apart, 0.2 s with change notices."
WORDS = ["abort", "emergency", "vacuum lost", "interlock", "overheat", "limit switch", "chopper phase", "timeout", "detector dead", "авария"]
LINE = "25.11.2026 10:{:02}:{:02} info 3 motor m{} moved to position {:09.3f} of 1200.000 at speed 0.25, load 41 %, next scan point {} of 4000, beam on, shutter open, {}\n"
START = r"^\d\d\.\d\d\.\d{4} "


def main(wanted: list[str]) -> None:
    parts = {"speed": speeds, "rest": rest, "delay": delays}
    for part in wanted or parts:
        with tempfile.TemporaryDirectory() as name:
            parts[part](Path(name))
    print(f"\n{AIMS}")


def speeds(folder: Path) -> None:
    print("| what | MB/s | lines/s |\n|---|---|---|", flush=True)
    log, lines = filled(folder / "run.log")
    speed("`grep -F -f` of the 10 words (page cache)", log, lines, lambda: grep(log, folder))
    plain = tuple({"text_regex": word} for word in WORDS)
    speed("10 rules, each line a record", log, lines, lambda: watched(log, plain, ""))
    cased = tuple({"text_regex": f"(?i){word}"} for word in WORDS)
    speed("10 rules without regard to case, records of several lines", log, lines, lambda: watched(log, cased, START))
    speed("the same, as rules on kind and level", log, lines, lambda: watched(log, ({"kind": "error", "max_level": 3}, *cased[1:]), START))


def filled(path: Path) -> tuple[Path, int]:
    """One line in 20,000 is told."""
    lines = []
    for number in range(20_000):
        lines.append(LINE.format(number // 60 % 60, number % 60, number % 16, number * 1.7 % 1200, number % 4000, "x" * 20))
    lines[10_000] = "25.11.2026 10:00:00 error 2 pump vacuum lost at gauge 3\n"
    block = "".join(lines).encode()
    times = MEGABYTES * 1_000_000 // len(block)
    with path.open("wb") as file:
        for _ in range(times):
            file.write(block)
    path.read_bytes()
    return path, times * len(lines)


def speed(what: str, log: Path, lines: int, run) -> None:
    best = min(timed(run) for _ in range(3))
    print(f"| {what} | {log.stat().st_size / 1e6 / best:,.0f} | {lines / best:,.0f} |", flush=True)


def timed(run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def grep(log: Path, folder: Path) -> None:
    (folder / "words").write_text("\n".join(WORDS) + "\n")
    subprocess.run(["grep", "-F", "-c", "-f", str(folder / "words"), str(log)], check=True, capture_output=True)


def watched(log: Path, match: tuple, start: str) -> None:
    watch = Watch(WatchSettings(name="b", paths=(str(log),), start="beginning", match=match, record_start=start, encoding="utf-8"))
    size = log.stat().st_size
    while not watch.readings or watch.readings[str(log)].follower.trace.offset < size:
        for _ in watch.turn(time.time()):
            pass
    assert watch.lines_told > 0
    watch.close()


def rest(folder: Path) -> None:
    """A process that follows 50 files in which nothing happens, then one line."""
    for number in range(FILES):
        (folder / f"idle-{number}.log").write_text("info 3 motor fine\n" * 100)
    config = folder / "watch.toml"
    config.write_text(f'[hub]\nurl = "http://127.0.0.1:9"\n[[watch]]\nname = "idle"\npaths = ["{folder}/idle-*.log"]\n')
    server = Server("watch", [sys.executable, "-m", "angelia", "watch", "--config", str(config)], [], folder)
    try:
        while not (folder / "watch-state" / "idle.json").exists():
            time.sleep(0.05)
        time.sleep(6)
        before, at = processor_seconds(server.process.pid), time.perf_counter()
        time.sleep(REST)
        share = (processor_seconds(server.process.pid) - before) / (time.perf_counter() - at)
        began = time.perf_counter()
        with (folder / "idle-7.log").open("a") as file:
            file.write("error 1 pump lost\n")
        spool = folder / "watch-state" / "spool"
        while not list(spool.glob("*.json")):
            time.sleep(0.01)
        delay = time.perf_counter() - began
        print("\n| at rest | |\n|---|---|")
        print(
            f"| processor, {FILES} files, {REST} s | {share:.2%} |\n| memory, most | {memory(server.process.pid):.0f} MB |\n| a new line is told (kept) after | {delay:.2f} s |"
        )
    finally:
        server.stop()


def memory(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


WATCH = """{notices}[hub]
url = "{url}"
[[watch]]
name = "{name}"
paths = ["{log}"]
to = ["alice"]
dedup_for = "0s"
rate = ""
poll = "1s"
"""


def delays(folder: Path) -> None:
    print("\n| a new line is delivered after | p50 | p99 | most |\n|---|---|---|---|", flush=True)
    arrived: dict[str, float] = {}

    def take(asked: Asked) -> Reply:
        at = time.monotonic()
        arrived.setdefault(asked.body.decode().partition("step ")[2].partition(" ")[0], at)
        return Reply()

    receiver = ScriptedHttp(take)
    site = {"preferences": {"*": {"webhook": "now"}}, "hourly_cap": 100_000}
    furnish(folder / "hub", "alice", by_mail=[], site=site)
    with closing(sqlite3.connect(folder / "hub" / "angelia.db")) as connection, connection:
        hook = (
            "INSERT INTO addresses (person_id, agent, value, state, is_default) SELECT id, 'webhook', ?, 'ok', 1 FROM persons WHERE login = 'alice'"
        )
        connection.execute(hook, (f"{receiver.url}/hook",))
    hub = Hub(folder / "hub", ANGELIA__AGENTS__WEBHOOK__ALLOW_HTTP="true", ANGELIA__OUTBOUND__ALLOW="127.0.0.0/8")
    try:
        for what, notices in (("looks a second apart", ""), ("with change notices", "notices = true\n")):
            arrived.clear()
            name = "hurried" if notices else "polled"  # the hub knows again what it has had
            config = WATCH.format(notices=notices, url=hub.url, name=name, log=folder / f"{name}.log")
            took = sorted(delayed(folder, folder / f"{name}.log", config, arrived))
            print(f"| {what} | {median(took):.3f} s | {quantiles(took, n=100)[98]:.3f} s | {took[-1]:.3f} s |", flush=True)
    finally:
        hub.stop()
        receiver.stop()


def delayed(folder: Path, log: Path, config: str, arrived: dict[str, float]) -> list[float]:
    """Seconds that each line took from the write to the receiver."""
    place, chance = Path(tempfile.mkdtemp(dir=folder)), random.Random(5)
    log.write_text("info 5 motor fine\n")
    (place / "watch.toml").write_text(config)
    written: dict[str, float] = {}
    server = Server("watch", [sys.executable, "-m", "angelia", "watch", "--config", str(place / "watch.toml")], [], place)
    try:
        waited((place / "watch-state" / f"{log.stem}.json").exists)
        for number in range(DELAYED):
            time.sleep(chance.uniform(0.05, 0.35))
            with log.open("a") as file:
                written[str(number)] = time.monotonic()
                file.write(f"error 2 motor step {number} lost\n")
        waited(lambda: arrived.keys() >= written.keys())
    finally:
        server.stop()
    return [arrived[number] - at for number, at in written.items()]


def waited(is_true) -> None:
    until = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1:])
