"""How would a log be read? Looks at the begin of one, proposes settings, and runs rules over a saved one."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from angelia.watch.lines import Decoder, Lines, bom_of, is_utf8, is_wide
from angelia.watch.rules import Rule, Rules, compiled
from angelia.watch.scan import Found, Scanner
from angelia.watch.settings import FIELDS, WatchSettings, name_of, rules_of, size
from angelia.watch.words import measurement_name, one_line

MOST_LOOKED_AT = 4 << 20
_PIECE = 1 << 20
# What begins a line, as an expression and as strptime has it; the first that many lines begin with is taken.
_TIMES = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", "%Y-%m-%d %H:%M:%S"),
    (r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d", "%d.%m.%Y %H:%M:%S"),
    (r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", "%d/%m/%Y %H:%M:%S"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "%Y/%m/%d %H:%M:%S"),
    (r"\d\d\.\d\d\.\d\d \d\d:\d\d:\d\d", "%d.%m.%y %H:%M:%S"),
    (r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", ""),
    (r"\d\d:\d\d:\d\d", ""),
)
_KINDS = re.compile(r"\b(user|warning|error|info)\b", re.IGNORECASE)
_OLD_ENCODINGS = ("cp1251", "cp866", "koi8-r")


@dataclass(frozen=True, slots=True)
class Learned:
    """What was seen in a log."""

    encoding: str
    endings: dict[str, int]
    lines: int
    longest: int
    record_start: str
    time_format: str
    begins: int
    kinds: dict[str, int]
    samples: dict[str, str]


def learn(data: bytes) -> Learned:
    """From the begin of a log."""
    mark = bom_of(data)
    decoder = Decoder(fallback="cp1251")
    skip = decoder.begin(data[:4])
    lines = Lines(skip, encoding=decoder.decided)
    offset, whole = lines.take(data[skip:])
    texts, sample = [], b""
    for line in lines.split(offset, whole):
        if not sample and not line.data.isascii():
            sample = line.data
        texts.append(decoder.text(line))
    start, form, begins = _begin_of(texts)
    encoding = mark[0] or (decoder.decided if sample else "ascii")
    guesses = {} if is_utf8(sample) or mark[0] else {name: one_line(sample.decode(name, "replace"), 100) for name in _OLD_ENCODINGS}
    narrow = whole.decode(decoder.decided, "ignore").encode() if is_wide(decoder.decided) else whole
    endings = {name: narrow.count(text) for name, text in (("CRLF", b"\r\n"), ("LF", b"\n"), ("CR", b"\r"))}
    endings = {"CRLF": endings["CRLF"], "LF": endings["LF"] - endings["CRLF"], "CR": endings["CR"] - endings["CRLF"]}
    kinds = Counter(found[1].lower() for text in texts if (found := _KINDS.search(text)) is not None)
    longest = max((len(text) for text in texts), default=0)
    return Learned(
        encoding, {k: v for k, v in endings.items() if v > 0}, len(texts), longest, start, form, begins, dict(kinds.most_common()), guesses
    )


def _begin_of(texts: list[str]) -> tuple[str, str, int]:
    for pattern, form in _TIMES:
        found = sum(re.match(rf"\W?{pattern}", text) is not None for text in texts)
        if found and found * 5 >= len(texts):
            is_t = form and sum("T" in text[:12] for text in texts) * 2 > found
            return rf"^\W?(?P<time>{pattern})", form.replace(" ", "T") if is_t else form, found
    return "", "", 0


def proposed(learned: Learned, path: Path) -> str:
    """A configuration for it, as TOML."""
    name = name_of(path).lower()
    match = "[ { kind = 'error' } ]" if learned.kinds else "[ { text_regex = '(?i)error|fail|abort' } ]"
    old = learned.encoding in _OLD_ENCODINGS
    return "\n".join(
        [
            "[[watch]]",
            f"name = '{name}'",
            f"paths = ['{path.resolve().as_posix()}']",
            *([f"fallback_encoding = '{learned.encoding}'"] if old else []),
            *([f"record_start = '{learned.record_start}'"] if learned.record_start else []),
            *([f"time_format = '{learned.time_format}'", "timezone = 'UTC'"] if learned.time_format else []),
            *([f"fields = '{FIELDS}'"] if learned.kinds else ["fields = ''"]),
            f"match = {match}",
        ]
    )


def shown(learned: Learned) -> Iterator[str]:
    """What was seen, in lines for a person."""
    yield f"encoding: {learned.encoding}"
    for name, sample in learned.samples.items():
        yield f"  as {name}: {sample}"
    yield f"line endings: {', '.join(f'{name} {count}' for name, count in learned.endings.items()) or 'none'}"
    yield f"lines: {learned.lines}, the longest {learned.longest} characters"
    yield f"lines that begin with a time: {learned.begins}; {'the others continue a record' if learned.begins else 'each line is a record'}"
    yield f"kinds: {', '.join(f'{name} {count}' for name, count in learned.kinds.items()) or 'none of user, warning, error, info'}"


def records(watch: WatchSettings, path: Path, most: int | None = None, *, is_all: bool = False) -> Iterator[Found]:
    """What the rules of a watch find in a saved log, in order; `is_all` gives every record."""
    rules = rules_of(watch)
    if is_all:
        rules = Rules(watch.fields, watch.record_start, [Rule(text_regex="")])
    with path.open("rb") as file:
        head = file.read(4)
        decoder = Decoder(watch.encoding, watch.fallback_encoding, watch.mixed)
        skip = decoder.begin(head)
        scanner = Scanner(rules, Lines(skip, size(watch.max_line)), decoder, watch.max_lines, size(watch.max_record))
        file.seek(skip)
        while (data := file.read(_PIECE)) and (most is None or file.tell() <= most + _PIECE):
            yield from scanner.feed(data)
        yield from scanner.finish()


def measured(watch: WatchSettings, found: Found) -> str:
    """What a record says of a measurement: its begin with the name, its end, or nothing."""
    if watch.measurement_start and (begun := found.fields.found(compiled(watch.measurement_start))) is not None:
        return f"measurement.start {measurement_name(begun.groupdict().get('name') or '')}".rstrip()
    is_end = watch.measurement_end and found.fields.found(compiled(watch.measurement_end)) is not None
    return "measurement.end" if is_end else ""


def as_line(found: Found) -> str:
    """A record in one line for a terminal: nothing of it can steer that."""
    fields = found.fields
    level = "-" if fields.level is None else str(fields.level)
    device = one_line(fields.device, 20) or "-"
    return f"{found.record.offset:>10}  {fields.kind or '-':8}{level:2} {device:20} {one_line(fields.text, 100)}"
