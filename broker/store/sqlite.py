"""SQLite: one file, one writer at a time; whatever needs no waiting is answered on the thread of the loop.

Refuses: a database that forgets (in memory), a folder that is not there, a file that this account may not open. To let
a statement wait on the loop's thread for another process or for the disk: taking the write lock, commit, checkpoint and
close stay on aiosqlite's thread.
Keeps: the file tells who consented to what, so it is made for its owner's eyes, and its write-ahead log takes its
permissions. The order of calls: while something of a connection is still on its thread, all that follows goes there
too, so a cancelled task never meets its own unfinished commit.
Source: sqlite.org/pragma.html, /rescode.html, /howtocorrupt.html, 2.2 (POSIX advisory locks); aiosqlite's
`Connection._execute`, through which each of its calls passes; ADR 16 has what it is worth.
"""

import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import URL, Connection, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.dml import Insert

from broker.store import dialects
from broker.store.dialects import Locks
from broker.store.wake_signal import WakeSignal
from schemas.errors import Corrupt, Fault, Refused, Unavailable

T = TypeVar("T")
BUSY_SECONDS = 10
"""How long a transaction waits for another process before it gives up with `store.locked`."""
WAITS = ("BEGIN IMMEDIATE", "PRAGMA wal_checkpoint")
_DURABLE = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL may lose an acknowledged revocation on a power cut
    "PRAGMA secure_delete=ON",  # a destroyed consent key does not stay in a free page
    "PRAGMA foreign_keys=ON",
)


class SqliteLocks:
    """Nothing to do: BEGIN IMMEDIATE made this transaction the only writer, before its first read."""

    async def shared(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        return

    async def exclusive(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        return

    async def both(self, connection: AsyncConnection, shared: Iterable[bytes], exclusive: Iterable[bytes]) -> None:
        return


class Sqlite:
    """One writer at a time (BEGIN IMMEDIATE), readers beside it on their snapshots (WAL)."""

    locks: Locks = SqliteLocks()
    writers = 1

    def writer(self, url: URL) -> AsyncEngine:
        make_private(url)
        return self._engine(url, "BEGIN IMMEDIATE", _DURABLE, connections=1)

    def reader(self, url: URL) -> AsyncEngine:
        return self._engine(url, "BEGIN", (*_DURABLE, "PRAGMA query_only=ON"), connections=dialects.CONNECTIONS)

    def glancer(self, reader: AsyncEngine) -> AsyncEngine:
        return reader  # its BEGIN and its end ask nobody

    def migrator(self, url: URL) -> AsyncEngine:
        """Foreign keys are off: a table is changed by copying it, and dropping the old copy would drop its children."""
        make_private(url)
        return self._engine(url, "BEGIN IMMEDIATE", (*_DURABLE, "PRAGMA foreign_keys=OFF"), connections=1)

    def insert_new(self, table: Table) -> Insert:
        return sqlite.insert(table).on_conflict_do_nothing()

    def wake_signal(self, url: URL) -> WakeSignal:
        return WakeSignal()

    def bare(self, url: URL) -> AsyncEngine | None:
        return None

    def broken_references(self, connection: Connection) -> int:
        return len(connection.exec_driver_sql("PRAGMA foreign_key_check").all())

    async def patience(self, connection: AsyncConnection) -> None:
        """SQLite ends nobody."""

    async def resume_numbers(self, connection: AsyncConnection, table: Table) -> None:
        """SQLite remembers the highest by itself."""

    def fault_of(self, error: DBAPIError) -> Fault | None:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is None:
            return Unavailable("store.away", error="closed") if error.connection_invalidated else None
        return fault_of(code & 0xFF, str(getattr(error.orig, "sqlite_errorname", "")))

    def unreachable(self, error: Exception) -> Fault | None:
        return Unavailable("store.away", error=type(error).__name__) if isinstance(error, OSError) else None

    def without_values(self, error: DBAPIError) -> DBAPIError:
        """SQLite names the constraint and its columns, no more."""
        return error

    async def forget(self, writer: AsyncEngine) -> None:
        """secure_delete overwrites a row in its page, but the page as it was may still lie in the write-ahead log."""
        async with writer.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            if driver is None:
                raise Unavailable("store.away", error="closed")
            (busy, *_), *_ = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise Unavailable("store.locked")

    def _engine(self, url: URL, begin: str, pragmas: tuple[str, ...], connections: int) -> AsyncEngine:
        engine = create_async_engine(
            url,
            hide_parameters=True,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=dialects.CONNECTION_WAIT_SECONDS,
            # None: the driver begins nothing by itself, and a transaction is exactly what we began.
            connect_args={
                "isolation_level": None,
                "timeout": BUSY_SECONDS,
                "async_creator_fn": connector(writes=begin == "BEGIN IMMEDIATE"),
            },
        )

        @event.listens_for(engine.sync_engine, "connect")
        def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(pragma)
                cursor.fetchall()
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


class NearConnection(aiosqlite.Connection):
    """One connection to a SQLite file. `writes`: its commits wait for the disk."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], *, writes: bool) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True
        self._writes = writes
        self._sent = 0
        self._returned = 0  # written by the thread alone

    async def _connect(self) -> aiosqlite.Connection:
        try:
            return await super()._connect()
        except sqlite3.Error:
            self._thread.join()  # it was told to stop, and says so to this loop, which may be closed right after
            raise

    async def _execute(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if self._sent == self._returned and not self._waits(fn, args):
            return fn(*args, **kwargs)
        self._sent += 1
        answer: T = await super()._execute(self._counted, partial(fn, *args, **kwargs))  # type: ignore[no-untyped-call]
        return answer

    def _counted(self, call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            self._returned += 1

    def _waits(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        if fn == self._conn.close or (self._writes and fn == self._conn.commit):
            return True
        return bool(args) and isinstance(args[0], str) and args[0].startswith(WAITS)


def connector(*, writes: bool) -> Callable[..., Coroutine[Any, Any, aiosqlite.Connection]]:
    """What SQLAlchemy calls for a new connection (`async_creator_fn`), with sqlite3's own arguments."""

    async def connect(database: str, **options: Any) -> aiosqlite.Connection:
        options["check_same_thread"] = False
        return await NearConnection(partial(sqlite3.connect, database, **options), writes=writes)

    return connect


def make_private(url: URL) -> None:
    """The file of a database's URL, made where it is not there, before SQLite opens it.

    One that is there is not opened: closing it would end the locks that another connection of this process has on it,
    and the next process to leave would take the log away under us, with what was committed.
    Raises Refused `store.url`, `store.no-folder`; Unavailable `store.cannot-open`.
    """
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise Refused("store.url", driver=url.drivername)
    if not Path(url.database).parent.is_dir():
        raise Refused("store.no-folder")
    if Path(url.database).is_dir():
        raise Unavailable("store.cannot-open", error=IsADirectoryError.__name__)
    # Crash here: an empty file, which is an empty database.
    try:
        os.close(os.open(url.database, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not os.access(url.database, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise Unavailable("store.cannot-open", error=PermissionError.__name__) from None
    except OSError as error:
        raise Unavailable("store.cannot-open", error=type(error).__name__) from None


def fault_of(primary: int, name: str) -> Fault | None:
    """What an error means to us, by its primary result code; `name` is the extended one's. None: the caller's own."""
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt("store.corrupt", error=name)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable("store.locked")
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL):
        return Unavailable("store.away", error=name)
    return _of_file(primary, name)


def _of_file(primary: int, name: str) -> Fault | None:
    if primary == sqlite3.SQLITE_FULL:
        return Unavailable("store.disk-full")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return Unavailable("store.read-only")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return Unavailable("store.cannot-open", error=name)
    return None
