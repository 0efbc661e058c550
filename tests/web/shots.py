"""Takes a picture of every page for citizens, in both languages, narrow and wide, light and dark, to be looked at.

python -m tests.web.shots FOLDER [part of a name]
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from broker.services.citizens import forms
from broker.services.repairing import TYPE
from connectors.contract import Answered
from consent.basis import law
from schemas.names import Reason
from tests.unit.broker.citizens.people import citizen, form_of
from tests.web.chromium import Scheme, Town, town
from tests.world import BANK, CAF, ELISE, FAMILY, MOVED, PORTAL, RENNES, TOWN

LOOKS: Final[tuple[tuple[int, str, Scheme], ...]] = ((1280, "fr", "light"), (320, "fr", "dark"), (320, "en", "light"))
ANSWERS: Final = (
    ("date", {"date": "12 décembre 2026"}),
    ("depart", {"code_postal": "44000", "commune": "nantes"}),
    ("adresse", {"rue": "12 bis rue de la Monnaie", "code_postal": "35000", "commune": "Rennes"}),
    ("contact", {"telephone": "06 12 34 56 78"}),
)
FRANCECONNECT: Final = {
    "citizen_url": "https://unefois.example",
    "franceconnect_issuer": "https://fc.example",
    "franceconnect_client_id": "us",
    "franceconnect_client_secret": "secret",
    "bank_hold_hours": 72,
}
PERSON: Final = {"prenoms": "Lou Anne", "nom": "Martin", "naissance": "24/8/2015", "commune": "Rennes"}
HUSBAND: Final = {"prenoms": "Yann", "nom": "Martin", "naissance": "12/4/1985", "commune": "Nantes"}


@dataclass
class Shots:
    """Where the pictures go, and which."""

    folder: Path
    wanted: str

    async def take(self, page: Page, name: str, look: str) -> None:
        """One picture of the whole page."""
        if self.wanted in name:
            await page.screenshot(path=self.folder / f"{name}-{look}.png", full_page=True)


async def go(page: Page, control: str) -> None:
    """Press it, and wait for the page that it leads to."""
    async with page.expect_navigation():
        await page.click(control)


async def walk(there: Town, page: Page) -> AsyncIterator[str]:
    """Through the pages, as somebody goes; yields a name wherever there is something to look at."""
    place = f"{there.address}/espace"
    for name, path in (("welcome", ""), ("accessibility", "/accessibilite"), ("privacy", "/donnees")):
        await page.goto(place + path)
        yield name
    for name, path in (("sessions", "/sessions"), ("move-start", "/demenager"), ("nothing", "/rien")):
        await page.goto(place + path)
        yield name
    async for name in _move(page, f"{place}/demenager"):
        yield name
    async for name in _follow(there, page, place):
        yield name
    async for name in _doors(page, place):
        yield name


async def _move(page: Page, place: str) -> AsyncIterator[str]:
    await page.goto(place)
    await go(page, "main form[action$=commencer] button")
    await go(page, "main button[type=submit]")
    yield "move-who-wrong"
    await page.check("#qui-foyer")
    await go(page, "main button[type=submit]")
    yield "move-household-empty"
    for person, sex, relation in ((PERSON, "#sexe", "#lien"), (HUSBAND, "#sexe-male", "#lien-spouse")):
        await page.goto(f"{place}/foyer/personne")
        for field, told in person.items():
            await page.fill(f"#{field}", told)
        for choice in (sex, relation, "#ne_ou"):
            await page.check(choice)
        yield "move-person"
        await go(page, "main button[type=submit]")
        if "revoir" in page.url:
            raise RuntimeError(page.url)
    yield "move-household"
    await page.goto(place)
    yield "move-start-again"
    await go(page, "main form[action$=code] button")
    yield "move-code"
    await page.goto(f"{place}/depart")
    await page.check("#depart")
    await page.fill("#code_postal", "01200")
    await page.fill("#commune", "Bellegarde-sur-Valserine")
    await go(page, "main button[type=submit]")
    yield "move-from-offered"
    await page.goto(f"{place}/arrivee")
    yield "move-to"
    await page.check("#arrivee")
    await go(page, "main button[type=submit]")
    yield "move-address"
    await go(page, "main button[type=submit]")
    yield "move-address-wrong"
    for step, fields in ANSWERS:
        await page.goto(f"{place}/{step}")
        yield f"move-{step}"
        if step == "depart":
            await page.check("#depart")
        for field, told in fields.items():
            await page.fill(f"#{field}", told)
        await go(page, "main button[type=submit]")
    await page.goto(f"{place}/logement")
    yield "move-home"
    await page.check("#logement")
    await go(page, "main button[type=submit]")
    await page.goto(f"{place}/verifier")
    yield "move-check"
    await go(page, "main button[type=submit]")
    yield "move-sent"


async def _follow(there: Town, page: Page, place: str) -> AsyncIterator[str]:
    here = there.here
    await here.home.router.route()
    pulled = await here.inbox(CAF).pull(10)
    for each in pulled.locked:
        await here.inbox(CAF).acknowledge(each.delivery_id, Answered(Reason.UNKNOWN_PERSON))
    await page.goto(f"{place}/demarches")
    yield "follow-list"
    await go(page, "main li a")
    one = page.url
    yield "follow-one"
    await page.goto(f"{one}/numero?pour={CAF}")
    yield "follow-number"
    await page.fill("#nom", "numéro allocataire")
    await page.fill("#numero", "7654321")
    await go(page, "main button[type=submit]")
    yield "follow-number-agree"
    account = form_of(BANK, here.bank())
    held = (await forms.declare(here.home, citizen(here), account, forms.begin(here.home)))["declaration"]
    await here.home.router.route()
    await page.goto(f"{place}/demarches/{held}/arreter")
    yield "follow-stop"
    await page.goto(f"{place}/demenager/rejoindre/{held}")  # whoever has no code sees the form, too
    yield "move-join"


async def _doors(page: Page, place: str) -> AsyncIterator[str]:
    await page.goto(f"{place}/demenager/date")
    await page.context.clear_cookies()
    await page.goto(f"{place}/connexion")
    yield "sign-in"
    await page.fill("#code", "12")
    await go(page, "form[action$=code] button")
    yield "sign-in-wrong"
    await page.goto(f"{place}/connexion/fin")
    yield "goodbye"


async def furnish(there: Town) -> None:
    """A consent, a law, and who asks for a number."""
    here = there.here
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, TYPE, here.clock())
    await here.subscribe(CAF, TYPE, FAMILY, ("subject", "number_kind", "number", "repairs"))
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "household"])
    await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"], basis=law("CGCT, art. L2121-29"))


async def main(folder: Path, wanted: str) -> None:
    """Every page in every look; a page that scrolls sideways is named."""
    folder.mkdir(parents=True, exist_ok=True)
    shots = Shots(folder, wanted)
    for width, language, scheme in LOOKS:
        with tempfile.TemporaryDirectory() as home:
            async with town(Path(home), **FRANCECONNECT) as there:
                await furnish(there)
                page = await there.page(width=width, language=language, scheme=scheme, person=ELISE)
                async for name in walk(there, page):
                    await shots.take(page, name, f"{width}-{language}-{scheme}")
                    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                        print(f"{name} at {width}: scrolls sideways")
                print(width, language, scheme, *there.refused)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
