"""I am moving: from the first page to the declaration, and every field's bad input on the way."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from broker.store.tables import submissions
from consent.basis import law
from tests.web.citizens import Browser, browser
from tests.world import CAF, FAMILY, MOVED, RENNES, TOWN, YANN, World

pytestmark = pytest.mark.asyncio

ALONE: dict[str, dict[str, str]] = {
    "qui": {"qui": "seul"},
    "date": {"date": "12 décembre 2026"},
    "depart": {"depart": "france", "code_postal": "44000", "commune": "nantes"},
    "arrivee": {"arrivee": "france"},
    "adresse": {
        "rue": "12 bis rue de la Monnaie",
        "complement": "3e étage",
        "code_postal": "35000",
        "commune": "RENNES",
    },
    "logement": {"logement": "tenant"},
    "contact": {"telephone": "06 12 34 56 78", "courriel": "elise@Example.FR"},
}
CHILD = {
    "prenoms": "Lou Anne",
    "nom": "Martin",
    "naissance": "24/8/2015",
    "sexe": "female",
    "lien": "child",
    "ne_ou": "france",
    "departement": "35",
    "commune": "rennes",
}
HUSBAND = {
    "prenoms": "Yann",
    "nom": "Martin",
    "naissance": "12 avril 1985",
    "sexe": "male",
    "lien": "spouse",
    "ne_ou": "france",
    "departement": "44",
    "commune": "Nantes",
}
START = "/espace/demenager"


@pytest_asyncio.fixture
async def elise(here: World) -> AsyncIterator[Browser]:
    """Élise, signed in; her family benefits hear of moves by her consent, the town by law."""
    async with browser(here) as made:
        await made.sign_in()
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "household"])
        await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"], basis=law("CGCT, art. L2121-29"))
        yield made


async def begin(elise: Browser) -> None:
    answer = await elise.send(f"{START}/commencer", {}, at=START)
    assert (303, f"{START}/qui") == (answer.status_code, answer.headers["location"])


async def fill(elise: Browser, **other: dict[str, str]) -> str:
    """Every page; returns where the last one leads."""
    await begin(elise)
    place = ""
    for step, fields in {**ALONE, **other}.items():
        answer = await elise.send(f"{START}/{step}", fields)
        assert 303 == answer.status_code
        place = answer.headers["location"]
        assert "revoir" not in place, step
    return place


async def declared(elise: Browser) -> int:
    async with elise.here.home.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(submissions))).scalar_one())


async def test_a_move_is_declared_in_one_go_and_reaches_those_it_named(elise: Browser) -> None:
    assert f"{START}/verifier" == await fill(elise)
    check = (await elise.get(f"{START}/verifier")).text
    for told in ("12 décembre 2026", "44000 Nantes", "12 bis rue de la Monnaie", "35000 Rennes", "+33612345678"):
        assert told in check
    assert "CGCT, art. L2121-29" in check
    assert "Vous l'avez autorisé." in check
    assert "Qui ne recevra rien, et pourquoi" in check
    assert 0 == await declared(elise)

    answer = await elise.send(f"{START}/verifier", {})

    assert (303, f"{START}/envoye") == (answer.status_code, answer.headers["location"])
    assert "Votre déménagement est déclaré" in (await elise.get(f"{START}/envoye")).text
    await elise.here.home.router.route()
    (delivery,) = await elise.here.take(CAF)
    address = delivery.record["new_address"]
    assert ("12", "bis", "rue de la Monnaie") == (address["housenumber"], address["repetition"], address["street"])
    assert ("35000", "Rennes", "35238") == (address["postcode"], address["city"], address["commune"])


async def test_sent_twice_it_is_declared_once(elise: Browser) -> None:
    await fill(elise)
    token = elise.token(f"{START}/verifier")
    first = await elise.post(f"{START}/verifier", {"jeton": token})
    second = await elise.post(f"{START}/verifier", {"jeton": token})

    assert [f"{START}/envoye"] * 2 == [first.headers["location"], second.headers["location"]]
    assert 1 == await declared(elise)


async def test_a_crash_between_declaring_and_closing_declares_once(
    elise: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from broker.web.citizen import moving_draft

    await fill(elise)
    with monkeypatch.context() as broken:

        async def dies(*_: Any) -> None:
            raise RuntimeError

        broken.setattr(moving_draft, "keep_sent", dies)
        assert 500 == (await elise.post(f"{START}/verifier", {"jeton": elise.token(f"{START}/verifier")})).status_code
    answer = await elise.send(f"{START}/verifier", {})

    assert f"{START}/envoye" == answer.headers["location"]
    assert 1 == await declared(elise)


async def test_what_was_typed_is_there_again_after_signing_out_and_in(elise: Browser) -> None:
    await begin(elise)
    await elise.send(f"{START}/date", {"date": "le 3 marss"})
    await elise.send("/espace/deconnexion", {}, at=START)
    await elise.sign_in()

    assert "Vos réponses sont là" in (await elise.get(START)).text
    assert 'value="le 3 marss"' in (await elise.get(f"{START}/date")).text


async def test_another_person_does_not_see_it(elise: Browser) -> None:
    await begin(elise)
    await elise.send(f"{START}/date", {"date": "le 3 mars"})
    await elise.sign_in(YANN)

    assert "Vos réponses sont là" not in (await elise.get(START)).text
    assert START == (await elise.get(f"{START}/date")).headers["location"]


BAD = ["", "x" * 1000, "x" * 5000, "🏠🏠", "\u202eabc", "<script>alert(1)</script>", "' OR 1=1 --", "{{7*7}}", "\x00"]


@pytest.mark.parametrize("typed", BAD)
@pytest.mark.parametrize(
    ("step", "name", "also"),
    [
        ("date", "date", {}),
        ("qui", "qui", {}),
        ("depart", "commune", {"depart": "france", "code_postal": "44000"}),
        ("depart", "code_postal", {"depart": "france", "commune": "Nantes"}),
        ("depart", "pays", {"depart": "etranger"}),
        ("arrivee", "arrivee", {}),
        ("adresse", "rue", {"code_postal": "35000", "commune": "Rennes"}),
        ("adresse", "commune", {"code_postal": "35000", "rue": "1 rue X"}),
        ("adresse", "code_postal", {"rue": "1 rue X", "commune": "Rennes"}),
        ("contact", "telephone", {}),
        ("contact", "courriel", {}),
    ],
)
async def test_bad_input_is_told_in_plain_words_beside_its_field_and_shown_again(
    elise: Browser, step: str, name: str, also: dict[str, str], typed: str
) -> None:
    await begin(elise)
    answer = await elise.send(f"{START}/{step}", {**also, name: typed})
    page = (await elise.get(answer.headers["location"])).text

    assert "<script>alert" not in page
    assert "\u202e" not in page
    if name in {"telephone", "courriel"} and typed in {"", "\x00"}:
        assert "erreurs" not in page  # it may be left out
    elif name == "rue" and typed == "\u202eabc":
        assert "erreurs" not in page  # odd, and yet a name of a place
    else:
        assert f"{START}/{step}?revoir=1#erreurs" == answer.headers["location"]
        assert 'id="erreurs"' in page
        assert f'href="#{name}"' in page
        assert f'id="{name}-erreur"' in page or step in {"qui", "arrivee"}
        assert "<title>Erreur :" in page


async def test_a_commune_that_became_part_of_another_one_is_offered_by_its_new_name(elise: Browser) -> None:
    await begin(elise)
    fields = {"depart": "france", "code_postal": "01200", "commune": "Bellegarde sur Valserine"}
    answer = await elise.send(f"{START}/depart", fields)
    page = (await elise.get(answer.headers["location"])).text
    assert "Bellegarde-sur-Valserine fait maintenant partie d&#39;une autre commune" in page
    assert "Valserhône (01)" in page

    answer = await elise.send(f"{START}/depart", {**fields, "commune_choisie": "01033"})

    assert f"{START}/arrivee" == answer.headers["location"]


async def test_a_choice_that_was_not_offered_counts_for_nothing(elise: Browser) -> None:
    await begin(elise)
    fields = {"depart": "france", "code_postal": "35000", "commune": "Renes", "commune_choisie": "75056"}

    assert "revoir" in (await elise.send(f"{START}/depart", fields)).headers["location"]


async def test_who_moves_abroad_writes_the_address_as_there(elise: Browser) -> None:
    await fill(
        elise,
        arrivee={"arrivee": "etranger"},
        adresse={"pays": "belgique", "lignes": "Rue Haute 12, 1000 Bruxelles", "ville": "Bruxelles"},
    )
    check = (await elise.get(f"{START}/verifier")).text
    assert "Rue Haute 12, 1000 Bruxelles" in check
    assert 'id="erreurs"' not in check, check[check.index("erreurs") :][:600]
    assert f"{START}/envoye" == (await elise.send(f"{START}/verifier", {})).headers["location"]


async def test_a_household_a_child_is_named_and_an_adult_gets_a_code(elise: Browser) -> None:
    await begin(elise)
    await elise.send(f"{START}/qui", {"qui": "foyer"})
    for person in (CHILD, HUSBAND):
        answer = await elise.send(f"{START}/foyer/personne", person)
        assert f"{START}/foyer" == answer.headers["location"]
    assert "Lou Anne Martin" in (await elise.get(f"{START}/foyer")).text
    assert f"{START}/date" == (await elise.send(f"{START}/foyer", {})).headers["location"]
    for step, fields in list(ALONE.items())[1:]:
        await elise.send(f"{START}/{step}", fields)
    check = (await elise.get(f"{START}/verifier")).text
    assert "Nous n'avons aucun acte" in check
    assert "confirmera par un code" in check

    answer = await elise.send(f"{START}/verifier", {})

    assert f"{START}/envoye" == answer.headers["location"]
    page = (await elise.get(f"{START}/envoye")).text
    assert "Donnez ces codes" in page
    assert "Yann Martin" in page
    await elise.here.home.router.route()
    (delivery,) = await elise.here.take(CAF)
    assert ["Lou", "Yann"] == [each["identity"]["given_names"][0] for each in delivery.record["household"]]


@pytest.mark.parametrize("typed", BAD)
@pytest.mark.parametrize("name", ["prenoms", "nom", "naissance", "sexe", "lien", "ne_ou", "commune"])
async def test_bad_input_about_somebody_is_told_beside_its_field(elise: Browser, name: str, typed: str) -> None:
    await begin(elise)
    answer = await elise.send(f"{START}/foyer/personne", {**CHILD, name: typed})
    page = (await elise.get(answer.headers["location"])).text

    assert "<script>alert" not in page
    if typed == "\u202eabc" and name in {"prenoms", "nom"}:
        assert f"{START}/foyer" == answer.headers["location"]
    else:
        assert f"{START}/foyer/personne?numero=0&revoir=1#erreurs" == answer.headers["location"]
        assert f'href="#{name}"' in page


async def test_nothing_is_sent_while_a_page_is_open(elise: Browser) -> None:
    await begin(elise)
    answer = await elise.post(f"{START}/verifier", {"jeton": elise.token(f"{START}/verifier")})

    assert f"{START}/qui?revoir=1#erreurs" == answer.headers["location"]
    assert 0 == await declared(elise)


async def test_whoever_changes_an_answer_comes_back_to_the_check(elise: Browser) -> None:
    await fill(elise)
    answer = await elise.send(f"{START}/date", {**ALONE["date"], "depuis": "verifier"})

    assert f"{START}/verifier" == answer.headers["location"]


async def test_answers_can_be_erased(elise: Browser) -> None:
    await fill(elise)
    await elise.send(f"{START}/abandonner", {}, at=START)

    assert "Vos réponses sont là" not in (await elise.get(START)).text
    assert START == (await elise.get(f"{START}/verifier")).headers["location"]


async def asked_of_yann(elise: Browser) -> tuple[str, str]:
    """Élise has named Yann; returns the address and the code that she hands on."""
    await begin(elise)
    await elise.send(f"{START}/qui", {"qui": "foyer"})
    await elise.send(f"{START}/foyer/personne", HUSBAND)
    for step, fields in list(ALONE.items())[1:]:
        await elise.send(f"{START}/{step}", fields)
    await elise.send(f"{START}/verifier", {})
    page = (await elise.get(f"{START}/envoye")).text
    code = re.search(r"<dd><code>([^<]+)</code>", page)
    place = re.search(r"<p><code>([^<]+)</code>", page)
    assert code is not None
    assert place is not None
    return place[1], code[1]


async def test_an_adult_confirms_for_themselves_with_their_code(elise: Browser) -> None:
    place, code = await asked_of_yann(elise)
    await elise.sign_in(YANN)
    before = await declared(elise)
    assert START == (await elise.send(place, {"code": code})).headers["location"]
    assert f"{START}/verifier" == await fill(elise)
    assert f"{START}/envoye" == (await elise.send(f"{START}/verifier", {})).headers["location"]

    assert before + 1 == await declared(elise)


async def test_an_adult_refuses_and_nothing_is_declared(elise: Browser) -> None:
    place, code = await asked_of_yann(elise)
    await elise.sign_in(YANN)
    before = await declared(elise)
    answer = await elise.send(f"{place}/refuser", {"code": code}, at=place)

    assert "C'est refusé" in answer.text
    assert before == await declared(elise)


@pytest.mark.parametrize("code", ["", "x" * 1000, "AAAAAAAAAAAAAAAA", "<script>alert(1)</script>"])
async def test_a_code_that_is_none_or_anothers_confirms_nothing(elise: Browser, code: str) -> None:
    place, right = await asked_of_yann(elise)
    refused = await elise.send(f"{place}/refuser", {"code": code}, at=place)
    assert 422 == refused.status_code
    assert "<script>alert" not in refused.text
    other = await elise.send(f"{place}/refuser", {"code": right}, at=place)  # Élise has Yann's code, and is not Yann

    assert 422 == other.status_code


async def test_who_moves_again_declares_again(elise: Browser) -> None:
    for day in ("12 décembre 2026", "20 décembre 2026"):
        await fill(elise, date={"date": day})
        assert f"{START}/envoye" == (await elise.send(f"{START}/verifier", {})).headers["location"]

    assert 2 == await declared(elise)
