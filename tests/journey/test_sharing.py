"""Several processes on one PostgreSQL: they share the work, a frozen one does no harm, and the database may go and come back."""

import signal
import statistics
import sys
import time
from pathlib import Path

import httpx2
import pytest

from angelia_testing.faults.proxy import Proxy
from angelia_testing.hub import Hub, crowd, furnish
from angelia_testing.ledger import Load, reckon
from angelia_testing.peers.sink import Sink
from angelia_testing.waiting import wait_until

CARELESS = (sys.executable, str(Path(__file__).with_name("careless.py")))
PENDING = "SELECT (SELECT count(*) FROM messages WHERE plan_state = 0) + (SELECT count(*) FROM deliveries WHERE state < 10)"
SECRET = "s" * 40


@pytest.fixture
def shared(postgresql, tmp_path):
    """What processes on one furnished database are started with."""
    url = postgresql.database(has_schema=True)
    furnish(tmp_path / "hub", "alice", database=url)
    return {"ANGELIA__HOUSE__DATABASE": url, "ANGELIA__HOUSE__SECRET": SECRET}


@pytest.mark.timeout(900)
def test_four_workers_share_a_queue_and_double_nothing(shared, tmp_path, sink, sized):  # figure R15
    count, folder = sized(10_000, 100_000), tmp_path / "hub"  # each in two ways
    web = Hub(folder, roles="web", **shared)
    workers = []
    try:
        with httpx2.Client(base_url=web.url, timeout=60) as client:
            for start in range(0, count, 500):
                batch = [{"type": "load.test", "to": ["alice"], "subject": f"s{start + n}"} for n in range(500)]
                assert client.post("/api/v1/messages", json=batch).status_code == 201
        workers = [Hub(tmp_path / f"work{n}", roles="work", ANGELIA__AGENTS__MAIL__URL=sink.url, **shared) for n in range(4)]
        sent = "SELECT count(*) FROM deliveries WHERE state = 10 AND agent = 'mail'"
        wait_until(lambda: web.count(sent) == count, 600, every=0.5, what="the queue to be empty")
        came = sink.by_subject()
        assert len(came) == count
        assert set(came.values()) == {1}
        waits = [row[0] for row in web.rows("SELECT d.ended_us - m.received_us FROM deliveries d JOIN messages m ON m.id = d.message_id "
                                            "WHERE d.agent = 'mail'")]  # fmt: skip
        assert max(waits) < 5 * statistics.median(waits)
        assert web.faults() == []
    finally:
        for one in (web, *workers):
            one.stop()


def test_the_database_is_killed_again_and_again(shared, tmp_path, postgresql, sized):  # figure R7, fault F11
    web = Hub(tmp_path / "hub", roles="web", **shared)
    workers = [Hub(tmp_path / "hub", roles="work", **shared) for _ in range(2)]
    load = Load(web.port, clients=4, rest=0.01).start()
    slowest = 0.0
    try:
        for number in range(sized(5, 50)):
            had = len(load.acknowledged())
            wait_until(lambda had=had: len(load.acknowledged()) > had + 50, 30, every=0.01)
            postgresql.kill9()
            time.sleep(0.3)
            postgresql.restart()
            had, began = len(load.acknowledged()), time.monotonic()
            wait_until(lambda had=had: len(load.acknowledged()) > had + 10, 20, every=0.01)
            slowest = max(slowest, time.monotonic() - began)
            if number == 0:
                workers[0].kill()
        ledger = load.end()
        assert ledger.statuses.keys() <= {200, 201, 503}
        assert ledger.broken == 0
        assert slowest <= 5 * crowd()
        wait_until(lambda: web.count(PENDING) == 0, 120, every=0.5, what="all to be delivered")
        came = {row[0]: row[1] for row in web.rows(
            "SELECT m.idem_key, count(*) FROM messages m JOIN deliveries d ON d.message_id = m.id WHERE d.agent = 'mail' AND d.state = 10 GROUP BY 1"
        )}  # fmt: skip
        reckoning = reckon(ledger, came)
        assert (reckoning.lost, reckoning.unexpected, reckoning.duplicated) == (0, 0, 0)
        assert len(list((tmp_path / "hub").glob("mail/alice@example.org/new/*"))) == len(came)
        assert web.faults() == []
    finally:
        for one in (web, *workers):
            one.stop()


@pytest.mark.timeout(180)
def test_a_worker_frozen_past_its_lease_sends_no_third_time_and_marks_nothing(shared, tmp_path):  # fault F4
    sink = Sink("hold")
    sink.start()
    road = {"ANGELIA__AGENTS__MAIL__URL": sink.url}
    work = lambda: Hub(tmp_path / "hub", roles="work", program=[*CARELESS, "short-leases"], **shared, **road)  # noqa: E731
    web = Hub(tmp_path / "hub", roles="web", **shared)
    frozen = work()
    hubs = [web, frozen]
    try:
        assert httpx2.post(f"{web.url}/api/v1/messages", json={"type": "a", "to": ["alice"], "subject": "once"}, timeout=60).status_code == 201
        wait_until(lambda: len(sink.mails) == 1, 60)
        frozen.server.kill(signal.SIGSTOP)
        sink.mode = "ok"
        hubs.append(work())
        state = "SELECT state, fence, ended_us, last_error FROM deliveries WHERE agent = 'mail'"
        wait_until(lambda: web.rows(state)[0][0] == 10, 60)
        ended = web.rows(state)
        frozen.server.kill(signal.SIGCONT)
        assert httpx2.post(f"{web.url}/api/v1/messages", json={"type": "a", "to": ["alice"], "subject": "after"}, timeout=60).status_code == 201
        wait_until(lambda: len(sink.mails) == 3, 60)
        # The late one had its answer long ago, and has had turns since.
        assert frozen.stop() == 0
        assert web.rows(state + " ORDER BY id LIMIT 1") == ended
        first, second, _ = sorted(sink.mails, key=lambda mail: b"Subject: after" in mail)
        header = lambda mail: next(line for line in mail.splitlines() if line.startswith(b"Message-ID"))  # noqa: E731
        assert header(first) == header(second)
    finally:
        for one in hubs:
            one.server.kill(signal.SIGCONT)
            one.stop()
        sink.stop()


@pytest.mark.timeout(180)
def test_a_database_that_takes_connections_and_says_nothing(shared, tmp_path, postgresql):  # fault F12, promise P2
    proxy = Proxy(postgresql.port)
    through = shared | {"ANGELIA__HOUSE__DATABASE": shared["ANGELIA__HOUSE__DATABASE"].replace(f":{postgresql.port}/", f":{proxy.port}/")}
    hub = Hub(tmp_path / "hub", **through)
    try:
        with httpx2.Client(base_url=hub.url, timeout=60) as client:
            post = lambda n: client.post("/api/v1/messages", json={"type": "a", "to": ["alice"], "idempotency_key": f"k{n}"})  # noqa: E731
            assert post(0).status_code == 201
            for mode in ("freeze", "refuse"):
                proxy.mode = mode
                if mode == "refuse":
                    proxy.cut()
                for number in range(3):
                    began = time.monotonic()
                    answer = post(f"{mode}{number}")
                    assert answer.status_code == 503
                    assert "retry-after" in answer.headers
                    assert time.monotonic() - began <= 5 * crowd()
                assert client.get("/healthz/live").status_code == 200
                assert client.get("/healthz/ready").status_code == 503
                proxy.mode = "ok"
                wait_until(lambda mode=mode: post(f"{mode}-after").status_code in (200, 201), 60)
                wait_until(lambda: client.get("/healthz/ready").status_code == 200, 60)
        wait_until(lambda: hub.count(PENDING) == 0, 60)
        assert hub.faults() == []
    finally:
        hub.stop()
        proxy.close()
