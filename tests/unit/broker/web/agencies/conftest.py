"""The agencies' API of a furnished broker."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio

from broker.web.agencies.waiting import Waiting
from broker.web.app import build
from tests.unit.broker.web.agencies.calls import Served
from tests.world import world


@pytest_asyncio.fixture
async def served(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[Served]:
    """A furnished broker with its API; fsck is clean after the test."""
    async with world(tmp_path, stepped=True, **home_settings) as here:
        waiting = Waiting()
        app = build(here.home, waiting=waiting)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as client:
            yield Served(here, app, client, waiting)
        await here.step()
