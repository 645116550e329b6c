"""The schema: written-out steps make what the tables say, all or nothing, and a hub refuses what it does not speak."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import angelia.stores.sql
from angelia.model.errors import SchemaMismatch
from angelia.stores.columns import metadata
from angelia.stores.sql import open_store, upgrade
from angelia.stores.upkeep import HEAD
from angelia_testing.faults.migration import killed_upgrades
from angelia_testing.peers.process import free_port
from angelia_testing.soak import IS_SOAK

_config = Config()
_config.set_main_option("script_location", str(Path(angelia.stores.sql.__file__).parent / "migrations"))
REVISIONS = [step.revision for step in reversed(list(ScriptDirectory.from_config(_config).walk_revisions()))]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgresql_url")


def on(url, work):
    """Run over a connection of its own."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            return work(connection)

    async def run():
        other = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), poolclass=NullPool)
        async with other.begin() as connection:
            return await connection.run_sync(work)

    return asyncio.run(run())


_COLUMNS = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default FROM information_schema.columns "
    "WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY table_name, column_name"
)
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
_CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace "
    "AND conrelid <> COALESCE(to_regclass('alembic_version'), 0::regclass) ORDER BY 1, 2"
)


def catalogue(connection):
    """All that the database itself knows of the schema, in no order of columns: a later step can only append."""

    def rows(sql):
        return [tuple(row) for row in connection.execute(text(sql))]

    if connection.dialect.name == "postgresql":
        return {"columns": rows(_COLUMNS), "indexes": rows(_INDEXES), "constraints": rows(_CONSTRAINTS)}
    found = {}
    for table, has_no_rowid in rows("SELECT name, wr FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND name NOT LIKE 'sqlite_%'"):
        if table != "alembic_version":
            columns = rows(f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo('{table}') ORDER BY name")
            indexes = [
                (
                    is_unique,
                    origin,
                    is_partial,
                    where_of(connection, name),
                    rows(f"SELECT name, \"desc\" FROM pragma_index_xinfo('{name}') WHERE key"),
                )
                for name, is_unique, origin, is_partial in rows(f"SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}')")
            ]
            found[table] = has_no_rowid, columns, sorted(indexes, key=repr)
    return found


def where_of(connection, index):
    """Its name and condition; an index behind a constraint has a name of the database's own."""
    sql = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": index}).scalar()
    return (index, sql.partition(" WHERE ")[2]) if sql else None


def version(connection):
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def state(connection):
    """What a killed upgrade must not have touched."""
    tables = inspect(connection).get_table_names()
    return sorted(tables), version(connection) if "alembic_version" in tables else "", catalogue(connection)


def test_the_steps_make_what_the_tables_say(url, tmp_path, request):
    upgrade(url)
    wanted = f"sqlite:///{tmp_path / 'wanted.db'}" if url.startswith("sqlite") else request.getfixturevalue("postgresql").database()
    on(wanted, metadata.create_all)
    made, said = on(url, catalogue), on(wanted, catalogue)
    assert len(said) > 2 and made == said

    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, metadata)

    assert on(url, differences) == []
    assert on(url, version) == REVISIONS[-1] == HEAD


# In the long run from each old schema, killed at each statement; else from nothing and from the last one.
@pytest.mark.parametrize("start", ["", *(REVISIONS[:-1] if IS_SOAK else REVISIONS[-2:-1])])
def test_a_killed_upgrade_leaves_the_old_schema(url, start):  # F52
    if start:
        upgrade(url, start)
    before, deaths = on(url, state), 0
    for number in killed_upgrades(url, every=1 if IS_SOAK else 2 if start else 12):
        assert on(url, state) == before, f"killed before statement {number}"
        deaths = number
    assert deaths > (2 if start else len(metadata.tables))
    assert on(url, version) == HEAD


def angelia(url, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANGELIA_")} | {"ANGELIA__HOUSE__DATABASE": url}
    argv = [sys.executable, "-m", "angelia", *arguments]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def test_of_two_upgrades_at_once_one_waits(url):
    running = [angelia(url, "db", "upgrade") for _ in range(2)]
    assert [(one.communicate(timeout=60)[1], one.returncode) for one in running] == [("", 0)] * 2
    assert on(url, version) == HEAD


def stamp(url, revision):
    on(url, lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": revision}).close())


@pytest.mark.parametrize("found, told", [("0000", "angelia db upgrade"), ("9999", "newer")])
def test_a_hub_refuses_a_schema_that_it_does_not_speak(url, found, told, tmp_path):
    upgrade(url)
    stamp(url, found)
    before = on(url, state)
    hub = angelia(url, "serve", "--data-dir", str(tmp_path), "--port", str(free_port()))
    _, told_of = hub.communicate(timeout=60)
    assert hub.returncode == 1, told_of
    assert told in told_of and "Traceback" not in told_of
    assert on(url, state) == before


def test_a_url_is_read_as_the_programs_of_postgresql_read_it(empty_postgresql_url, tmp_path):  # TLS is asked for with sslmode
    url = f"{empty_postgresql_url}?sslmode=disable"
    upgrade(url)

    async def copy():
        store = await open_store(url)
        await store.backup(str(tmp_path / "copy"))
        await store.close()

    asyncio.run(copy())
    assert (tmp_path / "copy").stat().st_size
    _, told = angelia(f"{empty_postgresql_url}?sslmode=require", "web", "--data-dir", str(tmp_path)).communicate(timeout=60)
    assert "rejected SSL upgrade" in told and "Traceback" not in told


@pytest.mark.parametrize("words", [("db", "upgrade"), ("db", "check"), ("work",)])
def test_a_database_that_is_not_there_is_said(postgresql, words, tmp_path):
    hub = angelia(postgresql.url("nowhere"), *words)
    _, told = hub.communicate(timeout=60)
    assert hub.returncode == 1 and told.splitlines()[-1].endswith(': database "nowhere" does not exist') and "Traceback" not in told


def test_an_upgrade_of_something_newer_changes_nothing(url):
    upgrade(url)
    stamp(url, "9999")
    before = on(url, state)
    with pytest.raises(SchemaMismatch, match="newer"):
        upgrade(url)
    assert on(url, state) == before
