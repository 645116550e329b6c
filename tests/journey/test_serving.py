"""The whole program as its users start it: its command line, its settings, and requests that no library would send."""

import json
import subprocess

import httpx2
import pytest

import angelia
from angelia_testing import warm
from angelia_testing.hub import Hub, mails
from angelia_testing.peers.process import ANGELIA, ENVIRONMENT, free_port
from angelia_testing.waiting import wait_until


@pytest.mark.timeout(900)
def test_the_sample_site_and_the_command_line(tmp_path):
    hub = Hub(tmp_path / "hub", "--sample", program=ANGELIA, ANGELIA__WEB__OPEN_POSTING="false")
    try:
        token = (hub.folder / "build-service.token").read_text().strip()
        seed = b"""<hermes:message xmlns:hermes="http://xml.opensuse.org/hermes" type="example">
          <hermes:sender id="build service">The build service</hermes:sender>
          <hermes:recipients><hermes:to id="alice"><hermes:reason>a reason</hermes:reason></hermes:to><hermes:cc id="bob"/></hermes:recipients>
          <hermes:tag name="severity" value="normal"/><hermes:body>We inform you</hermes:body></hermes:message>"""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/xml"}
        before = len(mails(hub))
        assert httpx2.post(f"{hub.url}/hermes/example", content=seed, headers=headers, timeout=60).status_code == 201
        wait_until(lambda: len(mails(hub)) == before + 1)
        feed = (hub.folder / "alice.feed").read_text().strip()
        assert "We inform you" in httpx2.get(feed, timeout=60).text
        newest = hub.cli("messages", "--limit", "1").split()[0]
        assert "in the daily digest" in hub.cli("explain", newest, "bob")
        assert "by mail is delivered" in hub.cli("explain", newest, "alice")
        assert "not a candidate" in hub.cli("explain", newest, "carol")
        assert "We inform you" in hub.cli("--json", "inbox", "list", "--login", "alice")
        hub.cli("inbox", "ack", "--login", "bob", newest)
        assert "bob acknowledged it (api)" in hub.cli("explain", newest, "alice")
        wants = tmp_path / "alice.toml"
        wants.write_text('fallback = ["mail"]\n[preferences."*"]\nmail = "weekly"\n[escalate."*"]\nto = ["person:bob"]\n')
        assert "would differ" in hub.cli("prefs", "plan", "alice", str(wants))
        hub.cli("prefs", "apply", "alice", str(wants))
        exported = hub.cli("prefs", "export", "alice")
        assert all(said in exported for said in ('mail = "weekly"', 'fallback = ["mail"]', 'to = ["person:bob"]'))
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
        assert httpx2.post(f"{hub.url}/api/v1/messages", content=text, headers={"Content-Type": "application/json"}, timeout=60).status_code == 200
    wait_until(lambda: len(mails(hub)) == 4)
    with pytest.raises(angelia.Refused):
        angelia.send("x", type="not a type", url=hub.url, spool=str(spool))


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
def test_settings_that_can_not_be_used_are_told_at_the_start(tmp_path, environment, told):  # checklist S2: a short secret is one of them
    done = warm.run(["serve", "--data-dir", str(tmp_path / "hub"), "--port", str(free_port())], ENVIRONMENT | environment)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_hub_shows_what_comes(tmp_path):
    hub = Hub(tmp_path / "hub")
    try:
        hub.cli("people", "add", "alice")
        hub.cli("send", "a.b", "hello", "--to", "alice")
        wait_until(lambda: "hello" in hub.cli("inbox", "list", "--login", "alice"))
        assert "hourly" in hub.cli("site", "export")
    finally:
        hub.stop()
