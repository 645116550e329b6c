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
from angelia.cli.main import program
from angelia.cli.outcome import Failure
from angelia.serving import serve
from angelia.wire.fields import MessageFields, parse_one


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
