"""How Alembic reaches the database: a ready engine for SQLite, an asyncpg URL for PostgreSQL."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from angelia.stores.tables import metadata


def migrate(connection: Connection) -> None:
    """All steps that are missing, in one transaction."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
    with context.begin_transaction():
        context.run_migrations()


async def migrate_async(url: str) -> None:
    """The same over asyncpg."""
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 5})
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


attributes = context.config.attributes
if "engine" in attributes:
    with attributes["engine"].begin() as opened:
        migrate(opened)
else:
    asyncio.run(migrate_async(attributes["url"]))
