"""Two engines for one code: plain functions over a SQLAlchemy connection, run where the database wants them. SQLite's is here."""

import asyncio
import json
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from angelia import telemetry
from angelia.model.errors import Conflict, InvalidInput, StoreUnavailable

T = TypeVar("T")
Work = Callable[[Connection], T]
Told = Callable[[Exception | None, T | None], None]
"""Called with what failed, or with the result."""
BUSY_SECONDS = 2.0
GLANCE = 0.02  # seconds that a glance may wait for a lock, of which a reader in WAL mode meets hardly any
READERS = 4
MOST_IN_COMMIT = 200
_HALF = "a text holds half a character (a lone surrogate)"
DAMAGED = "the database file is damaged: stop the hub and put a backup in its place"


class Listener(Protocol):
    """A connection that hears of others, and tells them. Each of these may raise StoreUnavailable."""

    async def tell(self, topic: str) -> None:
        """Tell all who listen on this database; one call at a time."""

    def is_closed(self) -> bool:
        """Was it lost?"""

    async def close(self) -> None:
        """Give it back."""


class SqlEngine(Protocol):
    """Runs functions over a connection. `write` returns once its transaction is durable; what fails has changed nothing."""

    dialect: str
    commits_ahead: int
    """So many writes at once serve those best who commit one after another what waits meanwhile."""

    async def read(self, work: Work[T]) -> T:
        """Run in a read transaction."""

    async def glance(self, work: Work[T]) -> T:
        """As `read`, for what is found in a few pages that are looked at all the time: done without waking a thread where that is dearer."""

    async def write(self, work: Work[T]) -> T:
        """Run in a write transaction, together with others where that is cheaper (group commit)."""

    def begin(self, work: Work[T], told: Told[T]) -> Callable[[], object]:
        """As `write`, asked for here and now; `told` hears in the loop what came of it. What is returned gives up waiting for the database."""

    async def write_once(self, work: Work[T]) -> T:
        """As `write`, where `work` writes with one statement at most, and that is its last: then it needs no transaction around it."""

    async def pulse(self) -> int:
        """Another number once anybody wrote since."""

    async def listen(self, heard: Callable[[str], None]) -> Listener | None:
        """Call `heard` with what others tell; None where processes can't tell each other."""

    async def close(self) -> None:
        """Finish what waits, then disconnect."""


FEW = 8
"""So few rows, found by their keys, are read sooner than a reader is woken."""


async def read_rows(engine: SqlEngine, count: int, work: Work[T]) -> T:
    """Read so many rows by their keys: a few at a glance, which is what there is to read while messages come one by one."""
    return await (engine.glance(work) if count <= FEW else engine.read(work))


@lru_cache(maxsize=512)
def numbered(sql: str) -> str:
    """PostgreSQL's `$1, $2` for our `?, ?`. Our SQL holds no question mark in a text."""
    parts = sql.split("?")
    return "".join(part + (f"${index + 1}" if index < len(parts) - 1 else "") for index, part in enumerate(parts))


def run(connection: Connection, sql: str, parameters: Any = ()) -> Any:
    """Run our SQL through the driver: a tuple for one statement, a list of tuples for many in one go."""
    statement = sql if connection.dialect.name == "sqlite" else numbered(sql)
    return connection.exec_driver_sql(statement, parameters or None)


def fetched(connection: Connection, sql: str, parameters: Any = ()) -> list[Any]:
    """Rows of our SQL as the driver gives them, by number: where there are thousands, SQLAlchemy's own cost as much again as reading them."""
    result = run(connection, sql, parameters)
    rows: list[Any] = result.cursor.fetchall()
    result.close()
    return rows


def as_one(connection: Connection, values: Collection[Any]) -> object:
    """Many values as one parameter, for `unnest` on PostgreSQL, for `json_each` on SQLite: the text stays the same however many they are, and
    SQLAlchemy, which makes and compares an expression for each, is not asked.
    """
    return list(values) if connection.dialect.name == "postgresql" else json.dumps(list(values))


def as_columns(connection: Connection, rows: Sequence[Sequence[Any]]) -> tuple[object, ...]:
    """Many rows, at least one, as parameters: a list for each column on PostgreSQL, one text of all on SQLite."""
    return tuple(map(list, zip(*rows, strict=True))) if connection.dialect.name == "postgresql" else (json.dumps(rows),)


PAIRS: Mapping[str, str] = {
    "postgresql": "unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS w(message_id, person_id)",
    "sqlite": "(SELECT json_extract(value, '$[0]') AS message_id, json_extract(value, '$[1]') AS person_id FROM json_each(?)) AS w",
}
"""What stands after FROM for pairs of message and person, which come `as_columns`."""


def among(connection: Connection, kind: str) -> str:
    """What stands after a column for "is one of these values", which come `as_one`; `kind` is their PostgreSQL type."""
    return "IN (SELECT value FROM json_each(?))" if connection.dialect.name == "sqlite" else "= ANY(CAST(? AS " + kind + "[]))"


def run_among(connection: Connection, sql: str, values: Collection[Any], kind: str) -> Any:
    """Run our SQL, in which `{among}` stands for that."""
    return run(connection, sql.format(among=among(connection, kind)), (as_one(connection, values),))


def fetched_among(connection: Connection, sql: str, values: Collection[Any], kind: str) -> list[Any]:
    """The same, its rows as `fetched`."""
    return fetched(connection, sql.format(among=among(connection, kind)), (as_one(connection, values),))


@dataclass(frozen=True, slots=True)
class Insert:
    """A hot insert of many rows into `table`: `columns` are its names with their PostgreSQL types, `then` what follows the rows."""

    table: str
    columns: Mapping[str, str]
    then: str = ""

    def __call__(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write them with few statements. Where nothing follows the rows, it must be the last write of its transaction (see `_copy`)."""
        if not rows:
            return
        if connection.dialect.name == "sqlite":
            self._in_few_steps(_driver(connection), rows)
        elif self.then:
            connection.exec_driver_sql(self._from_arrays, tuple(map(list, zip(*rows, strict=True))))
        else:
            self._copy(connection, rows)

    def _in_few_steps(self, driver: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """The driver gives and takes the interpreter's lock at each step of SQLite, and a busy event loop beside it makes every such
        hand-over dear: so one step writes many rows. Few sizes above the small ones, so that statements stay prepared; 2,000 rows of 14
        columns are below the 32,766 values that one may have.
        """
        start = 0
        while start < len(rows):
            left = len(rows) - start
            size = left if left <= _SMALL else next(size for size in _ROWS_AT_ONCE if size <= left)
            driver.execute(_with_values(self._head, len(self.columns), size, self.then), tuple(chain.from_iterable(rows[start : start + size])))
            start += size

    def _copy(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """COPY, the fastest that PostgreSQL takes. SQLAlchemy begins its transaction with the first statement that it sees, which this is
        not: alone it commits by itself, which saves two round trips; after others it is part of theirs.
        """
        driver: Any = connection.connection.dbapi_connection
        driver.run_async(lambda raw: raw.copy_records_to_table(self.table, records=rows, columns=tuple(self.columns)))

    @property
    def _head(self) -> str:
        return "INSERT INTO " + self.table + " (" + ", ".join(self.columns) + ")"

    @property
    def _from_arrays(self) -> str:
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(self.columns.values(), 1))
        return self._head + " SELECT * FROM unnest(" + arrays + ") " + self.then


_SMALL = 64
_ROWS_AT_ONCE = (2_000, 500, 200, _SMALL)


@lru_cache(maxsize=512)
def _with_values(head: str, width: int, count: int, then: str) -> str:
    row = "(" + ", ".join("?" * width) + ")"
    return " ".join((head, "VALUES", ", ".join([row] * count), then))


def _driver(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


class SqliteEngine:
    """SQLite: one writer thread that commits for all who wait, a few readers beside it (WAL)."""

    dialect = "sqlite"
    commits_ahead = 2  # one that runs, and one that its thread begins in the moment in which that one ends

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_closed = False
        self._looking: sqlite3.Connection | None = None
        self._unsure = 0
        self._jobs: queue.SimpleQueue[tuple[Work[Any], Told[Any], asyncio.AbstractEventLoop] | None] = queue.SimpleQueue()
        # The writer asks for the interpreter's lock at each statement: with 5 ms, Python's default, a busy loop makes it wait too long.
        sys.setswitchinterval(min(sys.getswitchinterval(), 0.001))
        # Each reader keeps its connection: to take it from a pool and give it back costs as much as a small read.
        self._own = threading.local()
        self._reading: list[Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._engine = self._connect(is_writer=False)
        self._writer_engine = self._connect(is_writer=True)
        self._thread = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._thread.start()

    def _connect(self, *, is_writer: bool) -> Engine:
        def creator() -> sqlite3.Connection:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=OFF")
            connection.execute(f"PRAGMA cache_size=-{65_536 if is_writer else 16_384:d}")
            connection.execute("PRAGMA temp_store=MEMORY")
            return connection

        pool: Any = NullPool if is_writer else QueuePool
        sizes: dict[str, Any] = {} if is_writer else {"pool_size": READERS + 1, "max_overflow": READERS}
        return create_engine("sqlite://", creator=creator, poolclass=pool, **sizes)

    async def read(self, work: Work[T]) -> T:
        """Run on a reader thread."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed; ask again in a few seconds")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def glance(self, work: Work[T]) -> T:
        """Here and now: to wake a reader, and to be woken, takes several times as long. Where the database is busy or ill a reader sees to it."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed; ask again in a few seconds")
        try:
            return self._on_own(work, GLANCE)
        except (DBAPIError, sqlite3.Error):
            self._drop_own()
            return await self.read(work)
        except UnicodeEncodeError:
            raise InvalidInput(_HALF) from None

    def _read(self, work: Work[T]) -> T:
        try:
            return self._on_own(work, BUSY_SECONDS)
        except (DBAPIError, sqlite3.Error) as error:
            self._drop_own()
            raise unavailable(error) from error
        except UnicodeEncodeError:
            raise InvalidInput(_HALF) from None

    def _on_own(self, work: Work[T], patience: float) -> T:
        """In a transaction on this thread's connection; a new one waits for locks so many seconds."""
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._engine.connect()
            self._reading.append(connection)
            _driver(connection).execute(f"PRAGMA busy_timeout={int(patience * 1_000):d}")
        execute = _driver(connection).execute
        execute("BEGIN")
        try:
            return work(connection)
        finally:
            execute("ROLLBACK")

    def _drop_own(self) -> None:
        """Not trusted any more."""
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            self._own.connection = None
            self._reading.remove(connection)
            _discard(connection)

    async def write(self, work: Work[T]) -> T:
        """Queue for the writer thread; returns after its COMMIT."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.begin(work, partial(_resolve, future))
        return await future

    def begin(self, work: Work[T], told: Told[T]) -> Callable[[], None]:
        """The same, for who does not wait. Nothing stops the thread."""
        loop = asyncio.get_running_loop()
        if self._is_closed:
            loop.call_soon(told, StoreUnavailable("the store is closed; send again in a few seconds"), None)
        else:
            self._jobs.put((work, told, loop))
        return _nothing

    async def write_once(self, work: Work[T]) -> T:
        """Like all that is written: together with others."""
        return await self.write(work)

    async def pulse(self) -> int:
        """SQLite's counter of what other connections wrote, and this one never writes. It reads shared memory, some microseconds: no thread
        is woken for it.
        """
        try:
            if self._looking is None:
                self._looking = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            return int(self._looking.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            # It can't be said now: then it counts as if somebody wrote, and whoever reads hears what is wrong.
            self._unsure -= 1
            return self._unsure

    async def listen(self, heard: Callable[[str], None]) -> None:
        """SQLite has no way to tell other processes; `pulse` says that something was told."""
        del heard

    def _write_all(self) -> None:
        connection: Connection | None = None
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            while len(jobs) < MOST_IN_COMMIT and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    self._jobs.put(None)
                    break
                jobs.append(following)
            try:
                connection = connection or self._writer_engine.connect()
                results = _commit(connection, [work for work, _, _ in jobs])
            except Exception as error:  # noqa: BLE001 - whatever it is, the thread that all writes wait for must live
                # A failed flush may have dropped pages that a later one would not write again: this connection is not trusted any more.
                _discard(connection)
                connection = None
                results = [(unavailable(error), None)] * len(jobs)
            for (_, told, loop), (failure, result) in zip(jobs, results, strict=True):
                _call(loop, told, failure, result)
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._is_closed = True
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._readers.shutdown()
        for connection in self._reading:
            connection.close()
        if self._looking is not None:
            self._looking.close()
        self._engine.dispose()
        self._writer_engine.dispose()


def _commit(connection: Connection, works: list[Work[Any]]) -> list[tuple[Exception | None, Any]]:
    """One transaction for all; each under its own savepoint, so that one that raises takes back only its own."""
    results: list[tuple[Exception | None, Any]] = []
    execute = _driver(connection).execute  # past SQLAlchemy: it adds nothing to these, and they are hot
    execute("BEGIN IMMEDIATE")
    try:
        if len(works) == 1:  # what is taken back of it is all there is
            results.append(_tried(connection, works[0]))
            if results[0][0] is not None:
                execute("ROLLBACK")
                return results
        else:
            for work in works:
                execute("SAVEPOINT work")
                failure, result = _tried(connection, work)
                if failure is not None:
                    execute("ROLLBACK TO work")
                execute("RELEASE work")
                results.append((failure, result))
        _driver(connection).commit()  # gives the interpreter's lock away once; a statement does so several times
    except BaseException:
        raw = connection.connection.driver_connection
        if raw is not None and raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
    return results


def _tried(connection: Connection, work: Work[Any]) -> tuple[Exception | None, Any]:
    """What came of it; raises where it is the database that failed, and with it all who share the transaction."""
    try:
        return None, work(connection)
    except (DBAPIError, sqlite3.Error) as error:
        if not _is_constraint(error):
            raise
        return Conflict("the database holds this already"), None
    except UnicodeEncodeError:
        return InvalidInput(_HALF), None
    except Exception as error:  # noqa: BLE001 - goes to the one who asked, as it is
        return error, None


def _is_constraint(error: Exception) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, sqlite3.IntegrityError)


def _discard(connection: Connection | None) -> None:
    if connection is not None:
        connection.invalidate()
        connection.close()


def is_damage(text: str) -> bool:
    """Does SQLite say that the file itself is broken?"""
    return "malformed" in text or "not a database" in text


def unavailable(error: BaseException) -> StoreUnavailable:
    """What the database raised, told in our words; logged here."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    telemetry.log.error("store_unavailable", error=text, kind=type(cause).__name__)
    if is_damage(text):
        return StoreUnavailable(DAMAGED, retry_after=60)
    if "disk is full" in text or "No space left" in text or "disk I/O" in text:
        return StoreUnavailable("the hub can't store anything: its disk is full or failing; an operator must act", retry_after=5)
    return StoreUnavailable("the hub can't store anything right now; send again in a few seconds", retry_after=2)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        telemetry.log.warning("nobody_waits_for_the_store")


def _nothing() -> None:
    """There is nothing to do."""


def _resolve(future: "asyncio.Future[Any]", failure: Exception | None, result: Any) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
