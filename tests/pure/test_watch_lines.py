"""Bytes -> lines -> records -> what is told: the same however the bytes come, and whichever way they are looked at."""

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from angelia.watch.lines import Decoder, Line, Lines
from angelia.watch.records import Assembler, TextLine
from angelia.watch.rules import BadPattern, Rule, Rules, compiled
from angelia.watch.scan import Scanner

_ALPHABET = st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xff", b"\0", "ж".encode(), b"long words "])
texts = st.lists(_ALPHABET, max_size=40).map(b"".join)


def cut_up(data, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


def all_lines(pieces, **options):
    lines, got = Lines(**options), []
    for piece in pieces:
        offset, whole = lines.take(piece)
        while (cut := lines.cut_line()) is not None:
            got.append(cut)
            offset, whole = lines.take(b"")
        got += lines.split(offset, whole)
    last = lines.finish()
    return got + ([last] if last else [])


def reference(data):
    return [part for part in re.split(rb"\r\n|\r|\n", data) if part.strip(b"\0 ")]


@given(texts, st.lists(st.integers(1, 7)))
@example(b"a\r\nb\r", [2])
@example(b"a\rb", [1, 1])
def test_lines_are_the_same_in_any_pieces(data, sizes):
    got = all_lines(cut_up(data, sizes))
    assert [line.data.strip(b"\0") for line in got if line.data.strip(b"\0 ")] == [part.strip(b"\0") for part in reference(data)]
    for line in got:
        assert data[line.offset : line.end].rstrip(b"\r\n") == line.data.rstrip(b"\r\n")
    assert all(before.end <= after.offset for before, after in itertools.pairwise(got))


@given(st.text(st.sampled_from("aж\n\r😀ऊ਀"), max_size=40), st.lists(st.integers(1, 7)), st.sampled_from(["utf-16-le", "utf-16-be"]))
@example("਀\n", [1, 1, 1], "utf-16-le")
def test_lines_of_two_bytes_a_letter(text, sizes, encoding):
    got = all_lines(cut_up(text.encode(encoding), sizes), encoding=encoding)
    wanted = [part for part in re.split("\r\n|\r|\n", text) if part]
    assert [line.data.decode(encoding).strip("\r") for line in got if line.data.decode(encoding).strip("\r")] == wanted


@given(st.integers(0, 300), st.lists(st.integers(1, 40)), st.booleans())
@example(51, [], False)
def test_an_endless_line_is_cut_and_marked_and_the_next_is_whole(length, sizes, has_end):
    data = b"before\n" + b"x" * length + (b"\nafter\n" if has_end else b"")
    got = all_lines(cut_up(data, sizes), max_line=50)
    assert got[0] == Line(0, 7, b"before")
    long = [line for line in got if line.data.startswith(b"x")]
    if length:
        assert [(line.data, line.is_cut, line.offset) for line in long] == [(b"x" * min(length, 50), length > 50, 7)]
    assert not has_end or (got[-1].data, got[-1].offset, got[-1].is_cut) == (b"after", 8 + length, False)


def test_zeros_of_a_power_cut_are_no_line_and_hide_none():
    assert [line.data for line in all_lines([b"a\n", b"\0" * 5000, b"\0" * 10])] == [b"a"]
    decoder = Decoder()
    assert [decoder.text(line) for line in all_lines([b"a\n", b"\0" * 5000, b"\0\0b\nc\n"])] == ["a", "b", "c"]


def decoded(data, **options):
    decoder = Decoder(**options)
    skip = decoder.begin(data[:4])
    got = all_lines([data[skip:]], encoding=decoder.decided)
    return [decoder.text(line) for line in got], decoder


def test_the_encoding_is_decided_once():
    assert decoded("plain\nошибка\n".encode()) == (["plain", "ошибка"], Decoder(decided="utf-8"))
    assert decoded("plain\nошибка\n".encode("cp1251"))[0] == ["plain", "ошибка"]
    assert decoded("ошибка\n".encode("cp866"), fallback="cp866")[0] == ["ошибка"]
    assert decoded("ошибка\n".encode("koi8-r"), wanted="koi8-r")[0] == ["ошибка"]
    for encoding in ("utf-16", "utf-8-sig"):
        assert decoded("ошибка\nb\n".encode(encoding))[0] == ["ошибка", "b"]
    assert decoded(b"\xfe\xff" + "ошибка\n".encode("utf-16-be"))[0] == ["ошибка"]
    # Remembered: what comes later in another encoding is replaced and counted, not guessed.
    lines, decoder = decoded("вода\n".encode() + "лёд\n".encode("cp1251"))
    assert lines[0] == "вода" and set(lines[1]) == {"�"} and decoder.replaced == 2
    assert decoded("вода\n".encode() + "лёд\n".encode("cp1251"), is_mixed=True)[0] == ["вода", "лёд"]


def test_a_cyrillic_line_comes_byte_by_byte():
    data = "первая\nвторая\n".encode("cp1251")
    decoder = Decoder()
    assert [decoder.text(line) for line in all_lines([bytes([byte]) for byte in data])] == ["первая", "вторая"]


@given(st.integers(1, 120))
def test_a_cut_through_a_letter_says_nothing_of_the_encoding(most):
    decoder = Decoder()
    line = all_lines(["ж".encode() * 100 + b"\n"], max_line=most)[0]
    assert set(decoder.text(line)) <= {"ж"} and decoder.decided == "utf-8"


TRACE = """12:00 error 1 pump Traceback (most recent call last):
  File "x.py", line 1
ValueError: broken
12:01 info 3 pump goes on"""


def assembled(text, **options):
    assembler, at, records = Assembler(**options), 0, []
    for line in text.split("\n"):
        records += assembler.feed(TextLine(at, at + len(line) + 1, line))
        at += len(line) + 1
    return records + assembler.flush()


def test_a_traceback_stays_together():
    first, second = assembled(TRACE, start=compiled(r"^\d\d:\d\d "))
    assert first.text.endswith("ValueError: broken") and first.lines == 3 and second.text == "12:01 info 3 pump goes on"
    assert (first.offset, first.end) == (0, second.offset) and second.end == len(TRACE) + 1
    assert len(assembled(TRACE)) == 4


def test_a_record_has_bounds():
    start = compiled("^new")
    assert [record.lines for record in assembled("new\n" + "x\n" * 8 + "new", start=start, max_lines=5)] == [5, 4, 1]
    assert [record.lines for record in assembled("new\n" + "x\n" * 8 + "new", start=start, max_record=8)] == [3, 4, 2, 1]


FIELDS = r"(?P<kind>user|warning|error|info)\s*(?P<level>[1-5])?\s+(?P<device>\S+)?\s*(?P<text>.*)"


def test_fields_and_rules():
    rules = Rules(FIELDS, r"^\d\d:\d\d ", [Rule("error", 3), Rule(text_regex="(?i)abort|авари")], [Rule(text_regex="simulated")])
    found = rules.told("12:00 error 2 pump lost vacuum\nmore")
    assert found is not None and (found.kind, found.level, found.device, found.text) == ("error", 2, "pump", "lost vacuum\nmore")
    assert rules.told("12:00 error 4 pump lost vacuum") is None
    assert rules.told("12:00 info 4 pump АВАРИЯ") is not None
    assert rules.told("12:00 error 1 pump simulated") is None
    assert rules.told("12:00 error 1 pump one\nthis is simulated") is None


@pytest.mark.parametrize("pattern", ["(a", "(?=x)", r"(a)\1", "a{1001}", "(" * 2000])
def test_what_may_take_for_ever_is_refused(pattern):
    with pytest.raises(BadPattern):
        Rules(match=[Rule(text_regex=pattern)])


def test_catastrophes_are_none():
    for pattern in ("(a+)+$", "(.*a){30}", "(x+x+)+y"):
        assert Rules(match=[Rule(text_regex=pattern)]).told("a" * 60_000 + "!" + "x" * 5000) is not None or pattern != "(.*a){30}"


WORDS = [
    "error",
    "ERROR",
    "warning",
    "info",
    "авария",
    "Авария",
    "abort",
    "a",
    "b",
    " ",
    "  ",
    "1",
    "5",
    "\t",
    "simulated",
    "12:00 ",
    ".",
    "vacuum lost",
]
_line = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
_document = st.lists(
    st.tuples(st.sampled_from(["", "", "12:00 ", "12:01 info 3 "]), _line, st.sampled_from(["\n", "\n", "\r\n", "\r"])), max_size=30
).map(lambda parts: "".join(a + b + c for a, b, c in parts))
_regex = st.sampled_from(
    [r"(?i)abort|авари", r"^\s*a", r"lost$", r"\berror\b", r"a\s+b", r"[^x]simulated", r"авария.1", r"error\n.*a", r"[аАв]+", r"\W1", r"vacuum.lost"]
)
_rule = st.builds(Rule, text_regex=_regex) | st.builds(Rule, kind=st.sampled_from(["error", "Warning"]), max_level=st.sampled_from([None, 1, 3]))


@settings(max_examples=400)
@given(
    _document,
    st.lists(st.integers(1, 60), max_size=8),
    st.lists(_rule, min_size=1, max_size=3),
    st.sampled_from(["", r"^\d\d:\d\d "]),
    st.sampled_from(["utf-8", "cp1251", "utf-16"]),
    st.sampled_from([3, 200]),
)
def test_the_sieve_loses_nothing(text, sizes, match, start, encoding, most):
    rules, data = Rules(FIELDS, start, match, [Rule(text_regex="simulated 5")]), text.encode(encoding)

    def run(pieces, is_sieving):
        decoder = Decoder(encoding)
        skip = decoder.begin(data[:4])
        scanner = Scanner(rules, Lines(skip), decoder, max_lines=most, is_sieving=is_sieving)
        found = [hit for piece in pieces for hit in scanner.feed(piece)]
        return found + scanner.finish()

    skip = Decoder(encoding).begin(data[:4])
    whole = run([data[skip:]], False)
    assert run(cut_up(data[skip:], sizes), True) == whole
    assert run(cut_up(data[skip:], sizes), False) == whole


@pytest.mark.parametrize("before", range(8))
def test_a_record_that_was_ended_by_its_length_is_cut_where_it_would_be_without_a_sieve(before):
    """The begin of the record is too far off to be looked for: all its lines count."""
    rules = Rules("", r"^\d\d:\d\d ", [Rule(text_regex="abort")])
    data = ("12:00 begin\n" + "more\n" * before + "abort\n" + "more\n" * 4).encode()

    def run(is_sieving):
        scanner = Scanner(rules, Lines(), Decoder(), max_lines=3, is_sieving=is_sieving)
        return [found.record for found in scanner.feed(data) + scanner.finish()]

    assert run(True) == run(False) and len(run(True)) == 1


def test_the_sieve_is_there():
    rules = Rules(FIELDS, r"^\d\d:\d\d ", [Rule("error", 3), Rule(text_regex="(?i)abort|авари")])
    assert rules.sieve("utf-8") is not None and rules.sieve("cp1251") is not None and rules.sieve("utf-16-le") is None
