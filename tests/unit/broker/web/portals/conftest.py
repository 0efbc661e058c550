"""The portals' API of a furnished broker, with both services of FranceConnect beside it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio

from broker.web.app import build
from tests.franceconnect import doors
from tests.unit.broker.web.portals.calls import Portals
from tests.world import world


@pytest_asyncio.fixture
async def portals(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[Portals]:
    """A furnished broker with its API; fsck is clean after the test."""
    async with world(tmp_path, stepped=True, **{**home_settings, "bank_hold_hours": 72}) as here:
        there = doors(here)
        app = build(here.home)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as client:
            yield Portals(here, app, client, there)
        await here.step()
