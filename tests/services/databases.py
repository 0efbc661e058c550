"""Databases of one PostgreSQL server: each test its own, made in a moment from one that has the tables already.

To make one takes the server a quarter of a second: two hundred tables and indexes are copied. So one that a test has
left is emptied and given to the next test. Where that cannot be (a lock is held, a table was changed), it is dropped.
"""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
from sqlalchemy import URL, make_url

from broker.store import migrate

_SHAPE: Final = """
SELECT md5(string_agg(told, ',' ORDER BY told)) FROM (
    SELECT concat(relname, relkind, relnatts) AS told FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat(conrelid::regclass, conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat(tgrelid::regclass, tgname) FROM pg_trigger
    UNION ALL SELECT version_num FROM alembic_version
) AS everything
"""
"""What there is: tables, columns, indexes, constraints, triggers, and of which version they are."""
_LEAVE: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_KEPT: Final = "alembic_version"


class Databases:
    """Of one server, for one worker of the tests."""

    def __init__(self, address: str) -> None:
        """`address`: a URL whose user may make databases."""
        self.server = make_url(address).set(drivername="postgresql+asyncpg")
        self._template: str | None = None
        self._empty: str = ""
        self._shape: str = ""
        self._left: list[str] = []

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """The URL of a database without tables, gone after the block."""
        name = await self._made("template1")
        try:
            yield self.url(name)
        finally:
            await self._dropped(name)

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """The URL of a database with this code's tables, made by the revisions, and no row in them."""
        if self._template is None:
            name = _new_name()
            await self._tell(f"CREATE DATABASE {name}")
            await migrate.upgrade(self.url(name))
            await self._learn(name)
            self._template = name
        name = self._left.pop() if self._left else await self._made(self._template)
        try:
            yield self.url(name)
        finally:
            if await self._emptied(name):
                self._left.append(name)
            else:
                await self._dropped(name)

    async def drop_all(self) -> None:
        """At the end of all tests."""
        for name in (*self._left, *([self._template] if self._template else [])):
            await self._dropped(name)

    def url(self, name: str) -> str:
        """The URL of one of the server's databases."""
        return self.server.set(database=name).render_as_string(hide_password=False)

    async def _learn(self, name: str) -> None:
        """How a database is emptied, and what it looks like then."""
        connection = await asyncpg.connect(plain(self.server.set(database=name)))
        try:
            self._shape = await connection.fetchval(_SHAPE)
            named = await connection.fetch(
                "SELECT relname, relkind FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S') AND NOT relispartition"
            )
            for relation in named:
                if relation["relkind"] != b"S" and relation["relname"] != _KEPT:
                    rows = await connection.fetchval(f"SELECT count(*) FROM {relation['relname']}")
                    if rows:
                        raise RuntimeError(
                            f"the revisions leave rows in {relation['relname']}: emptying must keep them"
                        )
        finally:
            await connection.close()
        self._empty = "".join(
            f"ALTER SEQUENCE {one['relname']} RESTART;" if one["relkind"] == b"S" else f"DELETE FROM {one['relname']};"
            for one in named
            if one["relname"] != _KEPT
        )

    async def _emptied(self, name: str) -> bool:
        """Whether it is as a new one: nobody is connected, no row is left, and every table is as it was."""
        connection = await asyncpg.connect(plain(self.server.set(database=name)))
        try:
            await connection.execute(_LEAVE)
            if await connection.fetchval(_SHAPE) != self._shape:
                return False
            quick = "SET LOCAL lock_timeout = '1s'; SET LOCAL session_replication_role = replica"
            await connection.execute(f"BEGIN; {quick}; {self._empty} ALTER DATABASE {name} RESET ALL; COMMIT")
        except asyncpg.PostgresError:
            return False
        finally:
            await connection.close()
        return True

    async def _made(self, template: str) -> str:
        name = _new_name()
        await self._tell(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def _dropped(self, name: str) -> None:
        await self._tell(f"DROP DATABASE {name} WITH (FORCE)")

    async def _tell(self, statement: str) -> None:
        connection = await asyncpg.connect(plain(self.server))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a database: the rows of each table that has any, as COPY gives them, and how far each sequence is."""

    rows: Mapping[str, bytes]
    sequences: Mapping[str, tuple[int, bool]]


_NO_ROWS: Final = 21
"""Bytes of a binary COPY of nothing: header and trailer."""
_TABLES: Final = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND NOT relispartition"


async def content_of(url: str) -> Content:
    """All that stands in a database with this code's tables."""
    connection = await asyncpg.connect(plain(make_url(url)))
    try:
        rows, sequences = {}, {}
        for (name,) in await connection.fetch(f"{_TABLES} AND relkind IN ('r', 'p') AND relname <> '{_KEPT}'"):
            copied = io.BytesIO()
            await connection.copy_from_query(f"SELECT * FROM {name}", output=copied, format="binary")
            if copied.tell() > _NO_ROWS:
                rows[name] = copied.getvalue()
        for sequence in await connection.fetch(f"{_TABLES} AND relkind = 'S'"):
            sequences[sequence[0]] = tuple(
                await connection.fetchrow(f"SELECT last_value, is_called FROM {sequence[0]}")
            )
    finally:
        await connection.close()
    return Content(rows, sequences)


async def fill(url: str, content: Content) -> None:
    """Write it into a database that has the tables and no row."""
    told = ", ".join(f"setval('{name}', {last}, {called})" for name, (last, called) in content.sequences.items())
    connection = await asyncpg.connect(plain(make_url(url)))
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")  # tables come in any order
            for table, rows in content.rows.items():
                await connection.copy_to_table(table, source=io.BytesIO(rows), format="binary")
            await connection.execute(f"SELECT {told}")
    finally:
        await connection.close()


def plain(url: URL) -> str:
    """The URL as PostgreSQL's own tools and asyncpg read it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _new_name() -> str:
    return f"unefois_{secrets.token_hex(8)}"


@contextmanager
def databases(address: str) -> Iterator[Databases]:
    """The databases of a server, for the length of a test session."""
    made = Databases(address)
    yield made
    asyncio.run(made.drop_all())
