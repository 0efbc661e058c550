"""The report says the same to a person, a program, a CI system and a browser, in both languages."""

import re
import string
from xml.etree import ElementTree

import pytest

from broker.lab.conformance import cases, portal_cases, render, source_cases
from broker.lab.conformance.finding import Finding
from broker.lab.conformance.report import Report, Result
from broker.lab.conformance.words import Words, table
from schemas.messages import Language

REPORT = Report(
    (
        Result("ordinary", "receiver", seconds=0.5),
        Result("duplicate", "receiver", (Finding("applied-twice", {"count": 1, "of": 2}),), seconds=1.0),
        Result("crash", "receiver", skipped="<b>not & yet</b>"),
        Result("source-once", "source"),
    )
)


def test_a_failed_case_says_what_was_wrong_and_what_to_do() -> None:
    told = REPORT.document(Words("en"))

    assert (False, {"passed": 2, "failed": 1, "skipped": 1}) == (told["conformant"], told["counts"])
    failed = told["cases"][1]
    assert [{"finding": "applied-twice", "wrong": "1 of 2 deliveries had more than one effect."}] == failed["findings"]
    assert failed["remedy"].startswith("Keep each delivery's id")


def test_ci_reads_the_counts_the_failure_and_what_was_not_played() -> None:
    receiver, source = ElementTree.fromstring(render.junit(REPORT, Words("en")))

    assert ("3", "1", "1", "1.50") == tuple(receiver.get(name) for name in ("tests", "failures", "skipped", "time"))
    assert ("1", "0") == (source.get("tests"), source.get("failures"))
    failure, skipped = receiver.find(".//failure"), receiver.find(".//skipped")
    assert failure is not None
    assert skipped is not None
    assert ("applied-twice", "<b>not & yet</b>") == (failure.get("type"), skipped.get("message"))


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_page_tells_every_case_and_lets_no_word_become_markup(language: Language) -> None:
    page = render.html(REPORT, Words(language), "0.1.0").decode()

    assert f'<html lang="{language}">' in page
    assert [f'id="{one.case}"' in page for one in REPORT.results] == [True] * 4
    assert "&lt;b&gt;not &amp; yet" in page
    assert not re.search(r"src=|href=|<script", page)


def test_every_case_and_every_finding_has_its_words_in_both_languages() -> None:
    told = table()
    assert {*cases.CASES, *source_cases.CASES, *portal_cases.CASES} == set(told["case"])
    for part in (each for case in told["case"].values() for each in case.values()):
        assert {"fr", "en"} == set(part)
        assert all(part.values())
    for key, texts in told["finding"].items():
        asked = [
            {name for _, name, _, _ in string.Formatter().parse(texts[language]) if name} for language in ("fr", "en")
        ]
        assert asked[0] == asked[1], key


def test_a_run_without_a_failure_is_conformant() -> None:
    good = Report((Result("ordinary", "receiver"), Result("crash", "receiver", skipped="later")))

    assert good.good
    assert "Conformant: 1 cases passed, 1 not played." == render.verdict(good, Words("en"))
    assert "Non conforme : 1 cas sur 4 ont échoué." == render.verdict(REPORT, Words("fr"))
