"""Script: the demo's pages are played through in a real Chromium, and what they say is held against what happened.

    async with live("127.0.0.1:0", stop) as made: await play(made, Path("pictures"))

Refuses: a page that does not say what it must (`Untrue`, with the claim).
Keeps: it does what a person does, by labels, links and buttons; no address is typed but the first.
"""

import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.lab.web_demo.process import Live
from schemas.errors import Refused

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

WAIT_MS: Final = 180_000
"""For a page, or for an administration; it decides nothing but when a fault is told on a busy machine."""
NUMBER: Final = "2 88 03 29 232 001 23"


class Untrue(AssertionError):
    """A claim that does not hold."""


@dataclass
class Script:
    """One person's visit. `claims`: what was seen to be true, in order; `pictures`: where each page is kept."""

    made: Live
    page: "Page"
    pictures: Path | None = None
    claims: list[str] = field(default_factory=list)
    shot: int = 0

    # ── what a person does ──────────────────────────────────────────────────────────────────────────────────────────

    async def follow(self, name: str) -> None:
        """A link, by the beginning of its words."""
        await self.page.get_by_role("link", name=re.compile(f"^{re.escape(name)}")).first.click()

    async def press(self, name: str) -> None:
        """A button."""
        await self.page.get_by_role("button", name=re.compile(f"^{re.escape(name)}")).first.click()

    async def choose(self, label: str) -> None:
        """A radio button or a box."""
        await self.page.get_by_label(label, exact=True).first.check()

    async def fill(self, label: str, text: str) -> None:
        """A field."""
        await self.page.get_by_label(label, exact=True).first.fill(text)

    async def answer(self, fields: Mapping[str, str]) -> None:
        """A page of one question, then on."""
        for label, text in fields.items():
            await self.fill(label, text)
        await self.press("Continuer")

    async def open(self, words: str) -> None:
        """A page of the navigation."""
        await self.page.get_by_role("navigation").first.get_by_role("link", name=words, exact=True).click()

    # ── what is claimed ─────────────────────────────────────────────────────────────────────────────────────────────

    async def sees(self, claim: str, *words: str) -> None:
        """The page says all of this."""
        text = " ".join((await self.page.locator("main").inner_text()).split())
        for word in words:
            if word not in text:
                raise Untrue(f"{claim}: « {word} » is not on {self.page.url}: {text[:1500]}")
        self.claims.append(claim)

    async def waits(self, claim: str, seen: "Callable[[], Locator]", until: Callable[[str], bool]) -> None:
        """What a part of the page says becomes so, by itself."""
        for _ in range(WAIT_MS // 250):
            if until(" ".join((await seen().first.inner_text()).split())):
                self.claims.append(claim)
                return
            await self.page.wait_for_timeout(250)
        raise Untrue(f"{claim}: {await seen().first.inner_text()}")

    def holds(self, claim: str, true: bool) -> None:
        """Something that is no page's."""
        if not true:
            raise Untrue(claim)
        self.claims.append(claim)

    async def look(self, name: str) -> None:
        """Keep a picture of the whole page."""
        self.shot += 1
        if self.pictures is not None:
            path = self.pictures / f"{self.shot:02}-{name}.png"
            await self.page.screenshot(path=path, full_page=True)


Act = Callable[[Script], Awaitable[None]]


async def come_in(here: Script) -> None:
    """The first page, and one click as somebody who does not exist."""
    await here.page.goto(f"{here.made.url}/espace")
    await here.look("accueil")
    await here.follow("Commencer")
    await here.sees("who is not signed in is asked to", "Se connecter")
    await here.press("S'identifier avec FranceConnect")
    await here.press("Élise Martin")
    await here.sees("and finds everything on the first page", "Je déménage", "Mes démarches")


async def allow(here: Script) -> None:
    """Three administrations may hear of a move, each under the exact text that is shown."""
    for name in ("Allocations familiales", "Assurance maladie", "Ville de Rennes"):
        await here.open("Autorisations")
        await here.follow("Autoriser une administration")
        await here.follow("Changement d'adresse")
        await here.follow(name)
        await here.press("Continuer")
        await here.sees(f"{name}: the text is shown before it counts", f"J'autorise {name}", "retirer cet accord")
        if name == "Allocations familiales":
            await here.look("texte-exact")
        await here.press("J'autorise")
        await here.sees(f"{name}: allowed", "C'est fait", "En vigueur")
    await here.open("Autorisations")
    await here.sees("what is allowed, and what the law provides for", "Impôt sur le revenu", "Opposition possible")
    await here.look("qui-peut-savoir-quoi")


async def move(here: Script) -> None:
    """One question a page; a date that is none is told what to do; who will hear what is shown before anything goes."""
    await here.open("Je déménage")
    await here.press("Commencer")
    await here.choose("Moi seul")
    await here.press("Continuer")
    await here.answer({"Date du déménagement": "31 février"})
    await here.sees("a day that does not exist is told, and nothing typed is lost", "À corriger avant de continuer")
    await here.look("date-a-corriger")
    await here.answer({"Date du déménagement": "12 décembre 2026"})
    await here.choose("De France")
    await here.answer({"Code postal": "44000", "Commune": "nantes"})
    await here.choose("En France")
    await here.press("Continuer")
    await here.answer({"Numéro et rue": "12 rue de la Monnaie", "Code postal": "35000", "Commune": "Rennes"})
    await here.press("Continuer")  # the dwelling is nobody's business
    await here.press("Continuer")
    await here.sees("five administrations will hear, and on which ground", "CGI, art. 10 et 11", "Vous l'avez autorisé")
    await here.look("verifier")
    await here.press("Confirmer et envoyer")
    await here.sees("it is sent once", "C'est envoyé")
    await here.follow("Voir où ça en est")
    await here.page.wait_for_url("**/demarches/*")


async def arrive(here: Script) -> None:
    """Each administration at its own pace; the page says so by itself. One does not find her, until she adds her
    number there."""
    text = here.page.locator("main")
    await here.waits("the tax office has done its part", lambda: text, lambda said: said.count("Traitée") >= 3)
    await here.waits("one does not find the person", lambda: text, lambda said: "À compléter" in said)
    await here.look("ou-en-est-on")
    await here.follow("Donner mon numéro")
    await here.answer({"Comment s'appelle ce numéro ?": "numéro de sécurité sociale", "Votre numéro": NUMBER})
    await here.sees("her number goes to that administration alone", "Ce que vous acceptez", NUMBER)
    await here.look("mon-numero")
    await here.press("J'accepte et j'envoie")
    await here.waits("then that one has done its part, too", lambda: text, lambda said: said.count("Traitée") >= 4)
    await here.waits("and so has the slow one", lambda: text, lambda said: said.count("Traitée") >= 5)
    await here.look("tout-est-traite")


async def prove(here: Script) -> None:
    """Who opened what; a receipt is taken home and checked in the page, which talks to nobody; one byte more fails."""
    await here.open("Historique")
    await here.sees(
        "the history says who got which fields", "Transmis", "Informations :", "Service des impôts (fictif)"
    )
    await here.look("historique")
    await here.page.locator("main summary").filter(has_text="Preuve").last.click()
    async with here.page.expect_download() as coming:
        await here.page.get_by_role("link", name=re.compile("^Télécharger le reçu")).last.click()
    receipt = (await (await coming.value).path()).read_bytes()
    await here.follow("Vérifier un reçu")
    for name, raw, word in (
        ("a receipt is good", receipt, "success"),
        ("with one byte changed it is not", receipt.replace(b"A", b"B", 1), "danger"),
    ):
        await here.page.locator("#recu").set_input_files({"name": "recu.txt", "mimeType": "text/plain", "buffer": raw})
        await here.press("Vérifier")
        result = here.page.locator("#resultat")
        await result.locator(f'[data-color="{word}"]').first.wait_for()
        here.holds(name, await result.is_visible())
        await here.look("recu" if raw == receipt else "recu-modifie")


async def change_her_mind(here: Script) -> None:
    """A consent ends at once; the declaration is taken back, and whoever had it undoes it."""
    await here.page.go_back()
    await here.open("Autorisations")
    await here.follow("Allocations familiales")
    await here.follow("Arrêter pour de bon")
    await here.press("Arrêter pour de bon")
    await here.sees("a consent has ended, with its receipt", "C'est fait", "Terminé par vous")
    await here.look("accord-arrete")
    await here.open("Mes démarches")
    await here.follow("Changement d'adresse")
    await here.follow("Annuler cette déclaration")
    await here.look("annuler")
    await here.choose("J'ai changé d'avis")
    await here.press("Annuler")
    await here.sees("it is taken back", "Annulée le", "Plus personne ne la reçoit")
    for _ in range(WAIT_MS // 250):
        if not any(one.file for one in here.made.offices.values()):
            break
        await here.page.wait_for_timeout(250)
    here.holds("every administration has undone it", not any(one.file for one in here.made.offices.values()))


async def leave(here: Script) -> None:
    """She signs out; the pages of before are nobody's."""
    place = here.page.url
    await here.press("Se déconnecter")
    await here.sees("she is signed out", "déconnecté")
    await here.page.goto(place)
    await here.sees("and what she saw is not shown any more", "Se connecter")


ACTS: Final[tuple[Act, ...]] = (come_in, allow, move, arrive, prove, change_her_mind, leave)


async def play(made: Live, pictures: Path | None = None) -> list[str]:
    """The whole story; what was seen to be true. Raises Untrue; Refused `demo.no-browser`."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise Refused("demo.no-browser", missing="playwright") from None

    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = await chromium.new_page(
            viewport={"width": 1280, "height": 900}, locale="fr-FR", reduced_motion="reduce", timezone_id="Europe/Paris"
        )
        page.set_default_timeout(WAIT_MS)
        here = Script(made, page, pictures)
        try:
            for act in ACTS:
                await act(here)
        finally:
            await here.look("fin")
            await chromium.close()
    return here.claims


def _chromium() -> str:
    """Where Debian's Chromium is."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    raise Refused("demo.no-browser", missing="chromium")
