"""Databases of one PostgreSQL server: each test its own, made in a moment from one that has the tables already."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
from sqlalchemy import URL, make_url

from broker.store import migrate


class Databases:
    """Of one server, for one worker of the tests."""

    def __init__(self, address: str) -> None:
        """`address`: a URL whose user may make databases."""
        self.server = make_url(address).set(drivername="postgresql+asyncpg")
        self._template: str | None = None

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """The URL of a database without tables, gone after the block."""
        async with self._made("template1") as name:
            yield self.url(name)

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """The URL of a database with this code's tables, made by the revisions; gone after the block."""
        if self._template is None:
            name = _new_name()
            await self._tell(f"CREATE DATABASE {name}")
            await migrate.upgrade(self.url(name))
            self._template = name
        async with self._made(self._template) as name:
            yield self.url(name)

    async def drop_template(self) -> None:
        """At the end of all tests."""
        if self._template is not None:
            await self._tell(f"DROP DATABASE {self._template} WITH (FORCE)")

    def url(self, name: str) -> str:
        """The URL of one of the server's databases."""
        return self.server.set(database=name).render_as_string(hide_password=False)

    @asynccontextmanager
    async def _made(self, template: str) -> AsyncIterator[str]:
        name = _new_name()
        await self._tell(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            await self._tell(f"DROP DATABASE {name} WITH (FORCE)")

    async def _tell(self, statement: str) -> None:
        connection = await asyncpg.connect(plain(self.server))
        try:
            await connection.execute(statement)
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
    asyncio.run(made.drop_template())
