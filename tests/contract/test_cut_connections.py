"""PostgreSQL's answers cut off after every so many bytes, while a connection is made and while it is used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from sqlalchemy import make_url, text

from broker.store.engine import Store
from broker.store.migrate import upgrade
from broker.store.server import server_settings
from schemas.errors import Unavailable
from tests.services.databases import Databases

pytestmark = pytest.mark.asyncio
STEP = 5
"""Bytes; a message of the server has five at least."""


class Cut:
    """Passes on so many bytes of what the server says, then ends the connection."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self.left = 0
        self.said = 0
        """How much the server has said in all, of what was passed on."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its begin to its end."""
        with suppress(OSError):
            answers, questions = await asyncio.open_connection("127.0.0.1", self._upstream)
            asking = asyncio.create_task(self._ask(reader, questions))
            while self.left > 0 and (heard := await answers.read(self.left)):
                self.left -= len(heard)
                self.said += len(heard)
                writer.write(heard)
                await writer.drain()
            asking.cancel()
            questions.close()
        writer.close()

    async def _ask(self, reader: asyncio.StreamReader, questions: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while asked := await reader.read(65_536):
                questions.write(asked)
                await questions.drain()


@asynccontextmanager
async def cut(url: str) -> AsyncIterator[tuple[Cut, str]]:
    """In front of a database; and its URL through it."""
    parsed = make_url(url)
    between = Cut(parsed.port or 5432)
    async with await asyncio.start_server(between, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield between, parsed.set(port=port).render_as_string(hide_password=False)


@pytest.mark.proof
async def test_a_server_that_ends_at_any_byte_is_away(postgres: Databases) -> None:
    async with postgres.migrated() as url, cut(url) as (between, through):

        async def read() -> None:
            async with Store.open(through) as store, store.read() as tx:
                await tx.execute(text("SELECT 1"))

        async def write() -> None:
            async with Store.open(through) as store, store.begin() as tx:
                await tx.execute(text("SELECT 1"))

        for asked in (read, write, lambda: server_settings(through), lambda: upgrade(through)):
            between.left, between.said = 1 << 30, 0
            await asked()
            ends = range(0, between.said - STEP, STEP)
            assert len(ends) > 50
            for end in ends:
                between.left = end
                with pytest.raises(Unavailable):
                    await asked()


async def test_a_driver_that_lost_its_place_has_lost_its_connection(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a server that is killed again and again: it can be told only by what the driver raises."""

    def raising(*_: object, **__: object) -> None:
        raise asyncpg.InternalClientError("got result for unknown protocol state 3")

    async with postgres.migrated() as url, Store.open(url) as store:
        async with store.read() as tx:
            first = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar()
        with monkeypatch.context() as patch:
            patch.setattr(asyncpg.Connection, "prepare", raising)
            with pytest.raises(Unavailable) as told:
                async with store.read() as tx:
                    await tx.execute(text("SELECT 2"))
        assert told.value.code == "store.away"
        async with store.read() as tx:
            assert (await tx.execute(text("SELECT pg_backend_pid()"))).scalar() != first
