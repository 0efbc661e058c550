"""Dialects: what differs between databases, SQLite and PostgreSQL, and what a lock of either promises.

    dialects  ◄── sqlite, postgres  ◄── engine

Refuses: to let anybody else know which database it is.
Keeps: a commit that returned survives a power cut; a writing transaction reads what the last one left; the driver's
errors leave as Unavailable or Corrupt, without the statement's parameters. Locks of one call are taken in one global
order, so two callers never wait for each other; what is read after taking a lock is what the holder before us left
(architecture.md, "Transactions that matter"). Nothing is held beyond the transaction: there is no unlock to forget.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

from sqlalchemy import URL, Connection, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import Insert

from broker.store.wake_signal import WakeSignal
from schemas.errors import Fault, Unavailable

CONNECTIONS: Final = 8
"""Connections of one kind, at most; who needs one more waits."""
CONNECTION_WAIT_SECONDS = 30


class Locks(Protocol):
    """How a database makes one transaction wait for another. Keys are any bytes; who shares one shares a lock.

    A caller that needs several locks asks for them in one call: order is kept within a call only.
    """

    async def shared(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        """Wait for exclusive holders. Any number of transactions may share."""

    async def exclusive(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        """Wait for all holders."""

    async def both(self, connection: AsyncConnection, shared: Iterable[bytes], exclusive: Iterable[bytes]) -> None:
        """The one, then the other, in one question."""


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

    def unreachable(self, error: Exception) -> Fault | None:
        """What the driver raised by itself while a connection was made, as one of ours, or None when it is no such."""

    async def forget(self, writer: AsyncEngine) -> None:
        """Make deleted rows unreadable in the database's files, as far as the database can."""


@contextmanager
def faults(dialect: Dialect) -> Iterator[None]:
    """A database's error leaves this block as one of ours, or without what its statement carried."""
    try:
        yield
    except DBAPIError as error:
        fault = dialect.fault_of(error)
        if fault is None:
            raise dialect.without_values(error) from None
        raise fault from None
    except PoolTimeout:
        raise Unavailable("store.locked") from None


@asynccontextmanager
async def connected(dialect: Dialect, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection. A server that is not reached is told in the driver's or the system's own errors, which are ours
    then: `store.away`, `store.denied`. What the block raises passes as it is.
    """
    made = False
    try:
        async with engine.connect() as connection:
            made = True
            yield connection
    except Exception as error:
        fault = None if made else dialect.unreachable(error)
        if fault is None:
            raise
        raise fault from None
