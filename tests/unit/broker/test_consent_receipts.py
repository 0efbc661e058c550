"""Consent receipts: what a citizen is shown and keeps, composed from the directory and signed by the broker."""

import json
from base64 import b32encode, b64decode
from typing import Any

import pytest

from broker.consents.consents import GrantRequest
from broker.services import consent_receipts, consents
from broker.services.consent_receipts import principal, receipt_of, text_shown
from consent.basis import CONSENT, choice, law
from consent.grant import Scope
from consent.purposes import by_id
from consent.receipt import verify_receipt
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Instant, Purpose
from schemas.signing import Algorithm
from tests.world import CAF, ELISE, FAMILY, MOVED, VOICE, YANN, World

pytestmark = pytest.mark.asyncio


def content(signed: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(b64decode(json.loads(signed)["payload"]))
    return told


async def test_a_receipt_names_its_ledger_entry_and_verifies_with_the_brokers_key(here: World) -> None:
    recorded = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])

    signed = await receipt_of(here.home, recorded)

    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    (key,) = [each for each in directory.signing if each.party == here.home.party]
    read = verify_receipt(signed, Algorithm.ED25519, key.public)
    assert (recorded.entry, recorded.grant.id) == (read.ledger_entry, read.grant_id)
    assert ("new_address", "subject") == read.fields
    assert ("caf", "un an") == (read.terms.controller.name, read.terms.retention_period)
    assert ("Unefois", here.home.party) == (read.terms.issuer.name, read.terms.issuer.party_id)


async def test_the_citizen_has_one_number_in_all_receipts_which_is_no_administrations(here: World) -> None:
    first = await receipt_of(here.home, await here.give(CAF, MOVED, FAMILY, ["subject"]))
    second = await receipt_of(here.home, await here.give(CAF, MOVED, FAMILY, ["household"]))
    other = await receipt_of(here.home, await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN))

    numbers = [content(each)["pii_principal_id"] for each in (first, second, other)]

    assert numbers[0] == numbers[1] == principal(here.home, here.subject(ELISE)) != numbers[2]
    assert 32 == len(numbers[0])
    pseudonyms = [here.home.identity.pseudonym(here.subject(ELISE), sector)[0] for sector in ("family", "town")]
    assert numbers[0] not in [b32encode(each).decode() for each in pseudonyms]


async def test_a_consent_says_how_to_withdraw_it_and_a_mandate_does_not(here: World) -> None:
    consent = await receipt_of(here.home, await here.give(CAF, MOVED, FAMILY, ["subject"]))
    mandate = await receipt_of(here.home, await here.give(CAF, MOVED, FAMILY, ["subject"], basis=law("CSS, art. 1")))

    (by_consent,) = content(consent)["pii_processing"]["purposes"]
    (by_law,) = content(mandate)["pii_processing"]["purposes"]
    assert "Unefois (contact@unefois.example)" in by_consent["withdrawal_method"]
    assert None is by_law["withdrawal_method"]


async def test_a_choice_names_its_text_and_how_to_take_it_back(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"], basis=choice("ordonnance 2005-395"))
    told = content(await receipt_of(here.home, given))

    (purpose,) = told["pii_processing"]["purposes"]
    assert purpose["withdrawal_method"].startswith("À tout moment, en revenant sur ce choix")
    lawful = {"article": "ordonnance 2005-395", "gdpr": ["6(1)(e)"], "type": "choice"}
    assert (lawful, "explicit_choice") == (purpose["lawful_basis"], told["events"][0]["event_type"])


async def test_a_chosen_administration_hears_until_the_choice_is_taken_back(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"], basis=choice("ordonnance 2005-395"))
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.take(CAF)
    await here.home.consents.revoke(given.grant.id, VOICE)
    await here.declare(MOVED, here.moved())

    assert "choice:ordonnance 2005-395" == delivery.basis
    assert [] == await here.take(CAF)
    await here.step()


async def test_a_revocation_has_its_receipt_too(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])

    signed = await receipt_of(here.home, await here.home.consents.revoke(given.grant.id, VOICE))

    assert ("revoked", 2) == (content(signed)["status"], content(signed)["record_version"])


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "fr",
            "J'autorise caf à recevoir, à chaque déclaration de type « Changement d'adresse » me concernant : "
            "Personne concernée, Nouvelle adresse.\nFinalité : Prestations familiales. "
            "Calculer et verser les prestations auxquelles votre famille a droit.\n"
            "Vous pouvez retirer cet accord à tout moment, sans que cela change ce qui a déjà été fait.\n"
            "caf garde ces données : un an.\n"
            "Pour voir, corriger ou effacer ces données, ou en limiter l'usage : caf, contact@example.fr. "
            "En cas de désaccord : la CNIL, www.cnil.fr.\n",
        ),
        (
            "en",
            "I allow caf to receive, with each declaration of the type “Change of address” about me: "
            "Person concerned, New address.\nPurpose: Family benefits. "
            "Work out and pay the benefits that your family is entitled to.\n"
            "You can withdraw this at any time; what was done before stays lawful.\n"
            "caf keeps these data: un an.\n"
            "To see, correct or erase these data, or to restrict their use: caf, contact@example.fr. "
            "If you disagree: the CNIL, www.cnil.fr.\n",
        ),
    ],
)
async def test_what_is_shown_says_who_gets_what_for_what(here: World, language: Any, expected: str) -> None:
    async with here.home.store.read() as tx:
        caf = await here.home.lookup.party(tx, CAF)
    event = here.home.catalogue.by_type(MOVED)

    shown = text_shown(
        language,
        caf,
        event,
        fields=["new_address", "subject"],
        purpose=by_id(FAMILY),
        basis=CONSENT,
        scope=Scope.STANDING,
        until=None,
    )

    assert expected == shown


async def test_what_is_shown_names_the_article_the_one_occasion_and_the_end(here: World) -> None:
    async with here.home.store.read() as tx:
        caf = await here.home.lookup.party(tx, CAF)
    event = here.home.catalogue.by_type(MOVED)

    shown = text_shown(
        "en",
        caf,
        event,
        fields=["subject"],
        purpose=by_id(FAMILY),
        basis=law("CSS, art. L583-3"),
        scope=Scope.ONCE,
        until=Instant(1_798_761_600_000),
    )

    assert shown.startswith("The law (CSS, art. L583-3) provides that caf receives, for one declaration")
    assert "\nEnds: 1 January 2027.\nNo consent is asked for, because the law provides for it;" in shown


async def test_a_purpose_that_does_not_exist_is_not_shown(here: World) -> None:
    wish = GrantRequest(
        subject=here.subject(),
        recipient=CAF,
        event_type=MOVED,
        purpose=Purpose("curiosity"),
        fields=frozenset({"subject"}),
        basis=CONSENT,
        voice=VOICE,
    )

    for giving in (consents.give(here.home, wish), here.home.consents.give(wish)):
        with pytest.raises(Refused, match=r"purposes\.unknown"):
            await giving


@pytest.mark.parametrize(
    ("at", "language", "words"),
    [
        (1_798_761_600_000, "fr", "1er janvier 2027"),
        (1_798_761_600_000, "en", "1 January 2027"),
        (1_798_761_601_000, "fr", "1er janvier 2027 à 00:00:01 UTC"),
        (1_799_712_000_000, "fr", "12 janvier 2027"),
    ],
)
async def test_an_end_is_written_as_people_write_it(at: int, language: Language, words: str) -> None:
    assert words == consent_receipts._moment(Instant(at), language)
