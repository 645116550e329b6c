"""Killed while one way fails and the next is taken: each message goes on, once."""

import random
import sqlite3
import time
from collections import Counter
from contextlib import closing

import pytest

from angelia_testing.hub import Hub
from angelia_testing.ledger import Load
from angelia_testing.peers.http import ScriptedHttp
from angelia_testing.waiting import wait_until

PENDING = "SELECT (SELECT count(*) FROM messages WHERE plan_state = 0) + (SELECT count(*) FROM deliveries WHERE state < 10)"
ENDS = "SELECT agent, state, count(*), count(DISTINCT message_id) FROM deliveries WHERE agent IN ('mail', 'webhook') GROUP BY 1, 2 ORDER BY 1, 2"
BOUNCED, DELIVERED = 11, 10


@pytest.fixture
def receiver():
    made = ScriptedHttp()
    yield made
    made.stop()


def test_what_fails_while_the_hub_is_killed_goes_the_next_way_once(folder, sink, receiver, sized):
    kills, count = sized(5, 50), sized(400, 10_000)
    sink.pause()
    sink.start("data")  # each mail is refused for good, and no address with it
    with closing(sqlite3.connect(folder / "angelia.db")) as connection, connection:
        connection.execute("""UPDATE persons SET document = '{"fallback": ["webhook"]}' WHERE login = 'alice'""")
        hook = "INSERT INTO addresses (person_id, agent, value, state) SELECT id, 'webhook', ?, 'ok' FROM persons WHERE login = 'alice'"
        connection.execute(hook, (f"{receiver.url}/hook",))
    settings = {"ANGELIA__AGENTS__WEBHOOK__ALLOW_HTTP": "true", "ANGELIA__OUTBOUND__ALLOW": "127.0.0.0/8", "ANGELIA__AGENTS__MAIL__URL": sink.url}
    hub, chance = Hub(folder, **settings), random.Random(5)
    try:
        load = Load(hub.port, count, clients=4, rest=0.01).start()
        for number in range(kills):
            wait_until(lambda: len(load.acknowledged()) >= count * number // kills or not load.is_running, 60, every=0.01, what="the load")
            time.sleep(chance.uniform(0.0, 0.2))
            hub.kill()
            hub.start()
        load.join(120)
        wait_until(lambda: hub.count(PENDING) == 0, 120, every=0.2, what="all to be settled")
        assert hub.rows(ENDS) == [("mail", BOUNCED, count, count), ("webhook", DELIVERED, count, count)]
        ids = Counter(asked.headers["webhook-id"] for asked in receiver.asked)
        assert len(ids) == count  # a try that was cut off comes again under its own id
        assert hub.faults() == []
    finally:
        hub.stop()
