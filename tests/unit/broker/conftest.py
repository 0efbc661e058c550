"""A fresh world for each test of the broker's flows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.world import World, world


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker; fsck is clean before and after the test."""
    async with world(tmp_path, stepped=True, **home_settings) as made:
        yield made
        await made.step()
