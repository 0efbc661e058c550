"""Engine: the one database that decides, and the only way to change it: a transaction.

Refuses: a write outside `begin()`; a transaction inside a transaction of the same task, which would wait for itself.
Keeps: a transaction is durable once its block has ended, and absent when the block raised; writers of this process take
turns in the order in which they came; no driver error and no parameter of a statement leaves this module. What a
transaction ends is in the journal of endings before it is committed.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import URL, Column, CursorResult, Executable, Row, Table, insert, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from broker.ended import NOTHING, Ended, Ending, Endings
from broker.observability.crashpoints import mark
from broker.store.dialects import Dialect, connected, faults
from broker.store.postgres import USUAL, Postgres, Waits
from broker.store.sqlite import Sqlite
from broker.store.wake_signal import WakeSignal
from schemas.errors import Refused

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one block of code sees and does, at once. Made by `Store` only; dead after its block."""

    conn: AsyncConnection
    dialect: Dialect
    writes: bool
    whole: bool = True
    """False: no transaction is around its one statement."""
    journal: Endings | None = field(default=None, repr=False)
    """What has ended, outside this database; a store that was opened for its tables alone has none."""
    _added: dict[Table, list[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    _rung: set[str] = field(default_factory=set, repr=False)
    _after: list[Callable[[], None]] = field(default_factory=list, repr=False)
    _asked: list[Executable] = field(default_factory=list, repr=False)
    _ends: list[Ending] = field(default_factory=list, repr=False)
    finishing: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict, repr=False)
    """What is still to be done in this transaction, by its name, before it is committed: whoever adds to it may find
    what was added before.
    """

    def add(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row when this transaction commits, with all others of its table at once, in the order of the calls.

        Nothing reads it before: whoever needs to, or has rows that must exist first, calls `flush`.
        """
        self._must_write()
        self._added.setdefault(table, []).append(row)

    def ring(self, name: str) -> None:
        """Ring this bell once this transaction is committed."""
        self._must_write()
        self._rung.add(name)

    def after(self, say: Callable[[], None]) -> None:
        """Say this once this transaction is committed: a line that would be a lie before."""
        self._must_write()
        self._after.append(say)

    def end(self, ending: Ending) -> None:
        """Write this into the journal of endings before this transaction commits: where that fails, nothing commits.

        The caller holds the lock of what ends.
        """
        self._must_write()
        self._ends.append(ending)

    async def endings(self) -> Ended:
        """What has ended by now, whatever the rows say. Ask after taking the locks. Raises as `Endings.look`."""
        return NOTHING if self.journal is None else await self.journal.look()

    async def flush(self) -> None:
        """Insert now what was added: one statement for each table, in the order in which tables were first added to."""
        while self._added:
            table = next(iter(self._added))
            await self.conn.execute(insert(table), self._added.pop(table))

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        """Run one statement, or one for each of several parameter sets."""
        if not self.whole:
            self._must_glance(statement)
        return await self.conn.execute(statement, parameters)

    async def pages(self, statement: Executable, size: int) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """The rows of one statement as they come, so many at once: memory is that of a page. Who does not take all of
        them closes this (`contextlib.aclosing`).
        """
        if not self.whole:
            self._must_glance(statement)
        result = await self.conn.stream(statement, execution_options={"yield_per": size})
        try:
            async for rows in result.partitions():
                yield rows
        finally:  # an open cursor on SQLite holds the snapshot for whoever has the connection next
            await result.close()

    async def insert_new(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert one row; False, and nothing changed, when a row with one of its unique keys is there already."""
        result = await self.conn.execute(self.dialect.insert_new(table), dict(row))
        return result.rowcount == 1

    async def insert_all_new(
        self, table: Table, rows: Sequence[Mapping[str, Any]], *wanted: Column[Any]
    ) -> Sequence[Row[Any]]:
        """Insert rows in their order, in one statement where they fit. Returns what is `wanted` of those inserted, in
        any order; one of which a unique key is there already, or is in a row before it, changes nothing and is absent.
        """
        if not rows:
            return []
        statement = self.dialect.insert_new(table).returning(*wanted)
        return (await self.conn.execute(statement, [dict(row) for row in rows])).all()

    async def lock_shared(self, keys: Iterable[bytes]) -> None:
        """Wait for whoever holds one of these exclusively. Read what they guard only after this returned."""
        self._must_write()
        if wanted := list(keys):  # nobody is asked for nothing
            await self.dialect.locks.shared(self.conn, wanted)

    async def lock_exclusive(self, keys: Iterable[bytes]) -> None:
        """Wait for whoever holds one of these. Read what they guard only after this returned."""
        self._must_write()
        if wanted := list(keys):  # nobody is asked for nothing
            await self.dialect.locks.exclusive(self.conn, wanted)

    async def lock_both(self, shared: Iterable[bytes], exclusive: Iterable[bytes]) -> None:
        """As `lock_shared` and then `lock_exclusive`."""
        self._must_write()
        await self.dialect.locks.both(self.conn, shared, exclusive)

    async def _tell(self) -> None:
        """The journal first: what is acknowledged later is in it, whatever becomes of the database."""
        if not self._ends:
            return
        if self.journal is None:
            raise ValueError("nothing ends in a store without its journal")
        await self.journal.write(self._ends)
        mark("endings.written")
        # Crash here, and where the commit fails: nobody was told no; the next start completes it (`completing`).

    def _must_glance(self, statement: Executable) -> None:
        if self._asked or not statement.is_select:
            raise ValueError("a glance is one question: two would see two states, and nobody would undo a change")
        self._asked.append(statement)

    def _must_write(self) -> None:
        if not self.writes:
            raise ValueError("a reading transaction sees an older snapshot, so a lock in it would guard nothing")


class Store:
    """One database. `begin()` to change, `read()` to look, `glance()` to ask one thing."""

    def __init__(self, dialect: Dialect, writer: AsyncEngine, reader: AsyncEngine, wake_signal: WakeSignal) -> None:
        self.wake_signal = wake_signal
        self.journal: Endings | None = None
        """What has ended, outside this database: given by whoever puts the machine together."""
        self._dialect = dialect
        self._writer = writer
        self._reader = reader
        self._glancer = dialect.glancer(reader)
        self._turn = asyncio.Semaphore(dialect.writers)
        self._inside: set[asyncio.Task[Any] | None] = set()

    @classmethod
    def open(cls, url: str, waits: Waits = USUAL) -> Self:
        """The database at a URL, `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://...`; connects at first use.

        `waits`: how long a server lets our transactions wait and work.
        A SQLite file is made when it is not there, readable by its owner alone.
        Raises Refused: `store.url`, `store.no-folder`, `store.no-driver`. Raises Unavailable `store.cannot-open`.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise Refused("store.url", driver="?") from None
        dialect = dialect_of(parsed, waits)
        return cls(dialect, dialect.writer(parsed), dialect.reader(parsed), dialect.wake_signal(parsed))

    async def dispose(self) -> None:
        """Close every connection. Nothing is lost: what was not committed never happened."""
        await self.wake_signal.close()
        await self._reader.dispose()
        await self._writer.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispose()

    @asynccontextmanager
    async def begin(self, *, patient: bool = False) -> AsyncIterator[Transaction]:
        """A transaction that writes: committed and durable when the block ends, rolled back when it raises.

        `patient`: it changes much on purpose, and may take long.
        Raises Unavailable: `store.locked`, `store.too-slow`, `store.disk-full`, `store.read-only`, `store.cannot-open`,
        `store.away`, `endings.away`; Corrupt `store.corrupt`. An Unavailable that comes from the commit itself may have
        been committed: callers repeat, and what they do is idempotent.
        """
        with self._alone(), faults(self._dialect):
            async with self._turn, _begun(self._dialect, self._writer) as connection:
                if patient:
                    await self._dialect.patience(connection)
                tx = Transaction(connection, self._dialect, writes=True, journal=self.journal)
                yield tx
                for finish in list(tx.finishing.values()):
                    await finish()
                await tx.flush()
                await tx._tell()
        for name in tx._rung:
            self.wake_signal.ring(name)
        for say in tx._after:
            say()
        # Crash before this: nobody is woken, nothing is said; who waits looks now and then.

    @asynccontextmanager
    async def read(self, *, patient: bool = False) -> AsyncIterator[Transaction]:
        """A transaction that looks at one snapshot, `patient`: at much of it, and cannot write. Raises as `begin`."""
        with faults(self._dialect):
            async with _begun(self._dialect, self._reader) as connection:
                if patient:
                    await self._dialect.patience(connection)
                yield Transaction(connection, self._dialect, writes=False, journal=self.journal)

    @asynccontextmanager
    async def read_one(self) -> AsyncIterator[Transaction]:
        """For a single SELECT, which is a snapshot by itself: nothing begins or ends around it. Raises as `begin`."""
        with faults(self._dialect):
            async with _begun(self._dialect, self._glancer) as connection:
                yield Transaction(connection, self._dialect, writes=False, whole=False, journal=self.journal)

    async def forget(self) -> None:
        """Make what was deleted unreadable in the database's own files. Raises Unavailable `store.locked`."""
        with self._alone(), faults(self._dialect):
            async with self._turn:
                await self._dialect.forget(self._writer)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        task = asyncio.current_task()
        if task in self._inside:
            raise ValueError("this task is inside a transaction already: a second would wait for the first for ever")
        self._inside.add(task)
        try:
            yield
        finally:
            self._inside.discard(task)


def dialect_of(url: URL, waits: Waits = USUAL) -> Dialect:
    """The dialect of a database URL; `waits` is for a server. Raises Refused `store.url`."""
    if url.drivername == "sqlite+aiosqlite":
        return Sqlite()
    if url.drivername == "postgresql+asyncpg":
        return Postgres(waits)
    raise Refused("store.url", driver=url.drivername)


@asynccontextmanager
async def _begun(dialect: Dialect, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction."""
    async with connected(dialect, engine) as connection, connection.begin() as transaction:
        yield connection
        try:
            await transaction.commit()
        except BaseException:
            # SQLite keeps the transaction of a failed commit open, and SQLAlchemy believes that it ended: given back,
            # the connection would show the next reader rows that nobody committed.
            await connection.invalidate()
            raise
