"""Bytes of a log -> lines: any line ending, unfinished lines, endless lines, and the encoding decided once for a file."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE = 65_536
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# A \r at the very end may be the first half of \r\n: it waits for the next byte.
_ENDS = {
    "": re.compile(rb"\r\n|\n|\r(?!\n|\Z)"),
    "utf-16-le": re.compile(rb"\r\0\n\0|\n\0|\r\0(?!\n\0|\n?\Z)"),
    "utf-16-be": re.compile(rb"\0\r\0\n|\0\n|\0\r(?!\0\n|\0?\Z)"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line without its ending: bytes `offset` to `end` of the file (with the ending). `is_cut` where it was longer than we keep."""

    offset: int
    end: int
    data: bytes
    is_cut: bool = False


def bom_of(head: bytes) -> tuple[str, int]:
    """Encoding and length of a byte order mark at the begin of a file; ("", 0) without one."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, len(mark)
    return "", 0


def is_part_of_bom(head: bytes) -> bool:
    """Is this too little to say whether the file begins with a mark?"""
    return any(len(head) < len(mark) and mark.startswith(head) for mark, _ in _BOMS)


def is_wide(encoding: str) -> bool:
    """Has each letter two bytes at least, so that a byte for a newline alone ends no line?"""
    return encoding.startswith("utf-16")


def _ends(data: bytes, encoding: str) -> Iterator[tuple[int, int]]:
    """Start and end of each line ending, in order; in UTF-16 only those at whole units count."""
    pattern = _ENDS[encoding if is_wide(encoding) else ""]
    if not is_wide(encoding):
        yield from (match.span() for match in pattern.finditer(data))
        return
    place = 0
    while (match := pattern.search(data, place)) is not None:
        if match.start() % 2:
            place = match.start() + 1
        else:
            yield match.span()
            place = match.end()


@dataclass(slots=True)
class Lines:
    """Takes bytes in pieces of any size. `encoding` may be set after the first bytes (it is known by then whether units are wide).

    What has come of an unfinished line is kept, at most `max_line` bytes of it; the rest of an endless line is counted and dropped.
    """

    offset: int = 0
    max_line: int = MAX_LINE
    encoding: str = ""
    _rest: bytes = b""
    _dropped: int = 0

    @property
    def begin(self) -> int:
        """Offset of the first byte that is in no line yet."""
        return self.offset

    @property
    def unfinished(self) -> bytes:
        """What has come of the last line."""
        return self._rest

    def take(self, data: bytes) -> tuple[int, bytes]:
        """Offset and bytes of all whole lines that are there now, with their endings. Split them with `split`."""
        data = self._rest + data
        if self._dropped:
            return self._take_endless(data)
        cut = self._last_end(data)
        whole, self._rest = data[:cut], data[cut:]
        offset, self.offset = self.offset, self.offset + cut
        self._bound()
        return offset, whole

    def _take_endless(self, data: bytes) -> tuple[int, bytes]:
        """The end of an endless line: its head and ending are given as if they stood together at the end of its bytes."""
        if (first := next(_ends(data, self.encoding), None)) is None:
            self._rest = data
            self._bound()
            return self.offset, b""
        head = data[: first[1]]
        end = self.offset + len(head) + self._dropped
        self._rest, self._dropped, offset, self.offset = data[first[1] :], 0, self.offset, end
        self._cut_line = Line(offset, end, head[: self.max_line], is_cut=True)
        return offset, b""

    _cut_line: Line | None = None

    def cut_line(self) -> Line | None:
        """The endless line that has just ended, once. More whole lines may wait behind it: call `take(b"")`."""
        line, self._cut_line = self._cut_line, None
        return line

    def _bound(self) -> None:
        if not self._rest.strip(b"\0"):
            # After a power cut a file may end in zeros without an end: they are nothing to keep.
            even = len(self._rest) - len(self._rest) % 2 if is_wide(self.encoding) else len(self._rest)
            if even > 2:
                self.offset += even
                self._rest = self._rest[even:]
            return
        # Two bytes more: half an ending must not be dropped.
        if len(self._rest) > self.max_line + 4:
            keep = self.max_line + self.max_line % 2
            tail = 2 + (len(self._rest) - keep) % 2
            self._dropped += len(self._rest) - keep - tail
            self._rest = self._rest[:keep] + self._rest[-tail:]

    def _last_end(self, data: bytes) -> int:
        if not is_wide(self.encoding):
            return max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        return max((end for _, end in _ends(data, self.encoding)), default=0)

    def split(self, offset: int, whole: bytes) -> Iterator[Line]:
        """The lines of whole lines."""
        start = 0
        for left, right in _ends(whole, self.encoding):
            yield self._line(offset, start, left, right, whole)
            start = right
        if start < len(whole):  # a lone \r at the end of what is known to be whole
            yield self._line(offset, start, len(whole) - (2 if is_wide(self.encoding) else 1), len(whole), whole)

    def _line(self, offset: int, start: int, left: int, right: int, whole: bytes) -> Line:
        is_cut = left - start > self.max_line
        return Line(offset + start, offset + right, whole[start : start + self.max_line] if is_cut else whole[start:left], is_cut)

    def finish(self) -> Line | None:
        """The unfinished line as it is, where there is one; then nothing waits any more."""
        rest, end = self._rest, self.offset + len(self._rest) + self._dropped
        text = rest if is_wide(self.encoding) else rest.rstrip(b"\r")
        line = Line(self.offset, end, text[: self.max_line], self._dropped > 0 or len(text) > self.max_line)
        self._rest, self._dropped, self.offset = b"", 0, end
        seen = rest.decode(self.encoding, "ignore").encode() if is_wide(self.encoding) else rest
        return line if seen.strip(b"\0\r\n ") else None


@dataclass(slots=True)
class Decoder:
    """Text of lines. `wanted` is an encoding or "auto": a mark, else strict UTF-8, else the fallback, decided at the first letter that
    is not ASCII and remembered in `decided`. With `is_mixed` each line is decided for itself: several programs write into one log.
    """

    wanted: str = "auto"
    fallback: str = "cp1251"
    is_mixed: bool = False
    decided: str = ""
    replaced: int = 0

    def begin(self, head: bytes) -> int:
        """Look at the first bytes of the file; the length of the mark to skip."""
        encoding, length = bom_of(head)
        if encoding and self.wanted in ("auto", "utf-8", "utf-16", encoding):
            self.decided = encoding
            return length
        if self.wanted != "auto":
            self.decided = "utf-16-le" if self.wanted == "utf-16" else self.wanted
        return 0

    def text(self, line: Line) -> str:
        """The line as text, zeros of a power cut and half letters of a cut line left out."""
        data = line.data
        if not is_wide(self.decided):
            data = data.strip(b"\0")
        if data.isascii() and not is_wide(self.decided):
            return data.decode("ascii")
        encoding = self._encoding(data, line.is_cut)
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = data.decode(encoding, "replace")
            if line.is_cut:
                text = text.removesuffix("�")
            self.replaced += text.count("�")
        return text.strip("\0")

    def _encoding(self, data: bytes, is_cut: bool) -> str:
        if self.decided:
            return self.decided
        found = "utf-8" if is_utf8(data, is_cut=is_cut) else self.fallback
        if not self.is_mixed:
            self.decided = found
        return found


def is_utf8(data: bytes, *, is_cut: bool = False) -> bool:
    """Is this UTF-8 without a fault? Where it `is_cut`, its last letter may be a part of one."""
    try:
        codecs.utf_8_decode(data, "strict", not is_cut)
    except UnicodeDecodeError:
        return False
    return True
