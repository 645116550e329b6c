"""Copies of the program are processes of their own: output, exit code, environment, signals."""

import os
import signal
import subprocess

import pytest

from angelia_testing import warm
from angelia_testing.peers.process import ENVIRONMENT, Server, free_port
from angelia_testing.waiting import wait_until


def test_a_command_prints_and_ends_as_it_would_alone(tmp_path):
    shown = warm.run(["--data-dir", str(tmp_path / "x"), "config", "show"], ENVIRONMENT | {"ANGELIA__WEB__MAX_BODY": "12345"})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "max_body = 12345" in shown.stdout
    assert "ANGELIA__WEB__MAX_BODY" not in os.environ
    again = warm.run(["--data-dir", str(tmp_path / "x"), "config", "show"], ENVIRONMENT)
    assert "12345" not in again.stdout
    wrong = warm.run(["frobnicate"], ENVIRONMENT)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Usage: python -m angelia [OPTIONS]" in wrong.stderr


def test_a_hub_is_stopped_and_killed(tmp_path):
    def serve(name):
        argv = ["serve", "--data-dir", str(tmp_path / "hub"), "--port", str(port := free_port())]
        return Server(name, argv, [port], tmp_path, ENVIRONMENT, is_warm=True)

    first = serve("first")
    assert first.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        first.process.wait(0.01)
    assert os.getsid(first.process.pid) == first.process.pid
    assert first.stop() == 0
    second = serve("second")
    second.kill()
    assert second.process.wait(10) == -signal.SIGKILL
    wait_until(lambda: not os.path.exists(f"/proc/{second.process.pid}"), 30)
