"""Through every page of a move, its following and the ways in, as somebody goes: axe-core finds nothing and nothing
runs off the screen, with what is wrong shown, too; by the keyboard alone; without scripts."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page

from broker.services.citizens import following
from broker.web.citizen import moving_draft
from schemas.names import GrantId, RuleId, uuid_text
from tests.unit.broker.web.citizen.test_moving import ALONE
from tests.unit.broker.web.citizen.test_pages_table import TABLE
from tests.web.chromium import Scheme, town
from tests.web.shots import FRANCECONNECT, LOOKS, furnish, walk
from tests.web.spacing import crowded
from tests.web.story import OPEN, Story, pages
from tests.world import ELISE, MOVED

pytestmark = pytest.mark.asyncio
AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text("utf-8")
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "RGAAv4", "best-practice")
RUN = """async (tags) => {
  const found = await axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  const where = (one) => one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ');
  return found.violations.map((one) => [one.id, where(one)]);
}"""


NO_STORY = Story(GrantId(bytes(16)), GrantId(bytes(16)), RuleId(bytes(16)), RuleId(bytes(16)), "0")
FILES = ("accuse", "recu", "{fait}", "{name}", "telecharger", "langue", "retour")
"""How addresses end that are no page: a file, or on to another page."""


def unseen(seen: Iterable[str]) -> set[str]:
    """Addresses of pages, as `broker.web.citizen` serves them, of which none of these is one."""
    paths = {path for method, path in TABLE if method == "GET" and not path.endswith(FILES)}
    plain = [one.partition("?")[0] for one in seen]
    return {path for path in paths if not any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), one) for one in plain)}


async def violations(page: Page) -> list[Any]:
    """What axe-core finds on the page as it is now."""
    await page.evaluate(AXE)
    found: list[Any] = await page.evaluate(RUN, list(TAGS))
    return found


@pytest.mark.parametrize(("width", "language", "scheme"), LOOKS)
async def test_axe_core_finds_nothing_on_the_way(tmp_path: Path, width: int, language: str, scheme: Scheme) -> None:
    found: dict[str, Any] = {}
    async with town(tmp_path, **FRANCECONNECT) as there:
        await furnish(there)
        page = await there.page(width=width, language=language, scheme=scheme, person=ELISE)
        offer = f"{pages(NO_STORY)['give-who']}/0"
        seen = {*OPEN.values(), *pages(NO_STORY).values(), offer, f"{offer}/relire"}  # those of `test_access`
        async for name in walk(there, page):
            seen.add(urlsplit(page.url).path)
            assert 1 == await page.locator("h1").count(), name
            assert language == await page.evaluate("document.documentElement.lang"), name
            if wrong := await violations(page):
                found[name] = wrong
            if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found[f"{name} runs off"] = width
            if lost := await crowded(page):
                found[f"{name} with its text spaced"] = lost
        assert set() == unseen(seen)
        assert {} == found, json.dumps(found, indent=1, ensure_ascii=False)
        assert [] == [one for one in there.refused if "404" not in one and "422" not in one]
        assert {there.address} >= {"/".join(one.split("/")[:3]) for one in there.asked if one.startswith("http")}


async def test_the_whole_way_goes_without_scripts(tmp_path: Path) -> None:
    async with town(tmp_path, **FRANCECONNECT) as there:
        await furnish(there)
        page = await there.page(person=ELISE, scripts=False)
        names = [name async for name in walk(there, page)]

    assert {"move-sent", "follow-number-agree", "goodbye"} <= set(names)


async def test_a_change_is_seen_without_asking_again_and_said(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        await furnish(there)
        made = uuid_text((await there.here.declare(MOVED, there.here.moved(), route=False)).declaration_id)
        page = await there.page(person=ELISE)
        await page.goto(f"{there.address}/espace/demarches/{made}")
        assert await page.get_by_text("Nous cherchons à qui la transmettre").is_visible()
        await there.here.home.router.route()
        await page.get_by_text("Transmise").first.wait_for()

        assert "La page a été mise à jour." == await page.locator("#annonce").text_content()


async def test_a_form_is_filled_in_by_the_keyboard_alone(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        page = await there.page(person=ELISE)
        await page.goto(f"{there.address}/espace/demenager")
        await page.focus("main form button")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/qui")
        await page.focus("#qui")
        await page.keyboard.press("Space")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/date")
        await page.focus("#date")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**revoir=1**")

        assert "erreurs" == await page.evaluate("document.activeElement.id")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert "date" == await page.evaluate("document.activeElement.id")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert "3px" == outline


async def test_the_back_button_and_a_double_click_send_nothing_twice_and_lose_nothing(tmp_path: Path) -> None:
    async with town(tmp_path) as there:
        await furnish(there)
        token, elise = await there.sign_in()
        home = there.here.home
        await moving_draft.begin(home, elise)
        for step, fields in ALONE.items():
            await moving_draft.answer(home, elise, step, fields)
        page = await there.page()
        await page.context.add_cookies([{"name": "session", "value": token, "url": there.address}])
        await page.goto(f"{there.address}/espace/demenager/date")
        await page.fill("#date", "3 mars 2027")
        async with page.expect_navigation():
            await page.click("main button[type=submit]")
        await page.go_back()
        assert "3 mars 2027" == await page.input_value("#date")

        await page.goto(f"{there.address}/espace/demenager/verifier")
        await page.dblclick("main form[action$=verifier] button")
        await page.wait_for_url("**/envoye")
        await page.go_back()
        for again in await page.locator("main form[action$=verifier] button").all():
            await again.click()
        await page.goto(f"{there.address}/espace/demenager/envoye")

        assert "C'est envoyé" == await page.locator("h1").inner_text()
        assert 1 == len((await following.mine(home, elise))["declarations"])
