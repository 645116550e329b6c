"""A hub whose traces go to a collector, and one whose collector is away."""

import os
import sys
import time

import httpx2

from angelia_testing.peers.http import ScriptedHttp
from angelia_testing.peers.process import Server, free_port

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("ANGELIA_", "OTEL_"))}


def served(folder, endpoint):
    port = free_port()
    argv = [sys.executable, "-m", "angelia", "serve", "--data-dir", str(folder / "hub"), "--port", str(port)]
    environment = ENVIRONMENT | {"ANGELIA__WEB__OPEN_POSTING": "true", "ANGELIA__TELEMETRY__OTLP_ENDPOINT": endpoint}
    return Server("angelia", argv, [port], folder, environment), f"http://127.0.0.1:{port}/api/v1/messages"


def test_spans_reach_a_collector(tmp_path):
    collector = ScriptedHttp()
    hub, url = served(tmp_path, f"{collector.url}/v1/traces")
    posted = httpx2.post(url, json={"type": "a.b"}, timeout=60).json()["id"]
    assert hub.stop() == 0
    collector.stop()
    sent = b"".join(asked.body for asked in collector.asked if asked.path == "/v1/traces")
    for word in ("accept", "plan", posted, "service.name"):
        assert word.encode() in sent, word


def test_a_collector_that_is_away_holds_nothing_up(tmp_path):
    hub, url = served(tmp_path, f"http://127.0.0.1:{free_port()}/v1/traces")
    assert httpx2.post(url, json={"type": "a.b"}, timeout=60).status_code == 201
    started = time.monotonic()
    assert hub.stop(patience=20) == 0
    assert time.monotonic() - started < 10  # promise P18
