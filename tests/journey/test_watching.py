"""The watcher as a process beside a real hub: rotations, kills, a hub that is away, a start and an end of a measurement."""

import ctypes
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import tomllib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from angelia_testing.hub import Hub
from angelia_testing.peers.process import ANGELIA, ENVIRONMENT, Server, missing
from angelia_testing.waiting import wait_until


@pytest.fixture
def hub(tmp_path):
    made = Hub(tmp_path / "hub")
    yield made
    made.stop()


class Watching:
    """A watcher process, killed and started again; `tables` is the rest of its TOML."""

    def __init__(self, folder: Path, url: str, tables: str, *, is_started: bool = True) -> None:
        self.folder, self._env = folder, ENVIRONMENT
        folder.mkdir(exist_ok=True)
        (folder / "watch.toml").write_text(f'[hub]\nurl = "{url}"\n{tables}')
        self.number = 0
        if is_started:
            self.start()

    def start(self) -> None:
        self.number += 1
        argv = [*ANGELIA, "watch", "--config", str(self.folder / "watch.toml")]
        self.server = Server(f"watch-{self.number}", argv, [], self.folder, self._env)

    def kill(self) -> None:
        self.server.kill()
        self.server.process.wait()

    def stop(self) -> int | None:
        return self.server.stop()


def told(hub: Hub) -> list[dict]:
    return [json.loads(payload) for (payload,) in hub.rows("SELECT payload FROM messages ORDER BY id")]


def bodies(hub: Hub, type: str = "instrument.error") -> list[str]:
    return [message["body"] for message in told(hub) if message["type"] == type]


def wait_for_all(hub, writer, watching):
    """Until the hub has as many messages as there are lines."""
    try:
        wait_until(lambda: hub.count("SELECT count(*) FROM messages") >= len(writer.lines), 60)
    except AssertionError:
        pytest.fail(f"not told: {sorted(set(writer.lines) - set(bodies(hub)))}\n{watching.server.log()}")


class Writer:
    """Writes a log and rotates it, each line with a number of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines = path, []

    def append(self, count: int) -> None:
        with self.path.open("a") as file:
            for _ in range(count):
                line = f"error 2 motor step {len(self.lines)} lost"
                file.write(f"{line}\n")
                file.flush()
                self.lines.append(line)

    def _shift(self) -> None:
        for number in range(60, 0, -1):
            if (old := self.path.with_name(f"{self.path.name}.{number}")).exists():
                old.replace(self.path.with_name(f"{self.path.name}.{number + 1}"))

    def rename(self) -> None:
        self._shift()
        self.path.rename(f"{self.path}.1")

    def copytruncate(self) -> None:
        self._shift()
        shutil.copy(self.path, f"{self.path}.1")
        os.truncate(self.path, 0)

    def recreate(self) -> None:
        self.path.unlink()


class Overflow:
    """Our own eye on a folder, with the same queue as the watcher's: did the system throw notices away?"""

    ALL, OVERFLOW = 0x3FF, 0x4000  # inotify(7)

    def __init__(self, folder: Path) -> None:
        self._system, self._folder = ctypes.CDLL(None, use_errno=True), folder

    def __enter__(self) -> "Overflow":
        self._eye = self._system.inotify_init1(os.O_NONBLOCK)
        assert self._system.inotify_add_watch(self._eye, os.fsencode(self._folder), self.ALL) >= 0
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._eye)

    def has_come(self) -> bool:
        seen = False
        with suppress(BlockingIOError):
            while data := os.read(self._eye, 1 << 20):
                place = 0
                while place < len(data):
                    _, mask, _, length = struct.unpack_from("iIII", data, place)
                    seen, place = seen or bool(mask & self.OVERFLOW), place + 16 + length
        return seen


TABLE = """
[[watch]]
name = "yumo"
paths = ["{path}"]
start = "beginning"
dedup_for = "0s"
rate = ""
poll = "50ms"
flush_after = "200ms"
"""


def test_fifty_rotations_and_ten_kills_each_line_once(hub, tmp_path):
    """R16, F45: what is deleted is waited for first, since nobody can read what is gone."""
    chance = random.Random(16)
    writer = Writer(tmp_path / "run.log")
    writer.append(3)
    watching = Watching(tmp_path / "watch", hub.url, TABLE.format(path=writer.path))
    try:
        wait_until(lambda: len(bodies(hub)) == 3, 30, what=watching.server.log)
        kinds = ["rename", "copytruncate", "recreate"] * 16 + ["rename", "copytruncate"]
        chance.shuffle(kinds)
        kills = set(chance.sample(range(50), 10))
        for number, kind in enumerate(kinds):
            writer.append(chance.randrange(1, 8))
            if kind == "recreate":
                wait_for_all(hub, writer, watching)
            getattr(writer, kind)()
            writer.append(chance.randrange(1, 5))
            if number in kills:
                time.sleep(chance.random() * 0.2)
                watching.kill()
                writer.append(chance.randrange(0, 3))
                watching.start()
            elif chance.random() < 0.5:
                time.sleep(chance.random() * 0.1)
        wait_for_all(hub, writer, watching)
        time.sleep(0.3)
        counted = Counter(bodies(hub))
        assert counted == Counter(writer.lines)
    finally:
        watching.stop()


FORMS = ["create", "copytruncate", "nocreate", "create\ndateext\ndateformat -%s", "create\ncompress\ndelaycompress", "copytruncate\ncompress"]
LOGROTATE = Path("/usr/sbin/logrotate")


def test_the_program_that_rotates_logs_everywhere_hides_no_line(hub, tmp_path):
    """F45, with each of its forms one after the other, and lines that nobody has read yet where it packs nothing."""
    if not LOGROTATE.exists():
        missing("logrotate")
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    writer, config = Writer(folder / "run.log"), tmp_path / "logrotate.conf"
    writer.append(2)
    watching = Watching(tmp_path / "watch", hub.url, TABLE.format(path=writer.path).replace("50ms", "300ms"))
    try:
        wait_until(lambda: len(bodies(hub)) == 2, 30, what=watching.server.log)
        for form in FORMS:
            writer.append(3)
            if "compress" in form:  # what is packed is read by nobody who comes later
                wait_for_all(hub, writer, watching)
            config.write_text(f"su root root\n{writer.path} {{\nrotate 20\n{form}\n}}\n")
            argv = [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(config)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, done.stderr
            writer.append(2)
        wait_for_all(hub, writer, watching)
        assert Counter(bodies(hub)) == Counter(writer.lines)
    finally:
        watching.stop()


def test_a_hub_that_is_away_gets_it_all_later_and_a_lost_checkpoint_repeats_nothing(hub, tmp_path):
    """F47, and P2 on this side: what can't be told waits in a folder."""
    writer = Writer(tmp_path / "run.log")
    writer.append(5)
    watching = Watching(tmp_path / "watch", hub.url, TABLE.format(path=writer.path))
    try:
        wait_until(lambda: len(bodies(hub)) == 5, 30, what=watching.server.log)
        hub.stop()
        writer.append(5)
        spool = tmp_path / "watch" / "watch-state" / "spool"
        wait_until(lambda: len(list(spool.glob("*.json"))) == 5, 30, what=watching.server.log)
        watching.kill()
        hub.start()
        watching.start()
        wait_until(lambda: len(bodies(hub)) == 10, 30, what=watching.server.log)
        watching.kill()
        (tmp_path / "watch" / "watch-state" / "yumo.json").unlink()
        writer.append(1)
        watching.start()
        wait_until(lambda: len(bodies(hub)) == 11, 30, what=watching.server.log)
        assert watching.stop() == 0
        assert bodies(hub) == writer.lines
    finally:
        watching.stop()


def test_a_measurement_is_one_thread_and_its_silence_is_told(hub, tmp_path):
    path = tmp_path / "sonix.log"
    table = TABLE.format(path=path) + "measurement_start = 'started (?P<name>\\S+)'\nmeasurement_end = 'finished'\nsilence_alarm = '500ms'\n"
    path.write_text("info 3 script started run-17\nerror 1 pump \x1b[31mlost\x1b[0m vacuum\n")
    watching = Watching(tmp_path / "watch", hub.url, table)
    try:
        wait_until(lambda: len(told(hub)) == 3, 30, what=watching.server.log)
        with path.open("a") as file:
            file.write("info 3 script finished\nerror 3 pump again\n")
        wait_until(lambda: len(told(hub)) == 5, 30, what=watching.server.log)
        time.sleep(0.8)
        messages = told(hub)
        start, error, silence, end, after = messages
        kinds = ["measurement.start", "error", "silence", "measurement.end", "error"]
        assert [message["type"] for message in messages] == [f"instrument.{kind}" for kind in kinds]
        assert {message["object"] for message in (start, error, silence, end)} == {"instrument/yumo/run-17"}
        assert start["thread"] == error["thread"] == end["thread"] == "instrument/yumo/run-17"
        assert after["object"] == "instrument/yumo"
        assert error["body"] == "error 1 pump lost vacuum" and error["severity"] == "high"
    finally:
        watching.stop()


def test_repeats_are_counted_and_told_as_one_line(hub, tmp_path):
    path = tmp_path / "run.log"
    path.write_text("".join(f"error 2 motor step {number} lost\n" for number in range(40)))
    table = TABLE.format(path=path).replace('"0s"', '"1s"')
    watching = Watching(tmp_path / "watch", hub.url, table)
    try:
        wait_until(lambda: len(told(hub)) == 2, 30, what=watching.server.log)
        first, rest = told(hub)
        assert first["body"] == "error 2 motor step 0 lost"
        assert rest["type"] == "instrument.repeats" and "39 more times until" in rest["subject"]
    finally:
        watching.stop()


def test_with_notices_a_line_is_told_long_before_the_next_look(hub, tmp_path):
    """F46: they only hurry; what came without one is found by polling, as everywhere else here."""
    writer = Writer(tmp_path / "run.log")
    writer.append(1)
    watching = Watching(tmp_path / "watch", hub.url, "", is_started=False)
    text = (tmp_path / "watch" / "watch.toml").read_text()
    (tmp_path / "watch" / "watch.toml").write_text("notices = true\n" + text + TABLE.format(path=writer.path).replace("50ms", "60s"))
    watching.start()
    try:
        wait_until(lambda: len(bodies(hub)) == 1, 30, what="the first look")
        writer.append(1)
        wait_until(lambda: len(bodies(hub)) == 2, 20, what="a notice")
        assert watching.stop() == 0
    finally:
        watching.stop()


def test_notices_that_the_system_threw_away_are_made_good_by_offset(hub, tmp_path):
    """F46: while the watcher stands still, more happens than the system's queue holds; the line that is told comes behind it."""
    queue = Path("/proc/sys/fs/inotify/max_queued_events")
    if not queue.exists() or (most := int(queue.read_text())) > 100_000:
        pytest.skip("the queue of notices can't be filled here")
    writer, folder = Writer(tmp_path / "run.log"), tmp_path / "watch"
    writer.append(1)
    watching = Watching(folder, hub.url, "", is_started=False)
    text = (folder / "watch.toml").read_text()
    (folder / "watch.toml").write_text("notices = true\n" + text + TABLE.format(path=writer.path).replace("50ms", "90s"))
    watching.start()
    try:
        wait_until(lambda: len(bodies(hub)) == 1, 30, what="the first look")
        with Overflow(tmp_path) as overflow:
            watching.server.kill(signal.SIGSTOP)
            for number in range(most + 10):  # more than one queue holds, whatever is asked for
                (tmp_path / f"other-{number}").touch()
            writer.append(1)
            assert overflow.has_come()
            watching.server.kill(signal.SIGCONT)
        wait_until(lambda: len(bodies(hub)) == 2, 60, what="what came behind the overflow")
        writer.append(1)
        wait_until(lambda: len(bodies(hub)) == 3, 60, what="a notice after it")
        assert Counter(bodies(hub)) == Counter(writer.lines)
    finally:
        watching.server.kill(signal.SIGCONT)
        watching.stop()


def test_it_ends_on_a_signal_and_goes_on_where_it_was(hub, tmp_path):
    writer = Writer(tmp_path / "run.log")
    writer.append(2)
    watching = Watching(tmp_path / "watch", hub.url, TABLE.format(path=writer.path).replace('"beginning"', '"end"'))
    try:
        wait_until((tmp_path / "watch" / "watch-state" / "yumo.json").exists, 30, what=watching.server.log)
        writer.append(2)
        wait_until(lambda: len(bodies(hub)) == 2, 30, what=watching.server.log)
        watching.server.kill(signal.SIGTERM)
        assert watching.server.process.wait(10) == 0
        writer.append(2)
        watching.start()
        wait_until(lambda: len(bodies(hub)) == 4, 30, what=watching.server.log)
        assert bodies(hub) == writer.lines[2:]
    finally:
        watching.stop()


def test_of_two_with_one_folder_for_state_the_second_is_refused(hub, tmp_path):
    """Started twice by mistake: both would tell all, and each would spoil the other's place."""
    writer = Writer(tmp_path / "run.log")
    writer.append(1)
    watching = Watching(tmp_path / "watch", hub.url, TABLE.format(path=writer.path))
    argv = [*ANGELIA, "watch", "--config", str(tmp_path / "watch" / "watch.toml")]
    try:
        wait_until(lambda: len(bodies(hub)) == 1, 30, what=watching.server.log)
        second = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1 and "another watcher works with" in second.stderr and "Traceback" not in second.stderr
        watching.kill()
        watching.start()
        writer.append(1)
        wait_until(lambda: len(bodies(hub)) == 2, 30, what=watching.server.log)
    finally:
        watching.stop()


ONLY_ELSEWHERE = ("fcntl", "grp", "pwd", "resource", "termios", "uvloop")
WITHOUT = f"import sys\nsys.modules.update(dict.fromkeys({ONLY_ELSEWHERE!r}))\nfrom angelia.cli.main import main\nmain()\n"


def without_posix(*words):
    return subprocess.run([sys.executable, "-c", WITHOUT, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


def test_it_needs_nothing_that_windows_lacks(tmp_path):
    """The program of an instrument runs there. The hub does not, and says so."""
    (tmp_path / "watch.toml").write_text('[hub]\nurl = "http://hub"\n' + TABLE.format(path=tmp_path / "run.log"))
    (tmp_path / "run.log").write_text("error 2 motor lost\n")
    checked = without_posix("watch", "--config", str(tmp_path / "watch.toml"), "--check")
    assert (checked.returncode, checked.stderr) == (0, "") and "1 file is there now" in checked.stdout
    tried = without_posix("watch", "test", str(tmp_path / "watch.toml"), str(tmp_path / "run.log"))
    assert (tried.returncode, tried.stderr) == (0, "") and "1 record would be told" in tried.stdout
    served = without_posix("serve")
    assert served.returncode == 1 and "on Windows there is angelia watch" in served.stderr and "Traceback" not in served.stderr
    wanted = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    (loop,) = [Requirement(one) for one in wanted if one.startswith("uvloop")]
    assert not loop.marker.evaluate({"sys_platform": "win32"}) and loop.marker.evaluate({"sys_platform": "linux"})
