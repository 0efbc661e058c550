"""What became of it: one's own declarations alone, how far each is, and a number for who has not found somebody."""

import re
from collections.abc import AsyncIterator
from html import unescape

import pytest
import pytest_asyncio

from broker.services.repairing import TYPE
from connectors.contract import Answered
from schemas.acknowledgement import verify
from schemas.names import DeclarationId, Reason, uuid_text
from tests.web.citizens import Browser, browser
from tests.world import CAF, FAMILY, MOVED, PORTAL, YANN, World

pytestmark = pytest.mark.asyncio
LIST = "/espace/demarches"


@pytest_asyncio.fixture
async def elise(here: World) -> AsyncIterator[Browser]:
    """Élise, signed in; her family benefits hear of moves by her consent."""
    async with browser(here) as made:
        await made.sign_in()
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        yield made


async def test_who_has_declared_nothing_is_led_on(elise: Browser) -> None:
    assert "Vous n'avez rien déclaré ici" in (await elise.get(LIST)).text


async def test_a_declaration_is_followed_in_hubees_words(elise: Browser) -> None:
    made = await elise.here.declare(MOVED, elise.here.moved(), route=False)
    place = f"{LIST}/{uuid_text(made.declaration_id)}"
    assert f'href="{place}"' in (await elise.get(LIST)).text
    waiting = (await elise.get(place)).text
    assert "Nous cherchons à qui la transmettre" in waiting
    assert 'data-moves="1"' in waiting

    await elise.here.home.router.route()
    assert "Transmise" in (await elise.get(place)).text
    await elise.here.take(CAF)
    done = (await elise.get(place)).text

    assert "Traitée" in done
    assert 'data-moves="0"' in done


async def test_the_part_that_changes_is_served_alone(elise: Browser) -> None:
    made = await elise.here.declare(MOVED, elise.here.moved())
    part = (await elise.get(f"{LIST}/{uuid_text(made.declaration_id)}?partie=etapes")).text

    assert part.startswith('<div class="u-part"')
    assert "<html" not in part


async def test_the_acknowledgement_comes_as_a_tagged_pdf_and_as_json_whose_receipt_checks_once_it_is_routed(
    elise: Browser,
) -> None:
    made = await elise.here.declare(MOVED, elise.here.moved(), route=False)
    place = f"{LIST}/{uuid_text(made.declaration_id)}"
    assert "accuse" not in (await elise.get(place)).text
    assert 422 == (await elise.get(f"{place}/accuse")).status_code
    await elise.here.home.router.route()
    links = re.findall(r'href="([^"]+/accuse[^"]*)"', (await elise.get(place)).text)

    pdf, told = [await elise.get(link) for link in links]

    assert b"/MarkInfo<</Marked true>>" in pdf.content
    assert b"/Lang(fr)" in pdf.content
    assert uuid_text(made.declaration_id) == told.json()["number"]
    directory = await elise.here.home.lookup.newest(elise.here.home.store)
    assert MOVED == verify(told.json(), directory).event_type
    assert ["no-store"] * 2 == [one.headers["cache-control"] for one in (pdf, told)]
    assert [] == [word for word in ("Martin", "Monnaie", "1985") if word in told.text]
    await elise.sign_in(YANN)
    assert [404, 404] == [(await elise.get(link)).status_code for link in links]


@pytest.mark.parametrize("person", [YANN, None])
async def test_anothers_declaration_is_as_one_that_never_was(elise: Browser, person: dict[str, str] | None) -> None:
    made = await elise.here.declare(MOVED, elise.here.moved())
    if person is not None:
        await elise.sign_in(person)
        answer = await elise.get(f"{LIST}/{uuid_text(made.declaration_id)}")
    else:
        answer = await elise.get(f"{LIST}/{uuid_text(bytes(16))}")

    assert 404 == answer.status_code
    assert "Cette page n'existe pas" in unescape(answer.text)


@pytest.mark.parametrize("told", ["x", "%00", "..%2f..%2fv1", "a" * 1000, "<script>"])
async def test_an_id_that_is_none_is_nowhere(elise: Browser, told: str) -> None:
    assert 404 == (await elise.get(f"{LIST}/{told}")).status_code


async def not_found(elise: Browser) -> DeclarationId:
    """The family office finds nobody by this name, and may hear of a number."""
    here = elise.here
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, TYPE, here.clock())
    await here.subscribe(CAF, TYPE, FAMILY, ("subject", "number_kind", "number", "repairs"))
    made = await here.declare(MOVED, here.moved())
    (locked,) = (await here.inbox(CAF).pull(10)).locked
    await here.inbox(CAF).acknowledge(locked.delivery_id, Answered(Reason.UNKNOWN_PERSON))
    return made.declaration_id


async def test_a_number_goes_to_the_one_that_asks_after_its_words_were_read(elise: Browser) -> None:
    place = f"{LIST}/{uuid_text(await not_found(elise))}"
    page = (await elise.get(place)).text
    assert "À compléter" in page
    assert "Donner mon numéro" in page
    asking = f"{place}/numero?pour={CAF}"
    told = {"pour": CAF, "nom": "numéro allocataire", "numero": "7654321"}

    read = (await elise.send(f"{place}/numero", told, at=asking)).text
    assert "Ce que vous acceptez" in read
    assert 'value="7654321"' in read
    hidden = {name: hidden_value(read, name) for name in ("jeton", "pour", "nom", "numero", "jusqua", "texte")}
    forged = await elise.post(f"{place}/numero/envoyer", {**hidden, "texte": "00" * 32})
    assert 422 == forged.status_code
    sent = await elise.post(f"{place}/numero/envoyer", hidden)

    assert (303, place) == (sent.status_code, sent.headers["location"])
    await elise.here.home.router.route()
    opened = await elise.here.take(CAF)
    assert "7654321" in {one.record.get("number") for one in opened}


@pytest.mark.parametrize("typed", ["", "x" * 1000, "🏠", "<script>alert(1)</script>"])
@pytest.mark.parametrize("name", ["nom", "numero"])
async def test_a_number_that_is_none_is_told_beside_its_field(elise: Browser, name: str, typed: str) -> None:
    place = f"{LIST}/{uuid_text(await not_found(elise))}"
    told = {"pour": CAF, "nom": "numéro allocataire", "numero": "7654321", name: typed}
    answer = await elise.send(f"{place}/numero", told, at=f"{place}/numero?pour={CAF}")

    assert 422 == answer.status_code
    assert f'href="#{name}"' in answer.text
    assert "<script>alert" not in answer.text


async def test_who_is_not_asked_gives_no_number(elise: Browser) -> None:
    made = await elise.here.declare(MOVED, elise.here.moved())
    place = f"{LIST}/{uuid_text(made.declaration_id)}"

    assert place == (await elise.get(f"{place}/numero?pour={CAF}")).headers["location"]


def hidden_value(page: str, name: str) -> str:
    """The value of a hidden field of the form that sends it."""
    form = page[page.index('/numero/envoyer"') :]
    found = re.search(rf'name="{name}" value="([^"]*)"', form)
    assert found is not None, name
    return unescape(found[1])
