"""One `[[watch]]`: its files, what is on, what was told; a turn gives messages, in order."""

import glob
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from angelia.watch import words
from angelia.watch.dedup import Dedup, Rates, key_of, normalised
from angelia.watch.files import Follower, NotAFile, Piece
from angelia.watch.lines import Decoder, Lines, is_part_of_bom
from angelia.watch.rules import Fields as Said
from angelia.watch.rules import Rules, compiled
from angelia.watch.scan import Found, Scanner
from angelia.watch.settings import WatchSettings, rate, rules_of, seconds, size

log = logging.getLogger("angelia.watch")
Fields = dict[str, Any]
MOST_A_TURN = 64 << 20
MOST_OPEN = 100
"""Files of one watch that are held open between two looks: those that were written last."""
HELD_FOR = 600.0  # seconds that a file without a name is held open after its last byte: who deletes a log wants the room back
KNOWN_FOR = 7 * 86_400.0  # seconds that a file is known which only matched a pattern, and is away
_DEDUP_KEY = ("watch", "kind", "device", "text_normalised")
_ALL = ("",)


@dataclass(slots=True)
class Reading:
    """One path: its follower, and the scanner of the file that is read now."""

    follower: Follower
    scanner: Scanner | None = None
    encoding: str = ""
    lately: Piece | None = None
    failing_since: float | None = None
    is_failing_told: bool = False
    left_at: float = 0.0
    replaced_told: int = 0


@dataclass(slots=True)
class Measurement:
    """What is on: a name ("" for nothing), since when nothing was written, and whether that was told."""

    name: str = ""
    written_at: float = 0.0
    is_silence_told: bool = False


@dataclass(slots=True)
class Watch:
    """Follows the files of one table. `turn` reads what is new; the state is only saved when all that it gave was accepted."""

    settings: WatchSettings
    rules: Rules = field(init=False)
    dedup: Dedup = field(init=False)
    rates: Rates = field(init=False)
    readings: dict[str, Reading] = field(default_factory=dict)
    measurement: Measurement = field(default_factory=Measurement)
    lines_told: int = 0
    _saved: dict[str, Any] = field(default_factory=dict)
    _is_first: bool = True
    _start: Any = None
    _end: Any = None
    _open: OrderedDict[str, Follower] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        watch = self.settings
        self.rules = rules_of(watch)
        self.dedup = Dedup(seconds(watch.dedup_for), seconds(watch.remind_every))
        count, period = rate(watch.rate)
        self.rates = Rates(count, period, watch.burst)
        self._start, self._end = (compiled(text) if text else None for text in (watch.measurement_start, watch.measurement_end))

    def turn(self, now: float) -> Iterator[Fields | None]:
        """What is to be told, from all files; `now` in seconds since 1970.

        None asks for a checkpoint: another file is read, and ids are made of what it is. Should we crash, and a copy of it be all that is left,
        the copy is known for what it is only where that was written down.
        """
        if not self.measurement.written_at:
            self.measurement.written_at = now
        for path in self._paths():
            yield from self._look(path, now)
        self._is_first = False
        yield from self._clockwork(now)

    def close(self) -> None:
        """Give all files back."""
        for reading in self.readings.values():
            reading.follower.close()

    def _paths(self) -> list[str]:
        """The files to look at: those that match now, and those that were followed (their rest may have to be read)."""
        found = [path for pattern in self.settings.paths for path in (files_of([pattern]) if glob.has_magic(pattern) else [pattern])]
        if self.settings.single and len(found) > 1:
            found = [max(found, key=_written_at)]
        return [*(path for path in self.readings if path not in found), *found]

    def _reading(self, path: str) -> Reading:
        if path not in self.readings:
            start = self.settings.start if self._is_first else "beginning"
            reading = Reading(Follower(Path(path), Path(self.settings.root or _root_of(self.settings.paths, path)), start))
            if saved := self._saved.get("files", {}).get(path):
                reading.follower.restore(saved, saved["resume"])
                reading.encoding = saved["encoding"]
            else:
                self._know_again(reading.follower)
            self.readings[path] = reading
        return self.readings[path]

    def _know_again(self, follower: Follower) -> None:
        """A new name that matches may be that of a file that was read under another."""
        try:
            found = follower.path.stat()
        except OSError:
            return
        for other in self.readings.values():
            past = [*other.follower.done, *([other.follower.trace] if other.follower.trace is not None else [])]
            follower.done += [trace for trace in past if trace.key == (found.st_dev, found.st_ino)]
        if follower.done:
            follower.trace = follower.done.pop()

    def _look(self, path: str, now: float) -> Iterator[Fields | None]:
        reading = self._reading(path)
        try:
            if reading.follower.has_changed():
                for piece in reading.follower.pieces(MOST_A_TURN):
                    yield from self._of_piece(reading, piece, now)
                self._hold(path, reading.follower)
            reading.failing_since, reading.is_failing_told = None, False
        except OSError as error:
            yield from self._failing(path, reading, error, now)
        scanner = reading.scanner
        if scanner is not None and time.monotonic() - scanner.fed_at >= seconds(self.settings.flush_after):
            yield from self._of_found(reading, scanner.flush(), now)

    def _hold(self, path: str, follower: Follower) -> None:
        """Few are open at once, however many match: those that were written last. A closed one is found again by its number and its bytes."""
        if not follower.is_open:
            return
        self._open[path] = follower
        self._open.move_to_end(path)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()

    def _failing(self, path: str, reading: Reading, error: OSError, now: float) -> Iterator[Fields | None]:
        if reading.failing_since is None:
            reading.failing_since = reading.left_at = now
            log.warning("%s: %s", ascii(path), error.strerror or error)
        if isinstance(error, FileNotFoundError):
            for piece in reading.follower.pieces_left():
                reading.left_at = now
                yield from self._of_piece(reading, piece, now)
            self._let_go(path, reading, now)
        wait = 0.0 if isinstance(error, NotAFile) else seconds(self.settings.missing_after)
        # What only matched a pattern may go; a file that was asked for by name, or not to be read at all, is told of.
        is_wanted = path in self.settings.paths or not isinstance(error, FileNotFoundError)
        if not reading.is_failing_told and now - reading.failing_since >= wait and is_wanted:
            reading.is_failing_told = True
            key = words.event_id(self.settings.name, "missing", int(reading.failing_since), path)
            said = f"{words.one_line(ascii(path)[1:-1])} can't be read: {error.strerror or error}"
            yield self._addressed(words.state_message(self.settings.name, self.measurement.name, "log.missing", key, said, said))

    def _let_go(self, path: str, reading: Reading, now: float) -> None:
        """Of a file that is away: close it, and later forget it where it only matched."""
        if now - reading.left_at >= HELD_FOR:
            reading.follower.close()
        if now - reading.left_at >= KNOWN_FOR and path not in self.settings.paths:
            self.readings.pop(path, None)
            self._saved.get("files", {}).pop(path, None)

    def _of_piece(self, reading: Reading, piece: Piece, now: float) -> Iterator[Fields | None]:
        if piece.is_new and reading.scanner is not None:
            yield from self._of_found(reading, reading.scanner.finish(), now)
            reading.scanner, reading.encoding, reading.replaced_told = None, "", 0
        data = piece.data
        if reading.scanner is None:
            if not data or (piece.offset == 0 and is_part_of_bom(data)):
                # The first bytes of a file say how it is read; they are looked at again when there are more.
                reading.follower.resume = piece.offset if data else reading.follower.resume
                return
            reading.scanner, skip = self._scanner(reading, piece)
            data = data[skip:]
            yield None
        reading.lately = piece
        self.measurement.written_at, self.measurement.is_silence_told = now, False
        yield from self._of_found(reading, reading.scanner.feed(data), now, piece)
        self._count_replaced(reading, reading.scanner.decoder)
        reading.lately = piece.end()

    def _count_replaced(self, reading: Reading, decoder: Decoder) -> None:
        """What can't be read as the encoding that was decided is told to the operator: the first time, and whenever it has doubled."""
        if decoder.replaced and decoder.replaced >= 2 * reading.replaced_told:
            reading.replaced_told = decoder.replaced
            name, count, encoding = ascii(str(reading.follower.path)), decoder.replaced, decoder.decided or "utf-8"
            log.warning("%s: what is told of it holds %d letters that are no %s; look at encoding and fallback_encoding", name, count, encoding)

    def _scanner(self, reading: Reading, piece: Piece) -> tuple[Scanner, int]:
        watch = self.settings
        decoder = Decoder(watch.encoding, watch.fallback_encoding, watch.mixed)
        mark = decoder.begin(bytes.fromhex(piece.trace.head))
        if reading.encoding:
            decoder.decided = reading.encoding
        skip = mark if piece.offset == 0 else 0
        lines = Lines(piece.offset + skip, size(watch.max_line))
        return Scanner(self.rules, lines, decoder, watch.max_lines, size(watch.max_record)), skip

    def _of_found(self, reading: Reading, found: list[Found], now: float, piece: Piece | None = None) -> Iterator[Fields]:
        trace = piece.trace if piece is not None else reading.follower.trace
        for one in found:
            self.lines_told += 1
            text = one.record.text
            key = words.event_id(self.settings.name, trace.identity if trace else "", one.record.offset, text)
            yield from self._told(reading, one, key, now)

    def _told(self, reading: Reading, found: Found, key: str, now: float) -> Iterator[Fields]:
        watch, fields, text = self.settings, found.fields, found.record.text
        if marks := self._measured(fields, key):
            yield from (self._addressed(mark | self._when(fields.time, now)) for mark in marks)
            return
        names = {
            "watch": watch.name,
            "kind": fields.kind,
            "level": str(fields.level or ""),
            "device": fields.device,
            "text": fields.text,
            "text_normalised": normalised(fields.text),
        }
        said = words.one_line(fields.text) or words.one_line(text)
        if not self.dedup.is_first(key_of(names, watch.dedup_key or _DEDUP_KEY), key, said, now):
            return
        # Who is told it all as one message has no names: those who follow the instrument.
        hearing = self.rates.who_hears(watch.to or _ALL, key, said, now, passes=fields.level == 1)
        if hearing:
            message = words.record_message(watch.name, self.measurement.name, key, fields, text, is_cut=found.record.is_cut)
            message = words.with_records(message, watch.name, self._before(reading, found))
            yield message | self._when(fields.time, now) | ({} if hearing == _ALL else {"to": list(hearing)})

    def _before(self, reading: Reading, found: Found) -> list[str]:
        """The last records in front of one that was found."""
        scanner, watch, piece = reading.scanner, self.settings, reading.lately
        if scanner is None or piece is None or watch.context <= 0:
            return []
        offset, data = piece.up_to(found.record.offset)
        return scanner.records_in(data, offset)[-watch.context :]

    def _when(self, written: str, now: float) -> Fields:
        found = words.occurred_at(written, self.settings.time_format, self.settings.timezone, datetime.fromtimestamp(now, UTC))
        return {} if found is None else {"occurred_at": found.isoformat()}

    def _addressed(self, message: Fields) -> Fields:
        return message | ({"to": list(self.settings.to)} if self.settings.to else {})

    def _measured(self, record: Said, key: str) -> list[Fields]:
        """The message for a measurement's begin or end, where this record is one. A begin ends what was on: an instrument measures one thing."""
        name, on = self.settings.name, self.measurement.name
        if self._start is not None and (found := record.found(self._start)) is not None:
            begun = self.measurement.name = words.measurement_name(found.groupdict().get("name") or "") or key[:12]
            ended = [words.unended_message(name, on, key, begun)] if on and on != begun else []
            return [*ended, words.state_message(name, begun, "measurement.start", key, words.one_line(found.string), found.string)]
        if self._end is not None and (found := record.found(self._end)) is not None:
            self.measurement.name = ""
            return [words.state_message(name, on, "measurement.end", key, words.one_line(found.string), found.string)]
        return []

    def _clockwork(self, now: float) -> Iterator[Fields]:
        """What the time brings: ends of windows, digests, silence."""
        name, zone, on = self.settings.name, self.settings.timezone, self.measurement
        for repeats in self.dedup.ended(now):
            yield self._addressed(words.repeats_message(name, on.name, repeats, zone))
        for overflow, held in groupby(self.rates.due(now), key=itemgetter(1)):
            yield words.overflow_message(name, on.name, overflow, tuple(recipient for recipient, _ in held if recipient))
        alarm = seconds(self.settings.silence_alarm)
        is_on = bool(on.name) or self._start is None
        on.written_at = min(on.written_at, now)
        if alarm and is_on and not on.is_silence_told and now - on.written_at >= alarm:
            on.is_silence_told = True
            key = words.event_id(name, "silence", int(on.written_at), on.name)
            yield self._addressed(words.state_message(name, on.name, "silence", key, f"nothing was written for {self.settings.silence_alarm}"))

    def state(self) -> Fields:
        """For the checkpoint."""
        files = {}
        for path, reading in self.readings.items():
            scanner = reading.scanner
            resume = scanner.begin if scanner is not None else reading.follower.resume
            files[path] = reading.follower.state() | {
                "resume": resume,
                "encoding": scanner.decoder.decided if scanner is not None else reading.encoding,
            }
        on = self.measurement
        return {
            "files": files,
            "dedup": self.dedup.state(),
            "rates": self.rates.state(),
            "measurement": [on.name, on.written_at, on.is_silence_told],
        }

    def restore(self, state: Fields) -> None:
        """From a checkpoint."""
        self._saved = state
        self.dedup.restore(state.get("dedup", {}))
        self.rates.restore(state.get("rates", {}))
        self.measurement = Measurement(*state.get("measurement", []))
        for path in state.get("files", {}):
            self._reading(path)


def files_of(patterns: Iterable[str]) -> list[str]:
    """What is there now and matches."""
    return [path for pattern in patterns for path in sorted(glob.glob(pattern))]


def _root_of(patterns: tuple[str, ...], path: str) -> str:
    """The folder before the first wildcard of the pattern that the path belongs to."""
    for pattern in patterns:
        parts = Path(pattern).parts
        fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
        root = Path(*parts[:fixed]) if fixed else Path()
        if Path(path).is_relative_to(root):
            return str(root)
    return str(Path(path).parent)


def _written_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
