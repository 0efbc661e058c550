"""What people write into a field, read as what they mean; what is none is told by what to write."""

from datetime import date

import pytest

from broker.web.citizen import typed
from broker.web.citizen.moving_answers import is_minor, read_person, read_step
from broker.web.citizen.typed import (
    MANY_LINES,
    MANY_NAMES,
    Wrong,
    read_day,
    read_email,
    read_given_names,
    read_name,
    read_phone,
    read_street,
)

TODAY = date(2026, 12, 1)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("12/3/2026", "2026-03-12"),
        ("12-03-26", "2026-03-12"),
        ("12.3.2026", "2026-03-12"),
        ("12 3 2026", "2026-03-12"),
        ("12032026", "2026-03-12"),
        ("2026-03-12", "2026-03-12"),
        ("12 mars 2026", "2026-03-12"),
        ("le 12 Mars 2026", "2026-03-12"),
        ("jeudi 12 mars 2026", "2026-03-12"),
        ("12 March 2026", "2026-03-12"),
        ("March 12, 2026", "2026-03-12"),
        ("1er janvier 2027", "2027-01-01"),
        ("5 janv. 2027", "2027-01-05"),
        ("3 mars", "2027-03-03"),
        ("3 novembre", "2026-11-03"),
        ("20 août", "2026-08-20"),
        ("20/8", "2026-08-20"),
        ("demain", "2026-12-02"),
        ("aujourd’hui", "2026-12-01"),
        ("hier", "2026-11-30"),
    ],
)
def test_a_day_as_it_is_typed(text: str, day: str) -> None:
    assert day == read_day("date", text, TODAY).isoformat()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", typed.EMPTY_DAY),
        ("bientôt", typed.NO_DAY),
        ("12", typed.NO_DAY),
        ("12/3/026", typed.NO_DAY),
        ("x" * 1000, typed.NO_DAY),
        ("31/2/2026", typed.NEVER),
        ("29 février", typed.NEVER),
        ("12/13/2026", typed.NEVER),
        ("0/0/0000", typed.NEVER),
        ("12/3/1926", typed.FAR),
        ("12/3/2126", typed.FAR),
    ],
)
def test_a_day_that_is_none_is_told_why(text: str, sentence: str) -> None:
    with pytest.raises(Wrong) as told:
        read_day("date", text, TODAY)
    assert sentence == told.value.sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("24/8/15", typed.SHORT_YEAR),
        ("24 août", typed.SHORT_YEAR),
        ("24/8/2027", typed.FUTURE),
        ("1/1/1700", typed.FAR),
    ],
)
def test_a_birthday_is_past_and_has_its_whole_year(text: str, sentence: str) -> None:
    with pytest.raises(Wrong) as told:
        read_day("naissance", text, TODAY, birth=True)
    assert sentence == told.value.sentence
    assert date(2015, 8, 24) == read_day("naissance", "24/8/2015", TODAY, birth=True)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("12 bis rue de la Monnaie", ("12", "bis", "rue de la Monnaie")),
        ("12bis, rue X", ("12", "bis", "rue X")),
        ("5B rue X", ("5", "B", "rue X")),
        ("3, place de la Mairie", ("3", None, "place de la Mairie")),
        ("12 avenue du 8 mai 1945", ("12", None, "avenue du 8 mai 1945")),
        ("n° 7 rue Y", ("7", None, "rue Y")),
        ("Le Bourg", (None, None, "Le Bourg")),
    ],
)
def test_a_street_with_its_number(text: str, parts: tuple[str | None, str | None, str]) -> None:
    assert parts == read_street("rue", text)


@pytest.mark.parametrize("text", ["", "12", "12 bis", "x" * 101, "12 rue 🏠", "<b>", "12 rue {{7*7}}"])
def test_a_street_that_is_none(text: str) -> None:
    with pytest.raises(Wrong):
        read_street("rue", text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("06 12 34 56 78", "+33612345678"),
        ("06.12.34.56.78", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "+33612345678"),
        ("0032470123456", "+32470123456"),
    ],
)
def test_a_telephone(text: str, number: str) -> None:
    assert number == read_phone("telephone", text)


@pytest.mark.parametrize("text", ["12", "abc", "0" * 1000, "+", "06 12 34 56", "<script>"])
def test_a_telephone_that_is_none(text: str) -> None:
    with pytest.raises(Wrong):
        read_phone("telephone", text)


@pytest.mark.parametrize("text", ["x", "@", "a@", "@b.fr", "a@b@c", "é@b.fr", "x" * 300 + "@b.fr", "<a@b.fr>"])
def test_an_email_that_is_none(text: str) -> None:
    with pytest.raises(Wrong):
        read_email("courriel", text)
    assert "Elise@example.fr" == read_email("courriel", "Elise@Example.FR")


def test_names_may_be_of_one_letter_of_any_alphabet_and_have_no_digits() -> None:
    assert ["Lou", "Anne-Marie"] == read_given_names("prenoms", "Lou, Anne-Marie")
    for name in ("O", "D'Almeida", "Nguyễn", "Ω", "Dupont--Martin"):
        assert name == read_name("nom", name)
    for bad in ("", "12", "R2D2", "--", "🏠", "x" * 101):
        with pytest.raises(Wrong):
            read_name("nom", bad)


def test_too_many_names_or_lines_are_told_as_that_and_not_as_too_many_characters() -> None:
    with pytest.raises(Wrong) as told:
        read_given_names("prenoms", "A " * 21)
    assert (MANY_NAMES, {"limit": 20}) == (told.value.sentence, told.value.filled)
    assert ["A"] * 20 == read_given_names("prenoms", "A " * 20)
    answers = {"arrivee": {"arrivee": "etranger"}, "adresse": {"pays": "Belgique", "ville": "Namur"}}
    for lines, wrong in ((6, ()), (7, (Wrong("lignes", MANY_LINES, {"limit": 6}),))):
        raw = {**answers, "adresse": {**answers["adresse"], "lignes": ", ".join(["Rue Haute"] * lines)}}
        assert wrong == read_step("adresse", raw, [], TODAY).wrong


@pytest.mark.parametrize(
    ("born", "minor"),
    [(date(2008, 12, 1), False), (date(2008, 12, 2), True), (date(2008, 2, 29), False), (date(1950, 1, 1), False)],
)
def test_one_is_of_age_on_the_eighteenth_birthday(born: date, minor: bool) -> None:
    assert minor is is_minor(born, TODAY)


def test_a_person_without_anything_is_told_every_field_at_once() -> None:
    wrong = [each.name for each in read_person({}, TODAY).wrong]

    assert ["prenoms", "nom", "naissance", "sexe", "lien", "ne_ou"] == wrong
