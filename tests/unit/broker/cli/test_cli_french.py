"""Help in French: every text has it, whatever asks for it; and nothing of it is read where no help is shown."""

import re
from collections import Counter
from typing import Any

import pytest
from typer.main import get_command

from broker.cli import helping
from broker.cli.app import app
from schemas.translations import french, parts, read
from tests.program import Program

KNOWN = read(helping.catalogue())
KEPT = re.compile(r"`[^`]+`|--[a-z][a-z-]+|\b[A-Z]{3,}[A-Z_]+\b")
"""Commands, options and variables are the same in every language."""


def every_part() -> dict[str, str]:
    """Each paragraph of a help text, and where it is."""
    found: dict[str, str] = {}
    for one in helping.every(get_command(app)):
        for owner, name in helping.texts(one):
            for part in parts(getattr(owner, name, None) or ""):
                found.setdefault(part, f"{one.name} {getattr(owner, 'name', '')} {name}")
    return found


def test_every_help_text_has_its_french() -> None:
    assert {} == {part: where for part, where in every_part().items() if not KNOWN.get(part)}


def test_no_french_is_left_of_a_text_that_is_gone() -> None:
    assert set() == set(KNOWN) - set(every_part())


def test_what_is_no_sentence_stays_in_french() -> None:
    kept = {part: (Counter(KEPT.findall(part)), Counter(KEPT.findall(told))) for part, told in KNOWN.items()}
    assert {} == {part: both for part, both in kept.items() if both[0] != both[1]}


def test_the_catalogue_is_as_gettext_has_it() -> None:
    text = helping.catalogue()
    assert text.count("\nmsgid ") == text.count("\nmsgstr ") == len(KNOWN) + 1
    assert "fuzzy" not in text


def test_paragraphs_and_lists_are_translated_one_by_one_and_examples_stay() -> None:
    text = "One.\nTwo.\n\n* 0: done\n* 1: not\n\nExample: unefois x"
    known = {"One. Two.": "Un. Deux.", "* 0: done": "* 0 : fait", "* 1: not": "* 1 : non"}
    assert ["One. Two.", "* 0: done", "* 1: not"] == parts(text)
    assert "Un. Deux.\n\n* 0 : fait\n* 1 : non\n\nExemple : unefois x" == french(text, known)


@pytest.mark.parametrize(
    "words", [("--help", "--lang", "fr"), ("party", "add", "--help", "--lang=fr"), ("--lang", "fr", "party")]
)
def test_help_is_french_by_the_option(bare: Program, words: tuple[str, ...]) -> None:
    told = bare.run(*words)
    shown = " ".join((told.stdout + told.stderr).replace("│", " ").split())

    assert "Utilisation : unefois" in shown
    assert "Affiche cette aide et se termine." in shown
    assert "Show this" not in shown
    assert ("─ Partout" in shown) == (words[-1] != "party")  # a group has no options of its own


def test_help_is_english_afterwards_and_elsewhere(bare: Program) -> None:
    shown = bare.run("party", "--help").stdout
    assert "Usage: unefois party" in shown
    assert "─ Commands" in shown
    assert "Administrations, the portal and the broker: who takes part." in shown


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["party"], True), ([], True), (["--lang", "fr"], True), (["party", "list"], False), (["demo", "--help"], True)],
)
def test_the_french_is_read_where_help_is_shown_alone(words: list[str], wanted: bool) -> None:
    assert wanted == helping.wanted(get_command(app), words)


def test_a_command_that_works_reads_no_french(bare: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError("read for nothing")

    monkeypatch.setattr(helping, "catalogue", never)
    assert bare.run("type", "list", "--lang", "fr").exit_code == 0
