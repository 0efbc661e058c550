"""The pages' sentences: French is the source, English is complete; days are written as people there write them."""

from datetime import date

import pytest

from broker.web.citizen.words import Words, today
from schemas import messages
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Instant
from tests.web import catalogue


def test_every_sentence_has_its_english_and_no_english_is_left_over() -> None:
    assert catalogue.written(catalogue.fresh()).decode() == catalogue.ENGLISH.read_text("utf-8")
    missing = [one.id for one in catalogue.english() if one.id and not all(catalogue.strings(one))]
    assert [] == missing


def test_no_english_is_fuzzy_and_each_fills_the_same_places() -> None:
    made = catalogue.english()
    assert [] == [one.id for one in made if one.id and one.fuzzy]
    assert [] == [(one.id, str(fault)) for one in made for fault in one.check(made)]


def test_a_day_is_written_as_people_write_it() -> None:
    assert "1er décembre 2026" == Words("fr").day("2026-12-01")
    assert "12 mars 2026" == Words("fr").day(date(2026, 3, 12))
    assert "1 December 2026" == Words("en").day("2026-12-01")


def test_a_moment_is_told_in_the_time_of_france() -> None:
    assert "1er janvier 2026 à 00:30" == Words("fr").moment(Instant(1_767_223_800_000))
    assert date(2026, 1, 1) == today(Instant(1_767_223_800_000))


@pytest.mark.parametrize(
    ("number", "french"), [(0, "0 jour"), (1, "1 jour"), (2, "2 jours"), (1500, "1\u202f500 jours")]
)
def test_french_has_its_own_plural(number: int, french: str) -> None:
    assert french == Words("fr").count("{number} jour", "{number} jours", number)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_nobody_is_told_to_run_a_command_of_ours(language: Language) -> None:
    told = {code: Words(language).refusal(Refused(code)) for code in messages.table()}
    assert [] == [code for code, (wrong, remedy) in told.items() if not wrong or not remedy or "`unefois" in remedy]


def test_a_receipt_that_is_not_ready_is_one_that_comes() -> None:
    wrong, remedy = Words("fr").refusal(Refused("ledger.not-sequenced-yet"))
    assert ("Ce reçu n'est pas encore prêt", True) == (wrong, "réessayez dans un instant" in remedy)
