"""Writers that meet on PostgreSQL: deadlocks, serialisation failures, no connection left."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import text

from angelia.inlet import Taken
from angelia.model.errors import StoreUnavailable
from angelia.model.message import Message
from angelia.model.moments import to_us
from angelia.model.payload import payload_of
from angelia.store import NewMessage
from angelia.stores.sql import make_store
from angelia_testing.fixtures import opened

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(seconds=60)


def row(number, key=None, kind="obs.build.fail"):
    message = Message(message_id=number, source="ci", type=kind, received_at=NOW, occurred_at=NOW)
    return NewMessage(number, "ci", kind, to_us(NOW), payload_of(message), key, b"f" if key else b"")


async def execute(url, *statements):
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def counters(postgresql_url):
    """A store with two counters, a and b, at 0."""
    await execute(postgresql_url, "ALTER DATABASE " + postgresql_url.rpartition("/")[2] + " SET deadlock_timeout = '20ms'")
    store = await opened(postgresql_url)
    await execute(postgresql_url, "INSERT INTO counters (name, value) VALUES ('a', 0), ('b', 0)")
    yield store
    await store.close()


def values(connection):
    return dict(connection.execute(text("SELECT name, value FROM counters WHERE name IN ('a', 'b')")).all())


ADD = text("UPDATE counters SET value = value + 1 WHERE name = :name")
SLOWLY = text("SELECT pg_sleep(0.1)")


def crossing(first, second, runs):
    def work(connection):
        runs.append(first)
        connection.execute(ADD, {"name": first})
        connection.execute(SLOWLY)
        connection.execute(ADD, {"name": second})

    return work


async def test_two_writers_that_deadlock_both_succeed(counters):  # F14
    runs: list[str] = []
    await asyncio.gather(counters.engine.write(crossing("a", "b", runs)), counters.engine.write(crossing("b", "a", runs)))
    assert len(runs) > 2, "they did not meet"
    assert await counters.engine.read(values) == {"a": 2, "b": 2}


async def test_serialisation_failures_run_again(counters):  # F14
    runs = []

    def work(connection):
        runs.append(1)
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        before = values(connection)["a"]
        connection.execute(SLOWLY)
        connection.execute(text("UPDATE counters SET value = :value WHERE name = 'a'"), {"value": before + 1})

    await asyncio.gather(*(counters.engine.write(work) for _ in range(3)))
    assert len(runs) > 3, "they did not meet"
    assert (await counters.engine.read(values))["a"] == 3


async def test_a_writer_that_always_loses_is_refused_in_the_end(counters):
    runs = []

    def work(connection):
        runs.append(1)
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(StoreUnavailable):
        await counters.engine.write(work)
    assert 2 < len(runs) < 10


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_a_server_with_another_isolation_changes_nothing(postgresql_url, isolation):  # F14
    name = postgresql_url.rpartition("/")[2]
    await execute(postgresql_url, f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    one, two = await opened(postgresql_url), make_store(postgresql_url)
    await two.open()
    stores = one, two
    rows = [row(1_000 * turn + number, f"key{number % 40}") for turn in range(4) for number in range(100)]
    receipts = await asyncio.gather(*(stores[number // 40 % 2].add_messages([one]) for number, one in enumerate(rows)))
    assert [receipt.taken for (receipt,) in receipts].count(Taken.NEW) == 40
    assert {receipt.taken for (receipt,) in receipts} == {Taken.NEW, Taken.REPEAT}
    assert await one.engine.read(lambda connection: connection.execute(text("SHOW transaction_isolation")).scalar()) == "read committed"
    seen = []

    async def claim(store):
        while found := await store.claim_messages(3, LEASE, NOW):
            seen.extend(item.message.message_id for item in found)

    await asyncio.gather(*(claim(store) for store in stores * 2))
    assert len(seen) == len(set(seen)) == 40
    for store in stores:
        await store.close()


async def test_a_type_of_a_lost_try_is_not_taken_for_known(postgresql_url):
    """Its first try saw a new type and lost; in the second the message was known already, so the type was not written by it."""
    store = await opened(postgresql_url)
    await store.add_messages([row(1, "k", kind="x.other")])
    fresh = {"x.never", "x"}
    await store.engine.write(lambda connection: store._add(connection, [row(2, "k", kind="x.other")], fresh))
    assert fresh == set()
    await store.close()


@pytest.fixture
async def narrow_url(empty_postgresql_url):
    """A database that takes only four connections of its user."""
    name = empty_postgresql_url.rpartition("/")[2]
    owner = f"owner_{name}"
    await execute(empty_postgresql_url, f"CREATE ROLE {owner} LOGIN", f"ALTER DATABASE {name} OWNER TO {owner}", f"ALTER DATABASE {name} CONNECTION LIMIT 4",
                  f"GRANT ALL ON SCHEMA public TO {owner}")  # fmt: skip
    return empty_postgresql_url.replace("postgres@", f"{owner}@")


async def test_used_up_connections_refuse_and_heal(narrow_url):  # F13
    store = await opened(narrow_url)
    others = [await asyncpg.connect(narrow_url) for _ in range(2)]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(store.put_template(f"k{number}", "text") for number in range(40)), return_exceptions=True)
    refused = [answer for answer in answers if answer is not None]
    assert refused and all(isinstance(answer, StoreUnavailable) for answer in refused)
    assert len(await store.templates()) == 40 - len(refused) > 0
    for connection in others:
        await connection.close()
    async with asyncio.timeout(60):
        for number in range(40):
            await store.put_template(f"k{number}", "text")
    assert len(await store.templates()) == 40
    await store.close()


@pytest.mark.parametrize("taken", [3, 4])
async def test_a_database_without_enough_connections_left(narrow_url, taken):  # F13
    first = await opened(narrow_url)
    await first.close()
    others = [await asyncpg.connect(narrow_url) for _ in range(taken)]
    store = make_store(narrow_url)
    with pytest.raises(StoreUnavailable):
        await store.open()
    for connection in others:
        await connection.close()
    await store.open()
    await store.put_template("k", "text")
    await store.close()
