"""The store's promises on SQLite and PostgreSQL alike, and what only an SQL store has: files, backups, hints."""

import asyncio
from pathlib import Path

import pytest

from angelia.model.delivery import State
from angelia.model.errors import SchemaMismatch, StoreUnavailable
from angelia.store import InboxQuery
from angelia.stores import entries, group_commit, inbox
from angelia.stores.sql import make_store
from angelia_testing.fixtures import opened
from angelia_testing.suites.store import StoreSuite, row
from angelia_testing.suites.store.making import MINUTE, NOW, delivery, planned


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


class TestBeyondOneLook:
    """What stands beyond what one look goes over is reached all the same."""

    @pytest.fixture(autouse=True)
    def _short_looks(self, monkeypatch):
        monkeypatch.setattr(inbox, "MOST_SCANNED", 4)
        monkeypatch.setattr(inbox, "PAGE", 2)

    @pytest.fixture
    async def crowded(self, store):
        web = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in range(1, 12):
            await planned(store, number, [delivery(10 + number, number, **web)], kind="old.x" if number < 4 else "flood.x", object="a")
        return store

    async def test_pages_go_on_from_what_was_looked_at_last(self, crowded):
        found, looks, cursor = [], 0, None
        while looks == 0 or cursor is not None:
            part = await crowded.inbox_part(1, InboxQuery(subtree="old", limit=2, before_id=cursor))
            found, looks, cursor = found + [item.delivery_id for item in part.items], looks + 1, part.next_id
        assert found == [13, 12, 11] and looks < 5

    @pytest.mark.parametrize("is_newest_first", [True, False])
    @pytest.mark.parametrize("group_by", ["", "object"])
    async def test_pages_with_numbers_too(self, crowded, group_by, is_newest_first):
        found, looks, cursor = set(), 0, None
        while looks == 0 or cursor is not None:
            place = {"before_id" if is_newest_first else "after_id": cursor}
            page = await crowded.inbox_page(1, InboxQuery(limit=2, is_newest_first=is_newest_first, **place), group_by, shown=9)
            found |= {item.delivery_id for group in page.groups for item in group.items}
            looks, cursor = looks + 1, page.next_id
            assert looks < 20
        assert found == set(range(11, 22))

    async def test_counts_say_that_there_may_be_more(self, crowded):
        assert await crowded.inbox_counts(1, InboxQuery(subtree="old")) == {"total": 0, "unread": 0, "is_at_least": True}
        assert await crowded.inbox_counts(1, InboxQuery(), "type") == {"flood.x": 4, "is_at_least": True}
        assert await crowded.inbox_counts(1, InboxQuery(before_id=15)) == {"total": 4, "unread": 4}

    @pytest.mark.parametrize("sort", [{}, {"is_by_severity": True}, {"is_newest_first": False}])
    async def test_a_whole_view_is_marked_and_taken_back_as_a_whole(self, crowded, sort):
        assert await crowded.mark(1, InboxQuery(state="unread", **sort), None, "read", NOW) == 11
        assert await crowded.inbox(1, InboxQuery(state="unread", limit=1)) == []
        assert await crowded.mark(1, InboxQuery(subtree="old"), None, "archive", NOW + MINUTE) == 3
        assert await crowded.undo_mark(1, NOW + MINUTE, NOW) == 3 and await crowded.inbox(1, InboxQuery(state="archived")) == []
        assert await crowded.mark(1, InboxQuery(), None, "unread", NOW + MINUTE) == 11
        assert await crowded.undo_mark(1, NOW + MINUTE, NOW) == 11 and await crowded.inbox(1, InboxQuery(state="unread", limit=1)) == []


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
