"""Purposes that an operator adds: two languages, two persons, and words that nobody changes afterwards."""

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from broker.consents.consents import GrantRequest
from broker.directory import registrar
from broker.services import consents, purposes, rules
from broker.store.tables import purposes as purposes_table
from consent.basis import CONSENT, law
from consent.receipt import verify_by_directory
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Purpose, Reason
from tests.faults.day import MEALS
from tests.unit.broker.test_rules import outcome
from tests.world import CAF, DAY, MOVED, RENNES, VOICE, World

NAMED = Purpose("school-meals")
FIELDS = ("subject", "new_address")


def other(**changes: Any) -> dict[str, Any]:
    """The same file with other words."""
    return {**MEALS, **changes}


async def approved(here: World, document: Any = MEALS) -> Purpose:
    """A purpose that can be named."""
    added = await purposes.add(here.home, document)
    return (await purposes.approve(here.home, added.entry.id)).entry.id


def wish(here: World, purpose: Purpose = NAMED, **more: Any) -> GrantRequest:
    """What somebody wants to allow."""
    told: dict[str, Any] = {"basis": CONSENT, "voice": VOICE, **more}
    return GrantRequest(
        subject=here.subject(),
        recipient=CAF,
        event_type=MOVED,
        purpose=purpose,
        fields=frozenset(FIELDS),
        **told,
    )


@pytest.mark.asyncio
async def test_a_purpose_can_be_named_once_it_is_approved(here: World) -> None:
    added = await purposes.add(here.home, MEALS)
    for attempt in (
        lambda: here.subscribe(CAF, MOVED, NAMED, FIELDS),
        lambda: consents.give(here.home, wish(here)),
        lambda: rules.ask(here.home, recipient=CAF, event_type=MOVED, purpose=NAMED, fields=FIELDS, article="A"),
    ):
        with pytest.raises(Refused, match=r"purposes\.unknown"):
            await attempt()

    await purposes.approve(here.home, added.entry.id)
    await here.subscribe(CAF, MOVED, NAMED, FIELDS)
    given = await consents.give(here.home, wish(here))
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.take(CAF)

    assert (NAMED, FIELDS) == (delivery.purpose, delivery.disclosed)
    (entry,) = await here.entries(FactKind.PURPOSE_APPROVED)
    assert NAMED == entry.purpose
    for words in ("Cantine", "art. R531-52", "un an après", "dpo@ville.example"):
        assert words in given.shown
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    said = verify_by_directory(given.receipt, directory)
    assert (NAMED, "Cantine") == (said.purpose, said.purpose_label)
    assert "un an après la dernière année scolaire" == said.terms.retention_period


@pytest.mark.asyncio
async def test_other_words_are_another_version_and_no_consent_covers_both(here: World) -> None:
    await approved(here)
    await here.subscribe(CAF, MOVED, NAMED, FIELDS)
    given = await consents.give(here.home, wish(here))

    label = {"fr": "Cantine et garderie", "en": "Meals and day care"}
    second = await approved(here, other(label=label))
    assert "school-meals-v2" == second
    await here.subscribe(CAF, MOVED, second, FIELDS)
    await here.declare(MOVED, here.moved())

    (delivery,) = await here.take(CAF)
    assert NAMED == delivery.purpose
    assert "Cantine et garderie" not in given.shown
    known = {entry.id: entry for entry, _ in await purposes.every(here.home)}
    assert ("Cantine", "Cantine et garderie") == (known[NAMED].label["fr"], known[second].label["fr"])
    assert [1, 2] == [known[NAMED].version, known[second].version]


@pytest.mark.asyncio
async def test_what_waits_for_its_approval_is_put_right_and_what_was_approved_is_not(here: World) -> None:
    await purposes.add(here.home, other(contact="wrong@ville.example"))
    assert NAMED == (await purposes.add(here.home, MEALS)).entry.id
    await purposes.approve(here.home, NAMED)
    with pytest.raises(Refused, match=r"purposes\.approved"):
        await purposes.approve(here.home, NAMED)

    assert "school-meals-v2" == (await purposes.add(here.home, MEALS)).entry.id
    assert "school-meals-v2" == (await purposes.add(here.home, other(contact="b@ville.example"))).entry.id
    assert ["dpo@ville.example", "b@ville.example"] == [
        one.entry.contact for _, one in await purposes.every(here.home) if one is not None
    ]
    assert "family-benefits-v2" == (await purposes.add(here.home, other(id="family-benefits"))).entry.id


@pytest.mark.asyncio
async def test_a_rule_is_for_an_added_purpose_and_only_on_a_basis_that_it_has(here: World) -> None:
    await approved(here)
    alone = await approved(here, other(id="after-school", families=["consent"]))
    for purpose in (NAMED, alone):
        await here.subscribe(CAF, MOVED, purpose, FIELDS)
    told: dict[str, Any] = {"recipient": CAF, "event_type": MOVED, "fields": FIELDS, "article": "CASF, art. L1"}
    with pytest.raises(Refused, match=r"purposes\.basis"):
        await rules.ask(here.home, purpose=alone, **told)
    with pytest.raises(Refused, match=r"purposes\.basis"):
        await consents.give(here.home, wish(here, alone, basis=law("CASF, art. L1")))

    rule = await rules.ask(here.home, purpose=NAMED, **told)
    await rules.approve(here.home, rule.id)
    here.clock.pass_(3 * DAY)
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.take(CAF)
    assert ("law:CASF, art. L1", NAMED) == (delivery.basis, delivery.purpose)


WRONG: dict[str, tuple[Any, str, str]] = {
    "no file of a purpose": ([], "purposes.document", ""),
    "nothing to keep it for": (
        {name: MEALS[name] for name in MEALS if name != "retention"},
        "purposes.document",
        "/retention",
    ),
    "something more": (other(version=7), "purposes.document", "/version"),
    "one language": (other(label={"fr": "Cantine"}), "purposes.document", "/label"),
    "an empty text": (other(legal={"fr": "", "en": "x"}), "purposes.text", "/legal/fr"),
    "a number": (other(legal={"fr": 1, "en": "x"}), "purposes.text", "/legal/fr"),
    "two lines": (other(label={"fr": "Cantine\nGarderie", "en": "x"}), "purposes.text", "/label/fr"),
    "too long": (other(label={"fr": "Cantine", "en": "x" * 81}), "purposes.text", "/label/en"),
    "no sentence": (other(sentence={"fr": "Cantine", "en": "Meals."}), "purposes.text", "/sentence/fr"),
    "nobody to ask": (other(contact=" "), "purposes.text", "/contact"),
    "no basis": (other(families=[]), "purposes.families", "/families"),
    "an unknown basis": (other(families=["interest"]), "purposes.families", "/families"),
    "a version in its name": (other(id="school-meals-v3"), "purposes.id", "/id"),
    "no name": (other(id="School meals"), "name.purpose", ""),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.asyncio
async def test_what_is_not_whole_is_not_added(here: World, wrong: str) -> None:
    document, code, pointer = WRONG[wrong]
    with pytest.raises(Refused) as caught:
        await purposes.add(here.home, document)
    assert (code, pointer) == (caught.value.code, caught.value.pointer)
    assert [] == [one for _, one in await purposes.every(here.home) if one is not None]


@pytest.mark.asyncio
async def test_who_changes_the_words_under_a_given_consent_takes_the_purpose_away_and_is_found(here: World) -> None:
    await approved(here)
    await here.subscribe(CAF, MOVED, NAMED, FIELDS)
    given = await consents.give(here.home, wish(here))
    async with here.home.store.begin() as tx:
        whole = dict((await tx.execute(select(purposes_table))).one()._mapping)
        await tx.execute(update(purposes_table).values(sentence_fr="Vendre vos données."))
        await registrar.changing(tx)

    with pytest.raises(Refused, match=r"purposes\.unknown"):
        await consents.give(here.home, wish(here))
    assert {("purposes.edited", "purposes/school-meals"), ("rows.unsigned", "purposes/school-meals")} == {
        (one.check, one.place) for one in await here.home.fsck.check()
    }
    await here.declare(MOVED, here.moved())  # what was given stands: it names the text that was read
    assert 1 == len(await here.take(CAF))
    ended = await consents.revoke(here.home, given.recorded.grant.id, VOICE)
    assert b"Vendre" not in ended.receipt
    assert "school-meals-v2" == (await purposes.add(here.home, MEALS)).entry.id  # nobody takes its number

    async with here.home.store.begin() as tx:
        await tx.execute(update(purposes_table).where(purposes_table.c.id == NAMED).values(whole))
        await registrar.changing(tx)


@pytest.mark.asyncio
async def test_a_purpose_that_is_slipped_in_or_taken_away_is_found(here: World) -> None:
    await approved(here)
    async with here.home.store.begin() as tx:
        whole = dict((await tx.execute(select(purposes_table))).one()._mapping)
        await tx.execute(purposes_table.insert().values({**whole, "id": "direct-marketing"}))
        await tx.execute(delete(purposes_table).where(purposes_table.c.id == NAMED))
        await registrar.changing(tx)

    found = {(one.check, one.place) for one in await here.home.fsck.check()}
    assert {"purposes/direct-marketing", "purposes/school-meals"} == {
        place for check, place in found if check == "purposes.edited"
    }
    with pytest.raises(Refused, match=r"purposes\.unknown"):
        await here.subscribe(RENNES, MOVED, Purpose("direct-marketing"), FIELDS)
    assert Reason.NO_GRANT in (await outcome(here))
    async with here.home.store.begin() as tx:
        await tx.execute(delete(purposes_table))
        await tx.execute(purposes_table.insert().values(whole))
        await registrar.changing(tx)
