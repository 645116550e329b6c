"""Which records are told: fields of a record, rules on them, and a search that finds the few lines worth a look in a large piece of bytes.

Expressions are those of RE2: their time grows with the text only, whatever an operator writes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

_LEVEL_OF_KIND = {"error": 1, "warning": 3}


class BadPattern(ValueError):
    """An expression that RE2 does not take; the text says why."""


def compiled(pattern: str, *, is_bytes: bool = False) -> Any:
    """The expression, bounded in memory too. Bytes are taken as they are, each a letter of its own."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    if is_bytes:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(pattern.encode("latin-1") if is_bytes else pattern, options)
    except (re2.error, UnicodeError) as error:
        said = error.args[0] if error.args else error
        raise BadPattern(f"{pattern!r}: {said.decode() if isinstance(said, bytes) else said}") from None


@dataclass(frozen=True, slots=True)
class Fields:
    """What a record says: kind and level (1 the most important) where they are known, the device, the text, the time as written.

    `worded` is the text with the device before it, as they stand in the record: a plain log names no device, and its first word is taken for one.
    """

    text: str
    kind: str = ""
    level: int | None = None
    device: str = ""
    time: str = ""
    worded: str = ""

    def found(self, pattern: Any) -> Any:
        """Where a compiled expression holds, in the text alone or with the word before it; else None."""
        return pattern.search(self.text) or pattern.search(self.worded)


@dataclass(frozen=True, slots=True)
class Rule:
    """All that is given must hold. A record without a level passes `max_level` only by its kind: errors count as 1, warnings as 3."""

    kind: str = ""
    max_level: int | None = None
    text_regex: str = ""

    def matches(self, fields: Fields, pattern: Any) -> bool:
        """Does it hold for this record? `pattern` is `text_regex`, compiled."""
        if self.kind and self.kind.lower() != fields.kind.lower():
            return False
        if self.max_level is not None:
            level = fields.level if fields.level is not None else _LEVEL_OF_KIND.get(fields.kind.lower(), 5)
            if level > self.max_level:
                return False
        return pattern is None or fields.found(pattern) is not None


@dataclass(slots=True)
class Rules:
    """`match`: any of them makes a record worth telling (none: every record). `ignore`: any of them unmakes it."""

    fields: str = ""
    record_start: str = ""
    match: Sequence[Rule] = ()
    ignore: Sequence[Rule] = ()
    _fields: Any = None
    _start: Any = None
    _match: list[tuple[Rule, Any]] = field(default_factory=list)
    _ignore: list[tuple[Rule, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._fields = compiled(self.fields) if self.fields else None
        self._start = compiled(self.record_start) if self.record_start else None
        self._match, self._ignore = _compiled(self.match), _compiled(self.ignore)

    @property
    def start(self) -> Any:
        """The compiled `record_start`, or None."""
        return self._start

    def fields_of(self, text: str) -> Fields:
        """The fields of a record; where the expression does not match, all of it is its text."""
        groups: dict[str, str] = {}
        worded = ""
        if self._start is not None and (found := self._start.search(text)) is not None:
            groups |= {name: value for name, value in found.groupdict().items() if value}
        has_text = False
        if self._fields is not None and (found := self._fields.search(text)) is not None:
            groups |= {name: value for name, value in found.groupdict().items() if value is not None}
            has_text = "text" in groups
            # The text goes on to the end of the record: `.` stops at the end of its first line.
            if has_text and (end := found.end(self._fields.groupindex["text"])) == found.end():
                groups["text"] += text[end:]
            if has_text and "device" in groups:
                worded = self._worded(found, text, groups["text"])
        level = groups.get("level", "")
        return Fields(
            text=groups["text"] if has_text else text,
            kind=groups.get("kind", "").lower(),
            level=int(level) if level.isascii() and level.isdigit() and len(level) < 4 else None,
            device=groups.get("device", ""),
            time=groups.get("time", ""),
            worded=worded,
        )

    def _worded(self, found: Any, text: str, said: str) -> str:
        """Nothing where more than space is between the two, or no device is there: then it is no first word of the text."""
        (begin, end), start = (found.span(self._fields.groupindex["device"]), found.start(self._fields.groupindex["text"]))
        return text[begin:start] + said if 0 <= begin < end <= start and not text[end:start].strip() else ""

    def is_whole(self, text: str) -> bool:
        """Does this look like a complete record? Only then may a line without an end be taken; without `record_start` nobody can say."""
        return all(pattern is not None and pattern.search(text) is not None for pattern in (self._start, self._fields))

    def told(self, text: str) -> Fields | None:
        """The fields of a record that is worth telling; None for all others."""
        fields = self.fields_of(text)
        if self._match and not any(rule.matches(fields, pattern) for rule, pattern in self._match):
            return None
        if any(rule.matches(fields, pattern) for rule, pattern in self._ignore):
            return None
        return fields

    def sieve(self, encoding: str) -> Any:
        r"""An expression on bytes that is found wherever a record might be told, or None where we can't say: then each record is looked at.

        It is a necessary condition only: anchors are dropped, and a line ending may be \\r\\n where a record has \\n.
        """
        is_utf8 = encoding in ("", "utf-8")
        if not self.match or encoding.startswith("utf-16"):
            return None
        parts = []
        for rule in self.match:
            wanted = rule.text_regex or (_any_case(rule.kind) if rule.kind and self.fields else "")
            if not wanted or (relaxed := _relaxed(wanted, is_utf8=is_utf8)) is None:
                return None
            parts.append(f"(?:{relaxed})")
        try:
            return compiled("|".join(parts), is_bytes=not is_utf8)
        except BadPattern:
            return None


def _compiled(rules: Sequence[Rule]) -> list[tuple[Rule, Any]]:
    return [(rule, compiled(rule.text_regex) if rule.text_regex else None) for rule in rules]


def _any_case(word: str) -> str:
    return f"(?i){re.escape(word)}"


_NEWLINES = re.compile(r"\\[sDWnrv]|\\[xpPQECaftz0-9]|\[:")
_TOKEN = re.compile(r"\\Q|\\[pPx]\{[^}]*\}|\\x..|\\[pP].|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?[a-zA-Z-]+[:)]|.", re.DOTALL)
_ANY = r"[\x00-\xff]"


def _relaxed(pattern: str, *, is_utf8: bool) -> str | None:
    """An expression that is found in raw bytes wherever `pattern` is found in the text of a record; None where that is not sure."""
    parts = []
    for match in _TOKEN.finditer(pattern):
        piece = match[0]
        if piece == r"\Q" or (piece.startswith("(?") and "s" in piece):
            return None
        parts.append(_relaxed_piece(piece, is_utf8=is_utf8))
    return "".join(parts)


def _relaxed_piece(piece: str, *, is_utf8: bool) -> str:
    if piece in (r"\b", r"\B", r"\A", r"\z", "^", "$"):
        return "(?:)"
    if not is_utf8 and (not piece.isascii() or piece[:2] in (r"\p", r"\P", r"\x")):
        return _ANY  # a letter is one byte, whichever
    if piece.startswith("[") and len(piece) > 1:
        if piece.startswith("[^") or _NEWLINES.search(piece) or "\n" in piece:
            return _or_newline(_ANY if not is_utf8 else piece)
        return piece
    if piece in (r"\s", r"\D", r"\W", r"\n", "\n") or piece[:2] in (r"\x", r"\P"):
        return _or_newline(_ANY if not is_utf8 else piece)
    return piece


def _or_newline(piece: str) -> str:
    return rf"(?:\r\n|\r|{piece})"
