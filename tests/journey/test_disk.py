"""The disk fails or fills up under the hub, system calls fail, and files are damaged: refused clearly, never half done."""

import shutil
import sqlite3
import threading
import time

import httpx2
import pytest

from angelia_testing import warm
from angelia_testing.databases import with_schema
from angelia_testing.faults.disk import failing, killed, small_disk
from angelia_testing.faults.power import PowerCutDisk
from angelia_testing.hub import Hub, crowd, faults, rows
from angelia_testing.peers.process import ENVIRONMENT, free_port
from angelia_testing.waiting import wait_until

FLUSH, WRITE = "fsync,fdatasync", "pwrite64,write"


def fill(path, left):
    """Take the room of a disk, but for so many bytes."""
    with path.open("wb", buffering=0) as file:
        while shutil.disk_usage(path.parent).free > left:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return


@pytest.mark.parametrize(("reserve", "left", "said"), [(0, 0, ["store"]), (16, 8 << 20, ["disk"])])
def test_a_full_disk_is_said_and_survived(reserve, left, said):  # figure R6, promises P2 and P17; without a reserve the database meets the end
    with small_disk(40) as disk:
        hub = Hub(disk / "hub", ANGELIA__HOUSE__DISK_RESERVE=str(reserve))
        filler = disk / "filler"
        try:
            with httpx2.Client(base_url=hub.url, timeout=60) as client:

                def post(n):
                    began = time.monotonic()
                    answer = client.post("/api/v1/messages", json={"type": "a", "body": "x" * 20_000, "idempotency_key": str(n)})
                    assert time.monotonic() - began <= 2 * crowd()
                    return answer

                assert post(0).status_code == 201
                fill(filler, left)
                answers = [post(n) for n in range(1, 60)]
                refused = [answer for answer in answers if answer.status_code != 201]
                assert refused
                assert {answer.status_code for answer in refused} == {503}
                assert all("retry-after" in answer.headers for answer in refused)
                assert all("disk" in answer.json()["detail"] for answer in refused)
                health = client.get("/healthz/ready")
                assert (health.status_code, health.json()["faults"]) == (503, said)
                assert client.get("/healthz/live").status_code == 200
                filler.unlink()
                began = time.monotonic()
                wait_until(lambda: post(100).status_code in (200, 201), 60)
                assert time.monotonic() - began <= 10 * crowd()
                wait_until(lambda: client.get("/healthz/ready").status_code == 200, 60)
                accepted = 2 + sum(answer.status_code == 201 for answer in answers)
            assert hub.server.process.poll() is None
            assert hub.count("SELECT count(*) FROM messages") == accepted
        finally:
            hub.stop()


def test_a_failing_flush_is_never_an_acknowledgement(tmp_path):  # figure R3, fault F6
    folder = tmp_path / "hub"
    folder.mkdir()
    with_schema(f"sqlite:///{folder / 'angelia.db'}")
    hub = Hub(folder, wrap=lambda argv: failing(argv, FLUSH, error="EIO", when=14))
    try:
        with httpx2.Client(base_url=hub.url, timeout=60) as client:
            statuses = [client.post("/api/v1/messages", json={"type": "a", "idempotency_key": str(n)}).status_code for n in range(60)]
        assert set(statuses) == {201, 503}
        assert statuses[-1] == 503
    finally:
        hub.kill()
    assert hub.count("SELECT count(*) FROM messages") >= statuses.count(201)


def posted(hub, count=40):
    """What was acknowledged of a run of messages, each sent up to three times; ends early with the hub."""
    acknowledged, statuses = {}, []
    with httpx2.Client(base_url=hub.url, timeout=60) as client:
        for number in range(count):
            for _ in range(3):
                try:
                    answer = client.post("/api/v1/messages", json={"type": "a", "to": ["bob"], "idempotency_key": f"k{number}"})
                except httpx2.HTTPError:
                    if hub.server.process.poll() is not None:
                        return acknowledged, statuses
                    continue
                statuses.append(answer.status_code)
                if answer.status_code in (200, 201):
                    acknowledged[f"k{number}"] = answer.json()["id"]
                    break
    return acknowledged, statuses


CASES = [
    ("flush-fails", lambda argv, n: failing(argv, FLUSH, error="EIO", when=n, is_lasting=False), (2, 9, 17)),
    ("write-fails", lambda argv, n: failing(argv, WRITE, error="EIO", when=n, is_lasting=False), (5, 31, 58)),
    ("disk-full", lambda argv, n: failing(argv, WRITE, error="ENOSPC", when=n, is_lasting=False), (8, 27, 60)),
    ("killed-in-commit", lambda argv, n: killed(argv, FLUSH, when=n), (1, 7, 16)),
    ("killed-in-write", lambda argv, n: killed(argv, "pwrite64", when=n), (4, 22, 47)),
]


@pytest.mark.timeout(3_000)
@pytest.mark.parametrize(("wrap", "spread"), [pytest.param(wrap, spread, id=name) for name, wrap, spread in CASES])
def test_the_nth_call_fails_and_all_is_consistent(ground, wrap, spread, sized):  # figure R3; faults F1, F2, F6
    seen = set()
    for n in sized(spread, range(1, 61)):
        disk = PowerCutDisk()
        shutil.copytree(ground, disk.path / "hub")
        disk.settle()
        hub = Hub(disk.path / "hub", wrap=lambda argv, n=n: wrap(argv, n), is_awaited=False)
        try:
            wait_until(lambda hub=hub: hub.server.process.poll() is not None or is_listening(hub.port), 60, every=0.02)
            acknowledged, statuses = posted(hub) if hub.server.process.poll() is None else ({}, [])
            seen.update(statuses)
            assert set(statuses) <= {200, 201, 503}, n
            if hub.server.process.poll() is None:
                hub.server.kill(19)
            # A flush that failed may have dropped pages: only what a copy of the image holds was really written.
            after = disk.cut()
            database = f"sqlite:///{after / 'hub' / 'angelia.db'}"
            assert faults(database) == [], n
            there = {key for (key,) in rows(database, "SELECT idem_key FROM messages")}
            assert acknowledged.keys() <= there, n
            half = "SELECT count(*) FROM messages m WHERE plan_state = 1 AND (SELECT count(*) FROM deliveries WHERE message_id = m.id) != 1"
            assert rows(database, half) == [(0,)], n
        finally:
            hub.kill()
            disk.close()
    assert seen


def is_listening(port):
    try:
        httpx2.get(f"http://127.0.0.1:{port}/healthz/live", timeout=5)
    except httpx2.HTTPError:
        return False
    return True


def test_a_database_that_another_process_holds_is_said_and_survived(hub):  # fault F15
    statuses, slowest = [], 0.0
    other = sqlite3.connect(hub.folder / "angelia.db", isolation_level=None, timeout=60, check_same_thread=False)
    with httpx2.Client(base_url=hub.url, timeout=60) as client:
        post = lambda n: client.post("/api/v1/messages", json={"type": "a", "to": ["bob"], "idempotency_key": f"k{n}"}).status_code  # noqa: E731
        assert post(0) == 201
        other.execute("BEGIN IMMEDIATE")
        letting_go = threading.Timer(10, other.execute, ["ROLLBACK"])
        letting_go.start()
        number = 1
        while letting_go.is_alive():
            began = time.monotonic()
            statuses.append(post(number))
            slowest = max(slowest, time.monotonic() - began)
            assert client.get("/healthz/live").status_code == 200
            number += 1
        other.close()
        assert statuses[0] == 503
        assert set(statuses) <= {201, 503}
        assert slowest < 6
        wait_until(lambda: post("last") in (200, 201), 60)
    accepted = 2 + statuses.count(201)
    assert hub.count("SELECT count(*) FROM messages") >= accepted
    # Its stages have their turns again; what one of them had in hand comes back with its lease of half a minute.
    wait_until(lambda: hub.count("SELECT count(*) FROM deliveries WHERE state = 10") == hub.count("SELECT count(*) FROM messages"), 60)


def damage_header(path):
    with path.open("r+b") as file:
        file.write(b"not a database, " * 8)


def damage_root(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 3_000)


def cut_short(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [damage_header, damage_root, cut_short])
def test_a_damaged_database_is_refused_and_left_as_it_is(folder, damage):  # fault F16
    path = folder / "angelia.db"
    damage(path)
    before = path.read_bytes()
    done = warm.run(["serve", "--data-dir", str(folder), "--port", str(free_port())], ENVIRONMENT)
    assert done.returncode == 1, done.stderr
    assert "damaged" in done.stderr and "backup" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


def test_damage_in_the_middle_is_found_by_the_check(folder):  # fault F16
    path = folder / "angelia.db"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 8192 * 4096)
        file.write(b"\xa5" * 4_096)
    done = warm.run(["--data-dir", str(folder), "db", "check"], ENVIRONMENT)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "Traceback" not in done.stderr
