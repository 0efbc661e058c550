"""Communes as people type them: found, several, joined to another one, or nothing and what is near."""

import pytest

from schemas import finding, places
from schemas.finding import Found, Joined, Nothing, Several, find
from schemas.places import Standing


@pytest.mark.parametrize(
    ("name", "postcode", "code"),
    [
        ("Rennes", "35000", "35238"),
        ("rennes", "", "35238"),
        ("st malo", "35400", "35288"),
        ("SAINT-MALO CEDEX", "35400", "35288"),
        ("L'Hay les roses", "94240", "94038"),
        ("St-Denis", "97400", "97411"),
        ("saint denis", "93200", "93066"),
        ("Paris", "75012", "75112"),
        ("Paris", "75116", "75116"),
        ("paris 12e", "", "75112"),
        ("Paris 1er arrondissement", "75001", "75101"),
        ("Lyon 3", "69003", "69383"),
        ("Marseille", "13008", "13208"),
        ("Paris", "", "75056"),
        ("Brest", "29", "29019"),
    ],
)
def test_a_name_as_it_is_typed_is_the_commune_that_is_meant(name: str, postcode: str, code: str) -> None:
    found = find(name, postcode)

    assert isinstance(found, Found)
    assert code == found.place.code


def test_between_several_of_one_name_nothing_is_chosen() -> None:
    found = find("Saint-Denis")

    assert isinstance(found, Several)
    assert {"11339", "93066", "97411"} <= {one.code for one in found.places}


def test_a_commune_that_is_part_of_another_one_leads_to_it() -> None:
    found = find("bellegarde sur valserine", "01200")

    assert isinstance(found, Joined)
    assert ("Bellegarde-sur-Valserine", ["01033"]) == (found.name, [one.code for one in found.places])


def test_a_slip_of_the_pen_has_what_is_near() -> None:
    found = find("Renes", "35000")

    assert isinstance(found, Nothing)
    assert "35238" == found.near[0].code


def test_a_postcode_alone_has_its_communes() -> None:
    found = find("", "29200")

    assert isinstance(found, Nothing)
    assert ["29019"] == [one.code for one in found.near]


@pytest.mark.parametrize("name", ["", " ", "x" * 1000, "🏠", "\u202e", "' OR 1=1 --", "Paris 99", "Lyon 0"])
def test_what_is_no_name_is_nothing(name: str) -> None:
    assert isinstance(find(name), Nothing)


def test_an_arrondissement_with_another_postcode_is_none() -> None:
    assert not isinstance(find("Paris 12", "75011"), Found)


def test_what_is_offered_is_a_commune_of_today_and_no_list_without_end() -> None:
    for name, postcode in (("Saint", "35"), ("Plou", "29000"), ("La", ""), ("Saint-Martin", "")):
        found = find(name, postcode)
        there = found.near if isinstance(found, Nothing) else getattr(found, "places", ())
        assert finding.MOST >= len(there)
        assert {Standing.CURRENT} >= {one.standing for one in there}


def test_every_former_name_leads_to_a_commune_of_today() -> None:
    rows = finding._lines("former.tsv.gz")

    assert 2501 == len(rows)
    assert rows == sorted(rows)
    assert [] == [row for row in rows if (place := places.commune(row[1])) is None or place.code != place.today]


def test_every_postcode_has_five_digits_and_is_of_a_commune() -> None:
    rows = finding._lines("postcodes.tsv.gz")

    assert 35_009 == len(rows)
    assert [] == [row for row in rows if places.commune(row[0]) is None]
    assert [] == [row for row in rows for each in row[1].split(" ") if len(each) != 5 or not each.isdigit()]
