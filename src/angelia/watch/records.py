"""Lines -> records: a line that matches `start` begins one, others continue it, so that a traceback stays together."""

from dataclasses import dataclass, field
from typing import Protocol


class Pattern(Protocol):
    """What we need of a compiled expression."""

    def search(self, text: str) -> object:
        """A match or None."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line as text; `offset` and `end` in bytes of the file."""

    offset: int
    end: int
    text: str
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a log: bytes `offset` to `end`, lines joined with newlines. `is_cut` where something of it was left out."""

    offset: int
    end: int
    text: str
    is_cut: bool = False
    lines: int = 1


@dataclass(slots=True)
class Assembler:
    """Joins lines. Without `start` each line is a record. A record ends at `max_lines` lines or `max_record` bytes; what follows is the next."""

    start: Pattern | None = None
    max_lines: int = 200
    max_record: int = 65_536
    _lines: list[TextLine] = field(default_factory=list)

    @property
    def begin(self) -> int | None:
        """Offset of the record that may go on, or None."""
        return self._lines[0].offset if self._lines else None

    def feed(self, line: TextLine) -> list[Record]:
        """The records that this line completes, in order."""
        if self.start is None:
            return [Record(line.offset, line.end, line.text, line.is_cut)] if line.text.strip() else []
        done = self.flush() if self.start.search(line.text) is not None else []
        if not self._lines and not line.text.strip():
            return done
        self._lines.append(line)
        if len(self._lines) >= self.max_lines or line.end - self._lines[0].offset >= self.max_record:
            done += self.flush()
        return done

    def flush(self) -> list[Record]:
        """The record that was open, as it is."""
        if not self._lines:
            return []
        lines, self._lines = self._lines, []
        text = "\n".join(line.text for line in lines).rstrip("\n")
        return [Record(lines[0].offset, lines[-1].end, text, any(line.is_cut for line in lines), len(lines))]

    def forget(self) -> None:
        """Leave out the open record: nothing in it is worth telling."""
        self._lines = []
