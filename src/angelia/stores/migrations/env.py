"""How Alembic reaches the database: a ready engine for SQLite, what connects for PostgreSQL."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from angelia.stores.columns import metadata
from angelia.stores.upkeep import mismatch

LOCK = 1_095_649_095
"""One number for all hubs on one database server: locks are kept per database."""


def migrate(connection: Connection) -> None:
    """All steps that are missing, in one transaction; of two processes that come at once, the second waits and finds nothing left to do."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK:d})").close()
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=is_sqlite, transactional_ddl=True)
    known = {step.revision for step in context.script.walk_revisions()}
    for found in context.get_context().get_current_heads():
        if found not in known:
            raise mismatch(found)
    with context.begin_transaction():
        context.run_migrations()


async def migrate_async(connect: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """The same over asyncpg."""
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


attributes = context.config.attributes
if "engine" in attributes:
    with attributes["engine"].begin() as opened:
        migrate(opened)
else:
    asyncio.run(migrate_async(attributes["connect"]))
