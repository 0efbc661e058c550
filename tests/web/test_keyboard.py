"""With the keyboard and a screen reader's tree alone: somebody who does not see declares, allows, takes back and
checks; and so does somebody who reads no French."""

import pytest
from sqlalchemy import func, select

from broker.store.tables import submissions
from broker.web.citizen import typed
from broker.web.citizen.words import translations
from consent.grant import Status
from schemas.messages import Language
from tests.web.chromium import LANGUAGES, Town
from tests.web.keyboard import Reader
from tests.web.story import Story, pages
from tests.world import ELISE, YANN

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOCUS = """() => {
  const one = document.activeElement;
  const drawn = (each) => {
    const style = getComputedStyle(each);
    return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== 'none';
  };
  const box = one.getBoundingClientRect();
  const field = one.closest('.ds-field'); // around a box to tick
  return {
    tag: one.tagName,
    seen: one.className === 'ds-skip-link' ? box.height > 20 : drawn(one) || (field !== null && drawn(field)),
    inside: box.width > 0 && box.left >= 0 && box.right <= innerWidth + 1,
    order: [...document.querySelectorAll('*')].indexOf(one),
  };
}"""


async def states(there: Town) -> list[Status]:
    """Of Yann's consents; those by law are no consents."""
    found = await there.here.home.consents.of(there.here.subject(YANN))
    return [one.status for one in found if not one.by_law]


async def declared(there: Town) -> int:
    """How many declarations there are."""
    async with there.here.home.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(submissions))).scalar_one())


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "fr",
            {
                "nav": "Autorisations",
                "allow": "Autoriser une administration",
                "type": "Changement d'adresse",
                "who": "Caisse d'allocations familiales",
                "go": "Continuer",
                "give": "J'autorise",
                "done": "C'est fait",
                "end": "Arrêter pour de bon",
            },
        ),
        (
            "en",
            {
                "nav": "Permissions",
                "allow": "Allow an administration",
                "type": "Change of address",
                "who": "Caisse d'allocations familiales",
                "go": "Continue",
                "give": "I allow it",
                "done": "Done",
                "end": "End for good",
            },
        ),
    ],
)
async def test_somebody_allows_something_and_takes_it_back(
    there: Town, story: Story, language: str, words: dict[str, str]
) -> None:
    page = await there.page(language=language, person=YANN)
    await page.goto(f"{there.address}/espace")
    reader = await Reader.at(page)
    await reader.follow("link", words["nav"])
    await reader.follow("link", words["allow"])
    await reader.follow("link", words["type"])
    await reader.follow("link", words["who"])
    await reader.follow("button", words["go"])
    await reader.follow("button", words["give"])
    assert words["done"] in await reader.headings()
    assert 1 == (await states(there)).count(Status.ACTIVE)
    await reader.follow("link", words["end"])
    await reader.follow("button", words["end"])
    assert words["done"] in await reader.headings()
    assert 0 == (await states(there)).count(Status.ACTIVE)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_somebody_declares_a_move_with_a_mistake_on_the_way(
    there: Town, story: Story, language: Language
) -> None:
    say = translations(language).gettext
    page = await there.page(language=language, person=YANN)
    await page.goto(f"{there.address}/espace")
    reader = await Reader.at(page)
    go = say("Continuer")
    await reader.follow("link", say("Je déménage"))
    await reader.follow("button", say("Commencer"))
    await reader.choose(say("Moi seul"))
    await reader.follow("button", go)
    await reader.type(say("Date du déménagement"), "31/2/2027")
    await reader.follow("button", go)
    assert "alert" == (await reader.focused())[0]  # what is wrong is heard first, and leads to the field
    await reader.go("link", say(typed.NEVER))
    await page.keyboard.press("Enter")
    assert ("textbox", say("Date du déménagement")) == await reader.focused()
    await page.keyboard.press("Control+A")
    await page.keyboard.type("12/1/2027")
    await reader.follow("button", go)
    await reader.choose(say("De France"))
    await reader.type(say("Code postal"), "44000")
    await reader.type(say("Commune"), "nantes")
    await reader.follow("button", go)
    await reader.choose(say("En France"))
    await reader.follow("button", go)
    await reader.type(say("Numéro et rue"), "12 rue de la Monnaie")
    await reader.type(say("Code postal"), "35000")
    await reader.type(say("Commune"), "Rennes")
    await reader.follow("button", go)
    await reader.choose(say("Locataire"))
    await reader.follow("button", go)
    await reader.follow("button", go)
    assert say("Qui sera prévenu") in await reader.headings()
    before = await declared(there)
    await reader.follow("button", say("Confirmer et envoyer"))
    assert say("C'est envoyé") in await reader.headings()
    assert before + 1 == await declared(there)
    await reader.follow("link", say("Voir où ça en est"))


@pytest.mark.parametrize("language", LANGUAGES)
async def test_somebody_finds_a_receipt_in_their_history_and_checks_it(
    there: Town, story: Story, language: Language
) -> None:
    say = translations(language).gettext
    page = await there.page(language=language, person=ELISE)
    await page.goto(f"{there.address}/espace")
    reader = await Reader.at(page)
    await reader.follow("link", say("Historique"))
    await reader.go("DisclosureTriangle", say("Preuve"))
    await page.keyboard.press("Enter")
    await reader.go("link", say("Télécharger le reçu :"))
    async with page.expect_download() as coming:
        await page.keyboard.press("Enter")
    raw = (await (await coming.value).path()).read_bytes()
    await page.goto(f"{there.address}/espace/verifier")
    await page.locator("#verifier:not([hidden])").wait_for()
    await reader.go("button", say("Le reçu, tel que vous l'avez téléchargé"))
    chosen = {"name": "recu.txt", "mimeType": "text/plain", "buffer": raw}
    await page.locator("input:focus").set_input_files(chosen)  # the system's own window is not the page's
    await reader.go("button", say("Vérifier"))
    await page.keyboard.press("Enter")
    await page.locator("#resultat h2").wait_for()
    assert say("Ce reçu est authentique") in await reader.headings()


@pytest.mark.parametrize("width", [320, 1280])
async def test_the_focus_is_seen_stays_on_the_screen_and_goes_in_the_order_of_the_page(
    there: Town, story: Story, width: int
) -> None:
    """320 pixels are what 1280 show at 400 %."""
    page = await there.page(width=width, person=ELISE)
    for name, place in pages(story).items():
        await page.goto(there.address + place)
        focusable = await page.locator("a[href], button, input:not([type=hidden]), select, textarea, summary").count()
        last = -1
        if await page.locator("[autofocus]").count():
            continue  # what was done is heard first
        for _ in range(min(focusable, 40)):
            await page.keyboard.press("Tab")
            found = await page.evaluate(FOCUS)
            if found["tag"] in {"BODY", "HTML"}:
                break
            assert found["seen"], (name, found)
            assert found["inside"], (name, found)
            assert found["order"] > last, (name, found)
            last = found["order"]


async def test_what_was_done_is_heard_first(there: Town, story: Story) -> None:
    page = await there.page(person=ELISE)
    await page.goto(there.address + pages(story)["grant-done"])
    reader = await Reader.at(page)
    assert ("status", "") == (await reader.focused())
    assert (await page.evaluate("document.activeElement.textContent")).strip().startswith("C'est fait")
