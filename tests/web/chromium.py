"""A real Chromium before a real server: the broker answers on a loopback port, in the same event loop as the test.

    async with town(folder) as there: page = await there.page(width=320, language="en", signed_in=True)

Debian's Chromium is used (`apt-get install chromium`), never a browser that a package downloads. Where there is none a
test is skipped with its reason, and `UNEFOIS_REQUIRE=chromium` turns that into a failure.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from broker.citizens.citizen import Citizen
from broker.web.app import build
from tests.citizens import sign_in
from tests.world import ELISE, World, world

ZOOM: Final = 4
"""400 %: a screen of 1280 pixels shows what one of 320 does (WCAG 1.4.10)."""
WIDTHS: Final = (320, 768, 1280)
LANGUAGES: Final = ("fr", "en")
Scheme = Literal["light", "dark"]


def chromium_path() -> str:
    """Where Debian's Chromium is; skips the test without one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is not None:
        return found
    if "chromium" in os.environ.get("UNEFOIS_REQUIRE", ""):
        pytest.fail("there is no chromium: apt-get install chromium")
    pytest.skip("there is no chromium")


@asynccontextmanager
async def answering(app: FastAPI) -> AsyncIterator[str]:
    """The address of the app, while the block runs, in this event loop."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    path = chromium_path()
    async with async_playwright() as driver:
        made = await driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield made
        finally:
            await made.close()


@dataclass
class Town:
    """A broker, its address, and a browser before it."""

    here: World
    address: str
    chromium: Browser
    refused: list[str] = field(default_factory=list)
    """What pages said in the console as an error: a refused style or script, a fault."""
    asked: list[str] = field(default_factory=list)
    """Every address that a page asked for."""
    contexts: list[BrowserContext] = field(default_factory=list)

    async def page(
        self,
        *,
        width: int = 1280,
        language: str = "fr",
        scheme: Scheme = "light",
        scripts: bool = True,
        person: dict[str, Any] | None = None,
    ) -> Page:
        """A new window. `person`: who has signed in; None: nobody."""
        context = await self.chromium.new_context(
            viewport={"width": width, "height": 900},
            locale=f"{language}-FR",
            color_scheme=scheme,
            reduced_motion="reduce",
            java_script_enabled=scripts,
            timezone_id="Pacific/Auckland",
        )
        self.contexts.append(context)
        if person is not None:
            token, _ = await self.sign_in(person, language)
            await context.add_cookies([{"name": "session", "value": token, "url": self.address}])
        made = await context.new_page()
        made.on("console", lambda said: self.refused.append(said.text) if said.type == "error" else None)
        made.on("pageerror", lambda fault: self.refused.append(str(fault)))
        made.on("request", lambda request: self.asked.append(request.url))
        return made

    async def sign_in(self, person: dict[str, Any] = ELISE, language: str = "fr") -> tuple[str, Citizen]:
        """The token of a session of this person's, and who it is."""
        return await sign_in(self.here, person, language="en" if language == "en" else "fr")

    async def close(self) -> None:
        """Every window."""
        for one in self.contexts:
            await one.close()


@asynccontextmanager
async def town(folder: Path, **settings: Any) -> AsyncIterator[Town]:
    """A furnished broker that answers, and a browser."""
    async with world(folder, **settings) as here, browser() as chromium, answering(build(here.home)) as address:
        made = Town(here, address, chromium)
        try:
            yield made
        finally:
            await made.close()
