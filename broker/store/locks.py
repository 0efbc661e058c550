"""Locks: one transaction's hold on a grant, a partition, a ledger, until it commits or rolls back.

Refuses: to hold anything beyond the transaction; there is no unlock to forget.
Keeps: locks of one call are taken in one global order, so two callers never wait for each other; what is read after
taking a lock is what the holder before us left (architecture.md, "Transactions that matter").
"""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


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


class SqliteLocks:
    """Nothing to do: BEGIN IMMEDIATE made this transaction the only writer, before its first read."""

    async def shared(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        return

    async def exclusive(self, connection: AsyncConnection, keys: Iterable[bytes]) -> None:
        return

    async def both(self, connection: AsyncConnection, shared: Iterable[bytes], exclusive: Iterable[bytes]) -> None:
        return


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
