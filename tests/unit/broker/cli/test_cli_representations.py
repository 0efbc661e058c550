"""`unefois representation`: written down, listed, shown, ended; and what each says to a person."""

import json
from pathlib import Path

import pytest

from tests.program import Program

GROUND = ("--measure", "guardianship", "--proof", "TJ Rennes 25/01234")


@pytest.fixture
def tutor(elise: Path, tmp_path: Path) -> Path:
    """Who acts for Élise."""
    file = tmp_path / "tutor.json"
    file.write_text(json.dumps(json.loads(elise.read_text("utf-8")) | {"given_names": ["Gilles"]}))
    return file


def test_who_acts_for_whom_is_written_down_listed_shown_and_ended(unefois: Program, elise: Path, tutor: Path) -> None:
    scope = ("--type", "address.changed", "--purpose", "family-benefits", "--until", "2036-12-31")
    told = unefois.told("representation", "add", "--representative", tutor, "--person", elise, *GROUND, *scope)
    made = told["representation"]

    assert ("guardianship", "guardian", "TJ Rennes 25/01234") == (made["measure"], made["capacity"], made["proof"])
    assert (["fr.unefois.address.changed.v1"], ["family-benefits"]) == (made["event_types"], made["purposes"])
    assert [made] == unefois.told("representation", "list", "--person", elise)["representations"]
    assert made == unefois.told("representation", "show", made["id"])
    assert unefois.told("representation", "end", made["id"])["representation"]["ended_at"]
    assert "representations.ended" == unefois.error("representation", "end", made["id"], code=3)["code"]


def test_in_words(unefois: Program, elise: Path, tutor: Path) -> None:
    nobody = unefois.run("representation", "list", "--person", elise, "--lang", "fr").stdout
    assert "Personne n'agit pour cette personne." in nobody
    unefois.told("representation", "add", "--representative", tutor, "--person", elise, *GROUND)
    shown = unefois.run("representation", "list", "--person", elise, "--lang", "en").stdout
    assert "declares as       guardian" in shown
    assert "Gilles" not in shown
    report = unefois.run("person", "report", "--person", elise, "--lang", "en").stdout
    assert "Acting for you (1)" in report
    assert "somebody may act for you" in report


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("end", "0" * 32), "representations.unknown"),
        (("show", "0" * 32), "representations.unknown"),
        (("end", "mine"), "name.representation-id"),
    ],
)
def test_what_is_not_there_is_refused(unefois: Program, words: tuple[str, ...], code: str) -> None:
    assert code == unefois.error("representation", *words, code=3)["code"]


def test_an_adult_has_no_parent_here_and_nobody_represents_themselves(
    unefois: Program, elise: Path, tutor: Path
) -> None:
    parent = ("--measure", "parental_authority", "--proof", "livret")
    add = ("representation", "add", "--representative")
    assert "representations.of-age" == unefois.error(*add, tutor, "--person", elise, *parent, code=3)["code"]
    assert "representations.oneself" == unefois.error(*add, elise, "--person", elise, *GROUND, code=3)["code"]
    assert (
        "representations.measure"
        == unefois.error(*add, tutor, "--person", elise, "--measure", "love", "--proof", "TJ 1", code=3)["code"]
    )
