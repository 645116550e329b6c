"""The whole program as its users start it: served, killed, stopped, filled up."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

import angelia
from angelia.stores.sql import upgrade
from angelia_testing.faults.disk import failing, small_disk
from angelia_testing.faults.power import PowerCutDisk
from angelia_testing.peers.process import Server, free_port

ANGELIA = [sys.executable, "-m", "angelia"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ANGELIA_")}


class Hub:
    """A hub on its own port; everything below one folder."""

    def __init__(self, folder: Path, *options: str, roles: str = "serve", wrap=lambda argv: argv, **environment: str) -> None:
        self.folder, self.port, self._log = folder, free_port(), folder.parent / f"{folder.name}-log"
        self._log.mkdir(exist_ok=True)
        self.argv = wrap([*ANGELIA, roles, "--data-dir", str(folder), *(["--port", str(self.port)] if roles != "work" else []), *options])
        self.env = ENVIRONMENT | {"ANGELIA__WEB__OPEN_POSTING": "true"} | environment
        self.url = f"http://127.0.0.1:{self.port}"
        self.has_port = roles != "work"
        self.start()

    def start(self) -> None:
        self.server = Server("angelia", self.argv, [self.port] if self.has_port else [], self._log, self.env)

    def cli(self, *arguments: str, code: int = 0) -> str:
        argv = [*ANGELIA, "--data-dir", str(self.folder), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, env=self.env, timeout=60, check=False)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    def stop(self) -> int | None:
        return self.server.stop()


@pytest.fixture
def hub(tmp_path):
    made = Hub(tmp_path / "hub")
    made.cli("people", "add", "alice", "--mail", "alice@example.org")
    made.cli("site", "apply", str(site(tmp_path)))
    yield made
    made.stop()


def site(folder: Path, web: str = "now", mail: str = "now") -> Path:
    path = folder / "site.toml"
    path.write_text(f'hourly_cap = 100000\n[preferences."*"]\nweb = "{web}"\nmail = "{mail}"\n[schedules.daily]\nevery = "day"\n')
    return path


def wait_until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def mails(hub: Hub, login: str = "alice") -> list[str]:
    return sorted(path.name for path in hub.folder.glob(f"mail/{login}@example.org/new/*"))


class Load(threading.Thread):
    """Posts with a key each, again until acknowledged; keeps the book of what was acknowledged."""

    def __init__(self, hub: Hub, count: int) -> None:
        super().__init__(daemon=True)
        self.hub, self.count, self.acknowledged, self.failures, self.statuses, self.run_id = hub, count, {}, 0, set(), 0

    def run(self) -> None:
        with httpx2.Client(base_url=self.hub.url, timeout=5) as client:
            for number in range(self.count):
                body = {"type": "load.test", "to": ["alice"], "subject": str(number), "idempotency_key": f"load{self.run_id}-{number}"}
                while True:
                    try:
                        answer = client.post("/api/v1/messages", json=body)
                    except httpx2.HTTPError:
                        self.failures += 1
                        time.sleep(0.02)
                        continue
                    self.statuses.add(answer.status_code)
                    if answer.status_code in (200, 201):
                        self.acknowledged[number] = answer.json()["id"]
                        break
                    time.sleep(0.05)


def inbox(hub: Hub) -> list[str]:
    return [item["message"]["subject"] for item in json.loads(hub.cli("--json", "inbox", "list", "--login", "alice", "--limit", "1000"))["items"]]


def test_nothing_acknowledged_is_lost_when_the_hub_is_killed(hub):  # figure R1 at CI size
    chance = random.Random(7)
    load = Load(hub, 300)
    load.start()
    kills = 0
    while load.is_alive() and kills < 8:
        time.sleep(chance.uniform(0.3, 0.8))
        hub.server.kill()
        hub.server.process.wait()
        kills += 1
        hub.start()
    load.join(60)
    assert len(load.acknowledged) == 300
    assert len(set(load.acknowledged.values())) == 300
    wait_until(lambda: json.loads(hub.cli("--json", "check"))["states"]["delivered"] == 600, 60)
    subjects = inbox(hub)
    assert sorted(subjects, key=int) == [str(number) for number in range(300)]
    # One file a delivery: the same id gives the same name, so what was sent twice is there once.
    assert len(mails(hub)) == 300
    assert "all is well" in hub.cli("db", "check")


def test_it_stops_within_ten_seconds_and_loses_nothing(hub):  # figure R19, promise P18
    load = Load(hub, 200)
    load.start()
    time.sleep(0.7)
    began = time.monotonic()
    assert hub.stop() == 0
    assert time.monotonic() - began < 10
    hub.start()
    load.join(30)
    assert len(load.acknowledged) == 200
    assert 500 not in load.statuses
    wait_until(lambda: len(mails(hub)) == 200)
    assert sorted(inbox(hub), key=int) == [str(number) for number in range(200)]


def test_a_full_disk_is_said_and_survived(tmp_path):  # figure R6
    with small_disk(40) as disk:
        hub = Hub(disk / "hub")
        filler = disk / "filler"
        try:
            hub.cli("people", "add", "alice")
            with httpx2.Client(base_url=hub.url, timeout=10) as client:
                post = lambda n: client.post("/api/v1/messages", json={"type": "a", "body": "x" * 20_000, "idempotency_key": str(n)})  # noqa: E731
                assert post(0).status_code == 201
                with filler.open("wb", buffering=0) as file:
                    while True:
                        try:
                            file.write(b"x" * 4096)
                        except OSError:
                            break
                answers = [post(n) for n in range(1, 60)]
                refused = [answer for answer in answers if answer.status_code != 201]
                assert refused
                assert {answer.status_code for answer in refused} == {503}
                assert all("retry-after" in answer.headers for answer in refused)
                assert client.get("/healthz/ready").status_code == 503
                assert client.get("/healthz/live").status_code == 200
                filler.unlink()
                wait_until(lambda: post(100).status_code in (200, 201), 10)
                accepted = 2 + sum(answer.status_code == 201 for answer in answers)
            assert hub.server.process.poll() is None
            listed = json.loads(hub.cli("--json", "messages", "--limit", "100"))["items"]
            assert len(listed) == accepted
        finally:
            hub.stop()


def test_a_failing_flush_is_never_an_acknowledgement(tmp_path):  # figure R3, fault F6
    folder = tmp_path / "hub"
    folder.mkdir()
    upgrade(f"sqlite:///{folder / 'angelia.db'}")
    hub = Hub(folder, wrap=lambda argv: failing(argv, "fsync,fdatasync", error="EIO", when=14))
    try:
        with httpx2.Client(base_url=hub.url, timeout=10) as client:
            statuses = [client.post("/api/v1/messages", json={"type": "a", "idempotency_key": str(n)}).status_code for n in range(60)]
        assert set(statuses) == {201, 503}
        assert statuses[-1] == 503
    finally:
        hub.server.kill()
        hub.server.process.wait()
    again = Hub(folder)
    listed = {item["id"] for item in json.loads(again.cli("--json", "messages", "--limit", "100"))["items"]}
    again.stop()
    assert len(listed) >= statuses.count(201)


def test_the_sample_site_and_the_command_line(tmp_path):
    hub = Hub(tmp_path / "hub", "--sample", ANGELIA__WEB__OPEN_POSTING="false")
    try:
        token = (hub.folder / "build-service.token").read_text().strip()
        seed = b"""<hermes:message xmlns:hermes="http://xml.opensuse.org/hermes" type="example">
          <hermes:sender id="build service">The build service</hermes:sender>
          <hermes:recipients><hermes:to id="alice"><hermes:reason>a reason</hermes:reason></hermes:to><hermes:cc id="bob"/></hermes:recipients>
          <hermes:tag name="severity" value="normal"/><hermes:body>We inform you</hermes:body></hermes:message>"""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/xml"}
        before = len(mails(hub))
        assert httpx2.post(f"{hub.url}/hermes/example", content=seed, headers=headers).status_code == 201
        wait_until(lambda: len(mails(hub)) == before + 1)
        feed = (hub.folder / "alice.feed").read_text().strip()
        assert "We inform you" in httpx2.get(feed).text
        newest = hub.cli("messages", "--limit", "1").split()[0]
        assert "in the daily digest" in hub.cli("explain", newest, "bob")
        assert "mail at once" in hub.cli("explain", newest, "alice")
        assert "not a candidate" in hub.cli("explain", newest, "carol")
        assert "We inform you" in hub.cli("--json", "inbox", "list", "--login", "alice")
        wants = tmp_path / "alice.toml"
        wants.write_text('[preferences."*"]\nmail = "weekly"\n')
        assert "would differ" in hub.cli("prefs", "plan", "alice", str(wants))
        hub.cli("prefs", "apply", "alice", str(wants))
        assert 'mail = "weekly"' in hub.cli("prefs", "export", "alice")
        wants.write_text('[preferences."*"]\nmail = "sometimes"\n')
        hub.cli("prefs", "apply", "alice", str(wants), code=1)
        hub.cli("people", "show", "nobody", code=3)
        hub.cli("people", "frobnicate", code=2)
        over_http = subprocess.run(
            [*ANGELIA, "--url", hub.url, "--json", "inbox", "count"], capture_output=True, text=True, check=True,
            env=ENVIRONMENT | {"ANGELIA_TOKEN_FILE": str(hub.folder / "alice.token")},
        )  # fmt: skip
        assert json.loads(over_http.stdout)["total"] >= 3
        assert "house.port" not in hub.cli("config", "show")
        hub.cli("db", "backup", str(tmp_path / "copy.db"))
        assert (tmp_path / "copy.db").stat().st_size > 0
        assert {path.name for path in tmp_path.iterdir()} == {"hub", "hub-log", "alice.toml", "copy.db"}
    finally:
        hub.stop()


def test_the_client_spools_while_the_hub_is_down_and_delivers_once(hub, tmp_path):
    spool = tmp_path / "spool"
    hub.stop()
    receipts = [angelia.send(f"m{n}", type="a.b", to=["alice"], url=hub.url, spool=str(spool)) for n in range(3)]
    assert {receipt.status for receipt in receipts} == {"spooled"}
    waiting = [path.read_text() for path in sorted(spool.glob("*.json"))]
    hub.start()
    assert angelia.send("m3", type="a.b", to=["alice"], url=hub.url, spool=str(spool)).status == "accepted"
    assert list(spool.glob("*.json")) == []
    for text in waiting:
        assert httpx2.post(f"{hub.url}/api/v1/messages", content=text, headers={"Content-Type": "application/json"}).status_code == 200
    wait_until(lambda: len(mails(hub)) == 4)
    with pytest.raises(angelia.Refused):
        angelia.send("x", type="not a type", url=hub.url, spool=str(spool))


@pytest.mark.timeout(240)
def test_processes_that_share_a_database(tmp_path, postgresql):  # figures R7, R15
    url = postgresql.database()
    upgrade(url)
    shared = {"ANGELIA__HOUSE__DATABASE": url, "ANGELIA__HOUSE__SECRET": "s" * 40}
    web = Hub(tmp_path / "hub", roles="web", **shared)
    workers = [Hub(tmp_path / "hub", roles="work", **shared) for _ in range(2)]
    try:
        web.cli("people", "add", "alice", "--mail", "alice@example.org")
        web.cli("site", "apply", str(site(tmp_path)))
        load = Load(web, 400)
        load.start()
        time.sleep(0.4)
        postgresql.kill9()
        assert len(load.acknowledged) < 400
        time.sleep(0.5)
        postgresql.restart()
        time.sleep(1)
        workers[0].server.kill(signal.SIGKILL)
        load.join(60)
        assert len(load.acknowledged) == 400
        assert load.statuses <= {200, 201, 503}
        wait_until(lambda: len(mails(web)) == 400, 90)
        assert sorted(inbox(web), key=int) == [str(number) for number in range(400)]
        assert json.loads(web.cli("--json", "check"))["faults"] == []
    finally:
        for one in (web, *workers):
            one.stop()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ANGELIA__WEB__PROT": "1"}, "web.prot"),
        ({"ANGELIA__HOUSE__SECRET": "short"}, "32 characters"),
        ({"ANGELIA__WEB__MAX_BODY": "x"}, "web.max_body"),
        ({"ANGELIA__HOUSE__DATABASE": "mysql://x/y"}, "SQLite or PostgreSQL"),
        ({"ANGELIA__AGENTS__MAIL__URL": "ftp://x"}, "agents.mail.url"),
        ({"ANGELIA__AGENTS__PIGEON__URL": "x"}, "no agent 'pigeon'"),
    ],
)
def test_settings_that_can_not_be_used_are_told_at_the_start(tmp_path, environment, told):
    argv = [*ANGELIA, "serve", "--data-dir", str(tmp_path / "hub"), "--port", str(free_port())]
    done = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT | environment, timeout=20, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path):  # figure R2 at CI size, on SQLite
    disk = PowerCutDisk()
    hub = Hub(disk.path / "hub")
    try:
        for number in range(3):
            load = Load(hub, 400)
            load.run_id = number
            load.start()
            time.sleep(0.5)
            hub.server.kill(signal.SIGSTOP)
            acknowledged = set(load.acknowledged.values())
            after = disk.cut()
            hub.server.kill(signal.SIGCONT)
            load.join(30)
            shutil.copytree(after / "hub", tmp_path / f"cut{number}")
            copy = [*ANGELIA, "--data-dir", str(tmp_path / f"cut{number}")]
            listed = subprocess.run([*copy, "--json", "messages", "--limit", "1000"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
            assert listed.returncode == 0, listed.stderr
            there = {item["id"] for item in json.loads(listed.stdout)["items"]}
            assert acknowledged
            assert acknowledged <= there
            assert "all is well" in subprocess.run([*copy, "db", "check"], capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout
    finally:
        hub.stop()
        disk.close()
