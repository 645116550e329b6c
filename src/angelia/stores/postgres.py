"""PostgreSQL's engine, read where a site has that database: SQLAlchemy's asynchronous side is a tenth of what there is to read."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from angelia import telemetry
from angelia.model.errors import AngeliaError, Conflict, InvalidInput, StoreUnavailable
from angelia.stores.engine import T, Told, Work, run, unavailable

CHANNEL = "angelia"
_LOST = ("40001", "40P01")  # serialisation failure, deadlock: the server took everything back, and asks to try again
_PAUSES = (0.01, 0.03, 0.1, 0.3)  # seconds, give or take a half, so that two who met do not meet again
_AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class PostgresListener:
    """LISTEN and NOTIFY between the processes of a site."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str, heard: Callable[[str], None]) -> Self:
        """Listen; StoreUnavailable where there is no connection."""
        try:
            connection: Any = await connector(url)()
            await connection.add_listener(CHANNEL, lambda *arguments: heard(str(arguments[-1])))
        except _AWAY as error:
            raise StoreUnavailable(f"PostgreSQL gives no connection: {error}") from None
        return cls(connection)

    async def tell(self, topic: str) -> None:
        """See Listener."""
        try:
            await self._connection.execute("SELECT pg_notify($1, $2)", CHANNEL, topic)
        except _AWAY as error:
            raise StoreUnavailable(f"PostgreSQL takes no notice: {error}") from None

    def is_closed(self) -> bool:
        """See Listener."""
        return bool(self._connection.is_closed())

    async def close(self) -> None:
        """See Listener."""
        await self._connection.close(timeout=2)


class PostgresEngine:
    """PostgreSQL through asyncpg; functions run in SQLAlchemy's greenlet, so that they are the same as SQLite's."""

    dialect = "postgresql"
    commits_ahead = 1  # two would begin at once, and the second with next to nothing

    def __init__(self, url: str, pool_size: int = 8) -> None:
        self._is_closed = False
        self._writing: set[asyncio.Task[Any]] = set()
        self._url = url
        # Our row locks and second looks are written for READ COMMITTED, whatever the server's default is.
        wishes = {"application_name": "angelia", "synchronous_commit": "on", "default_transaction_isolation": "read committed"}
        connect = connector(url, command_timeout=60, server_settings=wishes)
        self._engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://", async_creator=connect, pool_size=pool_size, max_overflow=4, pool_timeout=5, pool_pre_ping=False
        )
        event.listen(self._engine.sync_engine, "handle_error", _note_disconnect)
        # The same connections: what is no transaction needs no BEGIN and no end, each of which is a way to the server and back.
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, work: Work[T]) -> T:
        """Run without a transaction: under READ COMMITTED each statement sees what is there now in any case."""
        return await self._guarded(self._retried(self._alone, work))

    async def glance(self, work: Work[T]) -> T:
        """As `read`: the server is another process in any case."""
        return await self.read(work)

    async def write_once(self, work: Work[T]) -> T:
        """As `write`, for what is one statement that writes: it commits by itself."""
        return await self._guarded(self._retried(self._alone, work))

    async def _alone(self, work: Work[T]) -> T:
        async with self._single.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        """Run in a transaction; returns after its COMMIT. One that lost against another runs again: `work` must bear that."""
        return await self._guarded(self._retried(self._write, work))

    def begin(self, work: Work[T], told: Told[T]) -> Callable[[], object]:
        """The same, for who does not wait."""

        def ended(writing: asyncio.Task[T]) -> None:
            self._writing.discard(writing)
            if writing.cancelled():
                told(StoreUnavailable("the store is closing; send again in a few seconds"), None)
            elif isinstance(failure := writing.exception(), Exception):
                told(failure, None)
            elif failure is None:
                told(None, writing.result())

        writing = asyncio.get_running_loop().create_task(self.write(work))
        self._writing.add(writing)
        writing.add_done_callback(ended)
        return writing.cancel

    async def _write(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def _retried(self, once: Callable[[Work[T]], Coroutine[Any, Any, T]], work: Work[T]) -> T:
        for pause in _PAUSES:
            try:
                return await once(work)
            except (DBAPIError, asyncpg.PostgresError) as error:
                cause = getattr(error, "orig", error)
                if getattr(cause, "sqlstate", None) not in _LOST:
                    raise
                telemetry.log.info("transaction_runs_again", error=str(cause).splitlines()[0])
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        return await once(work)

    async def _guarded(self, running: Coroutine[Any, Any, T]) -> T:
        if self._is_closed:
            running.close()
            raise StoreUnavailable("the store is closed; send again in a few seconds")
        try:
            return await running
        except Exception as error:
            told = _of_postgres(error)
            if told is None:
                raise
            raise told from error

    async def pulse(self) -> int:
        """How far the server's log of writes is, of all its databases."""
        return await self.read(lambda connection: int(run(connection, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").scalar()))

    async def listen(self, heard: Callable[[str], None]) -> "PostgresListener":
        """On a connection of its own."""
        return await PostgresListener.open(self._url, heard)

    async def close(self) -> None:
        """Give the connections back."""
        self._is_closed = True
        await self._engine.dispose()


def _of_postgres(error: Exception) -> AngeliaError | None:
    """Our word for what SQLAlchemy or, past it, the driver raised; None for what is neither's."""
    if isinstance(error, AngeliaError):
        return None
    cause = getattr(getattr(error, "orig", None), "__cause__", None) or error
    match cause:
        case asyncpg.IntegrityConstraintViolationError():
            return Conflict("the database holds this already")
        case asyncpg.DataError() | UnicodeEncodeError():
            return InvalidInput("a text holds what the database can't keep (a lone surrogate, NUL)")
        case OSError() | TimeoutError() | asyncpg.PostgresError() | asyncpg.InterfaceError():
            return unavailable(cause)
    return unavailable(error) if type(error).__module__.startswith("sqlalchemy") else None


def _note_disconnect(context: Any) -> None:
    """A server that went away takes all its connections with it: forget the whole pool at once."""
    if isinstance(context.original_exception, asyncpg.exceptions.AdminShutdownError | asyncpg.exceptions.CannotConnectNowError):
        context.is_disconnect = True


def connector(url: str, **options: Any) -> Callable[[], Coroutine[Any, Any, Any]]:
    """What connects. The driver reads the URL itself, as libpq and `pg_dump` do: SQLAlchemy has other words for TLS, and knows no `sslmode`."""
    return partial(asyncpg.connect, plain_url(url), timeout=5, **options)


def plain_url(url: str) -> str:
    """The URL as libpq and asyncpg take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
