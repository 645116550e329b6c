"""The SQL store: all roles over one engine, chosen by URL; migrations."""

import contextlib
import importlib
import sqlite3
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from angelia.model.errors import BadSettings, StoreUnavailable
from angelia.stores.addresses import AddressesMixin
from angelia.stores.announcements import AnnouncementsMixin
from angelia.stores.answers import AnswersMixin
from angelia.stores.deliveries import DeliveriesMixin
from angelia.stores.digests import DigestsMixin
from angelia.stores.ears import EarsMixin
from angelia.stores.engine import DAMAGED, SqlEngine, SqliteEngine, is_damage
from angelia.stores.escalations import EscalationsMixin
from angelia.stores.events import EventsMixin
from angelia.stores.expectations import ExpectationsMixin
from angelia.stores.experiments import ExperimentsMixin
from angelia.stores.groups import GroupsMixin
from angelia.stores.inbox import InboxMixin
from angelia.stores.jobs import JobsMixin
from angelia.stores.ledger import LedgerMixin
from angelia.stores.messages import MessagesMixin
from angelia.stores.operations import OperationsMixin
from angelia.stores.people import PeopleMixin
from angelia.stores.requests import RequestsMixin
from angelia.stores.signing_in import SignInMixin
from angelia.stores.site import SiteMixin, TypesMixin
from angelia.stores.statistics import StatisticsMixin
from angelia.stores.templates import TemplatesMixin
from angelia.stores.traces import TracesMixin
from angelia.stores.upkeep import HEAD, UpkeepMixin


class SqlStore(
    MessagesMixin,
    LedgerMixin,
    DeliveriesMixin,
    DigestsMixin,
    TracesMixin,
    AnswersMixin,
    EscalationsMixin,
    PeopleMixin,
    AddressesMixin,
    GroupsMixin,
    SiteMixin,
    TypesMixin,
    TemplatesMixin,
    OperationsMixin,
    StatisticsMixin,
    SignInMixin,
    InboxMixin,
    EventsMixin,
    ExperimentsMixin,
    ExpectationsMixin,
    RequestsMixin,
    EarsMixin,
    JobsMixin,
    UpkeepMixin,
    AnnouncementsMixin,
):
    """`Store` on SQLite or PostgreSQL."""

    def __init__(self, engine: SqlEngine, url: str) -> None:
        self.engine = engine
        self.url = url
        AnnouncementsMixin.__init__(self)
        MessagesMixin.__init__(self)
        InboxMixin.__init__(self)
        UpkeepMixin.__init__(self)


def make_store(url: str) -> SqlStore:
    """A store by URL, not yet opened: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user@host/name`."""
    parsed = _checked(url)
    if parsed.get_backend_name() == "sqlite":
        return SqlStore(SqliteEngine(_file(parsed)), url)
    engine = importlib.import_module("angelia.stores.postgres").PostgresEngine
    return SqlStore(engine(url), url)


async def open_store(url: str) -> SqlStore:
    """Make and open; closed again if it can't be used."""
    store = make_store(url)
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


def is_there(url: str) -> bool:
    """Has this SQLite database been made?"""
    return _file(_checked(url)).exists()


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema to this version; creates it in an empty database. SchemaMismatch where it is newer.

    All steps are one transaction: killed at any point, the old schema stays. Runs its own event loop.
    """
    parsed = _checked(url)
    path = _file(parsed) if parsed.get_backend_name() == "sqlite" else None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _wal(path)
        if revision == "head" and _is_current(path):
            return
    # The library of the migrations takes a tenth of the start, and is used once a version.
    config = importlib.import_module("alembic.config").Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if path is not None:
        config.attributes["engine"] = _migrating(path)
    else:
        config.attributes["connect"] = importlib.import_module("angelia.stores.postgres").connector(url)
    try:
        importlib.import_module("alembic.command").upgrade(config, revision)
    except DBAPIError as error:
        raise StoreUnavailable(f"the database can't be upgraded: {str(error.orig).splitlines()[0]}") from error


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        raise BadSettings("the database is a URL: sqlite:///angelia.db or postgresql://user@host/name") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise BadSettings(f"the database is SQLite or PostgreSQL, not {parsed.get_backend_name()}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise BadSettings("SQLite needs a file: sqlite:///angelia.db")
    return parsed


def _file(url: URL) -> Path:
    assert url.database is not None
    return Path(url.database)


def _is_current(path: Path) -> bool:
    """Has the file this version's schema? Whatever is wrong with it is for the migrations to say."""
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            return connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        finally:
            connection.close()
    return False


def _migrating(path: Path) -> Engine:
    """The driver alone would commit each CREATE by itself."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None, "timeout": 30}, poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _wal(path: Path) -> None:
    """The journal mode is a property of the file; it is set once, before anybody else opens it."""
    try:
        connection = sqlite3.connect(path, timeout=5)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        if is_damage(str(error)):
            raise StoreUnavailable(f"{path}: {DAMAGED}") from error
        raise StoreUnavailable(f"{path} can't be used as a database: {error}") from error
