"""Under a service manager: it is told when the hub serves, that it lives, and that it stops; and the unit that we ship is one that it takes."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import click
import pytest

from angelia.cli.main import program
from angelia_testing.hub import Hub

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "angelia@.service"


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_is_told(tmp_path, is_abstract):
    place = str(tmp_path / "notify") if not is_abstract else f"\0{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(place)
        manager.settimeout(60)
        hub = Hub(tmp_path / "hub", NOTIFY_SOCKET=place.replace("\0", "@"), WATCHDOG_USEC="200000")
        try:
            said = [manager.recv(100) for _ in range(4)]
            assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        finally:
            hub.stop()
        while said[-1] != b"STOPPING=1":
            said.append(manager.recv(100))


def test_nobody_there_to_be_told_is_no_reason_to_end(tmp_path):
    hub = Hub(tmp_path / "hub", NOTIFY_SOCKET=str(tmp_path / "gone"), WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    hub.stop()


def test_the_unit_names_commands_that_there_are_and_is_taken(tmp_path):
    text = UNIT.read_text()
    assert {"serve", "web", "work"} <= set(program.list_commands(click.Context(program)))
    assert re.search(r"^ExecStart=\S+ --config \S+ %i$", text, re.MULTILINE)
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not here")
    mine = tmp_path / "angelia@serve.service"
    mine.write_text(text.replace("/opt/angelia/bin/angelia", "/bin/true"))
    done = subprocess.run([verify, "verify", str(mine)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.replace("\n", "")) == (0, "")
