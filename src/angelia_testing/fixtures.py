"""Pytest fixtures: stores on both databases, a house in a folder, real servers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from angelia.house import House
from angelia.model.errors import SchemaMismatch
from angelia.settings import Settings, load
from angelia.stores.sql import SqlStore, open_store, upgrade
from angelia_testing.databases import empty_database, with_schema
from angelia_testing.peers.mail import MailServer
from angelia_testing.peers.postgresql import PostgreSQL
from angelia_testing.peers.provider import OpenidProvider
from angelia_testing.peers.rabbitmq import RabbitMQ, Vhost


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A cluster for the whole run."""
    cluster = PostgreSQL()
    yield cluster
    cluster.stop()


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """A fresh database with the schema and nothing else."""
    url = postgresql.database(has_schema=True)
    yield url
    postgresql.drop(url)


@pytest.fixture
def empty_postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """A fresh, empty database."""
    url = postgresql.database()
    yield url
    postgresql.drop(url)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A node for the whole run."""
    node = RabbitMQ()
    yield node
    node.stop()


@pytest.fixture
def vhost(rabbitmq: RabbitMQ) -> Vhost:
    """A fresh, empty virtual host."""
    return rabbitmq.vhost()


@pytest.fixture(scope="session")
def _mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture
def mail_server(_mail_server: MailServer) -> MailServer:
    """Postfix and Dovecot with empty mailboxes."""
    _mail_server.empty()
    return _mail_server


@pytest.fixture(scope="session")
def _openid_provider() -> Iterator[OpenidProvider]:
    provider = OpenidProvider("http://127.0.0.1:8080", "real")
    yield provider
    provider.close()


@pytest.fixture
def openid_provider(_openid_provider: OpenidProvider) -> OpenidProvider:
    """A real provider, for a hub that calls it `real` and itself http://127.0.0.1:8080; nothing was told yet."""
    _openid_provider.told.asked.clear()
    return _openid_provider


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh SQLite file."""
    return f"sqlite:///{tmp_path / 'angelia.db'}"


async def opened(url: str) -> SqlStore:
    """A store with its schema, opened; migrations run in a thread since they bring an event loop of their own."""
    if url.startswith("sqlite"):
        await asyncio.to_thread(with_schema, url)
        return await open_store(url)
    try:
        return await open_store(url)
    except SchemaMismatch:
        await asyncio.to_thread(upgrade, url)
        return await open_store(url)


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[SqlStore]:
    """The store on SQLite alone."""
    made = await opened(sqlite_url)
    yield made
    await made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SqlStore]:
    """The store on each database."""
    made = await opened(request.getfixturevalue(f"{request.param}_url"))
    yield made
    await made.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a house in a folder of its own."""
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}})


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    """A house on SQLite, its stages not running."""
    Path(settings.database.removeprefix("sqlite:///")).write_bytes(await asyncio.to_thread(empty_database))
    async with House.open(settings) as made:
        yield made
