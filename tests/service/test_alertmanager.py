"""Alerts of a real Alertmanager: told once when they begin, once when they are over."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from angelia_testing.hub import Hub
from angelia_testing.peers.alertmanager import Alertmanager
from angelia_testing.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs/how-to/webhooks.md"
REPEATED = 'angelia_inlet_events_total{inlet="hook.alerts",result="nothing"} 2.0'
LABELS = {"alertname": "DiskFull", "instance": "yumo:9100", "severity": "warning", "owner": "alice"}


@pytest.fixture
def hub(tmp_path):
    made = Hub(tmp_path / "hub", ANGELIA__INLETS__HOOK__ALERTS__MAPPING="alertmanager")
    yield made
    made.stop()


@pytest.fixture
def alertmanager(hub):
    hub.cli("people", "add", "alice")
    hub.cli("source", "put", "alerts", "--subtree", "alert")
    token = json.loads(hub.cli("--json", "source", "token", "alerts"))["secret"]
    made = Alertmanager(PAGE, f"{hub.url}/api/v1/hooks/alerts", token)
    yield made
    made.stop()


def inbox(hub):
    return [one["message"] for one in json.loads(hub.cli("--json", "inbox", "list", "--login", "alice"))["items"]]


def test_an_alert_begins_and_ends(hub, alertmanager):
    began = datetime.now(UTC) - timedelta(minutes=2)
    said = {"startsAt": began.isoformat(), "annotations": {"summary": "The disk of yumo is full", "description": "98 %"}}
    said["generatorURL"] = "http://prometheus.example.org/graph?g0.expr=1"
    alertmanager.put(LABELS, **said)
    wait_until(lambda: len(inbox(hub)) == 1)
    [alert] = inbox(hub)
    assert (alert["type"], alert["severity"], alert["source"], alert["object"]) == ("alert.firing", "high", "alerts", "yumo:9100")
    assert (alert["subject"], alert["body"], alert["object_url"]) == ("The disk of yumo is full", "98 %", said["generatorURL"])
    assert alert["params"] == LABELS
    wait_until(lambda: REPEATED in httpx2.get(f"{hub.url}/metrics", timeout=30).text)  # it posts the same again each second
    assert len(inbox(hub)) == 1
    alertmanager.put(LABELS, **said, endsAt=datetime.now(UTC).isoformat())
    wait_until(lambda: len(inbox(hub)) == 2)
    assert {one["type"] for one in inbox(hub)} == {"alert.firing", "alert.resolved"}
    over = next(one for one in inbox(hub) if one["type"] == "alert.resolved")
    assert over["subject"] == "Over: The disk of yumo is full"
    assert over["thread"] == alert["thread"]
