"""A hub that starts before a mountain of work."""

import json
import sqlite3
import time

import httpx2

from angelia.model.moments import next_id
from angelia_testing.hub import Hub, crowd
from angelia_testing.waiting import wait_until


def test_a_backlog_of_a_hundred_thousand_at_the_start(folder, sink, sized):  # figure R20
    count = sized(100_000, 1_000_000)
    pile_up(folder, count)
    token = {"Authorization": f"Bearer {(folder / 'tests.token').read_text()}"}
    began = time.monotonic()
    hub = Hub(folder, ANGELIA__AGENTS__MAIL__URL=sink.url)
    try:
        with httpx2.Client(base_url=hub.url, timeout=60) as client:
            wait_until(lambda: client.get("/healthz/ready").status_code == 200, 30, every=0.01)
            ready = time.monotonic() - began
            time.sleep(3)
            urgent = {"type": "load.test", "to": ["alice"], "subject": "urgent one", "severity": "urgent"}
            began = time.monotonic()
            assert client.post("/api/v1/messages", json=urgent, headers=token).status_code == 201
            is_out = "SELECT count(*) FROM deliveries WHERE is_urgent = 1 AND agent = 'mail' AND state = 10"
            wait_until(lambda: hub.count(is_out) == 1, 60, every=0.01)
            out = time.monotonic() - began
        waiting = hub.count("SELECT count(*) FROM deliveries WHERE state = 2")
        print(f"ready after {ready:.1f} s, urgent one out after {out:.1f} s, {hub.megabytes():.0f} MB, {waiting} still waiting")
        assert waiting > count // 2
        assert sink.by_subject()["urgent one"] == 1
        assert ready <= 10 * crowd()
        assert out <= 5 * crowd()
        assert hub.megabytes() < 300
    finally:
        hub.stop()


def pile_up(folder, count):
    """So many mails due for alice, planned while nobody worked."""
    connection = sqlite3.connect(folder / "angelia.db")
    (person,) = connection.execute("SELECT id FROM persons WHERE login = 'alice'").fetchone()
    (address,) = connection.execute("SELECT id FROM addresses WHERE person_id = ?", (person,)).fetchone()
    now_us = time.time_ns() // 1_000
    ids = [next_id(now_us - 60_000_000 + number, 0, 4_000) for number in range(count)]
    payload = json.dumps({"type": "load.test", "to": ["alice"], "subject": "one of many"})
    decisions = json.dumps([["mail", "now", "chosen", "site:*", None]])
    with connection:
        connection.executemany(
            "INSERT INTO messages (id, source, type, received_us, payload, plan_state) VALUES (?, 'ci', 'load.test', ?, ?, 1)",
            ((key, now_us, payload) for key in ids),
        )
        connection.executemany(
            "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) VALUES (?, ?, 'to', ?, ?)",
            ((key, person, decisions, now_us) for key in ids),
        )
        connection.executemany(
            "INSERT INTO deliveries (id, message_id, person_id, agent, address_id, state, due_us, form, reason) VALUES (?, ?, ?, 'mail', ?, 2, ?, 'full', 'chosen')",
            ((key + 1, key, person, address, now_us) for key in ids),
        )
    connection.close()
