"""The machine's clock jumps under a running hub, and goes past the end of 32 bits."""

import time

import httpx2

from angelia_testing.faults.clock import FakeClock
from angelia_testing.hub import Hub, furnish
from angelia_testing.peers.process import free_port
from angelia_testing.peers.sink import Sink
from angelia_testing.waiting import wait_until

SITE = {
    "hourly_cap": 100_000,
    "preferences": {"*": {"mail": "now"}, "rare": {"mail": "nightly"}},
    "schedules": {"nightly": {"every": "day", "at": ["03:00"]}},
}


def post(hub, *subjects, kind="a"):
    """All taken once. A store that is busy for a moment says 503, and that it may be asked again."""
    messages = [{"type": kind, "to": ["alice"], "subject": subject, "idempotency_key": subject} for subject in subjects]
    while (status := httpx2.post(f"{hub.url}/api/v1/messages", json=messages, timeout=60).status_code) == 503:
        time.sleep(0.2)
    return 201 if status == 200 else status


def test_the_clock_jumps_to_and_fro(tmp_path):  # figure R10, fault F34, promise P13
    furnish(tmp_path / "hub", "alice", site=SITE)
    clock = FakeClock(tmp_path)
    sink = Sink("rcpt450")
    sink.start()
    hub = Hub(tmp_path / "hub", ANGELIA__AGENTS__MAIL__URL=f"smtp://127.0.0.1:{sink.port}", **clock.environment)
    try:
        assert post(hub, "held", kind="rare") == 201
        # At once: then all wait for their try after 30 s while the clock jumps, and seldom one for that after 2 min, on a busy machine too.
        assert post(hub, *(f"waits-{number}" for number in range(20))) == 201
        began = time.monotonic()
        wait_until(lambda: hub.count("SELECT count(*) FROM deliveries WHERE attempts > 0 AND state = 2") == 20, 60)
        for number, setting in enumerate(["+1h", "-1h", "+1d", "-1d", "+0"]):
            clock.set(setting)
            assert post(hub, f"after-{number}") == 201
            # On a busy machine it may say for a moment that the database took more than two seconds.
            wait_until(lambda: httpx2.get(f"{hub.url}/healthz/ready", timeout=60).status_code == 200, 30, 0.2, f"a hub that is ready after {setting}")
        # After 5 s, 30 s and 2 min (+-20 %), as if nothing had happened; one early try would be allowed.
        most = hub.count("SELECT max(attempts) FROM deliveries")
        lasted = time.monotonic() - began
        assert most <= 2 + sum(lasted > moment for moment in (4, 28, 120))
        assert hub.count("SELECT count(*) FROM deliveries WHERE state IN (12, 14)") == 0
        assert hub.count("SELECT count(*) FROM digests") == 0
        assert hub.count("SELECT count(*) FROM deliveries WHERE state = 1") == 1
        sink.mode = "ok"
        # Nothing is stuck either: all leave at their next try, which may be the one after 2 min, each once.
        wait_until(lambda: hub.count("SELECT count(*) FROM deliveries WHERE state = 10") == 25, 240)
        assert len(sink.mails) == 25
        assert hub.stop() == 0
        assert "clock_jumped" in hub.server.log()
    finally:
        hub.stop()
        sink.stop()


def test_the_end_of_32_bits(tmp_path):  # figure R10
    furnish(tmp_path / "hub", "alice", site=SITE)
    clock = FakeClock(tmp_path, "@2038-01-19 03:13:50")
    hub = Hub(tmp_path / "hub", TZ="UTC", **clock.environment)
    try:
        assert post(hub, "before") == 201
        # The hub's clock goes on evenly, so this one waits for the moment itself: it is started again after it.
        wait_until(lambda: len(list(hub.folder.glob("mail/alice@example.org/new/*"))) == 1, 60)
        clock.set("@2038-01-19 03:14:08")
        hub.stop()
        hub.start()
        assert post(hub, "after") == 201
        wait_until(lambda: len(list(hub.folder.glob("mail/alice@example.org/new/*"))) == 2, 60)
        before, after = (row[0] for row in hub.rows("SELECT received_us FROM messages ORDER BY id"))
        assert before < 2**31 * 1_000_000 <= after
        assert hub.faults() == []
    finally:
        hub.stop()


def test_what_waits_outlives_days_in_which_the_hub_is_away(tmp_path):  # promise P13
    furnish(tmp_path / "hub", "alice", site=SITE)
    clock, count = FakeClock(tmp_path), 8
    nowhere = f"smtp://127.0.0.1:{free_port()}"
    hub = Hub(tmp_path / "hub", ANGELIA__AGENTS__MAIL__URL=nowhere, **clock.environment)
    try:
        for number in range(count):
            assert post(hub, f"s{number}") == 201
        # So many that the server rests: then most of them wait without a try of their own.
        wait_until(lambda: hub.count("SELECT count(*) FROM deliveries WHERE state = 2 AND last_error != ''") == count, 60)
        wait_until(lambda: hub.count("SELECT count(*) FROM breakers") == 1, 60)
    finally:
        hub.stop()
    clock.set("+6d")  # longer than a mail is tried
    hub = Hub(tmp_path / "hub", ANGELIA__AGENTS__MAIL__URL=nowhere, **clock.environment)
    since = "(SELECT value FROM counters WHERE name = 'attended')"
    try:
        looked_at = f"SELECT count(*) FROM deliveries WHERE agent = 'mail' AND (state >= 10 OR (state = 2 AND due_us > {since}))"
        wait_until(lambda: "was_away" in hub.server.log(), 60)
        wait_until(lambda: hub.count(looked_at) == count, 60)
        assert hub.count("SELECT count(*) FROM deliveries WHERE agent = 'mail' AND state >= 10") == 0
    finally:
        hub.stop()
    sink = Sink()
    sink.start()
    hub = Hub(tmp_path / "hub", ANGELIA__AGENTS__MAIL__URL=f"smtp://127.0.0.1:{sink.port}", **clock.environment)
    try:
        wait_until(lambda: hub.count("SELECT count(*) FROM deliveries WHERE state = 10 AND agent = 'mail'") == count, 150)
        assert len(sink.mails) == count
    finally:
        hub.stop()
        sink.stop()


def test_a_hub_that_starts_after_the_clock_went_back_has_nothing_stuck(tmp_path):  # promise P13
    furnish(tmp_path / "hub", "alice", site=SITE)
    clock = FakeClock(tmp_path, "+1d")
    nowhere = f"smtp://127.0.0.1:{free_port()}"
    hub = Hub(tmp_path / "hub", ANGELIA__AGENTS__MAIL__URL=nowhere, **clock.environment)
    try:
        assert post(hub, *(f"s{number}" for number in range(8))) == 201
        wait_until(lambda: hub.count("SELECT count(*) FROM deliveries WHERE state = 2 AND last_error != ''") == 8, 60)
    finally:
        hub.stop()
    sink = Sink()
    sink.start()
    clock.set("+0")
    hub = Hub(tmp_path / "hub", ANGELIA__AGENTS__MAIL__URL=f"smtp://127.0.0.1:{sink.port}", **clock.environment)
    try:
        wait_until(lambda: len(sink.mails) == 8, 60)
        assert hub.faults() == []
    finally:
        hub.stop()
        sink.stop()
