"""`angelia ping` and `angelia expect`: what a source says from a shell, and what a person expects from one."""

import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from angelia.cli import pinging, reach
from angelia.cli.main import program
from angelia.cli.outcome import Failure
from angelia_testing.peers.http import Reply, ScriptedHttp


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(pinging.time, "sleep", lambda _: None)
    made = ScriptedHttp()
    yield made
    made.stop()


def ping(*words):
    return CliRunner().invoke(program, ["ping", *words])


def said(hub):
    return [(asked.method, asked.path, asked.body) for asked in hub.asked]


@pytest.mark.parametrize(
    ("words", "path"), [((), "/p"), (("--start",), "/p/start"), (("--fail",), "/p/fail"), (("--code", "3"), "/p/3"), (("--code", "0"), "/p/0")]
)
def test_one_word(hub, words, path):
    assert ping(f"{hub.url}/p", *words, "--text", "hello").exit_code == 0
    assert said(hub) == [("POST", path, b"hello")]


def test_around_a_command(hub):
    done = ping(f"{hub.url}/p", "--", sys.executable, "-c", "import sys; print('x' * 20_000); print('the end', file=sys.stderr); sys.exit(7)")
    assert done.exit_code == 7 and done.output.count("x") == 20_000
    (_, began, _), (_, ended, text) = said(hub)
    assert (began, ended) == ("/p/start", "/p/7")
    assert len(text) == pinging.MOST_KEPT and b"x" in text


def test_a_command_that_is_killed_or_not_there(hub):
    assert ping(f"{hub.url}/p", "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)").exit_code == 137
    assert ping(f"{hub.url}/p", "--", "/no/such/command").exit_code == 127
    assert ping(f"{hub.url}/p", "--", "/").exit_code == 126
    assert [path for _, path, _ in said(hub)] == ["/p/start", "/p/137", "/p/start", "/p/127", "/p/start", "/p/126"]


# What runs in the background of a shell without job control has an interrupt ignored, and hands that on.
HEEDING = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, '-m', 'angelia', *sys.argv[1:]])"
)


def wrapped(hub, *command, **more):
    """`angelia ping` as a process of its own, around a command."""
    words = [sys.executable, "-c", HEEDING, "ping", f"{hub.url}/p", "--", *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **more)


def test_the_end_is_told_where_nobody_reads_what_a_command_prints(hub):
    with wrapped(hub, sys.executable, "-c", "for n in range(100_000): print(n)\nprint('the end')") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0 and process.stderr.read() == b""
    (_, began, _), (_, ended, text) = said(hub)
    assert (began, ended) == ("/p/start", "/p/0") and text.endswith(b"99999\nthe end\n")


SLEEPER = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_and_its_end_is_told(hub, number):
    sleeper = f"import signal\nsignal.signal({int(number)}, signal.SIG_DFL)\n{SLEEPER}"
    with wrapped(hub, sys.executable, "-c", sleeper) as process:
        child = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert [path for _, path, _ in said(hub)] == ["/p/start", f"/p/{128 + number}"]


def test_a_command_that_heeds_a_signal_ends_as_it_wants(hub):
    heeding = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n{SLEEPER}"
    with wrapped(hub, sys.executable, "-c", heeding) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 3
    assert [path for _, path, _ in said(hub)] == ["/p/start", "/p/3"]


def test_a_signal_before_a_command_keeps_it_from_being_run(hub):
    def answer(asked):
        if asked.path == "/p/start":
            process.send_signal(signal.SIGTERM)
        return Reply(200)

    hub.answer = answer
    process = wrapped(hub, sys.executable, "-c", "print('run')")
    assert process.communicate(timeout=30)[0] == b"" and process.returncode == 143
    assert [path for _, path, _ in said(hub)] == ["/p/start", "/p/143"]


@pytest.mark.parametrize(
    "words",
    [
        ("--fail", "--code", "0"), ("--start", "--fail"), ("ls", "--fail"), ("--start", "--", "ls"), ("--text", "", "--", "ls"), ("--code", "0", "ls"),
        ("--txet", "hello"), ("--", "--txet"),
    ],
)  # fmt: skip
def test_words_that_contradict_each_other_say_nothing(hub, words):
    done = ping(f"{hub.url}/p", *words)
    assert isinstance(done.exception, Failure) and done.exception.exit_code == 2
    assert hub.asked == []


def test_a_hub_that_is_away_harms_no_command(hub):
    hub.answer = lambda _: Reply(503)
    done = ping(f"{hub.url}/p", "--", sys.executable, "-c", "print('done')")
    assert done.exit_code == 0 and "done" in done.output
    assert len(hub.asked) == 2 * pinging.TRIES
    hub.stop()
    assert ping(f"{hub.url}/p", "--", sys.executable, "-c", "").exit_code == 0


def test_what_is_refused_is_not_asked_again(hub):
    hub.answer = lambda _: Reply(404)
    done = ping(f"{hub.url}/p")
    assert isinstance(done.exception, Failure) and str(done.exception) == "the hub answered 404" and len(hub.asked) == 1
    replies = iter([Reply(is_cut=True), Reply(429), Reply(200)])
    hub.answer = lambda _: next(replies)
    assert ping(f"{hub.url}/p").exit_code == 0 and len(hub.asked) == 4


def test_the_address_may_stand_in_the_environment(hub, monkeypatch):
    monkeypatch.setenv("ANGELIA_PING", f"{hub.url}/p")
    assert ping("--", sys.executable, "-c", "").exit_code == 0 and ping().exit_code == 0
    assert [path for _, path, _ in said(hub)] == ["/p/start", "/p/0", "/p"]


def test_what_is_no_address():
    done = ping("hub/p")
    assert isinstance(done.exception, Failure) and done.exception.exit_code == 2


@pytest.fixture
def api(monkeypatch):
    """What was asked of the API; it answers with what stands in `answers`, by method."""
    asked, answers = [], {}

    def answered(self, method, path, arguments):
        asked.append((method, path, arguments.get("json") or arguments.get("params")))
        answer = answers[method].pop(0).encode()
        return 200 if answer else 204, {"content-type": "application/json"}, answer

    monkeypatch.setattr(reach.Reach, "_asked", answered)
    return asked, answers


def expect(*words):
    done = CliRunner().invoke(program, ["expect", *words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_terms_as_options(api):
    asked, answers = api
    answers |= {"POST": ['{"ping": "http://hub/x"}'], "PUT": ["{}"]}
    assert "http://hub/x" in expect("add", "alice", "Backup", "--every", "1d", "--to", "bob", "--to", "group:qa", "--source", "ci")
    path = "/api/v1/people/alice/expectations"
    assert asked == [("POST", path, {"title": "Backup", "every": "1d", "to": ["bob", "group:qa"], "source": "ci"})]
    known = '{"title": "Backup", "every": "1d", "cron": "", "zone": "UTC", "grace": "1h", "source": "", "type": "", "object": "", "severity": "high", "to": ["bob"]}'
    answers["GET"] = [known]
    expect("change", "alice", "7", "--cron", "@daily")
    method, place, terms = asked[-1]
    assert (method, place) == ("PUT", f"{path}/7")
    assert terms == {
        "title": "Backup",
        "every": "",
        "cron": "@daily",
        "zone": "UTC",
        "grace": "1h",
        "source": "",
        "type": "",
        "object": "",
        "severity": "high",
        "to": ["bob"],
    }


def test_lists_of_one_and_of_all(api):
    asked, answers = api
    item = '{"login": "alice", "id": 1, "title": "Backup", "state": "well", "seen_at": null, "due_at": null}'
    answers["GET"] = [f'{{"items": [{item}]}}', f'{{"items": [{item}], "next": 1}}', '{"items": [], "next": null}']
    assert "Backup" in expect("list", "alice")
    assert expect("list").split()[:2] == ["alice", "1"]
    assert [params for _, path, params in asked if path == "/api/v1/expectations"] == [{"after": 0, "limit": 1_000}, {"after": 1, "limit": 1_000}]


def test_the_others(api):
    asked, answers = api
    answers |= {"POST": ["{}"] * 3, "DELETE": [""] * 2, "GET": ['{"state": "well"}', '{"items": []}']}
    for words in (("pause",), ("resume",), ("address",), ("address", "--revoke"), ("remove",), ("show",), ("history",)):
        expect(words[0], "alice", "7", *words[1:])
    path = "/api/v1/people/alice/expectations/7"
    assert [(method, place.removeprefix(path)) for method, place, _ in asked] == [
        ("POST", "/pause"), ("POST", "/resume"), ("POST", "/address"), ("DELETE", "/address"), ("DELETE", ""), ("GET", ""), ("GET", "/history"),
    ]  # fmt: skip
