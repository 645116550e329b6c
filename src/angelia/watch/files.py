"""One log by its path, through all its rotations: renamed, copied and truncated, deleted and made again, away for a while."""

import hashlib
import os
import re
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from angelia.watch.lines import bom_of, is_wide

HEAD = 256
TAIL = 64
PIECE = 1 << 20
BEFORE = 1 << 15
MOST_REMEMBERED = 64
# An open file could not be renamed by its writer on Windows; elsewhere an open one is found again wherever it is moved.
KEEPS_OPEN = os.name != "nt"
_WORDS = re.compile(r"[^\W\d_]+")
_OF_ROTATION = frozenset(
    (
        *("old", "bak", "back", "backup", "prev", "previous", "last", "save", "saved", "orig", "copy", "t", "z", "utc"),
        *("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    )
)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class NotAFile(OSError):
    """What is there may not be read as a log; the text says why."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How one file is known again. `head` are its first bytes (at most 256) as hex, `tail` the hash of those before `offset`.

    `offset` is up to where it has been read; `generation` counts the times that it began anew under the same number and head.
    """

    device: int
    inode: int
    head: str
    offset: int = 0
    tail: str = ""
    tail_length: int = 0
    generation: int = 0
    mtime_ns: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """Its number in the file system."""
        return self.device, self.inode

    @property
    def mark(self) -> str:
        """What stays the same while the file grows: its first line, or 256 bytes of it."""
        head = bytes.fromhex(self.head)
        return hashlib.blake2b(head[: head.find(b"\n") + 1] or head, digest_size=8).hexdigest()

    @property
    def is_marked(self) -> bool:
        """Has enough come that the mark stays as it is?"""
        return len(self.head) >= HEAD * 2 or b"\n" in bytes.fromhex(self.head)

    @property
    def identity(self) -> str:
        """For ids: the same after a restart, also of one that has forgotten everything."""
        return f"{self.device:x}-{self.inode:x}-{self.mark}-{self.generation}"

    def has_head(self, head: bytes) -> bool:
        """Could this be the begin of the same file, grown or not?"""
        return head.hex().startswith(self.head)


class Moving(OSError):
    """Files are being renamed at this moment: what was listed lies elsewhere by now, so it is looked at again later."""


def _tail_of(file: int, offset: int) -> tuple[str, int]:
    length = min(TAIL, offset)
    return hashlib.blake2b(_read_at(file, offset - length, length), digest_size=8).hexdigest(), length


def _trace_of(file: int) -> Trace:
    """As it is now, to its end; the file is closed."""
    try:
        found = os.fstat(file)
        tail, length = _tail_of(file, found.st_size)
        return Trace(found.st_dev, found.st_ino, _read_at(file, 0, HEAD).hex(), found.st_size, tail, length, mtime_ns=found.st_mtime_ns)
    finally:
        os.close(file)


def _read_at(file: int, offset: int, length: int) -> bytes:
    os.lseek(file, offset, os.SEEK_SET)
    parts: list[bytes] = []
    while length > 0 and (part := os.read(file, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def is_under(path: Path, root: Path) -> bool:
    """Does the path lead to a place below `root`, all links followed?"""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def is_rotated(name: str, path: Path) -> bool:
    """The log's name with numbers, times, words such as `old`, as earlier files of it have? `run_debug.log` beside `run.log` is another log."""
    rest = name.removeprefix(path.stem)
    if rest == name or rest[:1].isalpha():
        return False
    return set(_WORDS.findall(rest.lower())) <= _OF_ROTATION | set(_WORDS.findall(path.suffix.lower()))


def open_log(path: Path, root: Path) -> int:
    """The file, for reading. NotAFile for what is no plain file, and for a link that leads out of `root`."""
    if not str(path).isprintable():
        raise NotAFile("its name has letters that can't be shown")
    if not is_under(path, root):
        raise NotAFile(f"it leads out of {root}")
    try:
        kind = path.stat().st_mode
    except ValueError as error:
        raise NotAFile(str(error)) from None
    if not stat.S_ISREG(kind):
        raise NotAFile("it is no plain file")
    file = os.open(os.path.realpath(path), _FLAGS)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NotAFile("it is no plain file")
    return file


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one file from `offset` on. `is_new` begins another file: what is open of the one before is finished first.

    `before` are the bytes in front of them, at most `BEFORE`: what led to a line is told with it, also where reading began at that line.
    """

    trace: Trace
    offset: int
    data: bytes
    is_new: bool = False
    before: bytes = b""

    def up_to(self, place: int) -> tuple[int, bytes]:
        """Offset and bytes in front of a place in it, at most `BEFORE`."""
        first = self.offset - len(self.before)
        begin = max(first, place - BEFORE)
        begin += (begin - first) % 2  # a letter of UTF-16 stays whole
        data = self.before[begin - first : max(0, place - first)] + self.data[max(0, begin - self.offset) : max(0, place - self.offset)]
        return begin, data

    def end(self) -> "Piece":
        """Its end alone, enough for what a record that is open may still need."""
        left = max(0, len(self.data) - 2 * BEFORE) & ~1
        return replace(self, offset=self.offset + left, data=self.data[left:], before=b"") if left else self


@dataclass(slots=True)
class Follower:
    """Follows one path. `pieces()` gives what is new, file after file, in the order in which it was written.

    `trace` is the file that is read now; `done` are those that were read to their end and may still lie about under other names; `strangers`
    lay beside it before and are not of it; `resume` is where to read on after a restart, at most the offset of the trace.
    """

    path: Path
    root: Path
    start: str = "end"
    trace: Trace | None = None
    done: list[Trace] = field(default_factory=list)
    strangers: list[Trace] = field(default_factory=list)
    seen: tuple[int, ...] = ()
    resume: int | None = None
    _file: int | None = None
    _is_first: bool = True

    @property
    def is_open(self) -> bool:
        """Does it hold a file between two looks?"""
        return self._file is not None

    def close(self) -> None:
        """Give the open file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def has_changed(self) -> bool:
        """Is it worth a look? One call of stat. OSError where the path is not there."""
        found = self.path.stat()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) != self.seen

    def pieces(self, most: int) -> Iterator[Piece]:
        """New bytes, at most about `most`. OSError (also NotAFile) where the path can't be read now; what was open before is given first."""
        left = most
        file: int | None = None
        if self.trace is None:
            # Before it is opened: what comes later may be of it.
            with suppress(OSError):
                self._pass_over(self._listed())
        try:
            try:
                file = open_log(self.path, self.root)
            except FileNotFoundError:
                yield from self.pieces_left()
                raise
            found = os.fstat(file)
            head = _read_at(file, 0, HEAD)
            if not self._is_same(file, found, head):
                for piece in self._between(found):
                    left -= len(piece.data)
                    yield piece
                self._begin(file, found, head)
                yield Piece(self._now(), self._now().offset, b"", is_new=True)
            elif self.trace is not None and len(head) * 2 > len(self.trace.head):
                self.trace = replace(self.trace, head=head.hex())
            self._is_first = False
            for piece in self._new_bytes(file):
                left -= len(piece.data)
                yield piece
                if left <= 0:
                    return
            self.seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if KEEPS_OPEN and self._file is None:
                self._file, file = file, None
        finally:
            if file is not None:
                os.close(file)

    def pieces_left(self) -> Iterator[Piece]:
        """What was written into the open file after its name was taken away, where there is no other of that name yet."""
        yield from self._rest_of_open()

    def _now(self) -> Trace:
        assert self.trace is not None
        return self.trace

    def _is_same(self, file: int, found: os.stat_result, head: bytes) -> bool:
        """Is the file that lies there the one that was read? By number, begin, size, and the last bytes that were read.

        Of a file of which nothing was read that can't be said: it may have been filled, copied and emptied since.
        """
        known = self.trace
        if known is None or not known.offset or known.key != (found.st_dev, found.st_ino):
            return False
        return _goes_on(known, file, found.st_size, head)

    def _begin(self, file: int, found: os.stat_result, head: bytes) -> None:
        """Read this file now, from its begin; the first one of all from where the settings say."""
        old = self.trace
        offset = first_offset(file, found.st_size, self.start, head) if old is None and self._is_first else 0
        tail, length = _tail_of(file, offset)
        if old is not None and old.offset:
            self._remember(old)
        self.close()
        self.resume = None
        self.trace = self._numbered(Trace(found.st_dev, found.st_ino, head.hex(), offset, tail, length, mtime_ns=found.st_mtime_ns))

    def _numbered(self, trace: Trace) -> Trace:
        """With its generation, where enough has come to see that it begins as an earlier one did in the same place."""
        past = [done.generation + 1 for done in self.done if done.key == trace.key and done.mark == trace.mark]
        return replace(trace, generation=max(past, default=0)) if trace.is_marked else trace

    def _remember(self, trace: Trace) -> None:
        self.done = [*(past for past in self.done if past != trace), trace][-MOST_REMEMBERED:]

    def _new_bytes(self, file: int) -> Iterator[Piece]:
        """From the place up to which the file was read, to its end; the place moves with each piece."""
        if self.resume is not None:
            tail, length = _tail_of(file, self.resume)
            self.trace, self.resume = replace(self._now(), offset=self.resume, tail=tail, tail_length=length), None
        while data := _read_at(file, self._now().offset, PIECE):
            now = self._now()
            if not now.offset and not data.startswith(bytes.fromhex(now.head)):
                raise Moving("it was emptied and filled again while it was looked at")  # what it held is in a copy by now
            tail, length = _tail_of(file, now.offset + len(data))
            begin = max(0, now.offset - BEFORE)
            before = _read_at(file, begin, now.offset - begin)
            head = now.head if len(now.head) >= HEAD * 2 else _read_at(file, 0, min(HEAD, now.offset + len(data))).hex()
            grown = replace(now, head=head, offset=now.offset + len(data), tail=tail, tail_length=length, mtime_ns=os.fstat(file).st_mtime_ns)
            self.trace = grown if now.is_marked else self._numbered(grown)
            yield Piece(self.trace, now.offset, data, before=before)
            if len(data) < PIECE:
                return

    def _rest_of_open(self) -> Generator[Piece, None, bool]:
        """What was written into the open file after it lost its name; is it still the file that was read?"""
        if self._file is None or self.trace is None:
            return False
        try:
            if not _goes_on(self.trace, self._file, os.fstat(self._file).st_size, _read_at(self._file, 0, HEAD)):
                return False
            yield from self._new_bytes(self._file)
        except OSError:  # a share that went away
            self.close()
            return False
        return True

    def _between(self, current: os.stat_result) -> Iterator[Piece]:
        """What was written between the last look and the begin of the file that lies there now: the rest of the old one, and files between."""
        if self.trace is None:
            return
        old = self.trace
        is_replaced = old.key != (current.st_dev, current.st_ino)
        siblings = self._siblings(current)
        taken: set[tuple[int, int]] = set()
        if is_replaced and (yield from self._rest_of_open()):
            taken.add(old.key)
        else:
            for path, found in sorted(siblings, key=lambda pair: (pair[1].st_dev, pair[1].st_ino) != old.key):
                key = found.st_dev, found.st_ino
                if (key == old.key or found.st_mtime_ns >= old.mtime_ns) and (yield from self._rest_in(path, found)):
                    taken.add(key)
                    break
        for path, found in siblings:
            if (found.st_dev, found.st_ino) not in taken and found.st_mtime_ns >= old.mtime_ns:
                yield from self._whole_of(path, found, old)
        self._pass_over([pair for pair in siblings if pair[1].st_mtime_ns < old.mtime_ns])

    def _pass_over(self, listed: list[tuple[Path, os.stat_result]]) -> None:
        """What lies there already does not come between two looks: older files of this log, or logs of their own, which go on."""
        known = {trace.key for trace in (*self.done, *self.strangers)}
        for path, there in listed[-MOST_REMEMBERED:]:
            # Of an empty one nothing is known by which it could be told from another.
            if not there.st_size or (there.st_dev, there.st_ino) in known:
                continue
            with suppress(OSError):
                if (file := self._open_listed(path, there)) is not None:
                    self.strangers.append(_trace_of(file))
        self.strangers = self.strangers[-MOST_REMEMBERED:]

    def _siblings(self, current: os.stat_result) -> list[tuple[Path, os.stat_result]]:
        """Files beside it whose names begin with its own (`x.log.1`, `x.log-2026`, `x-1.log`), oldest first.

        A folder that is renamed in while it is listed may show a file twice or not at all: two lists must agree.
        """
        first, found = self._listed(), self._listed()
        if [(path, there.st_ino) for path, there in first] != [(path, there.st_ino) for path, there in found]:
            raise Moving("files are being renamed")
        return [(path, there) for path, there in found if (there.st_dev, there.st_ino) != (current.st_dev, current.st_ino)]

    def _listed(self) -> list[tuple[Path, os.stat_result]]:
        found: list[tuple[Path, os.stat_result]] = []
        with os.scandir(self.path.parent) as entries:
            for entry in entries:
                if not is_rotated(entry.name, self.path) or entry.name.endswith((".gz", ".xz", ".bz2", ".zst")):
                    continue
                with suppress(FileNotFoundError):
                    there = os.stat(entry.path, follow_symlinks=False)
                    if stat.S_ISREG(there.st_mode):
                        found.append((Path(entry.path), there))
        return sorted(found, key=lambda pair: (pair[1].st_mtime_ns, pair[0].name))

    def _open_listed(self, path: Path, listed: os.stat_result) -> int | None:
        """The file that was listed; None for what may not be read. Moving where another lies there now."""
        try:
            file = open_log(path, self.root)
        except FileNotFoundError:
            raise Moving("files are being renamed") from None
        except OSError:
            return None
        found = os.fstat(file)
        if (found.st_dev, found.st_ino) != (listed.st_dev, listed.st_ino):
            os.close(file)
            raise Moving("files are being renamed")
        return file

    def _rest_in(self, path: Path, listed: os.stat_result) -> Generator[Piece, None, bool]:
        """The rest of the file that was read, in the place where it or its copy lies now; is it there?"""
        old = self._now()
        if not old.head or (file := self._open_listed(path, listed)) is None:
            return False
        try:
            found, head = os.fstat(file), _read_at(file, 0, HEAD)
            if not _goes_on(old, file, found.st_size, head):
                return False
            yield from self._new_bytes(file)
            if (found.st_dev, found.st_ino) != old.key:
                # A copy: it must not be taken for a file of its own later, under whatever name.
                self._remember(replace(self._now(), device=found.st_dev, inode=found.st_ino))
            return True
        finally:
            os.close(file)

    def _whole_of(self, path: Path, listed: os.stat_result, old: Trace) -> Iterator[Piece]:
        """A file that lived between two looks. What begins like the old one and is shorter is a copy of it."""
        if (file := self._open_listed(path, listed)) is None:
            return
        try:
            found, head = os.fstat(file), _read_at(file, 0, HEAD)
            key = (found.st_dev, found.st_ino)
            if any(past.key == key and _goes_on(past, file, found.st_size, head) for past in (*self.done, *self.strangers)):
                return
            if head and old.has_head(head) and found.st_size < old.offset:
                self._remember(Trace(*key, head.hex()))
                return
            self._begin(file, found, head)
            yield Piece(self._now(), 0, b"", is_new=True)
            yield from self._new_bytes(file)
        finally:
            os.close(file)

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        traces = {"done": [asdict(trace) for trace in self.done], "strangers": [asdict(trace) for trace in self.strangers]}
        return {"trace": None if self.trace is None else asdict(self.trace)} | traces

    def restore(self, state: dict[str, Any], resume: int | None) -> None:
        """From a checkpoint; from `resume` on records are not finished."""
        if state.get("trace"):
            self.trace = Trace(**state["trace"])
            self._is_first = False
            self.resume = resume if resume is not None and resume < self.trace.offset else None
        self.done = [Trace(**fields) for fields in state.get("done", [])]
        self.strangers = [Trace(**fields) for fields in state.get("strangers", [])]


def _goes_on(known: Trace, file: int, size: int, head: bytes) -> bool:
    """Is this the file that is known, at least as long as it was?"""
    if size < known.offset or not known.has_head(head):
        return False
    return not known.tail_length or _tail_of(file, known.offset) == (known.tail, known.tail_length)


def first_offset(file: int, size: int, start: str, head: bytes = b"") -> int:
    """Where to begin in a file that is seen for the first time: `end`, `beginning`, or `last:<lines>`. Always at the begin of a line."""
    if start == "beginning":
        return 0
    wanted = int(start.removeprefix("last:")) if start.startswith("last:") else 0
    encoding, mark = bom_of(head)
    place, seen = size, 0
    while place > 0:
        begin = max(0, place - 65_536)
        begin -= begin % 2
        data = _read_at(file, begin, place - begin)
        while (cut := data.rfind(b"\n")) >= 0:
            if (line := _behind(begin, cut, data, encoding)) is not None:
                if seen == wanted:
                    return line
                seen += 1
            data = data[:cut]
        place = begin
    return mark


def _behind(begin: int, cut: int, data: bytes, encoding: str) -> int | None:
    """The place behind the line ending with the newline at `cut`; None where in UTF-16 that byte is a half of another letter."""
    if not is_wide(encoding):
        return begin + cut + 1
    is_low_first = encoding.endswith("le")
    return begin + cut + (2 if is_low_first else 1) if cut % 2 == (0 if is_low_first else 1) else None
