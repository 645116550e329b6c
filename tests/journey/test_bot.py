"""The drop-in package of the bot: never raises, never waits, never loses what it could write down."""

import ast
import importlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from email import message_from_bytes
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from angelia_testing.hub import Hub
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.process import ENVIRONMENT, free_port
from angelia_testing.peers.telegram_api import CHANNEL, TOKEN, TelegramApi, refusal
from angelia_testing.waiting import wait_until

PACKAGE = Path(__file__).parents[2] / "bot"
SOURCES = sorted((PACKAGE / "bot").glob("*.py"))


@pytest.fixture
def bot(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.setenv("BOT_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("BOT_SPOOL", raising=False)
    return importlib.import_module("bot.messangers")


@pytest.fixture
def api():
    made = TelegramApi()
    yield made
    made.stop()


@pytest.fixture
def peer():
    made = ScriptedHttp()
    yield made
    made.stop()


def configure(folder, **tables):
    (folder / "config.json").write_text(json.dumps(tables))


def waiting(folder):
    return sorted(path.parent.name for path in (folder / "bot-spool").glob("*/*") if path.suffix in (".json", ".taken"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_runs_on_old_interpreters_without_dependencies(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names) | {"bot"}
    assert path.read_text().isascii() and ast.get_docstring(tree)


def test_a_message_arrives_by_the_channel(bot, tmp_path, api):
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    assert bot.send_message("готово <b>\x1b[31m", limit=10)
    assert api.messages == ["готово <b>"] and not api.faults
    wait_until(lambda: not waiting(tmp_path))
    bot.send_message("😀" * 4000, limit=10)
    assert api.messages[1].endswith("[cut]") and not api.faults


def test_a_dead_channel_holds_up_neither_the_script_nor_the_other(bot, tmp_path, api):
    silent = socket.create_server(("127.0.0.1", 0))
    mail = {"user": "a@b", "password": "x", "port": silent.getsockname()[1], "server": "127.0.0.1", "recipients": ["alice@example.org"]}
    configure(tmp_path, mail=mail, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    began = time.monotonic()
    assert bot.send_message("text", limit=1.0)
    assert time.monotonic() - began < 2.5
    wait_until(lambda: api.messages == ["text"])
    wait_until(lambda: waiting(tmp_path) == ["mail"])
    silent.close()


def test_a_busy_channel_gets_it_with_the_next_message(bot, tmp_path, api):
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    api.busy(1)
    assert bot.send_message("one", limit=5)
    wait_until(lambda: waiting(tmp_path) == ["telegram"])
    assert bot.send_message("two", limit=10)
    wait_until(lambda: not waiting(tmp_path))
    assert api.messages == ["one", "two"]


def test_what_was_sent_before_there_was_a_configuration_goes_to_those_that_it_names(bot, tmp_path, api):
    (tmp_path / "config.json").write_text('{"telegram": {')
    assert bot.send_message("one") and waiting(tmp_path) == ["hub"]
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    assert bot.send_message("two", limit=10)
    wait_until(lambda: not waiting(tmp_path), 60)
    assert sorted(api.messages) == ["one", "two"]


def test_a_text_that_is_refused_for_good_stands_before_no_other(bot, tmp_path, api):
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    api.refusals.append(refusal(400, "Bad Request: something is wrong with this text"))
    api.refusals.append(refusal(400, "Bad Request: chat not found"))
    bot.send_message("never", limit=10)
    bot.send_message("later", limit=10)
    wait_until(lambda: waiting(tmp_path) == ["telegram"], 60)
    bot.send_message("last", limit=10)
    wait_until(lambda: not waiting(tmp_path), 60)
    assert api.messages == ["later", "last"]
    (why,) = (tmp_path / "bot-spool" / "telegram" / "refused").glob("*.txt")
    assert "something is wrong" in why.read_text()


def test_the_package_says_whether_all_is_set_up(tmp_path, api):
    environment = ENVIRONMENT | {"BOT_CONFIG": str(tmp_path / "config.json"), "PYTHONPATH": str(PACKAGE)}

    def said(*words):
        done = subprocess.run([sys.executable, "-m", "bot", *words], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert not done.stderr
        return done.returncode, done.stdout

    (tmp_path / "config.json").write_text('{"telegram": {')
    code, text = said()
    assert code == 1 and "can't be read: Expecting" in text and "tells: nobody" in text
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    (tmp_path / "config.json").chmod(0o600)
    assert said("hello", "there") == (0, f"configuration: {tmp_path}/config.json\ntells: telegram\ntelegram: nothing waits\n")
    assert api.messages == ["hello there"]


@pytest.mark.parametrize("text", ["", " \n", None, b"\xff", 5, "x" * 1_000_000, "\ud800", "a\r\nBcc: eve@example.org"])
def test_it_never_raises(bot, tmp_path, api, text):
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    assert bot.send_message(text, limit=10)
    wait_until(lambda: not waiting(tmp_path))
    assert not api.faults


@pytest.mark.parametrize(
    "config", ["", "{", "[]", '{"mail": 5}', '{"telegram": {"bot-id": 5}}', '{"hub": {"url": "nonsense"}}', '{"spool": "/dev/null/x", "mail": {}}']
)
def test_nor_with_a_broken_configuration(bot, tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    assert bot.send_message("text", limit=3) is ("/dev/null" not in config)
    assert "/dev/null" in config or len(waiting(tmp_path)) == 1


def test_a_message_is_not_sent_on_as_a_question_nor_its_token_to_another(bot, tmp_path, peer):
    """As where a hub is asked by http and leads to https: a client that follows asks for a list, and takes that for a receipt."""
    elsewhere = ScriptedHttp(lambda _: Reply(200, b'{"items": []}'))
    peer.answer = lambda _: Reply(301, headers={"Location": f"{elsewhere.url}/api/v1/messages"})
    configure(tmp_path, hub={"url": peer.url, "token": "ang_secret"})
    assert bot.send_message("text", limit=10)
    wait_until(lambda: peer.asked and waiting(tmp_path) == ["hub"] and not list(tmp_path.glob("*/*/*.taken")))
    assert elsewhere.asked == []
    elsewhere.stop()


@pytest.mark.parametrize(
    ("reply", "left"),
    [
        (Reply(200, b'{"ok": true}'), ["hub"]),
        (Reply(200, b"<html>sign in</html>"), ["hub"]),
        (Reply(400, b"<html>plain HTTP on a port for HTTPS</html>"), ["hub"]),
        (Reply(405, b"<html>"), ["hub"]),
        (Reply(404, b'{"detail": "Not Found"}'), ["hub"]),
        (Reply(413, b"<html>"), ["refused"]),
        (Reply(422, b'{"detail": "type: must be dotted"}'), ["refused"]),
    ],
)
def test_only_the_hub_itself_refuses_for_good(bot, tmp_path, peer, reply, left):
    peer.answer = lambda _: reply
    configure(tmp_path, hub={"url": peer.url})
    assert bot.send_message("text", limit=10)
    folder = tmp_path / "bot-spool" / "hub"
    wait_until(lambda: [path.parent.name for path in folder.rglob("*.json")] == left and peer.asked)


def test_where_no_thread_can_be_had_it_is_written_down(bot, tmp_path, monkeypatch):
    """As at the end of the interpreter, where newer ones begin no thread."""

    def no_room(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    configure(tmp_path)
    monkeypatch.setattr(threading.Thread, "start", no_room)
    assert bot.send_message("text")
    assert waiting(tmp_path) == ["hub"]


def test_a_clock_that_is_set_back_makes_nobody_wait(bot, tmp_path, monkeypatch):
    silent, now, hours = socket.create_server(("127.0.0.1", 0)), time.time(), itertools.count()
    configure(tmp_path, hub={"url": f"http://127.0.0.1:{silent.getsockname()[1]}"})
    monkeypatch.setattr(time, "time", lambda: now - 3_600 * next(hours))
    began = time.monotonic()
    assert bot.send_message("text", limit=0.5)
    assert time.monotonic() - began < 5
    silent.close()


def test_a_configuration_on_a_share_that_hangs_makes_nobody_wait(bot, tmp_path, monkeypatch):
    configure(tmp_path)
    hanging, load = threading.Event(), bot.config.load
    monkeypatch.setattr(bot.config, "load", lambda: hanging.wait(60) and load())
    began = time.monotonic()
    assert bot.send_message("text", limit=0.2) is False
    assert time.monotonic() - began < 5
    hanging.set()
    wait_until(lambda: waiting(tmp_path) == ["hub"])  # it is kept as soon as the share is back


def test_a_script_that_ends_at_once_loses_nothing_and_the_hub_gets_each_once(tmp_path):
    hub = Hub(tmp_path / "hub")
    try:
        configure(tmp_path, hub={"url": hub.url, "name": "yumo"})
        environment = ENVIRONMENT | {"BOT_CONFIG": str(tmp_path / "config.json"), "PYTHONPATH": str(PACKAGE)}
        script = "from bot import messangers\nfor n in range(5): messangers.send_message('text %d' % n, limit=0.05)"
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
        drain = "import time\nfrom bot import messangers\nmessangers.send_message('last', limit=20)"
        for place in (tmp_path / "bot-spool" / "hub").glob("*.taken"):
            place.rename(place.with_suffix(".json"))  # as five minutes would
        subprocess.run([sys.executable, "-c", drain], env=environment, check=True, timeout=60)
        subjects = [json.loads(payload)["subject"] for (payload,) in hub.rows("SELECT payload FROM messages")]
        assert sorted(subjects) == ["last", *(f"text {number}" for number in range(5))]
    finally:
        hub.stop()


def test_the_end_of_a_script_waits_for_a_slow_disk(tmp_path):
    configure(tmp_path, hub={"url": f"http://127.0.0.1:{free_port()}", "name": "yumo"})
    environment = ENVIRONMENT | {"BOT_CONFIG": str(tmp_path / "config.json"), "PYTHONPATH": str(PACKAGE)}
    slow = "import os, time\nflush = os.fsync\nos.fsync = lambda number: (time.sleep(1), flush(number))\n"
    script = f"{slow}from bot import messangers\nassert messangers.send_message('text', limit=0.05) is False"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
    assert waiting(tmp_path) == ["hub"]


def test_many_at_once_are_sent_once(bot, tmp_path, api):
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": f"http://127.0.0.1:{free_port()}"})
    threads = [threading.Thread(target=bot.send_message, args=(f"text {number}",), kwargs={"limit": 0.5}) for number in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    wait_until(lambda: len(list((tmp_path / "bot-spool" / "telegram").glob("*.json"))) == 10)
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    threads = [threading.Thread(target=bot.send_message, args=(f"more {number}",), kwargs={"limit": 5}) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    wait_until(lambda: not waiting(tmp_path), 60)
    assert sorted(api.messages) == sorted([f"text {number}" for number in range(10)] + [f"more {number}" for number in range(4)])


def test_the_log_watch_sends_errors_once(bot, tmp_path, api):
    configure(tmp_path, telegram={"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    watch = importlib.import_module("bot.logwatch").LogWatch(str(tmp_path / "run.log"), max_level=3)
    assert watch.step() == 0
    (tmp_path / "run.log").write_bytes("error 1 насос\nerror 4 small\ninfo 1 x\nerror 2 half".encode("cp1251"))
    assert watch.step() == 1
    with (tmp_path / "run.log").open("ab") as file:
        file.write(b" line\nerror 2 half line\n")
    assert watch.step() == 1
    (tmp_path / "run.log").write_bytes(b"error 2 anew\n")
    assert watch.step() == 1
    wait_until(lambda: len(api.messages) == 3)
    assert set(api.messages) == {"error 1 насос", "error 2 half line", "error 2 anew"}


class Choosy:
    """A mail server that refuses some recipients."""

    def __init__(self):
        self.refused, self.got, self.port = {}, [], free_port()
        self._server = Controller(self, "127.0.0.1", self.port)
        self._server.start()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        self.got += [(address.partition("@")[0], message_from_bytes(envelope.content)["Message-ID"]) for address in envelope.rcpt_tos]
        return "250 taken"

    def stop(self):
        self._server.stop()


def test_who_can_not_have_it_now_gets_it_later_alone(bot, tmp_path):
    post = Choosy()
    recipients = ["alice@example.org", "bob@example.org", "carol@example.org"]
    configure(tmp_path, mail={"server": "127.0.0.1", "port": post.port, "recipients": recipients})
    post.refused = {"alice@example.org": "452 4.2.2 full", "bob@example.org": "550 5.1.1 unknown"}
    for text in ("one", "two"):
        assert bot.send_message(text, limit=10)
    wait_until(lambda: len(post.got) == 2 and waiting(tmp_path) == ["mail", "mail"])
    post.refused = {}
    assert bot.send_message("three", limit=10)
    wait_until(lambda: not waiting(tmp_path))
    post.stop()
    assert Counter(login for login, _ in post.got) == {"alice": 3, "bob": 1, "carol": 3}
    assert len({key for _, key in post.got}) == 3
