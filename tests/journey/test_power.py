"""The power is cut: what was acknowledged is on the disk, and so is the key that signs links."""

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from angelia_testing.faults.power import PowerCutDisk
from angelia_testing.hub import Hub, faults, furnish, rows
from angelia_testing.ledger import Load, lost_ids
from angelia_testing.peers.postgresql import PostgreSQL
from angelia_testing.waiting import wait_until

CARELESS = (sys.executable, str(Path(__file__).with_name("careless.py")))
IDS = "SELECT id FROM messages"


def number_of(public):
    """The number behind `msg_...`, by this test's own reading of the alphabet."""
    number = 0
    for letter in public.removeprefix("msg_"):
        number = number * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(letter)
    return number


def after_a_cut(disk, hub, load):
    """What an SQLite hub that was cut off at any moment has acknowledged, and the folder as it is after the power came back."""
    had = len(load.ids())
    wait_until(lambda: len(load.ids()) >= had + 50, 30, every=0.01)
    hub.server.kill(signal.SIGSTOP)
    acknowledged = {number_of(public) for public in load.ids()}
    after = disk.cut()
    hub.server.kill(signal.SIGCONT)
    return acknowledged, after


@pytest.fixture
def disk(ground, sized):
    made = PowerCutDisk(sized(160, 1_500))
    shutil.copytree(ground, made.path / "hub")
    made.settle()
    yield made
    made.close()


@pytest.mark.timeout(1_800)
def test_a_power_cut_loses_nothing_that_was_acknowledged(disk, sized, tmp_path):  # figure R2, on SQLite
    hub = Hub(disk.path / "hub")
    load = Load(hub.port, clients=4, rest=0.01).start()
    try:
        for number in range(sized(5, 50)):
            acknowledged, after = after_a_cut(disk, hub, load)
            database = f"sqlite:///{after / 'hub' / 'angelia.db'}"
            assert faults(database) == []
            there = {row[0] for row in rows(database, IDS)}
            print(f"cut {number}: {len(acknowledged)} acknowledged, {len(lost_ids(acknowledged, there))} lost")
            assert acknowledged <= there
            # What counts as delivered is in its file, whole.
            mails = {int(path.name.split(".")[1]): path for path in (after / "hub" / "mail").glob("*/new/*")}
            sent = {row[0] for row in rows(database, "SELECT id FROM deliveries WHERE agent = 'mail' AND state = 10")}
            assert sent and sent <= mails.keys()
            assert all(mails[key].read_bytes().endswith(b"--\n") for key in sent)
            assert (after / "hub" / "secret").read_text() == (hub.folder / "secret").read_text() != ""
            if number == 0:
                # It is worked on from there, and ends well.
                again = Hub(shutil.copytree(after / "hub", tmp_path / "again", ignore=shutil.ignore_patterns("*.sock")))
                wait_until(lambda: again.count("SELECT count(*) FROM messages WHERE plan_state = 0") == 0, 60)
                assert "all is well" in again.cli("db", "check")
                again.stop()
            disk.forget(after)
        load.end()
    finally:
        hub.stop()


def test_the_checker_sees_a_hub_that_does_not_flush(disk):
    hub = Hub(disk.path / "hub", program=[*CARELESS, "unflushed"])
    load = Load(hub.port, clients=4).start()
    lost = set()
    try:
        for _ in range(15):
            acknowledged, after = after_a_cut(disk, hub, load)
            lost = lost_ids(acknowledged, {row[0] for row in rows(f"sqlite:///{after / 'hub' / 'angelia.db'}", IDS)})
            disk.forget(after)
            if lost:
                break
        load.end()
        assert lost
    finally:
        hub.stop()


@pytest.mark.timeout(1_800)
def test_a_power_cut_under_postgresql_loses_nothing_that_was_acknowledged(sized, tmp_path):  # figure R2, on PostgreSQL
    disk = PowerCutDisk(sized(300, 1_500))
    (disk.path / "pg").mkdir(mode=0o755)
    cluster = PostgreSQL(disk.path / "pg")
    url = cluster.database()
    name = url.rpartition("/")[2]
    furnish(tmp_path / "hub", "alice", database=url, by_mail=[])
    hub = Hub(tmp_path / "hub", ANGELIA__HOUSE__DATABASE=url)
    load = Load(hub.port, clients=4, rest=0.01).start()
    try:
        for number in range(sized(5, 50)):
            had = len(load.ids())
            wait_until(lambda: len(load.ids()) >= had + 50, 30, every=0.01)
            cluster.freeze()
            acknowledged = {number_of(public) for public in load.ids()}
            after = disk.cut()
            cluster.thaw()
            copy = PostgreSQL(after / "pg", is_new=False)
            try:
                there = {row[0] for row in rows(copy.url(name), IDS)}
                print(f"cut {number}: {len(acknowledged)} acknowledged, {len(lost_ids(acknowledged, there))} lost")
                assert acknowledged <= there
                assert faults(copy.url(name)) == []
            finally:
                copy.stop()
            disk.forget(after)
        ledger = load.end()
        assert ledger.statuses.keys() <= {200, 201, 503}
    finally:
        hub.stop()
        cluster.stop()
        time.sleep(0.2)
        disk.close()
