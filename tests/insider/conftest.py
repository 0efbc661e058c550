"""A furnished broker, somebody with a hand in its database, and who watches what comes of it."""

import io
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from broker.observability import observe
from schemas.names import Instant
from tests.insider.estate import Estate
from tests.insider.hand import Hand
from tests.insider.watch import Watch
from tests.services.databases import Databases
from tests.world import DAY, START, world

FOLDER = Path(__file__).parent
LATER = Instant(START + 10 * 365 * DAY)
"""When lines are logged: long after whatever has ended, so that no row may be one whose commit is under way."""


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """Every line that the machine logs."""
    stream, root = io.StringIO(), logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    observe.configure("info", lambda: LATER, stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` has every attack on SQLite, and the first of each file on PostgreSQL; `make test-proof` has all."""
    tried = set()
    for item in items:
        if item.path.parent == FOLDER and "postgres" in item.name:
            if item.path in tried:
                item.add_marker(pytest.mark.proof)
            tried.add(item.path)


@pytest_asyncio.fixture
async def watch(tmp_path: Path, home_settings: dict[str, Any], said: io.StringIO) -> AsyncIterator[Watch]:
    """A furnished broker; fsck is clean before the attack."""
    async with world(tmp_path, stepped=True, **home_settings) as here:
        await here.home.epochs.finish()  # a copied world has a new journal: it is told of its epochs, as on any day
        hand = Hand.on(here.home.settings.database_url)
        yield Watch(here, hand, said)
        await hand.engine.dispose()


@pytest_asyncio.fixture
async def estate(
    tmp_path: Path, database: str, request: pytest.FixtureRequest, said: io.StringIO
) -> AsyncIterator[Estate]:
    """A home on disk, on SQLite or PostgreSQL."""
    async with AsyncExitStack() as made:
        server: Databases | None = None if database == "sqlite" else request.getfixturevalue("postgres")
        url = None if server is None else await made.enter_async_context(server.migrated())
        home = Estate(tmp_path / "home", said, server, url)
        made.push_async_callback(home.clear)
        await home.found()
        yield home
