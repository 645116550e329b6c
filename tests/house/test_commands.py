"""What the command line says where something is not as it should be: one line, no trace, and an exit code."""

import asyncio
import signal
import socket
from dataclasses import replace

import pytest
from click.testing import CliRunner

from angelia.cli import reach
from angelia.cli.main import program
from angelia.cli.outcome import Failure
from angelia.serving import serve


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


def test_an_inbox_is_somebodys(tmp_path):
    said, code = failed("--data-dir", str(tmp_path), "inbox", "list")
    assert code == 2 and "say whose with --login" in said
