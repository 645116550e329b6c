"""The store's promises on SQLite and PostgreSQL alike, and what only an SQL store has: files, backups, hints."""

import asyncio
from pathlib import Path

import pytest

from angelia.model.errors import SchemaMismatch, StoreUnavailable
from angelia.stores import entries, group_commit
from angelia.stores.sql import make_store
from angelia_testing.fixtures import opened
from angelia_testing.suites.store import StoreSuite, row


@pytest.fixture(autouse=True)
def _time_for_a_commit(monkeypatch):
    """A machine with other work is no fault of the store."""
    monkeypatch.setattr(group_commit, "LONGEST_COMMIT", 60.0)


class TestStore(StoreSuite):
    """On each database: the fixture `store` has one of each kind."""


class TestSearchInTheDatabase:
    """Texts that are not kept in memory are looked up, and found alike."""

    @pytest.fixture(autouse=True)
    def _no_room(self, monkeypatch):
        monkeypatch.setattr(entries, "MOST_LETTERS", 0)

    test_it_finds_texts_as_readers_mean_them = StoreSuite.test_the_inbox_finds_texts_as_readers_mean_them


async def test_a_backup_opens_as_a_store(store, tmp_path):
    await store.add_messages([row(1)])
    path = tmp_path / "copy"
    await store.backup(str(path))
    assert path.stat().st_size > 0
    if store.engine.dialect == "sqlite":
        copy = make_store(f"sqlite:///{path}")
        assert set(await copy.messages([1])) == {1}
        await copy.close()


async def test_a_database_without_our_schema_is_refused(sqlite_url):
    store = make_store(sqlite_url)
    with pytest.raises(SchemaMismatch):
        await store.open()
    await store.close()


async def test_the_claim_uses_its_index(store):
    explain = "EXPLAIN QUERY PLAN " if store.engine.dialect == "sqlite" else "EXPLAIN "

    def plan(connection):
        if store.engine.dialect == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        query = "SELECT id FROM deliveries WHERE state = 2 AND agent = 'mail' AND due_us <= 5 ORDER BY due_us LIMIT 100"
        return "\n".join(str(found) for found in connection.exec_driver_sql(explain + query))

    assert "deliveries_due" in await store.engine.read(plan)


async def test_hints_reach_other_processes(postgresql_url):
    one = await opened(postgresql_url)
    two = make_store(postgresql_url)
    await two.open()
    hints = two.hints()
    one.wake("messages")
    async with asyncio.timeout(60):
        assert await anext(hints) == "messages"
    await one.close()
    await two.close()


async def test_a_closed_store_says_so(sqlite_url, postgresql_url):
    for url in (sqlite_url, postgresql_url):
        made = await opened(url)
        await made.close()
        with pytest.raises(StoreUnavailable):
            await made.add_messages([row(1)])


async def test_a_damaged_file_is_told(sqlite_url):
    made = await opened(sqlite_url)
    await made.close()
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    for beside in ("-wal", "-shm"):
        Path(f"{path}{beside}").unlink(missing_ok=True)
    path.write_bytes(b"x" * 8192 + path.read_bytes()[8192:])
    broken = make_store(sqlite_url)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await broken.open()
    await broken.close()
