"""The pictures of docs/pages.md: each that the page names, NAME-WIDTH.png, as somebody sees it.

python -m tests.web.gallery     draws docs/images/pages anew
"""

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from tests.web.chromium import town
from tests.web.shots import furnish, walk
from tests.web.story import lived, offer_of, pages
from tests.world import ELISE

DOCS: Final = Path(__file__).parents[2] / "docs"
FOLDER: Final = DOCS / "images" / "pages"
WIDTHS: Final = (1280, 320)
WALKED: Final = ("welcome", "move-person", "move-check", "move-sent", "follow-one", "sign-in")
"""Of the walk of `shots`."""
LIVED: Final = ("rights", "grant", "narrow", "law", "history", "take-back", "data", "erase", "check")
"""Of the pages of `story`."""


def picture(name: str, width: int) -> str:
    """The name of a picture."""
    return f"{name}-{width}.png"


def named() -> set[str]:
    """The pictures that the page shows."""
    return set(re.findall(r"images/pages/([a-z0-9-]+\.png)", (DOCS / "pages.md").read_text("utf-8")))


async def draw() -> None:
    """Every picture, and no other."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for width in WIDTHS:
        await _walked(width)
        await _lived(width)
    if missing := named() - {each.name for each in FOLDER.glob("*.png")}:
        raise SystemExit(f"not drawn: {sorted(missing)}")


async def _walked(width: int) -> None:
    signs_in = {
        "citizen_url": "https://unefois.example",
        "franceconnect_issuer": "https://fc.example",
        "franceconnect_client_id": "us",
        "franceconnect_client_secret": "secret",
    }
    with tempfile.TemporaryDirectory() as home:
        async with town(Path(home), **signs_in) as there:
            await furnish(there)
            page = await there.page(width=width, person=ELISE)
            async for name in walk(there, page):
                if name in WALKED:
                    await _take(page, name, width)


async def _lived(width: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with town(Path(home)) as there:
            story = await lived(there.here)
            page = await there.page(width=width, person=ELISE)
            places = pages(story)
            offer = await offer_of(there)
            found = {name: places[name] for name in LIVED}
            found["give-check"] = f"{offer}/relire?champs=subject&champs=new_address&fois=toujours"
            for name, place in found.items():
                await page.goto(there.address + place)
                await _take(page, name, width)
            await page.goto(there.address + places["history"])
            await page.click("details summary")
            async with page.expect_download() as coming:
                await page.click("details[open] a")
            raw = (await (await coming.value).path()).read_bytes()
            await page.goto(there.address + places["check"])
            await page.set_input_files("#recu", {"name": "recu.txt", "mimeType": "text/plain", "buffer": raw})
            await page.click("#verifier button")
            await page.locator("#resultat h2").wait_for()
            await _take(page, "check-good", width)


async def _take(page: Page, name: str, width: int) -> None:
    if picture(name, width) in named():
        await page.screenshot(path=FOLDER / picture(name, width), full_page=True)


if __name__ == "__main__":
    asyncio.run(draw())
