"""The catalogue of purposes."""

import pytest

from consent import purposes
from consent.purposes import CATALOGUE, LegalFamily
from schemas.errors import Refused
from schemas.names import Purpose


def test_the_catalogue_has_about_a_dozen_purposes() -> None:
    assert 10 <= len(CATALOGUE) <= 20


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_a_purpose_has_a_label_and_one_sentence_in_both_languages(entry: purposes.PurposeEntry) -> None:
    assert {"fr", "en"} == set(entry.label) == set(entry.sentence)
    for text in (*entry.label.values(), *entry.sentence.values()):
        assert text
        assert text == text.strip()
    for sentence in entry.sentence.values():
        assert sentence.endswith(".")
        assert 1 == sentence.count(".")
    assert entry.sentence["fr"] != entry.sentence["en"]


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_a_purpose_rests_on_at_least_one_family_of_law(entry: purposes.PurposeEntry) -> None:
    assert entry.families
    assert entry.allows_consent or entry.allows_law


def test_labels_are_not_repeated() -> None:
    for language in ("fr", "en"):
        assert len(CATALOGUE) == len({entry.label[language] for entry in CATALOGUE.values()})


def test_consent_is_left_out_where_the_law_alone_decides() -> None:
    assert not purposes.by_id(Purpose("income-tax")).allows_consent
    assert purposes.by_id(Purpose("income-tax")).allows_law
    assert purposes.by_id(Purpose("family-benefits")).allows_consent


def test_each_family_names_its_article_of_the_gdpr() -> None:
    assert "6(1)(a)" == LegalFamily.CONSENT.gdpr
    assert "6(1)(c)" == LegalFamily.LEGAL_OBLIGATION.gdpr
    assert "6(1)(e)" == LegalFamily.PUBLIC_TASK.gdpr


def test_a_purpose_that_is_not_listed_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        purposes.by_id(Purpose("direct-marketing"))
    assert "purposes.unknown" == refused.value.code


def test_the_catalogue_is_closed() -> None:
    with pytest.raises(TypeError):
        CATALOGUE[Purpose("direct-marketing")] = CATALOGUE[Purpose("income-tax")]


def test_a_version_is_part_of_the_id_and_the_first_is_written_without() -> None:
    assert ("school-meals", 1) == purposes.base_of("school-meals")
    assert ("school-meals", 12) == purposes.base_of("school-meals-v12")
    assert ("school-meals", "school-meals-v2") == tuple(purposes.versioned("school-meals", each) for each in (1, 2))
    there = [Purpose("school-meals"), Purpose("school-meals-v2"), Purpose("school-bus")]
    assert (3, 1) == (purposes.next_version("school-meals", there), purposes.next_version("town-hall", there))


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_what_comes_with_the_program_is_version_1_of_each(entry: purposes.PurposeEntry) -> None:
    assert (entry.id, 1) == (entry.base, entry.version)
