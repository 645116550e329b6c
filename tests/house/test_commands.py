"""What the command line says where something is not as it should be: one line, no trace, and an exit code."""

import asyncio
import json
import signal
import socket
import warnings
from dataclasses import replace
from getpass import GetPassWarning

import pytest
from click.testing import CliRunner

from angelia.cli import reach
from angelia.cli.main import main, program
from angelia.cli.outcome import Failure
from angelia.serving import serve
from angelia.wire.fields import MessageFields, parse_one
from angelia_testing.peers.http import Reply, ScriptedHttp


def failed(*words, **more):
    """What a command failed with, and its exit code."""
    done = CliRunner().invoke(program, words, **more)
    assert isinstance(done.exception, Failure), (done.exception, done.output)
    return str(done.exception), done.exception.exit_code


async def test_a_port_that_is_taken_is_said_in_one_line(house):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        try:
            with pytest.raises(OSError, match=f"can't listen on 127.0.0.1:{port}: Address already in use"):
                await serve(replace(house.settings, web=replace(house.settings.web, port=port)))
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().remove_signal_handler(number)


def test_the_sample_goes_among_nothing_else(tmp_path):
    (tmp_path / "angelia.toml").write_text("")
    (tmp_path / "thesis.tex").write_text("")
    said, code = failed("serve", "--sample", "--data-dir", str(tmp_path))
    assert code == 2 and "holds thesis.tex" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["angelia.toml", "thesis.tex"]


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    assert failed("serve", "--data-dir", str(tmp_path / "file")) == (f"{tmp_path / 'file'} can't be the data folder: File exists", 1)


def test_what_is_no_text(tmp_path):
    there = ["--data-dir", str(tmp_path)]
    assert failed(*there, "send", "a.b", input=b"\xff") == ("standard input is not text in UTF-8", 1)
    (tmp_path / "wants.toml").write_bytes(b"\xff")
    assert failed(*there, "prefs", "plan", "alice", str(tmp_path / "wants.toml")) == (f"{tmp_path}/wants.toml is not text in UTF-8", 1)


def test_an_argument_that_is_no_text_is_told(monkeypatch, tmp_path):
    def asked(self, method, path, arguments):
        raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(reach.Reach, "_asked", asked)
    assert failed("--data-dir", str(tmp_path), "send", "a.b", "\udcff")[1] == 2


def test_a_hub_that_wants_a_token_is_told_where_it_comes_from(monkeypatch):
    monkeypatch.setattr(reach.Reach, "_asked", lambda *_: (401, {"content-type": "application/problem+json"}, b'{"detail": "this needs your token"}'))
    said, code = failed("--url", "http://hub", "messages")
    assert code == 3 and said == "this needs your token; commands take it from ANGELIA_TOKEN, or from the file ANGELIA_TOKEN_FILE"


@pytest.fixture
def stranger():
    """What answers where a hub should."""
    made = ScriptedHttp()
    yield made
    made.stop()


HTML, JSON = {"Content-Type": "text/html"}, {"Content-Type": "application/json"}
ELSEWHERE = "what answered 308 is not the hub; it leads elsewhere: check the address, and whether it begins with https://"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(308, headers={"Location": "https://hub.example.org/"}), ELSEWHERE),
        (Reply(200, b"<p>Welcome</p>", HTML), "what answered 200 is not the hub"),
        (Reply(200), "what answered 200 is not the hub"),
        (Reply(200, b'{"items": [', JSON), "what answered 200 is not the hub"),
        (Reply(200, b"[" * 100_000, JSON), "what answered 200 is not the hub"),
        (Reply(200, b'["a"]', JSON), "what answered 200 is not the hub"),
        (Reply(404, b"<p>Nothing here</p>", HTML), "what answered 404 is not the hub"),
        (Reply(502, b"<p>Bad Gateway</p>", HTML), "the hub answered 502"),
    ],
)
def test_what_is_not_the_hub_did_nothing(stranger, tmp_path, reply, said):
    stranger.answer = lambda _: reply
    (tmp_path / "alice.toml").write_text("")
    for words in (("prefs", "apply", "alice", str(tmp_path / "alice.toml")), ("people", "list"), ("messages",), ("check",)):
        assert failed("--url", stranger.url, *words) == (said, 1)


@pytest.mark.parametrize("reply", [Reply(308), Reply(404, b"<p>", HTML), Reply(404, b"{", JSON)])
def test_what_is_not_the_hub_has_no_products(stranger, tmp_path, reply):
    listed = Reply(200, b'{"items": [{"name": "curve", "url": "/curve"}]}', JSON)
    stranger.answer = lambda asked: listed if asked.path.endswith("/products") else reply
    assert "is not the hub" in failed("--url", stranger.url, "job", "download", "job_1", "--to", str(tmp_path))[0]
    assert list(tmp_path.iterdir()) == []


ACCEPTED = Reply(201, b'{"id": "msg_0add56sshg804", "status": "accepted"}', JSON)
REFUSED = Reply(422, b'{"detail": "no\\u001b type", "errors": [{"field": "type"}]}', JSON)


@pytest.fixture
def spool(stranger, tmp_path):
    """Three that wait, of which a hub that is there refuses the one in the middle."""
    folder = tmp_path / "spool"
    for type in ("a.b", "BAD TYPE", "a.c"):
        done = CliRunner().invoke(program, ["--url", "http://127.0.0.1:1", "send", type, "hi", "--spool", str(folder)])
        assert done.exit_code == 0 and done.stdout == "id: -\nstatus: spooled\n"
        assert f"angelia: it waits in {folder}: the hub at http://127.0.0.1:1 does not answer: " in done.stderr
    stranger.answer = lambda asked: REFUSED if b"BAD TYPE" in asked.body else ACCEPTED
    return folder


def test_what_a_spool_puts_aside_is_told(stranger, spool):
    done = CliRunner().invoke(program, ["--url", stranger.url, "spool", "flush", str(spool)])
    assert done.stdout == "sent: 2\nrefused: 1\nleft: 0\n"
    (aside,) = (spool / "refused").glob("*.json")
    assert done.stderr == f"angelia: refused, and put aside as {aside}: type: no  type\n"
    assert isinstance(done.exception, Failure) and str(done.exception) == "1 will never be sent" and done.exception.exit_code == 1


def test_what_a_spool_puts_aside_is_told_by_the_next_that_is_sent(stranger, spool):
    done = CliRunner().invoke(program, ["--url", stranger.url, "send", "a.d", "hi", "--spool", str(spool)])
    assert done.exit_code == 0 and "status: accepted" in done.stdout
    assert done.stderr.startswith(f"angelia: refused, and put aside as {spool}/refused/") and len(done.stderr.splitlines()) == 1


def test_a_spool_says_why_it_still_waits(stranger, spool):
    stranger.answer = lambda _: Reply(401, b'{"detail": "this needs your token"}', JSON)
    assert failed("--url", stranger.url, "spool", "flush", str(spool)) == ("3 still wait: this needs your token", 1)


def test_a_spool_that_is_not_there(tmp_path):
    assert failed("--url", "http://127.0.0.1:1", "spool", "flush", f"{tmp_path}/nope") == (f"{tmp_path}/nope is no folder", 1)


@pytest.mark.parametrize("token", ["a\nb", "a\x00b", "gehe\u0131m"])
def test_what_can_never_be_sent_is_not_kept(tmp_path, monkeypatch, token):
    send = ("send", "a.b", "hi", "--spool", str(tmp_path / "spool"))
    assert failed("--url", "localhost:8201", *send) == ("'localhost:8201' is no URL of a hub: it begins with http:// or https://", 2)
    assert failed("--url", "http://127.0.0.1:1", "send", "", "hi") == ("a message needs a type, such as instrument.error", 2)
    file = tmp_path / "token"
    file.write_text(token)
    monkeypatch.setenv("ANGELIA_TOKEN_FILE", str(file))
    said, code = failed("--url", "http://127.0.0.1:1", *send)
    assert code == 2 and said.startswith("the token in ANGELIA_TOKEN") and token not in said and "Illegal" not in said
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("event", "events", "k", "NaN"),
        ("event", "events", "k", '{"a": [Infinity]}'),
        ("job", "submit", "periodogram", "light_curve", "x=-Infinity"),
        ("job", "submit", "periodogram", "light_curve", "--seconds", "nan"),
        ("prefs", "plan", "alice", "nan.toml"),
        ("prefs", "apply", "alice", "nan.toml"),
        ("site", "apply", "nan.toml"),
    ],
)
def test_numbers_that_json_has_not(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nan.toml").write_text("a = nan")
    assert failed("--url", "http://127.0.0.1:1", *words) == NO_NUMBER


NO_NUMBER = ("NaN and Infinity can't be sent: they are no numbers of JSON", 2)


def test_a_rate_that_json_has_not(stranger):
    """What is there is asked for first."""
    stranger.answer = lambda _: Reply(404, b'{"detail": "there is no such source"}', JSON)
    assert failed("--url", stranger.url, "source", "put", "ci", "--rate", "nan") == NO_NUMBER
    assert [asked.method for asked in stranger.asked] == ["GET"]


@pytest.mark.parametrize("value", ["[" * 5_000, "[" * 900 + "]" * 900])
def test_what_is_nested_too_deeply(stranger, value):
    stranger.answer = lambda _: Reply(202, b"{}", JSON)
    for words in (("event", "events", "k", value), ("job", "submit", "periodogram", "light_curve", f"x={value}")):
        done = CliRunner().invoke(program, ["--url", stranger.url, *words])
        assert done.exit_code == 0 or str(done.exception) == "what is to be sent is nested too deeply"


def test_a_wait_of_no_length_ends(stranger):
    stranger.answer = lambda _: Reply(200, b'{"ended_at": null, "state": "running"}', JSON)
    assert failed("--url", stranger.url, "job", "wait", "job_1", "--seconds", "nan") == ("after nan seconds it is running", 1)


@pytest.mark.parametrize("words", [("explain", "\udcff", "bob"), ("ping", "http://127.0.0.1:1", "--text", "\udcff")])
def test_bytes_that_are_no_text_are_wrong_use(monkeypatch, capsys, words):
    monkeypatch.setattr("sys.argv", ["angelia", "--url", "http://127.0.0.1:1", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("angelia: this is no text: ") and len(said.splitlines()) == 1


def test_a_token_file_that_is_no_text(tmp_path, monkeypatch):
    (tmp_path / "token").write_bytes(b"\xff")
    monkeypatch.setenv("ANGELIA_TOKEN_FILE", str(tmp_path / "token"))
    assert failed("--url", "http://127.0.0.1:1", "messages") == ("ANGELIA_TOKEN_FILE is not text in UTF-8", 2)


def test_downloads_are_told_in_json(stranger, tmp_path):
    listed = Reply(200, b'{"items": [{"name": "curve", "url": "/curve"}]}', JSON)
    stranger.answer = lambda asked: listed if asked.path.endswith("/products") else Reply(200, b"1 2 3")
    done = CliRunner().invoke(program, ["--url", stranger.url, "--json", "job", "download", "job_1", "--to", str(tmp_path)])
    assert json.loads(done.output) == {"files": [str(tmp_path / "curve")]} and (tmp_path / "curve").read_bytes() == b"1 2 3"


def test_tags_and_parameters_that_are_given_twice_stay(monkeypatch):
    sent = []

    def asked(self, method, path, arguments):
        sent.append(arguments["json"])
        return 201, {}, b'{"id": "msg_0add56sshg804", "status": "accepted"}'

    monkeypatch.setattr(reach.Reach, "_asked", asked)
    words = ["send", "a.b", "hello", "--tag", "x=1", "--tag", "x=2", "--param", "p=1", "--param", "p=2", "--param", "q=3="]
    assert CliRunner().invoke(program, words).exit_code == 0
    (fields,) = sent
    assert fields["tags"] == [["x", "1"], ["x", "2"]] and fields["params"] == {"p": ["1", "2"], "q": "3="}


def test_parameters_of_a_job_are_sent_as_they_were_typed(monkeypatch):
    words = ("version=1.10", "n=3", "is_deep=true", 'word="3"', "band=[1, 2]", "limit=null", "T1={}", "name=M 31")
    _, _, sent, _, _ = told(monkeypatch, "job", "submit", "camera", "picture", *words)
    assert sent["parameters"] == {
        "version": "1.10", "n": "3", "is_deep": "true", "word": "3", "band": [1, 2], "limit": None, "T1": {}, "name": "M 31",
    }  # fmt: skip
    assert failed("job", "submit", "camera", "picture", "n=1", "n=2") == ("n is given twice", 2)


def told(monkeypatch, *words, answer="{}"):
    """The one call that a command makes: method, path, and what it hands over."""
    calls = []

    def asked(self, method, path, arguments):
        calls.append((method, path, arguments.get("json"), arguments.get("params")))
        return 200, {"content-type": "application/json"}, answer.encode()

    monkeypatch.setattr(reach.Reach, "_asked", asked)
    done = CliRunner().invoke(program, ["--url", "http://hub", *words])
    assert done.exit_code == 0, (done.exception, done.output)
    (call,) = calls
    return *call, done.output


RECEIPT = '{"id": "msg_0add56sshg804", "status": "accepted"}'


def test_a_message_is_sent_with_all_that_it_may_have(monkeypatch):
    at = "2026-12-01T08:00:00Z"
    words = (
        "--to alice --cc group:x --subject s --severity high --object o --link https://hub.example.org/o --actor bob --sender ci --sender-name CI "
        f"--thread t --collapse-key c --supersedes u --wish digest --language de --occurred-at {at} --not-before {at} --expires-at {at} "
        "--format markdown --restricted --access alice --test --key k --tag x=1 --param p=1"
    ).split()
    _, path, sent, _, _ = told(monkeypatch, "send", "a.b", "hello", *words, answer=RECEIPT)
    assert path == "/api/v1/messages"
    assert sent == {
        "type": "a.b", "body": "hello", "to": ["alice"], "cc": ["group:x"], "subject": "s", "severity": "high", "object": "o",
        "object_url": "https://hub.example.org/o", "actor": "bob", "sender": {"id": "ci", "name": "CI"}, "thread": "t", "collapse_key": "c",
        "supersedes": "u", "wish": "digest", "language": "de", "occurred_at": at, "not_before": at, "expires_at": at, "body_format": "markdown", "restricted": True,
        "access": ["alice"], "test": True, "idempotency_key": "k", "tags": [["x", "1"]], "params": {"p": "1"},
    }  # fmt: skip
    missing = set(MessageFields.__annotations__) - sent.keys()
    assert missing == {"attachment"}
    parse_one(json.dumps(sent).encode())
    _, _, plain, _, _ = told(monkeypatch, "send", "a.b", "hello", answer=RECEIPT)
    assert plain.keys() == {"type", "body", "idempotency_key"}


VIEW = [
    "--type",
    "obs",
    "--source",
    "ci",
    "--object",
    "o",
    "--thread",
    "t",
    "--tag",
    "x=1",
    "--severity",
    "high",
    "--reason",
    "role",
    "--text",
    "word",
]
VIEWED = {"type": "obs", "source": "ci", "object": "o", "thread": "t", "tag": "x=1", "severity": "high", "reason": "role", "text": "word"}


def test_an_inbox_is_filtered_sorted_grouped_and_marked(monkeypatch):
    nothing = '{"items": []}'
    _, path, _, params, _ = told(monkeypatch, "inbox", "list", "--state", "unread", "--sort", "-severity", *VIEW, answer=nothing)
    assert path == "/api/v1/people/me/inbox" and params == VIEWED | {"state": "unread", "sort": "-severity", "limit": 20}
    assert told(monkeypatch, "inbox", "list", answer=nothing)[3] == {"limit": 20}
    item = {"id": "dlv_1", "delivered_at": "2026-11-24T09:00:00Z", "message": {"type": "a", "subject": "one\x1b[2J"}, "read_at": None}
    groups = json.dumps({"groups": [{"key": "1", "title": "1", "total": 4, "unread": 2, "items": [item]}], "next": None})
    *_, params, output = told(monkeypatch, "inbox", "list", "--group", "tag:x", answer=groups)
    assert params == {"group": "tag:x", "limit": 20}
    assert output.splitlines() == ["1: 4, 2 unread", "dlv_1  2026-11-24T09:00:00Z  a             one [2J          -"]
    assert told(monkeypatch, "inbox", "list", "--group", "object", answer='{"groups": [], "next": null}')[4] == "nothing\n"
    assert told(monkeypatch, "inbox", "count", "--by", "tag:x", *VIEW)[3] == VIEWED | {"by": "tag:x"}
    method, path, body, params, _ = told(monkeypatch, "inbox", "mark", "archive", "--state", "read", *VIEW)
    assert (method, path) == ("POST", "/api/v1/people/me/inbox/mark")
    assert (body, params) == ({"change": "archive", "ids": None, "until": None}, VIEWED | {"state": "read"})
    assert told(monkeypatch, "inbox", "mark", "read", "dlv_1", "dlv_2")[2]["ids"] == ["dlv_1", "dlv_2"]


def test_a_message_without_a_subject_is_listed_by_its_first_line(monkeypatch):
    messages = [
        {"id": "msg_1", "type": "a", "body": "\n  hello\nthere"},
        {"id": "msg_2", "type": "a", "body": "<p>x</p>", "body_format": "html"},
        {"id": "msg_3"},
    ]
    listed = told(monkeypatch, "messages", answer=json.dumps({"items": messages}))[4].splitlines()
    assert [line.split()[-1] for line in listed] == ["hello", "-", "-"]
    items = [{"id": "dlv_1", "message": message} for message in messages]
    assert "hello" in told(monkeypatch, "inbox", "list", answer=json.dumps({"items": items}))[4]
    assert json.loads(told(monkeypatch, "--json", "messages", answer=json.dumps({"items": messages}))[4])["items"] == messages


def test_an_entry_is_read_at_a_terminal_which_it_can_not_command(monkeypatch):
    message = {
        "id": "msg_1",
        "type": "a.b",
        "source": "ci",
        "severity": "high",
        "body": "first\x1b]0;t\x07\n\n  second",
        "tags": [["x", "1"]],
        "object": "KDE/okular",
    }
    answer = {"id": "dlv_1", "message": message, "why": {"because": ["you follow KDE/okular"]}}
    _, path, _, _, output = told(monkeypatch, "inbox", "show", "dlv_1", answer=json.dumps(answer))
    assert path == "/api/v1/people/me/inbox/dlv_1"
    assert output.splitlines() == [
        "subject: first ]0;t ", "type: a.b", "source: ci", "severity: high", "object: KDE/okular", "tag: x=1", "",
        "first ]0;t ", "", "  second", "", "because you follow KDE/okular",
    ]  # fmt: skip


WORD = "a/../b c?d#e%"


@pytest.mark.parametrize(
    "words",
    [
        ("people", "show"), ("people", "set"), ("address", "list"), ("group", "put"), ("inbox", "show"), ("inbox", "list", "--login"), ("token", "list"),
        ("feed", "list"), ("expect", "list"), ("agent", "pause"), ("type", "set"), ("source", "put"), ("source", "token"), ("prefs", "export"),
        ("explain",), ("event",), ("exchange", "show"), ("job", "show"), ("job", "describe"),
    ],
)  # fmt: skip
def test_a_word_is_one_part_of_a_path(stranger, words):
    stranger.answer = lambda _: Reply(404, b'{"detail": "there is none"}', JSON)
    more = ("key",) if words in {("explain",), ("event",)} else ()
    assert failed("--url", stranger.url, *words, WORD, *more) == ("there is none", 3)
    (path,) = {asked.path for asked in stranger.asked}  # what is put is looked for first
    assert "/a%2F..%2Fb%20c%3Fd%23e%25" in path
    count = len(stranger.asked)
    for word in ("..", ".", ""):
        if (*words, word) != ("expect", "list", ""):  # everybody's
            assert failed("--url", stranger.url, *words, word, *more) == (f"{word!r} is no name of anything", 2)
    assert len(stranger.asked) == count


def test_a_table_is_cut_for_a_terminal_only_and_says_so(capsys, monkeypatch):
    rows = [["x" * 61, "y" * 61], ["x" * 60, "z"]]
    reach.show_rows(rows, ("one", "two"))
    assert capsys.readouterr().out.splitlines() == [f"{'x' * 61}  {'y' * 61}", f"{'x' * 60}   z"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    reach.show_rows(rows, ("one", "two"))
    assert capsys.readouterr().out.splitlines() == [f"one{' ' * 57}  two", f"{'x' * 59}…  {'y' * 61}", f"{'x' * 60}  z"]


def test_a_feed_is_of_a_view(monkeypatch):
    _, path, body, _, _ = told(monkeypatch, "feed", "add", "alice", "--title", "Builds", *VIEW)
    assert path == "/api/v1/people/alice/feeds" and body == {"title": "Builds", "query": VIEWED}
    assert told(monkeypatch, "feed", "rotate", "alice", "3")[:2] == ("POST", "/api/v1/people/alice/feeds/3/rotate")


def test_an_inbox_is_somebodys(tmp_path):
    said, code = failed("--data-dir", str(tmp_path), "inbox", "list")
    assert code == 2 and "say whose with --login" in said


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Commands on a data folder of its own, as its operator: what they answer as JSON, or as text where that is none."""
    monkeypatch.delenv("ANGELIA_URL", raising=False)

    def done(*words, **more):
        told = CliRunner().invoke(program, ["--data-dir", str(tmp_path / "data"), "--json", *words], **more)
        assert told.exit_code == 0, (told.exception, told.output)
        return json.loads(told.stdout) if told.stdout.startswith("{") else told

    def not_done(*words, **more):
        return failed("--data-dir", str(tmp_path / "data"), *words, **more)

    done("db", "upgrade")
    done.failed = not_done
    return done


def test_what_is_not_said_of_a_source_stays(here):
    new = here("source", "put", "ci")
    assert (new["title"], new["subtrees"], new["may_be_urgent"], new["rate_per_second"], new["is_active"]) == ("", [], True, 0, True)
    said = ("--title", "CI", "--subtree", "obs", "--not-urgent", "--rate", "5", "--inactive", "--contact", "alice")
    known = here("source", "put", "ci", *said)
    assert here("source", "put", "ci") == known and known["subtrees"] == ["obs"] and known["contact"] == "alice"
    assert here("source", "put", "ci", "--title", "Builds") == known | {"title": "Builds"}
    assert here("source", "put", "ci", "--subtree", "", "--title", "", "--rate", "0", "--urgent", "--active", "--contact", "") == new


def test_what_is_not_said_of_a_group_stays(here):
    for login in ("alice", "bob"):
        here("people", "add", login)
    here("group", "put", "qa", "alice", "--title", "Quality", "--address", "mail=qa@example.org")
    kept = here("group", "put", "qa", "alice", "bob")
    assert (kept["title"], kept["members"], len(kept["addresses"])) == ("Quality", ["alice", "bob"], 1)
    assert here("group", "put", "qa", "--title", "")["title"] == ""


def test_what_can_not_be_said_of_a_type_stays(here, monkeypatch):
    known = {"labels": {"en": "Build", "de": "Bau"}, "descriptions": {"en": "Of a package"}}
    sent = []

    def asked(self, method, path, arguments):
        sent.append(arguments.get("json"))
        return 200, {"content-type": "application/json"}, json.dumps(known).encode()

    with monkeypatch.context() as patched:
        patched.setattr(reach.Reach, "_asked", asked)
        here("type", "set", "obs.build", "--label", "Builds")
        assert sent[-1]["labels"] == {"en": "Builds", "de": "Bau"} and sent[-1]["descriptions"] == {"en": "Of a package"}
        here("type", "set", "obs.build")
        assert sent[-1]["labels"] == {"de": "Bau"}
    assert here("type", "set", "obs.build", "--label", "Builds")["labels"] == {"en": "Builds"}
    assert here("type", "set", "obs.build")["labels"] == {}


def test_who_was_made_without_her_address_is_said_with_the_way_on(here):
    said, code = here.failed("people", "add", "alice", "--mail", "notanaddress")
    assert code == 1 and "value: this is no address for mail; alice is there now, but without an address" in said
    here("address", "add", "alice", "mail", "alice@example.org", "--default", "--verified")
    here("people", "add", "bob", "--mail", "bob@example.org")
    assert [one["value"] for one in here("address", "list", "bob")["items"]] == ["bob@example.org"]


def test_a_password_is_asked_for_at_a_terminal_only(monkeypatch):
    def ask(prompt):
        warnings.warn("Can not control echo on the terminal.", GetPassWarning, stacklevel=1)

    monkeypatch.setattr("click.termui.hidden_prompt_func", ask)
    with pytest.raises(Failure, match="with --stdin") as refused:
        program.main(["people", "password", "alice"], standalone_mode=False)
    assert refused.value.exit_code == 2


def test_what_was_not_done_is_no_success(here):
    assert here.failed("delivery", "replay", "dlv_0123456789abc") == ("0 of 1 are dead letters", 1)
    assert here.failed("parked", "release", "msg_0123456789abc", "msg_0123456789abd") == ("0 of 2 were parked", 1)
    key = "obs.build/mail/full/en/subject"
    assert here.failed("template", "remove", key) == (f"the site has no template {key} of its own", 1)
    here("template", "put", key, "-", input="{{ subject }}")
    here("template", "remove", key)
    assert here.failed("template", "remove", key)[1] == 1


def test_a_role_of_nobody_is_kept_and_told(here, tmp_path):
    here("people", "add", "alice")
    here("group", "put", "qa", "alice")
    words = ["relation", "put", "KDE/okular", "maintainer=alice,group:qa", "watcher=bob,group:none"]
    told = CliRunner().invoke(program, ["--data-dir", str(tmp_path / "data"), *words])
    assert told.exit_code == 0 and [line.split(" yet")[0] for line in told.stderr.splitlines()] == [
        "nobody is called bob",
        "nobody is called group:none",
    ]
    assert here("relation", "show", "KDE/okular") == {"maintainer": ["alice", "group:qa"], "watcher": ["bob", "group:none"]}


def test_the_database_of_no_hub_and_a_backup_that_goes_nowhere_are_said_with_the_reason(here, tmp_path):
    there = tmp_path / "none"
    for words in (("db", "check"), ("db", "backup", str(tmp_path / "copy"))):
        said, code = failed("--data-dir", str(there), *words)
        assert code == 1 and said.startswith(f"no hub has run in {there} yet") and not there.exists()
    path = tmp_path / "nowhere" / "copy"
    assert here.failed("db", "backup", str(path)) == (f"{path} can't be written: No such file or directory", 1)
    assert here.failed("db", "backup", "") == ("say the file for the backup", 2)
    here("db", "backup", str(tmp_path / "copy"))
    assert here.failed("db", "backup", str(tmp_path / "copy"))[0] == f"{tmp_path / 'copy'} exists; a backup goes into a new file"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[house]\ndatabase = "mysql://x/y"', "SQLite or PostgreSQL"),
        ('[house]\ndatabase = "postgresql://alice@host:port/x"', "the database is a URL"),
        ('[web]\nhost = "0.0.0.0"', "web.allow_public_bind"),
        ('[outbound]\nallow = "intranet"', "outbound.allow"),
        ('[streams]\npublic_key = "/nowhere.pem"', "streams.public_key"),
        ("[directories.x]", "directories.x"),
        ('[instruments.x]\nadapter = "none"', "no instrument adapter 'none'"),
        ('[agents]\nmail = "x"', "[agents.mail] is a table"),
        ('[agents.pigeon]\nurl = "x"', "no agent 'pigeon'"),
    ],
)
def test_settings_are_checked_as_a_start_checks_them(tmp_path, text, told):
    (tmp_path / "angelia.toml").write_text(text)
    there = tmp_path / "data"
    said, code = failed("--config", str(tmp_path / "angelia.toml"), "--data-dir", str(there), "config", "check")
    assert code == 1 and told in said and not there.exists()


def test_good_settings_are_good_and_leave_nothing(tmp_path):
    (tmp_path / "angelia.toml").write_text('[house]\ndatabase = "postgresql://alice@127.0.0.1:1/x"')
    for words in ((), ("--config", str(tmp_path / "angelia.toml"))):
        done = CliRunner().invoke(program, ["--data-dir", str(tmp_path / "data"), *words, "config", "check"])
        assert (done.exit_code, done.output) == (0, "the settings are good\n") and not (tmp_path / "data").exists()


def test_the_database_is_not_that_of_a_hub_elsewhere(here, monkeypatch):
    assert here.failed("--url", "http://hub", "db", "check")[1] == 2
    monkeypatch.setenv("ANGELIA_URL", "http://hub")
    here("db", "check")


def test_whom_an_expectation_tells_can_be_nobody(here):
    for login in ("alice", "bob"):
        here("people", "add", login)
    number = str(here("expect", "add", "alice", "backup", "--every", "1d", "--to", "bob")["id"])
    assert here("expect", "change", "alice", number, "--title", "dump")["to"] == ["bob"]
    assert here("expect", "change", "alice", number, "--to", "")["to"] == []


def test_a_plan_is_said_in_the_words_of_the_document(here, tmp_path):
    here("people", "add", "alice")
    (tmp_path / "old.toml").write_text('follows = ["secret/1"]\n')
    (tmp_path / "new.toml").write_text('[preferences."obs.build"]\nmail = "off"\n[[rules]]\nid = "a"\ntype = "obs"\ndo = { mail = "off" }\n')
    here("prefs", "apply", "alice", str(tmp_path / "old.toml"))
    done = CliRunner().invoke(program, ["--data-dir", str(tmp_path / "data"), "prefs", "plan", "alice", str(tmp_path / "new.toml")])
    assert done.exit_code == 0, done.exception
    assert done.output.splitlines()[:3] == [
        'follows: ["secret/1"] -> nothing',
        'preferences."obs.build".mail: nothing -> "off"',
        'rules: nothing -> [{id = "a", type = "obs", do = {mail = "off"}}]',
    ]


def test_a_plan_of_the_site(here, tmp_path):
    (tmp_path / "old.toml").write_text('[preferences."*"]\nweb = "now"\n')
    (tmp_path / "new.toml").write_text('[preferences."*"]\nweb = "now"\nfeed = "now"\n')
    here("site", "apply", str(tmp_path / "old.toml"))
    here("people", "add", "alice")
    words = ["--data-dir", str(tmp_path / "data"), "site", "plan", str(tmp_path / "new.toml")]
    done = CliRunner().invoke(program, words)
    assert done.exit_code == 0, done.exception
    assert done.output.splitlines() == [
        'preferences."*".feed: nothing -> "now"',
        "of 0 messages to 1 person in the last 30 days, 0 deliveries would differ",
    ]
    assert json.loads(CliRunner().invoke(program, ["--json", *words]).output)["version"] == 1
    assert here("site", "export")["preferences"] == {"*": {"web": "now"}}
    (tmp_path / "new.toml").write_text('[preferences."*"]\nmial = "now"\n')
    assert failed(*words)[0].startswith("preferences.*.mial: there is no agent 'mial' here; there are ")
