"""Databases of real servers, each test its own: what a test asks of one beside the connector."""

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine


@dataclass(frozen=True)
class Base:
    """One database. `url`: for a connector; `ca`: the authority of the server's certificate, where it has one."""

    url: str
    ca: str | None

    @property
    def kind(self) -> str:
        """`postgresql` or `mysql`."""
        return make_url(self.url).get_backend_name()

    def do(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run them by a connection of its own; the rows of the last one. For who may stand in an event loop."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(_done(self.url, statements))).result()

    def with_url(self, **more: Any) -> str:
        """The URL with something else in it."""
        return make_url(self.url).set(**more).render_as_string(hide_password=False)


@contextmanager
def base(address: str) -> Iterator[Base]:
    """A new database of a server, gone after the block."""
    server = make_url(address)
    ca, name = server.query.get("ca"), f"unefois_{secrets.token_hex(6)}"
    server = server.set(query={})
    above = Base(server.render_as_string(hide_password=False), None)
    above.do(f"CREATE DATABASE {name}")
    made = Base(server.set(database=name).render_as_string(hide_password=False), None if ca is None else str(ca))
    try:
        yield made
    finally:
        force = " WITH (FORCE)" if above.kind == "postgresql" else ""
        above.do(f"DROP DATABASE {name}{force}")


async def _done(url: str, statements: tuple[str, ...]) -> list[tuple[Any, ...]]:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                found = await connection.execute(text(statement))
            return [tuple(row) for row in found.fetchall()] if found.returns_rows else []
    finally:
        await engine.dispose()
