"""Access: axe-core finds nothing on any page, in two languages, three widths, light and dark, with and without scripts;
nothing runs off a narrow screen or is lost where text is spaced, and nothing that a browser refuses is asked of it."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.web.chromium import LANGUAGES, WIDTHS, Town
from tests.web.spacing import crowded
from tests.web.story import OPEN, Story, offer_of, pages
from tests.world import ELISE

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENDOR = Path(__file__).parent / "vendor" / "axe-core"
AXE = (VENDOR / "axe.min.js").read_text("utf-8")
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "RGAAv4", "best-practice")
"""The rules of WCAG 2.2, levels A and AA, of RGAA 4, and what axe-core itself advises."""
RUN = """async (tags) => {
  const found = await axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  const where = (one) => one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ');
  return found.violations.map((one) => [one.id, where(one)]);
}"""


async def test_axe_core_is_the_one_that_was_taken() -> None:
    sums = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: sha256((VENDOR / name).read_bytes()).hexdigest() for name in ("axe.min.js", "LICENSE")}
    assert "axe v4.14.1" in AXE[:200]


async def violations(page: Page) -> list[Any]:
    """What axe-core finds on the page as it is now."""
    await page.evaluate(AXE)
    found: list[Any] = await page.evaluate(RUN, list(TAGS))
    return found


async def every_page(there: Town, story: Story) -> dict[str, str]:
    """Those of a person, with the steps of giving a consent."""
    offer = await offer_of(there)
    more = {
        "give-what": offer,
        "give-nothing": f"{offer}/relire",
        "give-check": f"{offer}/relire?champs=subject&champs=new_address&fois=une",
    }
    return {**pages(story), **more}


async def test_the_rules_find_something_where_something_is_wrong(there: Town) -> None:
    page = await there.page()
    await page.goto(f"{there.address}/espace")
    await page.evaluate("document.documentElement.removeAttribute('lang'); document.querySelector('h1').remove()")
    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=/x><input>')")

    assert {"html-has-lang", "image-alt", "label"} <= {name for name, _ in await violations(page)}


@pytest.mark.parametrize("wrong", ["one.style.height = `${one.offsetHeight}px`", "one.style.marginTop = '-2em'"])
async def test_a_page_that_loses_something_where_its_text_is_spaced_is_found(there: Town, wrong: str) -> None:
    page = await there.page(width=320)
    await page.goto(f"{there.address}/espace")
    assert [] == await crowded(page)
    await page.evaluate(f"() => {{ const one = document.querySelector('main p'); {wrong} }}")

    assert [] != await crowded(page)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", WIDTHS)
async def test_axe_core_finds_nothing_and_nothing_runs_off_the_screen(
    there: Town, story: Story, language: str, width: int
) -> None:
    found: dict[str, Any] = {}
    page = await there.page(width=width, language=language, person=ELISE)
    anybody = await there.page(width=width, language=language)
    there.refused.clear()
    for window, places in ((page, await every_page(there, story)), (anybody, OPEN)):
        for name, place in places.items():
            answer = await window.goto(there.address + place)
            assert answer is not None
            expected = {"not-found": 404, "give-nothing": 422}.get(name, 200)
            assert (name, expected) == (name, answer.status)
            assert language == await window.evaluate("document.documentElement.lang")
            if wrong := await violations(window):
                found[name] = wrong
            wide = await window.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found[f"{name} runs off"] = wide
            if lost := await crowded(window):
                found[f"{name} with its text spaced"] = lost
    assert {} == found, json.dumps(found, indent=1, ensure_ascii=False)
    assert [] == [one for one in there.refused if "404" not in one and "422" not in one]


async def test_dark_colours_have_their_contrast_too(there: Town, story: Story) -> None:
    page = await there.page(scheme="dark", person=ELISE)
    found = {}
    for name, place in (await every_page(there, story)).items():
        await page.goto(there.address + place)
        if wrong := await violations(page):
            found[name] = wrong
    assert {} == found


async def test_every_page_says_the_same_without_scripts(there: Town, story: Story) -> None:
    with_, without = await there.page(person=ELISE), await there.page(person=ELISE, scripts=False)
    for name, place in (await every_page(there, story)).items():
        if name in {"check", "sessions", "not-found"}:  # says how else; lists the session; has a number of its own
            continue
        told = []
        for page in (with_, without):
            await page.goto(there.address + place)
            told.append((await page.locator("main").inner_text()).split())
        assert told[0] == told[1], name


async def test_each_page_has_one_first_heading_a_title_of_its_own_and_one_way_to_skip_to_it(
    there: Town, story: Story
) -> None:
    page = await there.page(person=ELISE)
    titles = {}
    for name, place in (await every_page(there, story)).items():
        await page.goto(there.address + place)
        assert (name, 1) == (name, await page.locator("h1").count())
        levels = await page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => +one.tagName[1])")
        assert all(after - before <= 1 for before, after in pairwise(levels)), (name, levels)
        await page.keyboard.press("Tab")
        skip = await page.evaluate("document.activeElement.getAttribute('href')")
        if await page.locator("[autofocus]").count() == 0:
            assert (name, "#contenu") == (name, skip)
        titles[name] = await page.title()
    assert all(name for name in titles.values())
    assert not [one for one in titles.values() if "Martin" in one or "Élise" in one]
