"""The canonical pivot identity: one person, however written; two persons, never one."""

import gzip
import tomllib
import unicodedata
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.people.pivot import NAME_CHARACTERS, PivotIdentity, canonical, canonical_v1, same_birth
from schemas.errors import Refused

PERSON = PivotIdentity("Lévêque-d'Arc", ("Jean-Pierre", "Zoë"), "1962-08-24", "male", "44109", "99100")
SPOKEN = st.text(
    alphabet=st.sampled_from("abcxyzéèêëàâäîïôöùûüçñåøœæßÉÈŸÆŒØłđþ -'’.‐\u00a0"), min_size=1, max_size=20
).filter(lambda text: any(character.isalpha() for character in text))


def test_the_canonical_bytes_never_change_between_versions() -> None:
    first = (
        b"unefois/pivot/v1\x00"
        b"\x00\x0dLEVEQUE D ARC\x00\x0fJEAN PIERRE ZOE\x00\x0a1962-08-24\x00\x04male\x00\x0544109\x00\x0599100"
    )
    second = (
        b"unefois/pivot/v2\x00"
        b"\x00\x0bLEVEQUEDARC\x00\x0dJEANPIERREZOE\x00\x0a1962-08-24\x00\x04male\x00\x0544109\x00\x0599100"
    )
    assert (first, second) == (canonical_v1(PERSON), canonical(PERSON))


CASES = tomllib.loads((Path(__file__).parents[2] / "identity/people.toml").read_text("utf-8"))


def written(changed: dict[str, Any]) -> PivotIdentity:
    facts = CASES["base"] | changed
    return PivotIdentity(**facts | {"given_names": tuple(facts["given_names"])})


@pytest.mark.parametrize("case", CASES["case"], ids=lambda case: case["why"])
def test_each_real_case_is_one_person_or_two(case: dict[str, Any]) -> None:
    one, other = canonical(written(case["one"])), canonical(written(case["other"]))
    assert case["same"] is (one == other)


@pytest.mark.parametrize("case", CASES["case"], ids=lambda case: case["why"])
def test_who_is_one_person_in_version_1_is_one_in_version_2(case: dict[str, Any]) -> None:
    first = [canonical_v1(written(case[which])) for which in ("one", "other")]
    assert case["same"] or first[0] != first[1]


def test_version_1_takes_codes_as_they_are_and_wants_a_name_and_a_commune() -> None:
    assert canonical_v1(replace(PERSON, birthplace="75114")) != canonical_v1(replace(PERSON, birthplace="75056"))
    without = (replace(PERSON, family_name=""), replace(PERSON, birthplace=""), replace(PERSON, family_name="Иван"))
    assert [None, None, None] == [canonical_v1(one) for one in without]


def test_two_identities_have_one_birth_however_it_is_written() -> None:
    assert same_birth(replace(PERSON, birthdate="1962-00-00"), replace(PERSON, birthdate="1962", family_name="X"))
    assert not same_birth(PERSON, replace(PERSON, birthdate="1962-08"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lévêque", "LEVEQUE"),
        ("Lévêque", "Le\u0301ve\u0302que"),
        ("Jean-Pierre", "JEAN PIERRE"),
        ("d'Arc", "D’ARC"),
        ("d'Arc", "D ARC"),
        ("d'Arc", "  d -'  Arc "),
        ("Saint-Étienne", "SAINT\u2010ETIENNE"),
        ("Saint Étienne", "SAINT\u00a0ETIENNE"),
        ("St. Jean", "ST JEAN"),
        ("Lecœur", "LECOEUR"),
        ("Læticia", "LAETICIA"),
        ("Weiß", "WEISS"),
        ("Ǿrsted", "ORSTED"),
        ("Łukasz", "LUKASZ"),
        ("Þór", "THOR"),
        ("ﬁlip", "FILIP"),
        ("Nguyễn", "NGUYEN"),
        ("d\u200b'Arc\u00ad", "DARC"),
        ("Ka‘imi", "KAIMI"),
        ("Ÿ", "Y"),
        ("İnci", "INCI"),
        ("Aydın", "AYDIN"),
    ],
)
def test_one_name_written_in_two_ways_is_one_name(one: str, other: str) -> None:
    assert canonical(replace(PERSON, family_name=one)) == canonical(replace(PERSON, family_name=other))


@pytest.mark.parametrize(
    "other",
    [
        replace(PERSON, family_name="Lévêque-d'Arcs"),
        replace(PERSON, given_names=("Jean-Pierre",)),
        replace(PERSON, given_names=("Zoë", "Jean-Pierre")),
        replace(PERSON, given_names=()),
        replace(PERSON, birthdate="1962-08-25"),
        replace(PERSON, birthdate="1962-08"),
        replace(PERSON, birthdate="1962"),
        replace(PERSON, gender="female"),
        replace(PERSON, gender="unspecified"),
        replace(PERSON, birthplace="44110"),
        replace(PERSON, birthplace="", birthcountry="99109"),
    ],
)
def test_each_fact_tells_two_persons_apart(other: PivotIdentity) -> None:
    assert canonical(PERSON) != canonical(other)


def test_names_do_not_run_into_each_other() -> None:
    one = replace(PERSON, family_name="Martin Paul", given_names=("Jean",))
    other = replace(PERSON, family_name="Martin", given_names=("Paul", "Jean"))
    assert canonical(one) != canonical(other)


def test_given_names_in_one_string_or_in_several_are_the_same() -> None:
    assert canonical(PERSON) == canonical(replace(PERSON, given_names=("Jean", "Pierre Zoë")))


LATIN = "abcxyzéèêëàâäîïôöùûüçñåøœæßÉÈŸÆŒØłđþıİ"
APART = " -'’‐\u00a0.\u00ad\u200b–"


@given(SPOKEN)
def test_writing_a_name_again_as_it_was_understood_changes_nothing(name: str) -> None:
    first = canonical(replace(PERSON, family_name=name, given_names=("Anne",)))
    understood = first[19 : 19 + int.from_bytes(first[17:19], "big")].decode()
    assert first == canonical(replace(PERSON, family_name=understood, given_names=("Anne",)))


@given(SPOKEN)
def test_case_and_unicode_form_do_not_matter(name: str) -> None:
    expected = canonical(replace(PERSON, family_name=name))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert expected == canonical(replace(PERSON, family_name=unicodedata.normalize(form, name)))
    assert expected == canonical(replace(PERSON, family_name=name.upper()))


@given(st.lists(st.text(LATIN, min_size=1, max_size=8), min_size=1, max_size=5), st.data())
def test_what_stands_between_the_parts_of_a_name_does_not_matter(parts: list[str], data: st.DataObject) -> None:
    apart = [data.draw(st.text(APART, max_size=3)) for _ in parts]
    name = "".join(part + between for part, between in zip(parts, apart, strict=True))
    for given_names in (("Anne",), tuple(parts)):
        expected = understood(replace(PERSON, family_name="".join(parts), given_names=given_names))
        assert expected == understood(replace(PERSON, family_name=name, given_names=given_names))


def understood(person: PivotIdentity) -> bytes | str:
    """The canonical bytes, or why there are none: "X" as both names is a way to write that somebody has neither."""
    try:
        return canonical(person)
    except Refused as fault:
        return fault.code


@given(st.text(LATIN + LATIN.upper() + APART, max_size=NAME_CHARACTERS), st.text(LATIN + APART, max_size=40))
def test_every_name_of_the_accepted_letters_has_its_bytes_or_is_none(family: str, given_name: str) -> None:
    person = replace(PERSON, family_name=family, given_names=(given_name,))
    assert canonical(replace(person, given_names=("Anne",))).isascii()
    if set(given_name) - set(APART):
        assert canonical(replace(person, family_name="Martin")).isascii()


@given(SPOKEN)
def test_two_who_are_one_in_version_1_stay_one(name: str) -> None:
    plain = replace(PERSON, family_name=name)
    other = replace(PERSON, family_name=name.upper().replace("-", " "))
    assert canonical_v1(plain) != canonical_v1(other) or canonical(plain) == canonical(other)


@pytest.mark.parametrize("blank", ["", " ", "-", "'"])
def test_an_empty_name_among_the_given_names_is_a_mistake(blank: str) -> None:
    assert ("identity.name", "/given_names/1") == refused(replace(PERSON, given_names=("Anne", blank)))


def test_no_name_at_all_is_no_person() -> None:
    for family in ("", "-", "SNP", "Sans nom", "xx"):
        for given_names in ((), ("Sans prénom",), ("X",), ("S.P.",)):
            nobody = replace(PERSON, family_name=family, given_names=given_names)
            assert ("identity.nameless", "/family_name") == refused(nobody)
            canonical(replace(nobody, given_names=("Anne",)))
            canonical(replace(nobody, family_name="Martin"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("R2D2", "identity.name"),
        ("a,b", "identity.name"),
        ("a\x00b", "identity.name"),
        ("🙂", "identity.name"),
        ("a" * (NAME_CHARACTERS + 1), "identity.name"),
        ("Иван", "identity.alphabet"),
        ("李", "identity.alphabet"),
        ("محمد", "identity.alphabet"),
        ("Παπάς", "identity.alphabet"),
        ("Aнна", "identity.alphabet"),  # a Latin A and three Cyrillic letters
    ],
)
def test_what_is_no_latin_name_is_refused_with_its_place(name: str, code: str) -> None:
    for identity, pointer in (
        (replace(PERSON, family_name=name), "/family_name"),
        (replace(PERSON, given_names=("Anne", name)), "/given_names/1"),
    ):
        assert (code, pointer) == refused(identity)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1962-08-00", "1962-08"), ("1962-00-00", "1962"), ("1962-00", "1962"), ("2000-02-29", "2000-02-29")],
)
def test_a_date_with_zeros_is_a_partial_date(written: str, meant: str) -> None:
    assert canonical(replace(PERSON, birthdate=written)) == canonical(replace(PERSON, birthdate=meant))


@pytest.mark.parametrize(
    "date",
    [
        "",
        "62",
        "1962-8-24",
        "1962-13",
        "1962-02-30",
        "1900-02-29",
        "1962-00-24",
        "24/08/1962",
        "0000",
        "1962-08-24 ",
        "١٩٦٢",
    ],
)
def test_what_is_no_date_is_refused(date: str) -> None:
    assert ("identity.birthdate", "/birthdate") == refused(replace(PERSON, birthdate=date))


@pytest.mark.parametrize("gender", ["", "M", "Male", "1"])
def test_what_is_no_gender_is_refused(gender: str) -> None:
    assert ("identity.gender", "/gender") == refused(replace(PERSON, gender=gender))


@pytest.mark.parametrize("place", ["4410", "441090", "99109", "2C004", "Nantes", "44109\n"])
def test_what_is_no_commune_is_no_birthplace_in_france(place: str) -> None:
    assert ("identity.birthplace", "/birthplace") == refused(replace(PERSON, birthplace=place))


@pytest.mark.parametrize("place", ["2A004", "2B033", "97411", "98818", "01004", "44990"])
def test_every_commune_of_france_is_a_birthplace_and_one_that_the_list_lacks_stays(place: str) -> None:
    assert place.encode() in canonical(replace(PERSON, birthplace=place))


def test_every_code_of_the_list_leads_to_one_commune_of_today() -> None:
    rows = gzip.decompress(files("schemas").joinpath("cog/communes.tsv.gz").read_bytes()).decode("utf-8").splitlines()
    for code, today, _ in (row.split("\t") for row in rows):
        assert canonical(replace(PERSON, birthplace=today or code)) == canonical(replace(PERSON, birthplace=code))


def test_a_birth_abroad_has_no_place_whether_the_country_is_repeated_or_not() -> None:
    abroad = replace(PERSON, birthplace="", birthcountry="99109")
    assert canonical(abroad) == canonical(replace(abroad, birthplace="99109"))
    assert ("identity.birthplace", "/birthplace") == refused(replace(abroad, birthplace="44109"))


@pytest.mark.parametrize("country", ["", "FR", "100", "44109", "991000"])
def test_what_is_no_country_is_refused(country: str) -> None:
    assert ("identity.birthcountry", "/birthcountry") == refused(replace(PERSON, birthplace="", birthcountry=country))


def test_nothing_shows_a_value() -> None:
    canary = replace(PERSON, family_name="CANARY7")
    with pytest.raises(Refused) as raised:
        canonical(canary)
    assert "CANARY" not in f"{raised.value} {raised.value!r} {canary!r}"


def refused(identity: PivotIdentity) -> tuple[str, str]:
    with pytest.raises(Refused) as raised:
        canonical(identity)
    return raised.value.code, raised.value.pointer
