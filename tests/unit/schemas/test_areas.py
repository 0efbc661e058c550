"""Areas: a place is heard of by the areas that it lies in, and by no other; a code of none is refused."""

from collections import Counter

import pytest

from schemas import areas, places
from schemas.areas import Area, AreaKind
from schemas.errors import Refused
from schemas.messages import Language, explain
from schemas.places import Standing


@pytest.mark.parametrize(
    ("place", "hearing"),
    [
        ("35238", {"35238", "243500139", "35", "R53", "99100"}),
        ("75114", {"75114", "75056", "200054781", "75", "R11", "99100"}),
        ("75056", {"75056", "200054781", "75", "R11", "99100"}),
        ("69123", {"69123", "200046977", "69", "R84", "99100"}),
        ("2A004", {"2A004", "242010056", "2A", "R94", "99100"}),
        ("20004", {"20004", "2A004", "242010056", "2A", "R94", "99100"}),
        ("97411", {"97411", "249740119", "974", "R04", "99100"}),
        ("98818", {"98818", "988", "99100"}),
        ("97701", {"97701", "977", "99100"}),
        ("00595", {"00595", "00", "99100"}),
        ("99109", {"99109"}),
        ("99141", {"99141", "99109"}),
        ("99115", {"99115"}),
        ("DE", {"DE"}),
    ],
)
def test_a_place_is_heard_of_by_the_areas_that_it_lies_in(place: str, hearing: set[str]) -> None:
    assert hearing == areas.holding(place)


def test_an_arrondissement_hears_of_itself_alone_and_its_commune_of_all() -> None:
    assert "75114" not in areas.holding("75056")
    assert "75114" not in areas.holding("75115")
    assert "75056" in areas.holding("75115")


def test_several_places_are_heard_of_by_who_hears_of_one() -> None:
    assert areas.holding("35238") | areas.holding("44109") == areas.heard_by(["35238", "44109"])
    assert frozenset() == areas.heard_by([])


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("35238", AreaKind.COMMUNE, "Rennes"),
        ("75114", AreaKind.ARRONDISSEMENT, "Paris 14e Arrondissement"),
        ("243500139", AreaKind.INTERCOMMUNALITY, "Rennes Métropole"),
        ("35", AreaKind.DEPARTMENT, "Ille-et-Vilaine"),
        ("2A", AreaKind.DEPARTMENT, "Corse-du-Sud"),
        ("11", AreaKind.DEPARTMENT, "Aude"),
        ("R11", AreaKind.REGION, "Île-de-France"),
        ("974", AreaKind.DEPARTMENT, "La Réunion"),
        ("R04", AreaKind.REGION, "La Réunion"),
        ("987", AreaKind.COLLECTIVITY, "Polynésie française"),
        ("00595", AreaKind.SECTOR, "Secteur postal militaire 00595"),
        ("00", AreaKind.SECTOR, "Secteurs postaux militaires"),
        ("99109", AreaKind.COUNTRY, "Allemagne"),
        ("99100", AreaKind.COUNTRY, "France"),
    ],
)
def test_an_area_is_known_by_its_code(code: str, kind: AreaKind, name: str) -> None:
    assert Area(code, kind, name) == areas.subscribable(code)


@pytest.mark.parametrize(
    "code",
    ["20", "97", "35999", "R10", "R35", "BRE", "FR-35", "r53", "243500130", "00100", "00900", "99115", "99999", ""],
)
def test_a_code_of_no_area_is_refused(code: str) -> None:
    with pytest.raises(Refused) as refused:
        areas.subscribable(code)

    assert ("areas.unknown", {"territory": code}) == (refused.value.code, dict(refused.value.details))


@pytest.mark.parametrize(
    ("code", "today", "name"),
    [("20004", "2A004", "Ajaccio"), ("97123", "97701", "Saint-Barthélemy"), ("99141", "99109", "Allemagne")],
)
def test_a_former_code_is_refused_with_the_code_of_today(code: str, today: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        areas.subscribable(code)

    assert "areas.former" == refused.value.code
    assert {"territory": code, "today": today, "name": name} == dict(refused.value.details)
    languages: tuple[Language, ...] = ("fr", "en")
    for language in languages:
        said = explain(refused.value, language)
        assert today in said.wrong
        assert today in said.remedy


def test_there_are_as_many_as_the_official_code_has() -> None:
    assert {
        AreaKind.DEPARTMENT: 101,
        AreaKind.REGION: 18,
        AreaKind.COLLECTIVITY: 8,
        AreaKind.SECTOR: 1,
    } == Counter(one.kind for one in areas._above().values())
    assert 1_255 == len(areas._intercommunalities())
    assert 34_871 == len(areas._members())


def test_every_commune_of_today_lies_in_a_department_with_a_region_or_in_a_collectivity() -> None:
    for place in places._communes().values():
        if place.standing is not Standing.FORMER:
            above = areas._above()[areas.department_of(place.today)]
            assert (above.kind is AreaKind.DEPARTMENT) is (above.code in areas._regions())
            assert {place.code, above.code} <= areas.holding(place.code)
    assert {one.code for one in areas._above().values() if one.kind is AreaKind.REGION} == set(
        areas._regions().values()
    )


def test_every_member_of_an_intercommunality_is_a_commune_of_today_and_in_one_alone() -> None:
    members = [code for _, _, told in areas._lines() for code in told.split(" ")]

    assert len(members) == len(set(members))
    for code in members:
        place = places.commune(code)
        assert place is not None
        assert Standing.CURRENT is place.standing


def test_no_code_means_two_areas() -> None:
    codes = [*areas._above(), *areas._intercommunalities(), *places._communes(), *places._countries()]

    assert len(codes) == len(set(codes))
    assert not any(areas.is_military_sector(code) for code in codes)
