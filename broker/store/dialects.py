"""Dialects: the only place that knows which database it is, SQLite or PostgreSQL.

Refuses: a database that forgets (in memory), one that we never tried, a URL without its driver.
Keeps: a commit that returned survives a power cut; a writing transaction reads what the last one left; the driver's
errors leave here as Unavailable or Corrupt, without the statement's parameters.
Source: sqlite.org/pragma.html; errors: `faults.py`.
"""

from time import monotonic
from typing import Any, Final, Protocol

from sqlalchemy import URL, Connection, Table, event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection
from sqlalchemy.sql.dml import Insert

from broker.store import faults, near, sqlite_file
from broker.store.locks import Locks, PostgresLocks, SqliteLocks
from broker.store.waits import USUAL, Waits
from broker.store.wake_signal import WakeSignal
from schemas.errors import Fault, Refused, Unavailable

BUSY_SECONDS = 10
"""How long a transaction on SQLite waits for another process before it gives up with `store.locked`."""
CONNECTIONS = 8
"""Connections of one kind, at most; who needs one more waits."""
CONNECTION_WAIT_SECONDS = 30
STILL_SECONDS = 1
"""A connection to a server that was not used for longer is asked whether it is there, before it is used again."""


class Dialect(Protocol):
    """What differs between databases, and nothing else does."""

    locks: Locks
    writers: int
    """How many writing transactions of one process may be open at once; the others queue, first come first served."""

    def writer(self, url: URL) -> AsyncEngine:
        """Its transactions write, and see the last committed state."""

    def reader(self, url: URL) -> AsyncEngine:
        """Its transactions see one snapshot and cannot write."""

    def glancer(self, reader: AsyncEngine) -> AsyncEngine:
        """The reader's connections, for one statement that is its own snapshot."""

    def migrator(self, url: URL) -> AsyncEngine:
        """Its transactions change tables, one at a time, whole or not at all."""

    def insert_new(self, table: Table) -> Insert:
        """An insert that skips rows whose key is there already."""

    def broken_references(self, connection: Connection) -> int:
        """How many rows refer to one that is not there, after tables were changed."""

    async def patience(self, connection: AsyncConnection) -> None:
        """This transaction may take long: it reads or changes much on purpose."""

    async def resume_numbers(self, connection: AsyncConnection, table: Table) -> None:
        """After rows were copied with their numbers: the next row gets a number that none of them has."""

    def wake_signal(self, url: URL) -> WakeSignal:
        """How processes that share this database wake one another."""

    def bare(self, url: URL) -> AsyncEngine | None:
        """Connects as any program would, without our own settings; None where there is no server."""

    def fault_of(self, error: DBAPIError) -> Fault | None:
        """The error as one of ours, or None when it is the caller's (a broken constraint, a wrong statement)."""

    def without_values(self, error: DBAPIError) -> DBAPIError:
        """The caller's own error, saying what was broken and nothing of what the statement carried."""

    async def forget(self, writer: AsyncEngine) -> None:
        """Make deleted rows unreadable in the database's files, as far as the database can."""


def dialect_of(url: URL, waits: Waits = USUAL) -> Dialect:
    """The dialect of a database URL; `waits` is for a server. Raises Refused `store.url`."""
    if url.drivername == "sqlite+aiosqlite":
        return Sqlite()
    if url.drivername == "postgresql+asyncpg":
        return Postgres(waits)
    raise Refused("store.url", driver=url.drivername)


class Sqlite:
    """One writer at a time (BEGIN IMMEDIATE), readers beside it on their snapshots (WAL)."""

    locks: Locks = SqliteLocks()
    writers = 1

    def writer(self, url: URL) -> AsyncEngine:
        sqlite_file.make_private(url)
        return self._engine(url, "BEGIN IMMEDIATE", _DURABLE, connections=1)

    def reader(self, url: URL) -> AsyncEngine:
        return self._engine(url, "BEGIN", (*_DURABLE, "PRAGMA query_only=ON"), connections=CONNECTIONS)

    def glancer(self, reader: AsyncEngine) -> AsyncEngine:
        return reader  # its BEGIN and its end ask nobody

    def migrator(self, url: URL) -> AsyncEngine:
        """Foreign keys are off: a table is changed by copying it, and dropping the old copy would drop its children."""
        sqlite_file.make_private(url)
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
        return faults.of_sqlite(code & 0xFF, str(getattr(error.orig, "sqlite_errorname", "")))

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
            pool_timeout=CONNECTION_WAIT_SECONDS,
            # None: the driver begins nothing by itself, and a transaction is exactly what we began.
            connect_args={
                "isolation_level": None,
                "timeout": BUSY_SECONDS,
                "async_creator_fn": near.connector(writes=begin == "BEGIN IMMEDIATE"),
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


_DURABLE = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL may lose an acknowledged revocation on a power cut
    "PRAGMA secure_delete=ON",  # a destroyed consent key does not stay in a free page
    "PRAGMA foreign_keys=ON",
)


_SEQUENCE = text("SELECT pg_get_serial_sequence(:of_table, :of_column)")
_RESUME = text("SELECT setval(CAST(:name AS regclass), :next, false)")


class PostgresError(Exception):
    """What is told of a driver's error."""


class Postgres:
    """Writers side by side, kept apart by advisory locks."""

    locks: Locks = PostgresLocks()
    writers = CONNECTIONS

    def __init__(self, waits: Waits = USUAL) -> None:
        self._waits = waits

    def writer(self, url: URL) -> AsyncEngine:
        """READ COMMITTED on purpose: what is read after a lock was waited for must be what its holder left."""
        return self._engine(url, isolation_level="READ COMMITTED")

    def reader(self, url: URL) -> AsyncEngine:
        return self._engine(url, isolation_level="REPEATABLE READ").execution_options(postgresql_readonly=True)

    def glancer(self, reader: AsyncEngine) -> AsyncEngine:
        """BEGIN and COMMIT would be two more questions to the server. Our waits are not said behind a pooler either:
        what is said for a transaction would end before the question comes.
        """
        return reader.execution_options(isolation_level="AUTOCOMMIT")

    def migrator(self, url: URL) -> AsyncEngine:
        """An index on a big table takes as long as it takes."""
        return self._engine(url, isolation_level="READ COMMITTED", waits=self._waits.patient())

    async def patience(self, connection: AsyncConnection) -> None:
        await connection.execute(self._waits.patient().transaction())

    def wake_signal(self, url: URL) -> WakeSignal:
        """Behind a pooler only that of this process: a LISTEN would stay with a connection that is anybody's."""
        if _pooled(url):
            return WakeSignal()
        engine = _postgres(url, poolclass=NullPool)  # first: it says when the driver is not there
        from broker.store.postgres_wake_signal import PostgresWakeSignal

        return PostgresWakeSignal(engine)

    def bare(self, url: URL) -> AsyncEngine | None:
        return _postgres(url, poolclass=NullPool)

    def insert_new(self, table: Table) -> Insert:
        return postgresql.insert(table).on_conflict_do_nothing()

    def broken_references(self, connection: Connection) -> int:
        """PostgreSQL changes a table in place and never stops checking."""
        return 0

    async def resume_numbers(self, connection: AsyncConnection, table: Table) -> None:
        """A sequence counts what it gave, not what a row brought along."""
        column = table.autoincrement_column
        if column is None:
            return
        of = {"of_table": table.name, "of_column": column.name}
        name = (await connection.execute(_SEQUENCE, of)).scalar()
        if name is not None:
            newest = (await connection.execute(select(func.max(column)))).scalar() or 0
            await connection.execute(_RESUME, {"name": name, "next": newest + 1})

    def fault_of(self, error: DBAPIError) -> Fault | None:
        if error.connection_invalidated or isinstance(error, InterfaceError):
            return Unavailable("store.away", error="closed")
        return faults.of_postgres(str(getattr(error.orig, "sqlstate", None) or ""))

    def without_values(self, error: DBAPIError) -> DBAPIError:
        """The server quotes the row ("Failing row contains ..."), the driver the argument that it could not send."""
        state = str(getattr(error.orig, "sqlstate", None) or "none")
        told = PostgresError(f"{type(error.orig).__name__}, SQLSTATE {state}")
        return type(error)(error.statement, None, told, hide_parameters=True)

    async def forget(self, writer: AsyncEngine) -> None:
        """PostgreSQL gives no such promise: old row versions stay until vacuum, and in its write-ahead log. What bounds
        them is the rotation of the consent epoch key, which is never stored there.
        """

    def _engine(self, url: URL, isolation_level: str, waits: Waits | None = None) -> AsyncEngine:
        pooled, waits = _pooled(url), waits or self._waits
        engine = _postgres(
            url,
            isolation_level=isolation_level,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECTION_WAIT_SECONDS,
            connect_args={} if pooled else {"server_settings": dict(waits.session())},
        )
        _replace_dead(engine)
        if pooled:

            @event.listens_for(engine.sync_engine, "begin")
            def start(connection: Connection) -> None:
                if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
                    connection.execute(waits.transaction())

        return engine


POOLER: Final = "pooler"
"""In the query of a PostgreSQL URL: `?pooler=transaction` says that each transaction may get another connection."""


def _replace_dead(engine: AsyncEngine) -> None:
    """A connection that its server closed is not given out. One that nobody used for STILL_SECONDS is asked before, for
    a network that went away closes nothing; to ask each time would be three questions more for each transaction.
    """
    dialect = engine.sync_engine.dialect

    @event.listens_for(engine.sync_engine, "checkin")
    def left(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info["left"] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def lives(connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
        if proxy.driver_connection is None or proxy.driver_connection.is_closed():
            raise InvalidatePoolError
        if monotonic() - entry.info.get("left", monotonic()) < STILL_SECONDS:
            return
        try:
            dialect.do_ping(connection)
        except (dialect.loaded_dbapi.Error, OSError):
            raise InvalidatePoolError from None


def _pooled(url: URL) -> bool:
    """Raises Refused `store.url` for a pooler that gives less than whole transactions, or that we do not know."""
    told = url.query.get(POOLER)
    if told not in (None, "transaction"):
        raise Refused("store.url", driver=url.drivername)
    return told is not None


def _postgres(url: URL, **more: Any) -> AsyncEngine:
    """Behind a pooler no statement is kept under a name: the connection that knows it is another's the next time."""
    if _pooled(url):
        url = url.difference_update_query([POOLER])
        unnamed = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
        more["connect_args"] = {**more.get("connect_args", {}), **unnamed}
    try:
        return create_async_engine(url, hide_parameters=True, **more)
    except ModuleNotFoundError as error:
        raise Refused("store.no-driver", driver=error.name or url.drivername) from None
