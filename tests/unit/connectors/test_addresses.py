"""Postal addresses."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.addresses import (
    WIDTH,
    address_lines,
    address_slots,
    addressee,
    city_of,
    commune_name,
    commune_today,
    country_name,
    number_of,
    postal_columns,
    postal_lines,
    postal_slots,
    postcode_of,
    repetition_of,
    street_of,
)
from connectors.text import ascii_letters
from schemas.errors import Refused


def code_of(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value.code


def test_each_part_has_its_line_and_the_last_three_are_plain_capitals() -> None:
    parts = {
        "name": "Mme Lise Aubépin",
        "inside": "Appartement 12",
        "building": "Résidence des Prés",
        "number": "5",
        "repetition": "bis",
        "street": "rue de l'Échange",
        "place": "Saint-Anne, B.P. 40",
        "postcode": "35000",
        "city": "Rennes Cedex 7",
    }
    expected = [
        "Mme Lise Aubépin",
        "Appartement 12",
        "Résidence des Prés",
        "5 B RUE DE L ECHANGE",
        "ST ANNE B P 40",
        "35000 RENNES CEDEX 7",
    ]
    assert expected == address_lines(parts)


def test_no_line_is_blank_and_every_slot_keeps_its_place() -> None:
    parts = {"street": "LE MOULIN", "inside": " ", "building": None, "postcode": "35000", "city": "Rennes"}
    assert ["LE MOULIN", "35000 RENNES"] == address_lines(parts)
    assert [None, None, None, "LE MOULIN", None, "35000 RENNES"] == address_slots(parts)


@pytest.mark.parametrize(
    ("number", "repetition", "expected"),
    [
        ("5", None, "5 RUE A"),
        ("5", "bis", "5 B RUE A"),
        ("5 bis", None, "5 B RUE A"),
        ("5ter", None, "5 T RUE A"),
        ("12/14", None, "12 RUE A"),
        ("12-14", "quater", "12 Q RUE A"),
        (7, "A", "7 A RUE A"),
        (None, None, "RUE A"),
    ],
)
def test_a_number_stands_before_the_street_with_its_repetition_as_a_letter(
    number: object, repetition: str | None, expected: str
) -> None:
    parts = {"number": number, "repetition": repetition, "street": "rue A", "city": "X"}
    assert expected == address_slots(parts)[3]


def test_a_street_is_abbreviated_only_when_its_label_is_over_32_characters() -> None:
    fits, long = "AVENUE DU GENERAL DE GAULLE", "AVENUE DU GENERAL CHARLES DE GAULLE"
    assert fits == address_slots({"street": fits, "city": "X"})[3]
    assert "AV DU GENERAL CHARLES DE GAULLE" == address_slots({"street": long, "city": "X"})[3]


def test_saint_is_shortened_in_the_last_two_lines_and_not_in_the_street() -> None:
    slots = address_slots(
        {"street": "rue Saint-Hélier", "place": "Sainte-Foy", "postcode": "42000", "city": "Saint-Étienne"}
    )
    assert ["RUE SAINT HELIER", "STE FOY", "42000 ST ETIENNE"] == slots[3:]


def test_abroad_has_a_seventh_line() -> None:
    assert "BELGIQUE" == address_lines({"street": "rue A", "city": "Namur", "country": "Belgique"})[-1]


def test_a_line_that_stays_too_long_is_named_and_not_cut() -> None:
    with pytest.raises(Refused) as caught:
        address_lines({"building": "x" * 39, "city": "Rennes"})
    assert ("mapping.address-line", 3) == (caught.value.code, caught.value.details["line"])


def test_an_address_needs_its_last_line_and_knows_its_parts() -> None:
    assert "mapping.address-no-city" == code_of(address_lines, {"street": "rue A"})
    assert "mapping.address-part" == code_of(address_lines, {"streets": "rue A"})
    assert "mapping.argument" == code_of(address_lines, {"street": ["rue A"]})


@given(
    st.fixed_dictionaries(
        {"city": st.text("AÉ'-aœ .", min_size=1, max_size=40).filter(lambda text: text.strip(" -'.") != "")},
        optional={
            name: st.none() | st.text("AÉ'-aœ 5/.", max_size=50) for name in ("name", "inside", "street", "place")
        },
    )
)
def test_every_line_fits_or_the_address_is_refused(parts: dict[str, Any]) -> None:
    try:
        lines = address_lines(parts)
    except Refused as fault:
        code, lines = fault.code, ["refused"]
    else:
        code = "mapping.address-line"
    assert "mapping.address-line" == code
    assert all(0 < len(line) <= WIDTH for line in lines)
    assert 1 <= len(lines) <= 6


def an_address(**over: Any) -> dict[str, Any]:
    names = ("dwelling", "building", "housenumber", "repetition", "street", "locality", "po_box", "ban_key")
    return dict.fromkeys(names) | {"postcode": "35000", "city": "Rennes", "country": "99100", "lines": []} | over


def test_an_address_of_the_catalogue_has_the_same_lines() -> None:
    address = an_address(dwelling="Appt 1", housenumber="5", street="rue Haute", locality="Le Pré", po_box="BP 4")
    assert [None, "Appt 1", None, "5 RUE HAUTE", "LE PRE BP 4", "35000 RENNES"] == postal_slots(address)


def test_an_address_abroad_has_its_own_lines_and_the_country() -> None:
    address = an_address(country="99109", lines=["Invalidenstraße 117", "10115 Berlin"])
    assert ["INVALIDENSTRASSE 117", "10115 BERLIN", "ALLEMAGNE"] == postal_lines(address)
    assert [None, None, None, None] == postal_slots(address)[:4]


@pytest.mark.parametrize(
    "over", [{"country": "99109"}, {"country": "00000", "lines": ["x"]}, {"country": "99109", "lines": ["x"] * 6}]
)
def test_an_address_abroad_without_its_lines_or_country_is_refused(over: dict[str, Any]) -> None:
    assert "mapping.address-abroad" == code_of(postal_slots, an_address(**over))


def test_a_line_abroad_must_fit_too() -> None:
    assert "mapping.address-line" == code_of(postal_slots, an_address(country="99109", lines=["x" * 39]))


@pytest.mark.parametrize(
    ("text", "number", "repetition", "street"),
    [
        ("42 RUE DE LA PAIX", "42", None, "RUE DE LA PAIX"),
        ("42 BIS RUE DE LA PAIX", "42", "BIS", "RUE DE LA PAIX"),
        ("42bis, rue de la Paix", "42", "bis", "rue de la Paix"),
        ("12/14 QUAI DES BRUMES", "12", None, "QUAI DES BRUMES"),
        ("5 B RUE HAUTE", "5", "B", "RUE HAUTE"),
        ("LE MOULIN VERT", None, None, "LE MOULIN VERT"),
        ("RUE DU 8 MAI 1945", None, None, "RUE DU 8 MAI 1945"),
        ("42", None, None, "42"),
    ],
)
def test_a_street_line_is_split_into_number_repetition_and_street(
    text: str, number: str | None, repetition: str | None, street: str
) -> None:
    assert (number, repetition, street) == (number_of(text), repetition_of(text), street_of(text))


@pytest.mark.parametrize(
    ("text", "postcode", "city"),
    [("44000 NANTES", "44000", "NANTES"), (" 2a004  Ajaccio Cedex 1", "2A004", "Ajaccio Cedex 1")],
)
def test_a_last_line_is_split_into_postcode_and_town(text: str, postcode: str, city: str) -> None:
    assert (postcode, city) == (postcode_of(text), city_of(text))


@pytest.mark.parametrize("text", ["NANTES", "4400 NANTES", "44000", "44000NANTES", ""])
def test_a_last_line_without_postcode_or_town_is_refused(text: str) -> None:
    assert "mapping.place" == code_of(postcode_of, text)


def test_codes_have_names_and_former_codes_lead_to_todays_commune() -> None:
    assert ("Nantes", "44109", "Allemagne") == (commune_name("44109"), commune_today("44109"), country_name("99109"))
    assert "mapping.unknown-place" == code_of(commune_name, "00000")
    assert "mapping.unknown-place" == code_of(country_name, "00000")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("12 bis-14", "12 B RUE A"),
        ("12 / 14", "12 RUE A"),
        ("5-B", "5 B RUE A"),
        ("-5", "5 RUE A"),
        ("12A/14B", "12A RUE A"),
    ],
)
def test_only_the_second_of_two_numbers_is_left_out(number: str, expected: str) -> None:
    assert expected == address_slots({"number": number, "street": "rue A", "city": "X"})[3]


def test_who_is_written_to_stands_first_and_at_whose_place_second() -> None:
    address = an_address(dwelling="Appt 1", street="rue Haute")
    assert ["Lise AUBÉPIN", "chez Ida Orsenne Appt 1"] == postal_slots(address, "Lise AUBÉPIN", "Ida Orsenne")[:2]
    assert ["Lise AUBÉPIN", "Appt 1"] == postal_slots(address, "Lise AUBÉPIN", None)[:2]
    long = an_address(dwelling="Appartement 12 au fond de la cour", street="rue Haute")
    assert ["Chez Orsenne", "Appartement 12 au fond de la cour"] == postal_slots(long, None, "Chez Orsenne")[1:3]
    assert ["L", "CHEZ ORSENNE", "X 1", "ALLEMAGNE"] == postal_lines(
        an_address(country="99109", lines=["X 1"]), "L", "Orsenne"
    )


def test_what_is_too_long_for_line_2_or_3_goes_on_in_the_other_where_that_is_free() -> None:
    two = "Résidence des Hautes Rives du Port Neuf, bâtiment C"
    parts = ["Résidence des Hautes Rives du Port", "Neuf, bâtiment C"]
    assert (
        parts == address_slots({"building": two, "city": "X"})[1:3] == address_slots({"inside": two, "city": "X"})[1:3]
    )
    assert ["x" * 38, "y"] == address_slots({"building": "x" * 38 + " y", "city": "X"})[1:3]
    with pytest.raises(Refused) as caught:
        address_slots({"inside": "Appt 1", "building": two, "city": "X"})
    assert 3 == caught.value.details["line"]


def test_an_address_in_france_of_lines_alone_has_them_above_its_town() -> None:
    only = an_address(lines=["Résidence A", "Le Bois", "35000 RENNES"])
    assert [None, None, "Résidence A", "LE BOIS", None, "35000 RENNES"] == postal_slots(only)
    assert "mapping.address-words" == code_of(postal_slots, an_address(lines=["a", "b", "c", "d"]))


def test_lines_that_say_more_than_the_parts_are_refused_and_not_dropped() -> None:
    told = an_address(street="boulevard du Maréchal de la Tour de Saint-Amand", lines=["Bd du Maréchal", "Escalier 4"])
    assert "mapping.address-words" == code_of(postal_slots, told)
    assert "mapping.argument" == code_of(postal_slots, an_address(lines=[4]))
    told["lines"] = ["boulevard du Maréchal de la Tour de St Amand", "35000 Rennes"]
    assert "BD DU MAL DE LA TOUR DE ST AMAND" == postal_slots(told)[3]


def test_an_address_has_seven_columns_the_country_last() -> None:
    here, there = postal_columns(an_address(street="rue A")), postal_columns(an_address(country="99109", lines=["X 1"]))
    assert ["l1", "l2", "l3", "l4", "l5", "l6", "l7"] == list(here)
    assert ("RUE A", "35000 RENNES", None) == (here["l4"], here["l6"], here["l7"])
    assert ("X 1", "ALLEMAGNE") == (there["l6"], there["l7"])


@pytest.mark.parametrize(
    ("given_names", "family", "expected"),
    [
        (["Lise", "Maëlle"], "AUBÉPIN", "Lise Maëlle AUBÉPIN"),
        (["Anne-Charlotte", "Marie-Bernadette"], "DE BROCÉLYS", "Anne-Charlotte DE BROCÉLYS"),
        (["Anne-Charlotte"], "DE LA TOUR DE SAINT-AMAND ROUX", "A. DE LA TOUR DE SAINT-AMAND ROUX"),
        ([], "AUBÉPIN", "AUBÉPIN"),
        (None, "AUBÉPIN", "AUBÉPIN"),
    ],
)
def test_a_person_s_line_keeps_the_whole_family_name(given_names: object, family: str, expected: str) -> None:
    assert expected == addressee(given_names, family)


def test_a_family_name_that_does_not_fit_is_refused() -> None:
    assert "mapping.address-line" == code_of(addressee, ["Lise"], "X" * 36)


_WORDS = ("Saint", "l'Échange", "Résidence", "Cœur", "5", "12/14", "bis", "-", "Appartement", "Z.A.", "Cedex", "avenue")
_TEXTS = st.lists(st.sampled_from(_WORDS), max_size=6).map(" ".join)
"""Half of them longer than a line."""


@given(
    st.fixed_dictionaries(
        {"city": _TEXTS, "postcode": st.none() | st.just("35000"), "country": st.sampled_from(["99100", "99109", "0"])},
        optional={
            "lines": st.lists(_TEXTS, max_size=6),
            **{
                name: st.none() | _TEXTS
                for name in ("dwelling", "building", "housenumber", "repetition", "street", "locality", "po_box")
            },
        },
    ),
    st.none() | _TEXTS,
    st.none() | _TEXTS,
)
def test_lines_are_few_and_short_or_the_address_is_refused_and_no_word_is_lost(
    address: dict[str, Any], name: str | None, care_of: str | None
) -> None:
    try:
        slots = postal_slots(address, name, care_of)
    except Refused:  # with a code; whatever else it raises is a failure
        return
    lines = [line for line in slots if line is not None]
    assert slots == postal_slots(address, name, care_of)
    assert all(0 < len(line) <= WIDTH and line == line.strip() for line in lines)
    assert len(slots) == (6 if address["country"] == "99100" else 7)
    assert all(line is None or re.fullmatch("[A-Z0-9 ]+", line) for line in slots[3:])
    if address["country"] != "99100":
        return
    told = [address.get(part) for part in ("dwelling", "building", "street", "locality", "po_box", "city")]
    assert not _words_of(told) - _words_of(lines)


def _words_of(texts: Iterable[str | None]) -> Counter[str]:
    words = re.findall("[A-Z0-9]+", ascii_letters(" ".join(filter(None, texts))).upper())
    return Counter(_SHORT.get(word, word) for word in words)


_SHORT = {"SAINT": "ST", "RESIDENCE": "RES", "AVENUE": "AV"}
