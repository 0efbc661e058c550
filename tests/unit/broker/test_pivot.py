"""The canonical pivot identity: one person, however written; two persons, never one."""

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.people.pivot import NAME_CHARACTERS, PivotIdentity, canonical
from schemas.errors import Refused

PERSON = PivotIdentity("Lévêque-d'Arc", ("Jean-Pierre", "Zoë"), "1962-08-24", "male", "44109", "99100")
SPOKEN = st.text(
    alphabet=st.sampled_from("abcxyzéèêëàâäîïôöùûüçñåøœæßÉÈŸÆŒØłđþ -'’.‐\u00a0"), min_size=1, max_size=20
).filter(lambda text: any(character.isalpha() for character in text))


def test_the_canonical_bytes_never_change_between_versions() -> None:
    expected = (
        b"unefois/pivot/v1\x00"
        b"\x00\x0dLEVEQUE D ARC\x00\x0fJEAN PIERRE ZOE\x00\x0a1962-08-24\x00\x04male\x00\x0544109\x00\x0599100"
    )
    assert expected == canonical(PERSON)


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


@given(SPOKEN)
def test_writing_a_name_again_as_it_was_understood_changes_nothing(name: str) -> None:
    first = canonical(replace(PERSON, family_name=name, given_names=()))
    understood = first[19 : 19 + int.from_bytes(first[17:19], "big")].decode()
    assert first == canonical(replace(PERSON, family_name=understood, given_names=()))


@given(SPOKEN)
def test_case_and_unicode_form_do_not_matter(name: str) -> None:
    expected = canonical(replace(PERSON, family_name=name))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert expected == canonical(replace(PERSON, family_name=unicodedata.normalize(form, name)))
    assert expected == canonical(replace(PERSON, family_name=name.upper()))


@pytest.mark.parametrize(
    "name", ["", " ", "-", "'", "R2D2", "Иван", "李", "a,b", "a\x00b", "a" * (NAME_CHARACTERS + 1), "🙂"]
)
def test_what_is_no_latin_name_is_refused_with_its_place(name: str) -> None:
    for identity, pointer in (
        (replace(PERSON, family_name=name), "/family_name"),
        (replace(PERSON, given_names=("Anne", name)), "/given_names/1"),
    ):
        with pytest.raises(Refused) as raised:
            canonical(identity)
        assert ("identity.name", pointer) == (raised.value.code, raised.value.pointer)


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


@pytest.mark.parametrize("place", ["", "4410", "441090", "99100", "2C004", "Nantes", "44109\n"])
def test_a_birth_in_france_needs_its_commune(place: str) -> None:
    assert ("identity.birthplace", "/birthplace") == refused(replace(PERSON, birthplace=place))


@pytest.mark.parametrize("place", ["2A004", "2B033", "97411", "98818", "01004"])
def test_every_commune_of_france_is_a_birthplace(place: str) -> None:
    assert place.encode() in canonical(replace(PERSON, birthplace=place))


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
