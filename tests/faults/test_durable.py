"""Every connection that a home opens is set to lose nothing: the writer, each reader, and the one that changes tables.

SQLite keeps these settings with a connection, not with a file: a fresh connection starts from the library's defaults.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.settings.choices import load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.setup.wiring import Home
from broker.store.dialects import CONNECTIONS
from broker.store.engine import dialect_of

pytestmark = pytest.mark.asyncio

DURABLE = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
"""2 is FULL: a commit that returned survives a power cut."""


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    """A home as `unefois init` makes it, opened as every command opens it."""
    await create_home(load(home=tmp_path / "home", hpke_suite="x25519"))
    async with open_home(load(home=tmp_path / "home", hpke_suite="x25519")) as opened:
        yield opened


async def pragmas(connection: AsyncConnection) -> dict[str, object]:
    """What this connection is set to."""
    return {name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one() for name in DURABLE}


async def test_the_writer_of_a_home_loses_nothing(home: Home) -> None:
    async with home.store.begin() as tx:
        assert DURABLE == await pragmas(tx.conn)


async def test_a_writer_that_connects_anew_loses_nothing(home: Home) -> None:
    await home.store.dispose()
    async with home.store.begin() as tx:
        assert DURABLE == await pragmas(tx.conn)


async def test_every_reader_of_a_home_is_set_alike(home: Home) -> None:
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(home.store.read()) for _ in range(CONNECTIONS)]
        found = await asyncio.gather(*(pragmas(tx.conn) for tx in readers))

    assert [DURABLE] * CONNECTIONS == found


async def test_what_changes_tables_loses_nothing(home: Home) -> None:
    url = make_url(home.settings.database_url)
    engine = dialect_of(url).migrator(url)
    async with engine.begin() as connection:
        assert DURABLE == await pragmas(connection)
    await engine.dispose()
