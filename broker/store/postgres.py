"""PostgreSQL: writers side by side, kept apart by advisory locks; how long the server lets a transaction of ours wait.

Refuses: a pooler that gives less than whole transactions. Who is ended by a wait that is over is told `store.locked`,
`store.too-slow` or `store.away`, and may do the same again.
Keeps: what was ended has changed nothing. Behind a pooler, which has no sessions of ours, each transaction says how
long it may wait; a single question (`read_one`) has what the server or the pooler gives everybody. No parameter and no
row of a statement is in a fault.
Source: PostgreSQL, 20.11 (client connection defaults), appendix A (error codes).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from sqlalchemy import URL, Connection, Select, Table, event, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection
from sqlalchemy.sql.dml import Insert

from broker.store import dialects
from broker.store.dialects import Locks
from broker.store.wake_signal import WakeSignal
from schemas.errors import Corrupt, Fault, Refused, Unavailable

STILL_SECONDS = 1
"""A connection that was not used for longer is asked whether it is there, before it is used again."""
POOLER: Final = "pooler"
"""In the query of a PostgreSQL URL: `?pooler=transaction` says that each transaction may get another connection."""
_SEQUENCE = text("SELECT pg_get_serial_sequence(:of_table, :of_column)")
_RESUME = text("SELECT setval(CAST(:name AS regclass), :next, false)")
_DENIED: Final = ("28", "3D")
"""Invalid authorization, no such database."""

_BUSY: Final = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, a lock that was waited for too long."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the server lets a transaction wait, work, or stand still, in milliseconds; 0: without end."""

    lock_ms: int = 10_000
    """For a lock that somebody else holds."""
    statement_ms: int = 60_000
    """For one statement, with what it waits for."""
    absent_ms: int = 60_000
    """For a process that stands still inside a transaction (SIGSTOP, a paused machine): it holds its locks no longer,
    and what it writes when it comes back is not written.
    """

    def session(self) -> Mapping[str, str]:
        """What a session asks for. A commit that returned is on the disk, whatever the server's default is."""
        return {
            "synchronous_commit": "on",
            "lock_timeout": f"{self.lock_ms}ms",
            "statement_timeout": f"{self.statement_ms}ms",
            "idle_in_transaction_session_timeout": f"{self.absent_ms}ms",
        }

    def transaction(self) -> Select[str]:
        """The same, for one transaction: its first statement (SET LOCAL)."""
        return select(*(func.set_config(name, told, True) for name, told in self.session().items()))

    def patient(self) -> "Waits":
        """For who reads or changes much on purpose: a migration, a check of everything. Locks are not waited for
        longer: whoever waits for one keeps all waiting who come later.
        """
        return Waits(self.lock_ms, 0, 0)


USUAL: Final = Waits()


class PostgresLocks:
    """Advisory locks: 0.2 ms and no write-ahead log, where a row lock for each grant writes a kilobyte."""

    _SHARED = text("SELECT pg_advisory_xact_lock_shared(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
    _EXCLUSIVE = text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key")
    _BOTH = text(
        "SELECT pg_advisory_xact_lock_shared(key) FROM unnest(CAST(:shared AS bigint[])) AS key "
        "UNION ALL SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:exclusive AS bigint[])) AS key"
    )
    """PostgreSQL appends in this order; were it another one, two callers could deadlock, and one of them be undone."""

    async def shared(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        await connection.execute(self._SHARED, {"keys": numbers(keys)})

    async def exclusive(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        await connection.execute(self._EXCLUSIVE, {"keys": numbers(keys)})

    async def both(self, connection: AsyncConnection, shared: Iterable[bytes], exclusive: Iterable[bytes]) -> None:
        await connection.execute(self._BOTH, {"shared": numbers(shared), "exclusive": numbers(exclusive)})


def numbers(keys: Iterable[bytes]) -> list[int]:
    """Each key as a signed 64-bit number, once, ascending: the order in which everybody locks.

    Two keys that collide share a lock: they wait for each other without need, and nothing else.
    """
    hashes = {hashlib.sha256(b"unefois/lock/v1\x00" + key).digest() for key in keys}
    return sorted({int.from_bytes(digest[:8], "big", signed=True) for digest in hashes})


class PostgresError(Exception):
    """What is told of a driver's error."""


class Postgres:
    """Writers side by side, kept apart by advisory locks."""

    locks: Locks = PostgresLocks()
    writers = dialects.CONNECTIONS

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
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if error.connection_invalidated or isinstance(error, InterfaceError):
            return Unavailable("store.away", error="closed")
        return fault_of(state)

    def unreachable(self, error: Exception) -> Fault | None:
        """A server that ends while a connection is made: the driver's own errors, which SQLAlchemy lets through."""
        import asyncpg

        if isinstance(error, asyncpg.PostgresError):
            return fault_of(str(error.sqlstate or "")) or Unavailable("store.away", error=type(error).__name__)
        known = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        return Unavailable("store.away", error=type(error).__name__) if isinstance(error, known) else None

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
            pool_size=dialects.CONNECTIONS,
            max_overflow=0,
            pool_timeout=dialects.CONNECTION_WAIT_SECONDS,
            connect_args={} if pooled else {"server_settings": dict(waits.session())},
        )
        _replace_dead(engine)
        if pooled:

            @event.listens_for(engine.sync_engine, "begin")
            def start(connection: Connection) -> None:
                if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
                    connection.execute(waits.transaction())

        return engine


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
        engine = create_async_engine(url, hide_parameters=True, **more)
    except ModuleNotFoundError as error:
        raise Refused("store.no-driver", driver=error.name or url.drivername) from None
    out_of_step = engine.dialect.loaded_dbapi.InternalClientError

    @event.listens_for(engine.sync_engine, "handle_error")
    def lost(context: ExceptionContext) -> None:
        """The driver does not know any more what the server answers to: as good as no connection."""
        if isinstance(context.original_exception, out_of_step):
            context.is_disconnect = True

    return engine


def fault_of(state: str) -> Fault | None:
    """What an error means to us, by its SQLSTATE. None: it is the caller's own."""
    if state[:2] in _DENIED:
        return Refused("store.denied", error=state)
    if state in _BUSY:
        return Unavailable("store.locked")
    if state == "57014":
        return Unavailable("store.too-slow")
    if state == "53100":
        return Unavailable("store.disk-full")
    if state == "25006":
        return Unavailable("store.read-only")
    return _by_class(state)


def _by_class(state: str) -> Fault | None:
    if state[:2] in ("08", "53", "57", "58") or state == "25P03":
        return Unavailable("store.away", error=state)
    return Corrupt("store.corrupt", error=state) if state[:2] == "XX" else None
