"""A log through all its rotations: each whole line once, whatever happens to the file between two looks."""

import os
import shutil
import stat

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from angelia.watch import files
from angelia.watch.files import Follower, NotAFile, first_offset, is_rotated, open_log


class Log:
    """A log, its writer, and a follower that may be restarted."""

    def __init__(self, folder, start="beginning"):
        self.path, self.start = folder / "run.log", start
        self.written, self.got, self.ids = 0, [], []
        self.rest = b""
        self.follower = Follower(self.path, folder, start)

    def append(self, count=1):
        with self.path.open("a") as file:
            for _ in range(count):
                file.write(f"line {self.written}\n")
                self.written += 1

    def rename(self):
        self._shift()
        if self.path.exists():
            self.path.rename(f"{self.path}.1")

    def copytruncate(self):
        self._shift()
        if self.path.exists():
            shutil.copy(self.path, f"{self.path}.1")
            os.truncate(self.path, 0)

    def recreate(self):
        """Deleted and made again: what nobody had read or open is gone, so it is read first."""
        self.look()
        self.path.unlink(missing_ok=True)
        self.append()

    def _shift(self):
        for number in range(30, 0, -1):  # more than there are steps: what is thrown away unread is nobody's fault
            if (old := self.path.with_name(f"run.log.{number}")).exists():
                old.rename(self.path.with_name(f"run.log.{number + 1}"))

    def look(self):
        try:
            for piece in self.follower.pieces(1 << 30):
                if piece.is_new:
                    self._end()
                at = piece.offset - len(self.rest)
                *lines, self.rest = (self.rest + piece.data).split(b"\n")
                for line in lines:
                    self.got.append(line.decode())
                    self.ids.append((piece.trace.identity, at))
                    at += len(line) + 1
        except FileNotFoundError:
            pass

    def _end(self):
        assert not self.rest
        self.rest = b""

    def restart(self):
        state = self.follower.state()
        self.follower.close()
        self.follower = Follower(self.path, self.path.parent, self.start)
        self.follower.restore(state, None)

    def check(self):
        self.append()  # a log that was moved away and has no successor is read to its end when one comes
        self.look()
        self.follower.close()
        assert sorted(self.got, key=lambda line: int(line[5:])) == [f"line {number}" for number in range(self.written)]
        assert len(set(self.ids)) == len(self.ids)


STEPS = st.lists(st.sampled_from(["append", "append", "look", "rename", "copytruncate", "recreate", "restart"]), max_size=25)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.booleans())
def test_each_line_once_whatever_happens(tmp_path_factory, steps, keeps_open):
    files.KEEPS_OPEN = keeps_open
    note(f"{keeps_open} {steps}")
    try:
        log = Log(tmp_path_factory.mktemp("log"))
        log.append()
        log.look()  # of what nobody ever saw under its name nothing is known
        for step in steps:
            getattr(log, step)()
        log.check()
    finally:
        files.KEEPS_OPEN = os.name != "nt"


def test_unread_lines_of_a_deleted_file_are_read_to_the_end(tmp_path):
    log = Log(tmp_path)
    log.append(2)
    log.look()
    log.append(3)
    log.path.unlink()
    log.append(1)
    log.check()


def test_the_same_number_for_another_file_is_seen(tmp_path):
    """Rewritten in place, to the same length and more, with the same first line: only the bytes before the place where we are differ."""
    log = Log(tmp_path)
    log.path.write_text("header\nline 0\nline 1\n")
    log.look()
    inode = log.path.stat().st_ino
    with log.path.open("r+") as file:
        file.write("header\nline 2\nline 3\nline 4\n")
    assert log.path.stat().st_ino == inode
    log.look()
    assert log.got == ["header", "line 0", "line 1", "header", "line 2", "line 3", "line 4"]
    assert len(set(log.ids)) == 7


def test_a_long_head_that_stays_the_same_hides_no_new_file(tmp_path):
    """What lies in the first 256 bytes does not tell them apart: the bytes before the place where we are do."""
    log, head = Log(tmp_path), "header " * 60 + "\n"
    log.path.write_text(f"{head}line 0\nline 1\n")
    log.look()
    with log.path.open("r+") as file:
        file.write(f"{head}line 2\nline 3\nline 4\n")
    log.look()
    assert [line for line in log.got if line.startswith("line")] == [f"line {number}" for number in range(5)]
    assert len(set(log.ids)) == len(log.ids)


def test_ids_do_not_depend_on_the_checkpoint(tmp_path):
    ids = []
    log = Log(tmp_path)
    for _ in range(2):
        log.append(20)
        log.look()
        ids.append(log.ids)
        log.follower.close()
        log.follower, log.ids = Follower(log.path, tmp_path, "beginning"), []
    assert ids[1][:20] == ids[0]


def test_nothing_but_plain_files_below_the_root(tmp_path):
    root = tmp_path / "logs"
    root.mkdir()
    (tmp_path / "secret.log").write_text("secret\n")
    os.mkfifo(root / "fifo.log")
    (root / "folder.log").mkdir()
    (root / "away.log").symlink_to(tmp_path / "secret.log")
    (root / "zero.log").symlink_to("/dev/zero")
    (root / "two\nlines.log").write_text("x\n")
    for path in root.iterdir():
        with pytest.raises(NotAFile):
            open_log(path, root)
    (root / "real $(id).log").write_text("x\n")
    (root / "link.log").symlink_to(root / "real $(id).log")
    for name in ("real $(id).log", "link.log"):
        file = open_log(root / name, root)
        assert stat.S_ISREG(os.fstat(file).st_mode)
        os.close(file)


def test_a_log_that_becomes_something_else_is_refused_and_comes_back(tmp_path):
    log = Log(tmp_path)
    log.append(2)
    log.look()
    log.path.rename(tmp_path / "elsewhere")
    os.mkfifo(log.path)
    with pytest.raises(NotAFile):
        list(log.follower.pieces(1 << 20))
    log.path.unlink()
    (tmp_path / "elsewhere").rename(log.path)
    log.append(2)
    log.check()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    ("start", "wanted"), [("end", ""), ("last:2", "two\nthree\n"), ("last:9", "one\ntwo\nthree\n"), ("beginning", "one\ntwo\nthree\n")]
)
def test_where_to_begin(tmp_path, encoding, start, wanted):
    path = tmp_path / "a.log"
    data = "one\ntwo\nthree\n".encode(encoding)
    if encoding == "utf-16-be":
        data = b"\xfe\xff" + data
    path.write_bytes(data + "unfin".encode("utf-16-le" if encoding == "utf-16" else encoding))
    with path.open("rb") as file:
        place = first_offset(file.fileno(), path.stat().st_size, start, data[:8])
    text = path.read_bytes()[place:].decode("utf-16-le" if encoding == "utf-16" else encoding).lstrip("\ufeff")
    assert text == wanted + "unfin"


def test_a_file_that_is_copied_and_emptied_while_it_is_looked_at_loses_nothing(tmp_path):
    """Between the look at its begin and the reading of it: it is new, so that nothing of it was read before."""
    path, lines = tmp_path / "run.log", []

    def append():
        with path.open("a") as file:
            for _ in range(2):
                lines.append(b"line %d\n" % len(lines))
                file.write(lines[-1].decode())

    append()
    follower = Follower(path, tmp_path, "beginning")
    found = [piece.data for piece in follower.pieces(1 << 20)]
    path.rename(tmp_path / "run.log.2")
    append()
    looking = follower.pieces(1 << 20)
    while not next(looking).is_new:
        pass
    shutil.copy(path, tmp_path / "run.log.1")
    os.truncate(path, 0)
    append()
    with pytest.raises(OSError, match="while it was looked at"):
        found += [piece.data for piece in looking]
    for _ in range(2):
        found += [piece.data for piece in follower.pieces(1 << 20)]
    assert b"".join(found) == b"".join(lines)
    follower.close()


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        *((name, True) for name in ("run.log.1", "run.log-20261126", "run-1.log", "run.2026-11-26.log", "run.log.2026-11-26T10_00_00Z", "run1.log")),
        *((name, True) for name in ("run.log.old", "run.log~", "run.old.log", "run (2).log", "run.log.Thu")),
        *((name, False) for name in ("runner.log", "run_debug.log", "run-errors.log.1", "run.txt", "other.log", "run.log.part")),
    ],
)
def test_names_of_rotated_files(tmp_path, name, is_it):
    assert is_rotated(name, tmp_path / "run.log") is is_it


@pytest.mark.parametrize("rotation", ["rename", "copytruncate", "recreate"])
@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("neighbour", ["run-2.log", "run_debug.log"])
def test_a_log_of_its_own_beside_it_is_no_part_of_it(tmp_path, rotation, is_restarted, neighbour):
    """It has a name that could be an earlier one's, or not; it was there before, and goes on."""
    log, other = Log(tmp_path), tmp_path / neighbour
    other.write_text("stranger\n" * 3)
    log.append(2)
    for _ in range(3):
        log.look()
        with other.open("a") as file:
            file.write("stranger\n")
        if is_restarted:
            log.restart()
        getattr(log, rotation)()
        log.append(2)
        with other.open("a") as file:
            file.write("stranger\n")
    log.look()
    assert "stranger" not in log.got
    log.check()


def test_an_empty_neighbour_that_is_overwritten_by_a_copy_is_no_stranger(tmp_path):
    """It has the number of a file that was there before, and holds all that is left of one that lived between two looks."""
    log = Log(tmp_path)
    (tmp_path / "run.log.1").touch()
    log.append(2)
    log.look()
    log.path.rename(tmp_path / "run.log.2")
    log.append(2)
    shutil.copyfile(log.path, tmp_path / "run.log.1")
    os.truncate(log.path, 0)
    log.check()


def test_an_empty_log_that_is_filled_and_rotated_is_not_taken_for_a_stranger(tmp_path):
    log = Log(tmp_path)
    log.path.touch()
    log.look()
    log.restart()
    log.append(2)
    log.rename()
    log.check()
