"""Three Kafka nodes for all tests of this folder, whole again before each of them; `make test-cluster` runs it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.fire.alive import pytest_runtest_call, pytest_runtest_setup
from tests.fire.town import Town, on_three
from tests.services.databases import Databases
from tests.services.three import Three

__all__ = ["pytest_runtest_call", "pytest_runtest_setup"]


@pytest_asyncio.fixture
async def town(nodes: Three, prefix: str, postgres: Databases, tmp_path: Path) -> AsyncIterator[Town]:
    """A home on PostgreSQL and on these nodes, as an account that may read and write its own topics and no more."""
    async with postgres.migrated() as url, on_three(nodes, prefix, tmp_path, url) as made:
        yield made
