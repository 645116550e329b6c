"""`angelia try`: the corners of the rules (`scenarios.jsonl`), input that is not as it should be, and the table at a terminal."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from angelia.cli import trying
from angelia.cli.main import program
from angelia.cli.outcome import Failure
from angelia.model.errors import InvalidInput
from angelia.planning.trial import differences, run

# Written from the text of the rules by a resolver of its own, which walks through the minutes to find a slot.
CORNERS = [json.loads(line) for line in (Path(__file__).parent / "scenarios.jsonl").read_text().splitlines()]
PERSON = {"login": "alice", "verified": ["web", "mail"]}
MESSAGE = {"type": "wiki.change", "to": ["alice"], "at": "2024-03-05T14:00:00+01:00"}
SCENARIO = {"site": {"preferences": {"*": {"web": "now"}}}, "users": [PERSON], "message": MESSAGE}
GOOD = json.dumps(SCENARIO).encode()
NOW = {"alice": {"web": {"outcome": "now"}}}


@pytest.mark.parametrize("case", CORNERS, ids=[case["id"] for case in CORNERS])
def test_corner(case):
    assert differences(case["expect"], run(case["scenario"])) == [], case["why"]


def tried(given, *options):
    """Answers (without how they were explained), complaints, and what it failed with."""
    done = CliRunner().invoke(program, ["try", *options], input=given)
    assert isinstance(done.exception, Failure | None | SystemExit), done.exception
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return answers, done.stderr, str(done.exception or "")


BROKEN = {
    b"nonsense": "not JSON: Expecting value at column 1",
    b'{"message": ': "not JSON: Expecting value at column 12",
    b'{"users": "\xff"}': "not UTF-8: byte 12 is 0xff",
    b"\xff\xfe": "not UTF-8: byte 1 is 0xff",
    b"[" * 100_000: "nested too deeply",
    b"5": "scenario: must be an object",
    b"[]": "scenario: must be an object",
    b'{"scenario": null}': "scenario: must be an object",
    b'{"message": null}': "message: must be an object",
    b'{"\\ud800": 1}': "unknown key",
    b"9" * 10_000: "digits",
    json.dumps({"scenario": SCENARIO, "expect": None}).encode(): "expect: must be an object",
    json.dumps({"scenario": SCENARIO, "expect": {"alice": []}}).encode(): "expect.alice: must be an object",
    json.dumps({"scenario": SCENARIO, "expect": {"alice": {"web": "now"}}}).encode(): "expect.alice.web: must be an object",
    json.dumps({"scenario": SCENARIO, "expect": {"alice": {"web": {"due": "soon"}}}}).encode(): "expect.alice.web.due: must be a time",
} | {
    json.dumps(SCENARIO | {"message": MESSAGE | {"at": at}}).encode(): "message.at: a time lies between 1970 and 2200"
    for at in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+12:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00")
}


@pytest.mark.parametrize("line", BROKEN, ids=[line[:24].decode("ascii", "replace") for line in BROKEN])
def test_a_line_that_cannot_be_read_is_named_and_the_others_are_answered(line):
    answers, complaints, failure = tried(b"\n".join([GOOD, b"", line, GOOD]) + b"\n")
    assert failure == "1 can't be read"
    assert complaints.startswith("angelia: -:3: ") and complaints.count("\n") == 1 and BROKEN[line] in complaints
    assert [{key: answer[key] for key in answer if key != "explain"} for answer in answers] == [NOW, {}, NOW]
    assert answers[1]["explain"]["error"].encode(errors="backslashreplace").decode() == complaints[9:-1]


def test_only_a_line_feed_ends_a_line(tmp_path):
    odd = json.dumps(SCENARIO | {"message": MESSAGE | {"subject": "a\u2028b\u0085c"}}, ensure_ascii=False).encode()
    file = tmp_path / "odd.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + odd + b"\r\n\r\n" + GOOD)
    done = CliRunner().invoke(program, ["try", str(file)])
    assert (done.exception, done.stderr, len(done.stdout.splitlines())) == (None, "", 2)


def test_a_difference_is_told_and_the_rest_goes_on():
    off = json.dumps({"id": "A1", "scenario": SCENARIO, "expect": {"alice": {}, "bob": None}}).encode()
    answers, complaints, failure = tried(off + b"\n" + GOOD)
    assert complaints.splitlines() == ["A1: alice web: expected nothing, got now", "A1: bob: expected nothing, got nobody"]
    assert (failure, len(answers)) == ("1 differ from what was expected", 2)


def test_a_file_that_is_not_there():
    done = CliRunner().invoke(program, ["try", "/no/such/file"])
    assert str(done.exception) == "/no/such/file: No such file or directory"


def test_a_table_at_a_terminal(monkeypatch):
    class Terminal:
        isatty = staticmethod(lambda: True)

    monkeypatch.setattr(trying, "sys", type("S", (), {"stdout": Terminal, "stdin": trying.sys.stdin}))
    monkeypatch.setattr("angelia.cli.reach.sys", trying.sys)
    pause = SCENARIO | {"users": [PERSON, {"login": "bob"}, {"login": "c\x1b[2J", "verified": ["web"], "paused": ["web"]}]}
    pause["message"] = MESSAGE | {"to": ["alice", "c\x1b[2J"]}
    lines = [json.dumps({"id": "long name", "scenario": pause}), GOOD.decode()]
    monkeypatch.setattr(trying, "_lines", lambda files: [(f"{files[0]}:{n}", line.encode()) for n, line in enumerate(lines, 1)])
    done = CliRunner().invoke(program, ["try"])
    assert [line.split("  ") for line in done.stdout.splitlines()] == [line.split("  ") for line in TABLE]


TABLE = [
    "case       person  agent  outcome               when  why",
    "long name  alice   web    now                   -     chosen (site:*)",
    "long name  bob     -      not a candidate       -",
    "long name  c [2J   -      nothing is delivered  -     web paused",
    "-:2        alice   web    now                   -     chosen (site:*)",
]

WRONG = [
    ("message.type", None),
    ("message.type", 5),
    ("message.type", "a..b"),
    ("message.severity", "loud"),
    ("message.severity", ""),
    ("message.at", "2024-03-05T14:00:00"),
    ("message.at", "yesterday"),
    ("message.to", [None]),
    ("message.cc", "alice"),
    ("message.actor", ["alice"]),
    ("message.restricted", "false"),
    ("message.params.x", {}),
    ("message.tags", [["x"]]),
    ("message.wish", "soon"),
    ("access", [[]]),
    ("relations.bob", 5),
    ("users.0.login", "\ud800"),
    ("users.0.active", 1),
    ("users.0.verified", [[]]),
    ("users.0.time_zone", "Mars/Olympus"),
    ("users.0.quiet", ["25:00", "07:00"]),
    ("users.0.rules.0.when.x", 5),
]


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_what_is_wrong_is_named_by_its_path(path, value):
    wrong = json.loads(GOOD)
    place = wrong
    *parts, last = path.split(".")
    for part in parts:
        if part == "rules":
            place["rules"] = [{}]
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    place[last] = value
    with pytest.raises(InvalidInput) as raised:
        run(wrong)
    assert raised.value.field == path


def test_the_example_of_the_reference_is_answered_as_it_says():
    page = (Path(__file__).parents[2] / "docs/reference/scenarios.md").read_text()
    scenario, answer = (json.loads(block.split("```")[0]) for block in page.split("```json\n")[1:])
    assert run(scenario) == answer


def test_null_is_as_if_it_were_left_out():
    nothing = dict.fromkeys(["actor", "object", "severity", "restricted", "not_before", "wish", "subject"])
    person = PERSON | dict.fromkeys(["active", "hold", "quiet"])
    assert run(SCENARIO | {"message": MESSAGE | nothing, "users": [person]}) == run(SCENARIO)
