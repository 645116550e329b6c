"""What is expected and does not come, with processes that are killed: told once, also by several workers at once, and once that it is over."""

import json
import sqlite3
import subprocess
import time
from urllib.parse import urlsplit

import pytest

from angelia_testing.hub import Hub, furnish, inbox, rows
from angelia_testing.waiting import wait_until

TOLD = "SELECT type FROM messages WHERE type LIKE 'angelia.expectation.%' ORDER BY id"


def expected(hub):
    """One of alice's; its address on this hub's port."""
    said = json.loads(hub.cli("--json", "expect", "add", "alice", "Backup of x", "--every", "24h"))
    return hub.url + urlsplit(said["ping"]).path


def curl(address, *options):
    done = subprocess.run(["curl", "-fsS", "-m", "20", *options, address], capture_output=True, text=True, check=True)
    assert done.stdout == "OK\n" or done.stdout.startswith("HTTP/1.1 200 OK")


def over(database):
    """Its time is over: as after a day."""
    sql = "UPDATE expectations SET alarm_us = 1 WHERE alarm_us IS NOT NULL RETURNING id"
    if database.startswith("sqlite"):
        with sqlite3.connect(database.removeprefix("sqlite:///"), timeout=60) as connection:
            assert connection.execute(sql).fetchall()
        connection.close()
    else:
        assert rows(database, sql)


def told(hub):
    return [row[0].rpartition(".")[2] for row in hub.rows(TOLD)]


def test_a_hub_that_is_killed_tells_it_once(hub):
    address = expected(hub)
    curl(address + "/start", "--head")
    curl(address, "--data-binary", "all of it")
    assert json.loads(hub.cli("--json", "expect", "show", "alice", "1"))["state"] == "well"
    hub.kill()
    over(hub.database)
    hub.start()
    wait_until(lambda: told(hub) == ["silent"], 60, what=hub.server.log)
    for _ in range(2):
        hub.kill()
        hub.start()
    curl(address)
    wait_until(lambda: told(hub) == ["silent", "well"], 60, what=hub.server.log)
    curl(address + "/1")
    wait_until(lambda: told(hub) == ["silent", "well", "failed"], 60, what=hub.server.log)
    time.sleep(2.5)  # two looks of the sentinel
    assert told(hub) == ["silent", "well", "failed"] and hub.faults() == []
    wait_until(lambda: len(inbox(hub)) == 3, 60)
    subjects = inbox(hub)
    assert subjects[0] == "Backup of x failed" and subjects[2].startswith("Backup of x has been silent for")
    lines = json.loads(hub.cli("--json", "expect", "history", "alice", "1"))["items"]
    assert [line["kind"] for line in lines] == ["fail", "success", "silence", "success", "start"] and lines[3]["text"] == "all of it"


@pytest.mark.timeout(300)
def test_of_many_workers_one_tells_it(postgresql, tmp_path):
    shared = {"ANGELIA__HOUSE__DATABASE": postgresql.database(has_schema=True), "ANGELIA__HOUSE__SECRET": "s" * 40}
    furnish(tmp_path / "hub", "alice", database=shared["ANGELIA__HOUSE__DATABASE"])
    web = Hub(tmp_path / "hub", roles="web", **shared)
    workers = [Hub(tmp_path / f"work{number}", roles="work", **shared) for number in range(3)]
    try:
        addresses = [expected(web) for _ in range(20)]
        over(web.database)
        wait_until(lambda: len(told(web)) >= 10, 60)
        workers.pop().kill()
        wait_until(lambda: told(web) == ["silent"] * 20, 120)
        for address in addresses:
            curl(address)
        wait_until(lambda: told(web).count("well") == 20, 120)
        time.sleep(2.5)
        assert sorted(told(web)) == ["silent"] * 20 + ["well"] * 20 and web.faults() == []
    finally:
        for one in (web, *workers):
            one.stop()
