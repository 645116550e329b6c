"""The watcher in one process, with a sink that writes down: crashes between any two steps, hostile logs, sinks that take nothing."""

import errno
import json
import os
import random
import shutil
import tracemalloc
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from angelia.watch import files, watching, words
from angelia.watch.dedup import Overflow
from angelia.watch.settings import WatcherSettings, WatchSettings
from angelia.watch.watcher import Watcher


class Sink:
    """Takes each key once, as the hub does; `room` is how many it takes before it takes no more."""

    def __init__(self, room=10**9):
        self.taken, self.room, self.repeats = {}, room, 0

    def accept(self, message):
        if self.room <= 0:
            raise OSError("no room")
        self.room -= 1
        key = message["idempotency_key"]
        self.repeats += key in self.taken
        assert self.taken.setdefault(key, message)["body"] == message["body"]

    def turn(self):
        pass

    def close(self):
        pass

    def bodies(self):
        return [message["body"] for message in self.taken.values()]


class Site:
    """A folder with a log, and a watcher that may die."""

    def __init__(self, folder, sink=None, **options):
        self.folder, self.path, self.sink, self.now = folder, folder / "run.log", sink or Sink(), 1e9
        self.lines = []
        table = {"name": "yumo", "paths": (str(self.path),), "start": "beginning", "dedup_for": "0s", "rate": "", "flush_after": "0s"} | options
        self.settings = WatcherSettings(watches=(WatchSettings(**table),), state=folder / "state")
        self.start()

    def start(self):
        self.watcher = Watcher(self.settings, self.sink)

    def append(self, count=2):
        with self.path.open("a") as file:
            for _ in range(count):
                self.lines.append(f"error 2 motor step {len(self.lines)} lost")
                file.write(f"{self.lines[-1]}\n")

    def look(self, after=0.0):
        self.now += after
        self.watcher._saved_at = -1e9
        self.watcher.turn(self.now)

    def shift(self):
        for number in range(60, 0, -1):
            if (old := self.path.with_name(f"run.log.{number}")).exists():
                old.replace(self.path.with_name(f"run.log.{number + 1}"))

    def rename(self):
        self.shift()
        if self.path.exists():
            self.path.rename(f"{self.path}.1")

    def copytruncate(self):
        self.shift()
        if self.path.exists():
            shutil.copy(self.path, f"{self.path}.1")
            os.truncate(self.path, 0)

    def recreate(self):
        self.append()
        self.look()
        self.path.unlink()
        self.append()

    def kill(self):
        """After an unfinished turn: what was told is not in the checkpoint."""
        for watch in self.watcher.watches:
            for message in watch.turn(self.now):
                if message is None:
                    self.watcher._save()
                else:
                    self.sink.accept(message)
            watch.close()
        self.start()

    def messages(self):
        return list(self.sink.taken.values())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(["append", "append", "look", "rename", "copytruncate", "recreate", "kill"]), max_size=30))
def test_each_line_is_told_once(tmp_path_factory, steps):
    note(steps)
    site = Site(tmp_path_factory.mktemp("site"))
    site.append()
    site.look()
    for step in steps:
        getattr(site, step)()
    site.append()
    site.look()
    assert Counter(site.sink.bodies()) == Counter(site.lines)


def test_fifty_rotations_and_kills(tmp_path):
    seed = random.randrange(1 << 32)
    print(seed)
    chance, site = random.Random(seed), Site(tmp_path)
    site.append()
    site.look()
    for _ in range(50):
        site.append(chance.randrange(5))
        getattr(site, chance.choice(["rename", "copytruncate", "recreate"]))()
        site.append(chance.randrange(5))
        getattr(site, chance.choice(["look", "kill", "append"]))()
    site.append()
    site.look()
    assert Counter(site.sink.bodies()) == Counter(site.lines)


def test_where_nothing_is_accepted_nothing_is_lost(tmp_path):
    site = Site(tmp_path, Sink(room=3))
    site.append(10)
    site.look()
    site.look()
    saved = json.loads((tmp_path / "state" / "yumo.json").read_text())["files"][str(site.path)]
    assert len(site.sink.taken) == 3 and saved["resume"] == 0  # what was accepted is not behind us before all of it is
    site.append(2)
    site.start()  # a crash on top of it
    site.look()
    site.sink.room = 100
    site.look()
    site.look()
    assert (site.sink.bodies() == site.lines and site.sink.repeats == 0) or Counter(site.sink.bodies()) == Counter(site.lines)


def test_row_62_any_line(tmp_path):
    """E5 62: 10 MB, no final newline, CRLF, CR only, NUL, invalid UTF-8, UTF-16."""
    site = Site(tmp_path)
    site.path.write_bytes(
        b"error 1 pump " + b"x" * 10_000_000 + b"\r\nerror 1 pump a\rerror 1 pump b\nerror 1 pump \xff\xfe\n\0\0\0error 1 pump c\nerror 1 pu"
    )
    site.look()
    long, *rest = site.sink.bodies()
    assert long.endswith("\n[cut]") and len(long) < 66_000
    assert rest == ["error 1 pump a", "error 1 pump b", "error 1 pump яю", "error 1 pump c"]
    with site.path.open("a") as file:
        file.write("mp d\n")
    site.look()
    assert site.sink.bodies()[-1] == "error 1 pump d"
    wide = Site(tmp_path / "wide" if (tmp_path / "wide").mkdir() is None else tmp_path)
    wide.path.write_bytes("error 1 pump ошибка\r\n".encode("utf-16"))
    wide.look()
    assert wide.sink.bodies() == ["error 1 pump ошибка"]


def test_rows_63_and_64_hostile_text_stays_text(tmp_path):
    """E5 63, 64: terminal sequences are taken out; a line like our own log's is data; nothing is a header or a mark-up."""
    site = Site(tmp_path)
    site.path.write_text("error 1 pump \x1b]0;title\x07\x1b[31mred\x1b[0m \u202eback\nerror 1 pump level=ERROR user=admin <b>x</b>\n")
    site.look()
    first, second = site.messages()
    assert first["body"] == "error 1 pump red back" and second["body"].endswith("level=ERROR user=admin <b>x</b>")
    assert all("\n" not in message["subject"] and message.get("body_format", "text") == "text" for message in site.messages())


def test_row_65_what_is_no_log_is_refused_with_an_alarm(tmp_path):
    """E5 65, F45."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "secret").write_text("error 1 secret\n")
    os.mkfifo(logs / "a.log")
    (logs / "b.log").symlink_to(tmp_path / "secret")
    (logs / "c.log").mkdir()
    (logs / "d\n.log").write_text("error 1 d\n")
    (logs / "$(id).log").write_text("error 1 plain\n")
    site = Site(tmp_path, paths=(f"{logs}/*.log",))
    site.look()
    site.look()
    kinds = Counter(message["type"] for message in site.messages())
    assert kinds == {"instrument.log.missing": 4, "instrument.error": 1}
    assert not any("secret\n" in message["body"] or "error 1 secret" in message["body"] for message in site.messages())


def test_row_66_times_that_cannot_be_believed(tmp_path):
    """E5 66: then the time of reading counts."""
    start = r"^(?P<time>\S+ \S+) "
    site = Site(tmp_path, record_start=start, time_format="%d.%m.%Y %H:%M:%S", timezone="Europe/Moscow")
    rows = ["09.09.2001 05:46:40", "01.01.1970 00:00:00", "31.12.2037 00:00:00", "99.99.2001 05:46:40", "09.09.2001 05:40:00"]
    site.path.write_text("".join(f"{row} error 1 pump {index}\n" for index, row in enumerate(rows)))
    site.look()
    site.look()
    assert [message.get("occurred_at") for message in site.messages()] == ["2001-09-09T01:46:40+00:00", None, None, None, "2001-09-09T01:40:00+00:00"]


def test_row_68_a_flood_is_few_messages(tmp_path):
    """E5 68: many lines in a second: the rate holds, what is left out is counted, the place is right, memory is bounded."""
    site = Site(tmp_path, dedup_for="15m", rate="6/10m", match=({"kind": "error"},), dedup_key=("text",))
    count = 3_000
    with site.path.open("w") as file:
        file.writelines(f"error 2 motor step {number} lost\n" for number in range(count))
    tracemalloc.start()
    site.look()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(site.messages()) == 3 and peak < 40 << 20
    site.look(after=601)
    digest = site.messages()[-1]
    assert digest["type"] == "instrument.digest" and f"{count - 3} lines held back" in digest["subject"]
    site.append(1)
    assert site.watcher.watches[0].readings[str(site.path)].follower.trace.offset == site.path.stat().st_size - len(site.lines[0]) - 1


def test_what_is_held_back_reaches_each_of_several(tmp_path):
    """What is the same for all goes as one; carol came later, was told one line more, and hears of the rest apart."""
    site = Site(tmp_path, rate="2/10m", burst=2, to=("alice", "bob"))
    site.append(2)
    site.look()
    site.look()
    site.settings = replace(site.settings, watches=(replace(site.settings.watches[0], to=("alice", "bob", "carol")),))
    site.start()
    site.append(4)
    site.look()
    site.look(after=700)
    told = [(tuple(message["to"]), message["subject"]) for message in site.messages() if message["type"] == "instrument.digest"]
    assert told == [(("alice", "bob"), "yumo: 4 lines held back"), (("carol",), "yumo: 2 lines held back")]


def test_digests_that_begin_with_the_same_line_are_several(tmp_path):
    rates = Site(tmp_path, to=("alice", "bob")).watcher.watches[0].rates
    rates.overflows = {"alice": Overflow("e", 1.0, 1, ["a"]), "bob": Overflow("e", 1.0, 2, ["a", "b"])}
    keys = {words.overflow_message("yumo", "", overflow, (recipient,))["idempotency_key"] for recipient, overflow in rates.due(1e9)}
    assert len(keys) == 2


def test_row_69_the_same_number_for_another_file(tmp_path):
    site = Site(tmp_path)
    site.append(5)
    site.look()
    with site.path.open("r+") as file:
        file.truncate()
        file.write("error 3 other a\nerror 3 other b\n")
    site.look()
    assert site.sink.bodies()[5:] == ["error 3 other a", "error 3 other b"]


def test_a_file_that_stays_away_is_told_once(tmp_path):
    site = Site(tmp_path, missing_after="1s")
    for _ in range(5):
        site.look(after=2)
    assert [message["type"] for message in site.messages()] == ["instrument.log.missing"]
    site.append(1)
    site.look()
    assert site.sink.bodies()[-1] == site.lines[0]
    site.path.unlink()
    for _ in range(3):
        site.look(after=2)
    assert [message["type"] for message in site.messages()].count("instrument.log.missing") == 2


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("good_reads", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("rotation", ["append", "rename", "copytruncate"])
def test_a_share_that_goes_stale_and_comes_back_loses_and_doubles_nothing(tmp_path, monkeypatch, code, good_reads, rotation):
    """F45: permission lost, a stale handle, a broken disk: at any read of a look, while the log goes on and is rotated."""
    site = Site(tmp_path, missing_after="1s")
    site.append(3)
    site.look()
    site.append(3)
    reads, left = files._read_at, [good_reads]

    def failing(*place):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        return reads(*place)

    monkeypatch.setattr(files, "_read_at", failing)
    for _ in range(3):
        site.look(after=2)
    getattr(site, rotation)()
    site.append(1)
    for _ in range(3):
        site.look(after=2)
    monkeypatch.setattr(files, "_read_at", reads)
    site.kill()
    site.append(1)
    site.look(after=2)
    told = [message for message in site.messages() if message["type"] == "instrument.log.missing"]
    assert len(told) == 1 and os.strerror(code) in told[0]["body"]
    assert Counter(body for body in site.sink.bodies() if body.startswith("error 2")) == Counter(site.lines)


def test_the_newest_of_many(tmp_path):
    site = Site(tmp_path, paths=(str(tmp_path / "*.log"),), single=True)
    old, new = tmp_path / "1.log", tmp_path / "2.log"
    old.write_text("error 2 a one\n")
    site.look()
    os.utime(old, (1, 1))
    new.write_text("error 2 a two\n")
    site.look()
    assert site.sink.bodies() == ["error 2 a one", "error 2 a two"]


def test_two_watchers_of_one_file_tell_their_own(tmp_path):
    site = Site(tmp_path)
    site.append(3)
    other = Site(tmp_path, site.sink, name="other")
    site.look()
    other.look()
    assert Counter(site.sink.bodies()) == dict.fromkeys(site.lines, 2)


@pytest.mark.parametrize("lines", [1, 5])
def test_a_traceback_is_one_message(tmp_path, lines):
    site = Site(tmp_path, record_start=r"^\d\d:\d\d ")
    text = "10:00 error 1 script Traceback\n" + "  File x\n" * lines + "ValueError: no"
    site.path.write_text(f"{text}\n10:01 info 3 script on\n")
    site.look()
    assert site.sink.bodies() == [text]


def held_open(folder):
    """The files of a folder that this process holds open, deleted ones too."""
    places = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")]
    return sorted(place.removeprefix(f"{folder}/") for place in places if place.startswith(f"{folder}/"))


def test_however_many_match_few_are_open_and_each_line_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "MOST_OPEN", 5)
    site = Site(tmp_path, paths=(str(tmp_path / "*.log"),))
    logs = [tmp_path / f"day-{number:02d}.log" for number in range(30)]
    for turn in range(3):
        for log in logs:
            with log.open("a") as file:
                file.write(f"error 2 {log.stem} turn {turn}\n")
        site.look()
        assert len(held_open(tmp_path)) == 5
    logs[3].rename(tmp_path / "day-03.log.1")  # not open by now: found by its number and its bytes
    with (tmp_path / "day-03.log.1").open("a") as file:
        file.write("error 2 day-03 behind\n")
    logs[3].write_text("error 2 day-03 anew\n")
    site.look()
    lines = [f"error 2 {log.stem} turn {turn}" for log in logs for turn in range(3)]
    assert Counter(site.sink.bodies()) == Counter([*lines, "error 2 day-03 behind", "error 2 day-03 anew"])


def test_a_log_that_was_deleted_is_not_held_for_ever(tmp_path):
    """Its room on the disk comes back; what its writer still says meanwhile is told."""
    site, log = Site(tmp_path, paths=(str(tmp_path / "*.log"),)), tmp_path / "monday.log"
    with log.open("a") as writer:
        writer.write("error 2 a one\n")
        writer.flush()
        site.look()
        log.unlink()
        site.look()
        writer.write("error 2 a two\n")
        writer.flush()
        site.look(after=watching.HELD_FOR - 1)
        assert held_open(tmp_path)[:1] == ["monday.log (deleted)"]
    site.look(after=watching.HELD_FOR - 1)
    assert held_open(tmp_path) == ["monday.log (deleted)"]
    site.look(after=2)
    assert held_open(tmp_path) == [] and site.sink.bodies() == ["error 2 a one", "error 2 a two"]
    site.look(after=watching.KNOWN_FOR)
    site.look()
    assert str(log) not in json.loads((tmp_path / "state" / "yumo.json").read_text())["files"]
    log.write_text("error 2 a three\n")
    site.look()
    assert site.sink.bodies()[2:] == ["error 2 a three"]


def test_letters_that_can_not_be_read_are_told_to_the_operator(tmp_path, caplog):
    site = Site(tmp_path, encoding="utf-8")
    for number in range(4):
        with site.path.open("ab") as file:
            file.write(f"error 1 насос {number}\n".encode("cp1251"))
        site.look()
    told = [record.getMessage() for record in caplog.records if "look at encoding" in record.getMessage()]
    assert len(told) == 3 and "holds 5 letters that are no utf-8" in told[0]  # the first, and after each doubling
    assert str(site.path) in told[0] and len(site.sink.taken) == 4
