"""Commands beside a hub that runs: through the socket in its folder, as its operator, and without it where nobody is behind."""

import json
import socket
import stat
import threading

import httpx2
import pytest

from angelia.settings import load
from angelia_testing import warm
from angelia_testing.hub import Hub
from angelia_testing.peers.process import ENVIRONMENT


def door_of(folder):
    return load(environment={}, overrides={"house": {"data_dir": str(folder)}}).local_socket


def asked(door, path="/api/v1/audit", **headers):
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(door)), base_url="http://localhost", timeout=60) as client:
        return client.get(path, headers=headers).status_code


def test_it_is_the_operators_and_nobody_elses(tmp_path):
    hub = Hub(tmp_path / "hub", ANGELIA__WEB__OPEN_POSTING="false")
    door = door_of(hub.folder)
    try:
        assert stat.S_IMODE(door.stat().st_mode) == 0o600
        assert asked(door) == 200
        assert asked(door, Authorization="Bearer ang_wrong") == 401
        assert httpx2.get(f"{hub.url}/api/v1/audit", timeout=60).status_code == 401
        hub.cli("people", "add", "alice", "--name", "Alice")
        assert "operator" in hub.cli("audit")
        with pytest.raises(httpx2.HTTPStatusError):
            httpx2.get(f"{hub.url}/api/v1/people/alice", timeout=60).raise_for_status()
        second = Hub(hub.folder, roles="web")
        assert second.stop() == 0
        assert asked(door) == 200, "the second took the door of the first with it"
        hub.kill()
        assert door.is_socket()
        assert "alice" in hub.cli("people", "list"), "a door with nobody behind is no obstacle"
        hub.start()
        assert asked(door) == 200
    finally:
        hub.stop()
    assert not door.exists()


def test_a_command_goes_through_it(tmp_path):
    door, heard = door_of(tmp_path), []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        listener.listen()

        def answer(status, body):
            taken = listener.accept()[0]
            with taken:
                heard.append(taken.recv(65_536))
                head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                taken.sendall(head.encode() + body)

        def said(status, body):
            behind = threading.Thread(target=answer, args=(status, json.dumps(body).encode()))
            behind.start()
            done = warm.run(["--data-dir", str(tmp_path), "--json", "people", "list"], ENVIRONMENT | {"ANGELIA_TOKEN": "ang_other"})
            behind.join(60)
            return done

        shown = said(200, {"items": [{"login": "bob"}]})
        assert (shown.returncode, json.loads(shown.stdout)) == (0, {"items": [{"login": "bob"}]})
        assert b"GET /api/v1/people" in heard[0] and b"ang_other" not in heard[0]
        refused = said(503, {"detail": "not now"})
        assert (refused.returncode, refused.stderr) == (1, "angelia: not now\n")
        other = warm.run(
            ["--data-dir", str(tmp_path), "people", "list"], ENVIRONMENT | {"ANGELIA__HOUSE__DATABASE": f"sqlite:///{tmp_path}/other.db"}
        )
        assert len(heard) == 2 and other.returncode == 1, "it asked a hub on another database"


def test_a_folder_too_deep_for_a_socket_is_served_without(tmp_path):
    (deep := tmp_path / ("deep" * 25)).mkdir()
    hub = Hub(deep / "hub")
    try:
        assert "local_door_stays_shut" in hub.server.log()
        hub.cli("people", "add", "alice", "--name", "Alice")
        assert "alice" in hub.cli("people", "list")
    finally:
        assert hub.stop() == 0


def test_a_folder_without_a_hub_says_so_and_stays_as_it_is(tmp_path):
    done = warm.run(["--data-dir", str(tmp_path / "none"), "people", "list"], ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.startswith(f"angelia: no hub has run in {tmp_path / 'none'} yet: `angelia serve`")
    assert list(tmp_path.iterdir()) == []
