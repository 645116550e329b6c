"""Whoever follows an instrument hears of its measurements, whoever follows one of them hears of that alone; and of each message once."""

import pytest
from tests.house.conftest import NOW

from angelia.flow import planner
from angelia.watch.settings import WatcherSettings, WatchSettings
from angelia.watch.watcher import Watcher

LOG = """\
info 3 script started run-17
error 2 pump lost vacuum
info 3 script finished
error 2 door is open
info 3 script started run-18
error 2 motor step lost
"""
KINDS = {"start": "instrument.measurement.start", "end": "instrument.measurement.end", "error": "instrument.error", "silence": "instrument.silence"}


class Sink:
    """Keeps what the watcher tells."""

    def __init__(self):
        self.messages = []

    def accept(self, message):
        self.messages.append(message)

    def turn(self):
        pass

    def close(self):
        pass


def told_by_the_watcher(folder, text):
    """The messages that a log makes, and then its silence."""
    (folder / "run.log").write_text(text)
    table = WatchSettings(
        name="yumo",
        paths=(str(folder / "run.log"),),
        start="beginning",
        measurement_start=r"started (?P<name>\S+)",
        measurement_end="finished",
        silence_alarm="30m",
        flush_after="0s",
    )
    sink = Sink()
    watcher = Watcher(WatcherSettings(watches=(table,), state=folder / "state"), sink)
    for now in (NOW.timestamp(), NOW.timestamp() + 3_600):
        watcher.turn(now)
    watcher.close()
    return sink.messages


async def heard(bench, login):
    """(object, type) of what she got by mail, in order."""
    return [(one.message.object, one.message.type) for one in bench.mail.letters if one.person.login == login]


@pytest.mark.parametrize("chunk", [1, 1_000])
async def test_one_follow_is_enough(bench, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(planner, "CHUNK", chunk)
    wishes = {"alice": ["instrument/yumo/"], "bob": ["instrument/yumo/run-17"], "carol": ["instrument/yumo"], "dave": ["instrument/nera/"]}
    wishes |= {"erin": ["instrument/", "instrument/yumo/", "instrument/yumo/run-17"], "frank": ["instrument/yumo/"]}
    for login, follows in wishes.items():
        await bench.person(login, preferences={"preferences": {"*": {"web": "now", "mail": "now"}}, "follows": follows})
    await bench.call("PUT", "/api/v1/site", {"preferences": {"*": {"web": "now", "mail": "now"}}, "hourly_cap": 100}, 200)
    for message in told_by_the_watcher(tmp_path, LOG):
        await bench.call("POST", "/api/v1/messages", message, 201)
    await bench.work()
    first, second = "instrument/yumo/run-17", "instrument/yumo/run-18"
    of_first = [(first, KINDS["start"]), (first, KINDS["error"]), (first, KINDS["end"])]
    between, of_second = [("instrument/yumo", KINDS["error"])], [(second, KINDS["start"]), (second, KINDS["error"]), (second, KINDS["silence"])]
    assert sorted(await heard(bench, "bob")) == sorted(of_first)
    for login in ("alice", "erin", "frank"):
        assert sorted(await heard(bench, login)) == sorted(of_first + between + of_second), login
    assert await heard(bench, "carol") == between and await heard(bench, "dave") == []
    assert await bench.store.check() == []
