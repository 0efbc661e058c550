"""Addresses in all forms that people really have, and the sentence that helps where one does not hold together."""

from typing import Any

import pytest

from schemas import values
from schemas.catalogue import builtin, territories_of
from schemas.errors import Refused
from schemas.messages import Language, explain
from schemas.names import EventType
from schemas.samples import sample

MOVED = builtin().by_type(EventType("fr.unefois.address.changed.v1"))
NONE: dict[str, Any] = dict.fromkeys(
    ("dwelling", "building", "housenumber", "repetition", "street", "locality", "po_box", "commune", "ban_key")
)
TOWN = {**NONE, "postcode": "35000", "city": "Rennes", "commune": "35238", "country": "99100", "lines": []}
ARMY = {**TOWN, "locality": "SP 69411", "postcode": "00595", "city": "Armées", "commune": None}
GERMANY = {**NONE, "postcode": "10117", "city": "Berlin", "country": "99109", "lines": ["Pariser Platz 5"]}
CCAS = {"organisation": "CCAS de Rennes", "siret": None, "until": "2027-11-30"}


def moved(address: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {
        "new_address": address,
        "new_commune": address["commune"],
        "new_country": address["country"],
        "new_housing": None,
        "new_ban_id": None,
    }
    return sample(MOVED.event_type) | told | more


def street(**told: Any) -> dict[str, Any]:
    return {**TOWN, **told}


GOOD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "street": (moved(street(street="Rue de la Monnaie", housenumber="5")), ("35238", "44109")),
    "hamlet-alone": (moved(street(locality="Le Petit Bois")), ("35238", "44109")),
    "post-box-alone": (moved(street(po_box="BP 90321")), ("35238", "44109")),
    "care-of": (moved(street(street="Rue Monge"), new_care_of="Mme Roux"), ("35238", "44109")),
    "stable-id": (
        moved(street(street="Rue Monge"), new_ban_id="9b5cbf9e-0c3f-4a4c-9a5d-3b7a5d0e2c11"),
        ("35238", "44109"),
    ),
    "domiciled": (
        moved(street(street="Rue Griffon", housenumber="1"), new_housing="domiciliation", domiciliation=CCAS),
        ("35238", "44109"),
    ),
    "domiciled-without-street": (moved(TOWN, new_housing="domiciliation", domiciliation=CCAS), ("35238", "44109")),
    "boat": (moved(TOWN, new_housing="boat"), ("35238", "44109")),
    "travelling": (moved(TOWN, new_housing="travelling"), ("35238", "44109")),
    "army": (moved(ARMY, new_postal_sector="00595", new_housing="military"), ("00595", "44109")),
    "abroad": (moved(GERMANY), ("44109",)),
    "overseas": (
        moved(street(street="Rue Bosc", postcode="98800", city="Nouméa", commune="98818")),
        ("44109", "98818"),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_people_really_have_is_taken_without_a_warning_and_heard_by_place(name: str) -> None:
    record, territories = GOOD[name]

    assert () == values.check(MOVED, record)
    assert territories == territories_of(MOVED, record)


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-street-and-no-reason": (moved(TOWN), "values.no-street", "/new_address/street"),
    "no-street-in-a-home": (moved(TOWN, new_housing="home"), "values.no-street", "/new_address/street"),
    "no-street-at-the-old-one": (
        moved(street(street="Rue Monge"), new_housing="boat", old_address=TOWN, old_commune="35238"),
        "values.no-street",
        "/old_address/street",
    ),
    "boat-without-commune": (
        moved({**TOWN, "commune": None}, new_housing="boat"),
        "values.no-commune",
        "/new_address/commune",
    ),
    "army-with-a-commune": (
        moved({**ARMY, "commune": "35238"}, new_commune="35238", new_postal_sector="00595"),
        "values.military-commune",
        "/new_address/commune",
    ),
    "army-without-its-sector": (moved(ARMY), "values.disagree", "/new_postal_sector"),
    "another-sector": (moved(ARMY, new_postal_sector="00596"), "values.disagree", "/new_postal_sector"),
    "a-sector-in-town": (
        moved(street(street="Rue Monge"), new_postal_sector="00595"),
        "values.disagree",
        "/new_postal_sector",
    ),
    "no-postcode-of-the-army": (
        moved({**ARMY, "postcode": "00900"}),
        "values.no-commune",
        "/new_address/commune",
    ),
    "domiciled-nowhere": (moved(TOWN, new_housing="domiciliation"), "values.needed-with", "/domiciliation"),
    "domiciled-in-a-home": (
        moved(street(street="Rue Monge"), new_housing="home", domiciliation=CCAS),
        "values.not-with",
        "/domiciliation",
    ),
    "domiciled-unsaid": (moved(street(street="Rue Monge"), domiciliation=CCAS), "values.not-with", "/domiciliation"),
    "no-ban-id": (
        moved(street(street="Rue Monge"), new_ban_id="35238_7470_00012"),
        "values.ban-id",
        "/new_ban_id",
    ),
    "abroad-without-lines": (moved({**GERMANY, "lines": []}), "values.no-address-lines", "/new_address/lines"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_hold_together_is_refused_in_its_place_with_a_remedy_in_both_languages(name: str) -> None:
    record, code, pointer = BAD[name]
    languages: tuple[Language, ...] = ("fr", "en")

    with pytest.raises(Refused) as refused:
        values.check(MOVED, record)

    assert [(code, pointer)] == [(each.code, each.pointer) for each in (refused.value, *refused.value.also)]
    for language in languages:
        said = explain(refused.value, language)
        assert "…" not in said.wrong + said.remedy


def test_the_first_schema_takes_what_it_took() -> None:
    first = builtin().versions(MOVED.event_type)[0]
    record = {name: told for name, told in moved(street(street="Rue Monge")).items() if name in first.names}

    assert () == values.check(first, record)
    with pytest.raises(Refused, match=r"values\.no-street"):
        values.check(first, record | {"new_address": TOWN})


NAMED = builtin().by_type(EventType("fr.unefois.name.changed.v1"))
NAMES = dict.fromkeys(("new_family_name", "new_given_names", "new_usual_name", "new_gender"))


@pytest.mark.parametrize(
    ("nature", "told", "pointer"),
    [
        ("usual_name_taken", {}, "/new_usual_name"),
        ("usual_name_taken", {"new_family_name": "Roux"}, "/new_usual_name"),
        ("usual_name_taken", {"new_usual_name": "Roux"}, None),
        ("usual_name_given_up", {}, None),
        ("family_name", {}, "/new_family_name"),
        ("family_name", {"new_family_name": "Roux"}, None),
        ("given_names", {"new_usual_name": "Roux"}, "/new_given_names"),
        ("given_names", {"new_given_names": ["Anne"]}, None),
        ("gender", {}, "/new_gender"),
        ("gender", {"new_gender": "male"}, None),
        ("adoption", {}, "/new_family_name"),
        ("adoption", {"new_given_names": ["Anne"]}, None),
        ("other", {}, "/new_family_name"),
    ],
)
def test_a_change_of_name_says_the_new_name(nature: str, told: dict[str, Any], pointer: str | None) -> None:
    record = sample(NAMED.event_type) | NAMES | {"nature": nature} | told

    if pointer is None:
        assert () == values.check(NAMED, record)
        return
    with pytest.raises(Refused) as refused:
        values.check(NAMED, record)
    assert ("values.no-new-name", pointer) == (refused.value.code, refused.value.pointer)


@pytest.mark.parametrize(
    ("name", "field", "other"),
    [("identity.corrected", "corrected", "subject"), ("address.renamed", "new_address", "old_address")],
)
def test_a_correction_that_changes_nothing_is_refused(name: str, field: str, other: str) -> None:
    event = builtin().by_type(EventType(f"fr.unefois.{name}.v1"))
    record = sample(event.event_type)

    with pytest.raises(Refused) as refused:
        values.check(event, record | {field: record[other]})

    assert ("values.no-change", f"/{field}") == (refused.value.code, refused.value.pointer)
    assert f"/{other}" == refused.value.details["other"]
