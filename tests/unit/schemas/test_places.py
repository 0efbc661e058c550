from collections import Counter

import pytest

from schemas import places
from schemas.places import Place, Standing


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("35238", Place("35238", "35238", "Rennes", Standing.CURRENT)),
        ("44109", Place("44109", "44109", "Nantes", Standing.CURRENT)),
        ("2A004", Place("2A004", "2A004", "Ajaccio", Standing.CURRENT)),
        ("97411", Place("97411", "97411", "Saint-Denis", Standing.CURRENT)),
        ("98818", Place("98818", "98818", "Nouméa", Standing.CURRENT)),
        ("75115", Place("75115", "75056", "Paris 15e Arrondissement", Standing.PART)),
        ("20004", Place("20004", "2A004", "Ajaccio", Standing.FORMER)),
        ("75001", Place("75001", "94002", "Alfortville", Standing.FORMER)),
        ("97123", Place("97123", "97701", "Saint-Barthélemy", Standing.FORMER)),
    ],
)
def test_a_commune_is_found_whatever_became_of_it(code, place):
    assert place == places.commune(code)


@pytest.mark.parametrize("code", ["", "00000", "35999", "3523", "35238 ", "2a004", "99100", "75901"])
def test_a_code_of_no_commune_is_not_found(code):
    assert places.commune(code) is None


def test_a_code_that_is_current_and_delegated_is_current():
    delegated_seat = places.commune("01015")
    assert delegated_seat is not None
    assert Standing.CURRENT is delegated_seat.standing


def test_every_code_leads_to_one_commune_of_today():
    table = places._communes()
    assert {Standing.CURRENT: 34_969, Standing.PART: 45, Standing.FORMER: 4_242} == Counter(
        place.standing for place in table.values()
    )
    assert all(table[place.today].standing is Standing.CURRENT for place in table.values())
    assert all(place.name == place.name.strip() != "" for place in table.values())


@pytest.mark.parametrize(
    ("name", "postcode", "code"),
    [
        ("Rennes", "35000", "35238"),
        ("NANTES CEDEX 3", "44923", "44109"),
        ("ST DENIS", "97400", "97411"),
        ("Saint-Denis", "93200", "93066"),
        ("L'Abergement-Clemenciat", "01400", "01001"),
        ("AJACCIO", "20090", "2A004"),
        ("PARIS", "75015", "75056"),
        ("Schoelcher", "97233", "97229"),
        ("Nouméa", "98800", "98818"),
        ("SAINT-MARTIN", "97150", "97801"),
    ],
)
def test_a_commune_of_today_is_found_by_its_name_and_postcode(name, postcode, code):
    place = places.commune_named(name, postcode)
    assert place is not None
    assert code == place.code


@pytest.mark.parametrize(
    ("name", "postcode"),
    [("Rennes", "44000"), ("", "35000"), ("Rennes", ""), ("CEDEX", "35000"), ("Alfortville", "75001")],
)
def test_a_name_that_is_not_one_commune_there_is_not_found(name, postcode):
    assert places.commune_named(name, postcode) is None


def test_within_a_department_a_name_is_one_commune():
    names = Counter((name, place.code[:2]) for name, there in places._named().items() for place in there)
    assert [] == [each for each, count in names.items() if count > 1 and each[1] not in ("97", "98")]


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("99100", Place("99100", "99100", "France", Standing.CURRENT)),
        ("99352", Place("99352", "99352", "Algérie", Standing.CURRENT)),
        ("99123", Place("99123", "99123", "Russie", Standing.CURRENT)),
        ("99141", Place("99141", "99109", "République démocratique allemande", Standing.FORMER)),
        ("99115", Place("99115", "", "Tchécoslovaquie", Standing.FORMER)),
    ],
)
def test_a_country_is_found_whatever_became_of_it(code, place):
    assert place == places.country(code)


@pytest.mark.parametrize("code", ["", "99999", "99143", "FR", "35238"])
def test_a_code_of_no_country_is_not_found(code):
    assert places.country(code) is None


def test_countries_that_are_gone_lead_to_countries_of_today_or_to_several():
    table = places._countries()
    assert {Standing.CURRENT: 223, Standing.FORMER: 23} == Counter(place.standing for place in table.values())
    assert all(not place.today or table[place.today].standing is Standing.CURRENT for place in table.values())
