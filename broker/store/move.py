"""Move: a home's database to another one, from SQLite to PostgreSQL or back, row by row and checked.

Refuses: a target that holds anything else; a source that was moved already, or is not of this version.
Keeps: the target has every row or none; it is compared with the source before it counts; afterwards the source refuses
to be opened, for two databases that both go on would be two ledgers under one name.

Whoever runs a broker on the source stops it first. On SQLite this holds the write lock meanwhile; PostgreSQL has none
for a whole database, so the source is read once more at the end, and a move during which it changed does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, Table, func, insert, select

from broker.observability.crashpoints import mark
from broker.store import tables
from broker.store.engine import Store, Transaction
from broker.store.migrate import MOVED, check, upgrade
from consent.tables import metadata
from schemas.errors import Corrupt, Refused

ROWS: Final = 1000
"""Rows that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What there is in the target now: rows of each table."""

    rows: Mapping[str, int]


@dataclass(slots=True)
class _Content:
    """A table's rows, whatever their order: how many, and the sum of their SHA-256, modulo 2^256."""

    rows: int = 0
    digest: int = 0

    def add(self, row: Row[Any]) -> None:
        self.rows += 1
        self.digest = (self.digest + int.from_bytes(sha256(repr(tuple(row)).encode()).digest(), "big")) % (1 << 256)


async def move(source: str, target: str) -> Moved:
    """Copy everything from one database URL to another, then close the source for good.

    Called again after a crash it finishes what was begun.
    Raises Refused: `move.same`, `move.not-empty`, `move.changed`, `store.moved`, `store.not-migrated`,
    `store.newer-version`, what opening refuses. Raises Unavailable, and Corrupt `move.differs` when the target does not
    hold what was sent.
    """
    if source == target:
        raise Refused("move.same")
    async with Store.open(source) as old:
        await check(old)
        await upgrade(target)
        async with Store.open(target) as new, old.begin() as leaving:
            async with new.begin() as arriving:
                contents = await _arrived(leaving, arriving)
                mark("move.copied")
                await _check_unchanged(leaving, contents)
                # Crash here: the target's transaction is gone; it is empty, and the source is as it was.
            await leaving.execute(insert(tables.meta), {"name": MOVED, "value": "1"})
            mark("move.closing")
            # Crash here: both hold the same; called again, the target is found to hold it, and the source is closed.
    return Moved({name: content.rows for name, content in contents.items()})


async def copy(source: str, target: str) -> Moved:
    """A backup: everything as it is at one moment, in a database that goes on to be nobody's home while this one is.

    Raises as `move` does; the source may be in use.
    """
    if source == target:
        raise Refused("move.same")
    async with Store.open(source) as old:
        await check(old)
        await upgrade(target)
        async with Store.open(target) as new, old.read(patient=True) as leaving, new.begin(patient=True) as arriving:
            contents = await _arrived(leaving, arriving)
            mark("move.copy")
            # Crash here: the target is empty; the source never knew.
    return Moved({name: content.rows for name, content in contents.items()})


async def _arrived(leaving: Transaction, arriving: Transaction) -> dict[str, _Content]:
    empty = not any([await _count(arriving, table) for table in _all()])
    contents = {}
    for table in _all():
        sent = await _read(leaving, table, into=arriving if empty else None)
        if await _read(arriving, table, into=None) != sent:
            raise Corrupt("move.differs", table=table.name) if empty else Refused("move.not-empty", table=table.name)
        await arriving.dialect.resume_numbers(arriving.conn, table)
        contents[table.name] = sent
    return contents


def _all() -> list[Table]:
    """Every table, those that are referred to before those that refer."""
    return list(metadata.sorted_tables)


async def _check_unchanged(leaving: Transaction, contents: Mapping[str, _Content]) -> None:
    for table in _all():
        if await _read(leaving, table, into=None) != contents[table.name]:
            raise Refused("move.changed", table=table.name)


async def _count(tx: Transaction, table: Table) -> int:
    found: int = (await tx.execute(select(func.count()).select_from(table))).scalar_one()
    return found


async def _read(tx: Transaction, table: Table, *, into: Transaction | None) -> _Content:
    """All rows of a table, and on the way into another database."""
    content = _Content()
    async with tx.conn.stream(select(table)) as found:
        async for part in found.partitions(ROWS):
            for row in part:
                content.add(row)
            if into is not None:
                await into.execute(insert(table), [dict(row._mapping) for row in part])
    return content
