"""Near: an aiosqlite connection that answers on the loop's own thread whatever needs no waiting.

Refuses: to let a statement wait on that thread for another process or for the disk. Taking the write lock, commit,
checkpoint and close stay on aiosqlite's thread.
Keeps: the order of calls. While something of this connection is still on the thread, all that follows goes there too,
so a cancelled task never meets its own unfinished commit.
Source: aiosqlite's `Connection._execute`, through which each of its calls passes; ADR 16 has what it is worth.
"""

import sqlite3
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")
WAITS = ("BEGIN IMMEDIATE", "PRAGMA wal_checkpoint")


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
