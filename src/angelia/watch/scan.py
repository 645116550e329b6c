"""Bytes of one file -> records worth telling. What cannot matter is passed over by one search through a whole piece."""

import time
from dataclasses import dataclass, field
from typing import Any

from angelia.watch.lines import Decoder, Lines, is_utf8, is_wide
from angelia.watch.records import Assembler, Record, TextLine
from angelia.watch.rules import Fields, Rules

_NOT_ASKED: Any = object()


@dataclass(frozen=True, slots=True)
class Found:
    """A record that is worth telling."""

    record: Record
    fields: Fields


@dataclass(slots=True)
class Scanner:
    """Feeds on the bytes of one file, in pieces of any size, from `lines.offset` on. `sieving` False looks at every record (for tests)."""

    rules: Rules
    lines: Lines
    decoder: Decoder
    max_lines: int = 200
    max_record: int = 65_536
    is_sieving: bool = True
    fed_at: float = field(default_factory=time.monotonic)
    _records: Assembler = field(init=False)
    _sieve: Any = _NOT_ASKED
    _sieve_for: str | None = None

    def __post_init__(self) -> None:
        self._records = Assembler(self.rules.start, self.max_lines, self.max_record)
        self.lines.encoding = self.decoder.decided

    @property
    def begin(self) -> int:
        """Offset of the first byte that is in no finished record: where to go on after a restart."""
        return self._records.begin if self._records.begin is not None else self.lines.begin

    def feed(self, data: bytes) -> list[Found]:
        """What is found in whole records, in order."""
        self.fed_at = time.monotonic()
        offset, whole = self.lines.take(data)
        found: list[Found] = []
        if (cut := self.lines.cut_line()) is not None:
            found += self._told(self._records.feed(self._text(cut)))
            offset, whole = self.lines.take(b"")
        if whole:
            found += self._piece(offset, whole)
        return found

    def flush(self) -> list[Found]:
        """After a while without news: the open record, and the unfinished line if it looks complete."""
        rest = self.lines.unfinished
        if rest and not is_wide(self.decoder.decided) and (is_utf8(rest) or self.decoder.decided not in ("", "utf-8")):
            line = TextLine(0, 0, rest.decode(self.decoder.decided or "utf-8", "replace").rstrip("\r"))
            if not rest.startswith(b"\0") and self.rules.is_whole(line.text):
                return self.finish()
        return self._told(self._records.flush())

    def finish(self) -> list[Found]:
        """The file ended: what is unfinished is taken as it is."""
        last = self.lines.finish()
        done = self._records.feed(self._text(last)) if last is not None else []
        return self._told(done + self._records.flush())

    def records_in(self, data: bytes, offset: int) -> list[str]:
        """The texts of the records in raw bytes that lie from `offset` on; without the first line, of which a part may be missing."""
        lines, records = Lines(offset, self.lines.max_line, self.decoder.decided), Assembler(self.rules.start, self.max_lines, self.max_record)
        begin, whole = lines.take(data)
        found = [record for line in lines.split(begin, whole) if line.offset > offset or not offset for record in records.feed(self._text(line))]
        return [record.text.lstrip("\ufeff") for record in [*found, *records.flush()]]

    def _text(self, line: Any) -> TextLine:
        return TextLine(line.offset, line.end, self.decoder.text(line), line.is_cut)

    def _told(self, records: list[Record]) -> list[Found]:
        return [Found(record, fields) for record in records if (fields := self.rules.told(record.text)) is not None]

    def _piece(self, offset: int, whole: bytes) -> list[Found]:
        sieve = self._sieve_of(whole)
        if sieve is None:
            return self._all(offset, whole)
        found: list[Found] = []
        # `place`: lines are taken up to here. A record that is open begins before it, in this piece or in an earlier one.
        place = self._take(whole, 0, offset, 0, found) if self._records.begin is not None else 0
        while place < len(whole):
            begin = self._open_at(offset, place)
            hit = sieve.search(whole, begin)
            beyond = len(whole) if hit is None else hit.start()
            if hit is None and self.rules.start is None:
                break
            start = self._start_of(whole, begin, min(beyond, len(whole) - 1))
            if start > begin or self._records.begin is None:
                self._records.forget()
                place = start
            place = self._take(whole, place, offset, beyond, found)
        return found

    def _open_at(self, offset: int, place: int) -> int:
        """Where in the piece the open record begins; without one, the place up to which lines are taken."""
        return place if self._records.begin is None else max(0, self._records.begin - offset)

    def _take(self, whole: bytes, place: int, offset: int, beyond: int, found: list[Found]) -> int:
        """Take lines until a record begins behind byte `beyond`; the new place."""
        while place < len(whole):
            end = _line_end(whole, place)
            for line in self.lines.split(offset + place, whole[place:end]):
                found += self._told(self._records.feed(self._text(line)))
            place = end
            if place > beyond and self._open_at(offset, place) > beyond:
                break
        return place

    def _all(self, offset: int, whole: bytes) -> list[Found]:
        found: list[Found] = []
        for line in self.lines.split(offset, whole):
            found += self._told(self._records.feed(self._text(line)))
        return found

    def _sieve_of(self, whole: bytes) -> Any:
        """The sieve for this piece. Letters that are no UTF-8 are replaced in the text, so it would not see what the rules see."""
        if not self.is_sieving or self.decoder.is_mixed:
            return None
        encoding = self.decoder.decided
        if not whole.isascii():
            if not encoding:
                return None  # it is decided line by line
            if encoding == "utf-8" and not is_utf8(whole):
                return None
        if b"\0" in whole:
            return None
        if self._sieve_for != encoding:
            self._sieve, self._sieve_for = self.rules.sieve(encoding), encoding
        return self._sieve

    def _start_of(self, whole: bytes, lowest: int, hit: int) -> int:
        """Where the record begins that byte `hit` is in; `lowest` where that is not near."""
        begin = _line_start(whole, lowest, hit)
        if self.rules.start is None:
            return begin
        for _ in range(self.max_lines - 1):
            if self._begins_record(whole, begin):
                return begin
            if begin <= lowest or hit - begin > self.max_record // 2:
                break
            begin = _line_start(whole, lowest, begin - 1)
        return begin if self._begins_record(whole, begin) else lowest

    def _begins_record(self, whole: bytes, begin: int) -> bool:
        line = next(self.lines.split(0, whole[begin : _line_end(whole, begin)]))
        return self.rules.start.search(self.decoder.text(line)) is not None


def _line_start(whole: bytes, lowest: int, place: int) -> int:
    """Where the line begins that has byte `place`."""
    begin = max(whole.rfind(b"\n", lowest, place) + 1, lowest)
    return max(whole.rfind(b"\r", begin, place) + 1, begin)


def _line_end(whole: bytes, begin: int) -> int:
    """Behind the ending of the line that begins there."""
    end = whole.find(b"\n", begin) + 1 or len(whole)
    lone = whole.find(b"\r", begin, end)
    return lone + 1 if lone >= 0 and lone + 1 < end and whole[lone + 1 : lone + 2] != b"\n" else end
