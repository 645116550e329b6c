"""Spread: a technology is named in its own room, in the tests of that room, and nowhere else; who needs the word elsewhere stands here by name."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENTS, INLET, DIRECT = "src/angelia/agents", "src/angelia/inlets/mail/", "src/angelia/watch/direct_mail.py"
MAIL, MATRIX, TELEGRAM, XMPP = f"{AGENTS}/mail/", f"{AGENTS}/matrix/", f"{AGENTS}/telegram/", f"{AGENTS}/xmpp/"
NTFY, PUSH, APPRISE = f"{AGENTS}/ntfy.py", f"{AGENTS}/webpush/", f"{AGENTS}/apprise.py"
INSTRUMENTS, BROKER = "src/angelia/instruments", "src/angelia/brokers/rabbitmq.py"
# The drop-in package sends by itself, the watcher too where there is no hub: both have roads of their own.
BOT = "bot/bot/"
ROOMS = {
    "maildir": (MAIL,),
    "smtp": (MAIL, INLET, DIRECT, BOT),
    "starttls": (MAIL, INLET, DIRECT, XMPP, BOT),
    "imap": (INLET,),
    "lmtp": (INLET,),
    "whsec": (f"{AGENTS}/webhook.py",),
    "ntfy": (NTFY, "src/angelia/dialects/ntfy"),
    "homeserver": (MATRIX,),
    "matrix": (MATRIX, "src/angelia/dialects/oda"),
    "telegram": (TELEGRAM, "src/angelia/telegram.py", "src/angelia/watch/direct_telegram.py", BOT),
    "botfather": (TELEGRAM,),
    "xmpp": (XMPP,),
    "jabber": (XMPP,),
    "slixmpp": (XMPP,),
    "webpush": (PUSH,),
    "vapid": (PUSH,),
    "apprise": (APPRISE,),
    "slurm": (f"{INSTRUMENTS}/slurm.py",),
    "dask": (f"{INSTRUMENTS}/dask.py",),
    "nb2workflow": (f"{INSTRUMENTS}/nb2workflow/",),
    "rabbitmq": (BROKER, "src/angelia/inlets/amqp.py"),
}
"""Word -> beginnings of the paths where it belongs."""
ELSEWHERE = {
    "src/angelia/making.py": {"imap", "lmtp", "rabbitmq"},  # makes what settings ask for
    "src/angelia/front.py": {"ntfy"},  # whose requests go to which room
    "src/angelia/watch/opening.py": {"telegram"},  # the only place of the watcher that knows its sinks,
    "src/angelia/watch/settings.py": {"telegram"},  # and the tables of the bot's own configuration
    "src/angelia/settings.py": {"rabbitmq"},  # words to the operator
    "src/angelia/broker.py": {"rabbitmq"},
    "src/angelia/cli/site_tokens.py": {"matrix"},  # options as another program spells them
}
BESIDE = {
    "tests/contract/test_agents.py": {"maildir", "smtp"},
    "tests/contract/test_http_agents.py": {"ntfy", "telegram", "botfather"},
    "tests/house/test_chat_addresses.py": {"matrix", "telegram", "xmpp"},
    "tests/house/test_opt_in_agents.py": {"ntfy", "webpush", "whsec"},
    "tests/house/conftest.py": {"lmtp"},
    "tests/house/test_access.py": {"ntfy"},  # every route there is
    "tests/house/test_rights.py": {"ntfy"},
    "tests/pure/test_site_tokens.py": {"matrix"},
    "tests/service/test_oda_client.py": {"matrix"},
    "tests/house/test_oda.py": {"matrix"},
    "tests/house/test_oda_transcripts.py": {"matrix"},
    "tests/journey/test_watching_direct.py": {"telegram", "smtp"},
    "tests/journey/test_bot.py": {"telegram", "smtp"},
    "tests/journey/test_every_agent.py": {"apprise", "jabber", "matrix", "ntfy", "smtp", "telegram", "webpush", "xmpp"},
    "tests/journey/test_clock.py": {"smtp"},
    "tests/pure/test_watch_learning.py": {"telegram"},
    "src/angelia_testing/hub.py": {"maildir"},
    "src/angelia_testing/fixtures.py": {"rabbitmq"},
    "src/angelia_testing/peers/sink.py": {"smtp"},
    "src/angelia_testing/peers/synapse.py": {"homeserver", "matrix"},
    "src/angelia_testing/peers/push_service.py": {"vapid"},
    "src/angelia_testing/peers/notebooks.py": {"nb2workflow"},
    "tests/contract/test_notebooks.py": {"nb2workflow"},
    "tests/house/test_notebooks.py": {"nb2workflow"},
    "tests/browser/test_push.py": {"webpush"},
    "tests/conftest.py": {"rabbitmq"},
}
"""Tests that try several rooms beside each other, and servers of the test kit that go by other names than their technology."""
NAMES = {"telegram": ("telegram",), "botfather": ("telegram",), "homeserver": ("matrix",), "jabber": ("xmpp",), "slixmpp": ("xmpp",)}
NAMES |= {"rabbitmq": ("rabbitmq", "amqp", "broker", "brainlife", "events", "transition"), "slurm": ("slurm",), "vapid": ("webpush",)}
NAMES |= dict.fromkeys(("maildir", "smtp", "imap", "lmtp"), ("mail", "report", "smtp")) | {"starttls": ("mail", "xmpp")}
"""Word -> parts of the names of the tests and peers of its rooms; else the word itself."""
_KINDS = {".py", ".html", ".js", ".mjs", ".scss", ".toml", ".txt", ".xml", ".po", ".jinja", ".j2"}
_PEERS = re.compile(r"^ *from angelia_testing\.peers\.\w+ import (.*)$", re.MULTILINE)


def tracked(*places):
    listed = subprocess.run(["git", "ls-files", *places], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).suffix in _KINDS and path.is_file()]


def said(path):
    """Its text in small letters, without the names of servers that a test starts."""
    text = path.read_text()
    for line in _PEERS.findall(text):
        for name in re.findall(r"\w+", line):
            text = re.sub(rf"\b{name}\b", "", text)
    return _PEERS.sub("", text).lower()


def words_in(path):
    return {word for word in ROOMS if word in said(path)}


def test_a_technology_is_named_in_its_own_room():
    for path in tracked("src/angelia", "assets", "bot", "babel.cfg"):
        name = path.relative_to(ROOT).as_posix()
        strange = {word for word in words_in(path) if not name.startswith(ROOMS[word])}
        assert strange == ELSEWHERE.get(name, set()), name


def test_the_tests_of_a_technology_are_its_own():
    for path in tracked("tests", "src/angelia_testing"):
        name = path.relative_to(ROOT).as_posix()
        if path == Path(__file__):
            continue
        strange = {word for word in words_in(path) if not any(part in name for part in NAMES.get(word, (word,)))}
        assert strange == BESIDE.get(name, set()), name
