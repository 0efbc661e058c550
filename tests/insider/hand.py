"""The insider's hand: plain SQL beside the machine, over tables as they are found, on SQLite and PostgreSQL.

Refuses: what the machine knows. Columns are reflected, rows are copied whole: a column that a defence adds is flipped
along, copied along and put back along, as an insider would.
Keeps: what was put back is as it was, column for column.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, MetaData, Table, and_, delete, event, insert, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

Row = Mapping[str, Any]


@dataclass
class Hand:
    """Somebody who may write to the database, and nothing else."""

    engine: AsyncEngine
    tables: dict[str, Table] = field(default_factory=dict)

    @classmethod
    def on(cls, url: str) -> "Hand":
        """The hand on the database at this URL. It keeps no connection open."""
        engine = create_async_engine(url, poolclass=NullPool)
        if engine.dialect.name == "postgresql":
            event.listen(engine.sync_engine, "connect", _without_references)
        return cls(engine)

    async def rows(self, table: str, **where: Any) -> list[Row]:
        """Every row that has these values, in the order of its key."""
        async with self._begun(table) as (conn, here):
            ordered = select(here).where(_all(here, where)).order_by(*here.primary_key)
            return [dict(row._mapping) for row in await conn.execute(ordered)]

    async def row(self, table: str, **where: Any) -> Row:
        """The one row that has these values."""
        (found,) = await self.rows(table, **where)
        return found

    async def flip(self, table: str, where: Row, **values: Any) -> None:
        """Write these values into the rows that have those; there must be one."""
        async with self._begun(table) as (conn, here):
            done = await conn.execute(update(here).where(_all(here, where)).values(values))
            if done.rowcount < 1:
                raise LookupError(f"no such row in {table}")

    async def insert(self, table: str, row: Row) -> None:
        """Write a whole row."""
        async with self._begun(table) as (conn, here):
            await conn.execute(insert(here).values(dict(row)))

    async def remove(self, table: str, **where: Any) -> None:
        """Delete every row that has these values."""
        async with self._begun(table) as (conn, here):
            await conn.execute(delete(here).where(_all(here, where)))

    async def copy(self, table: str, where: Row, **changes: Any) -> Row:
        """Insert a copy of one row with these changes. Returns it."""
        made = {**await self.row(table, **where), **changes}
        await self.insert(table, made)
        return made

    async def put(self, table: str, rows: Sequence[Row]) -> None:
        """Let these whole rows stand in the place of whatever has their keys."""
        async with self._begun(table) as (conn, here):
            for row in rows:
                await conn.execute(delete(here).where(_all(here, {c.name: row[c.name] for c in here.primary_key})))
                await conn.execute(insert(here).values(dict(row)))

    @asynccontextmanager
    async def flipped(self, tables: Sequence[str], where: Row, **values: Any) -> AsyncIterator[None]:
        """Rows that hold these values for a while, and what they held before afterwards."""
        before = {table: await self.rows(table, **where) for table in tables}
        for table in tables:
            await self.flip(table, where, **values)
        yield
        for table, rows in before.items():
            key = [column.name for column in (await self._table(table)).primary_key]
            for row in rows:
                now = {name: values.get(name, row[name]) for name in key}
                await self.flip(table, now, **{name: row[name] for name in values})

    @asynccontextmanager
    async def instead(self, old: Mapping[str, Sequence[Row]]) -> AsyncIterator[None]:
        """Rows of an earlier day for a while, and today's afterwards; what is not there today is gone again then."""
        today = {}
        for table, rows in old.items():
            key = [column.name for column in (await self._table(table)).primary_key]
            wanted = [{name: row[name] for name in key} for row in rows]
            today[table] = (wanted, [each for where in wanted for each in await self.rows(table, **where)])
            await self.put(table, rows)
        yield
        for table, (keys, there) in today.items():
            for where in keys:
                await self.remove(table, **where)
            await self.put(table, there)

    async def every_table(self) -> dict[str, list[Row]]:
        """Every row of every table."""
        async with self.engine.connect() as conn:
            names = await conn.run_sync(lambda there: inspect(there).get_table_names())
        return {name: await self.rows(name) for name in names}

    async def _table(self, name: str) -> Table:
        if name not in self.tables:
            async with self.engine.connect() as conn:
                self.tables[name] = await conn.run_sync(_reflected, name)
        return self.tables[name]

    @asynccontextmanager
    async def _begun(self, name: str) -> AsyncIterator[tuple[AsyncConnection, Table]]:
        there = await self._table(name)
        async with self.engine.begin() as conn:
            yield conn, there


def _reflected(conn: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=conn, resolve_fks=False)


def _all(table: Table, where: Row) -> ColumnElement[bool]:
    return and_(True, *(table.c[name] == told for name, told in where.items()))


def _without_references(connection: Any, _: Any) -> None:
    """Who owns a database does not ask its triggers; in SQLite references are asked only by who wants them."""
    cursor = connection.cursor()
    cursor.execute("SET session_replication_role = replica")
    cursor.close()
    connection.commit()
