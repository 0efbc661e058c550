"""`unefois rule`, `object`, `unobject`: asked, approved, listed, ended; and what each says to a person."""

from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.world import CAF

WISH = ("--recipient", CAF, "--type", "address.changed", "--purpose", "family-benefits")
ARTICLE = ("--article", "CSS, art. L114-19")


@pytest.fixture
def rule(unefois: Program) -> dict[str, Any]:
    """One that was approved."""
    asked = unefois.told("rule", "ask", *WISH, "--field", "new_address", *ARTICLE, "--until", "2036-12-31")
    return unefois.told("rule", "approve", asked["id"])


def test_a_rule_is_asked_for_approved_listed_and_ended(unefois: Program, rule: dict[str, Any]) -> None:
    assert ("approved", ["new_address"], True) == (rule["status"], rule["fields"], rule["objection"])
    assert rule["approved_at"] < rule["acts_from"] < rule["ends_at"]
    assert [rule] == unefois.told("rule", "list")["rules"]

    assert "ended" == unefois.told("rule", "end", rule["id"])["status"]
    assert "rules.ended" == unefois.error("rule", "end", rule["id"], code=3)["code"]


def test_a_citizen_objects_and_withdraws_it(unefois: Program, rule: dict[str, Any], elise: Path) -> None:
    told = unefois.told("object", rule["id"], "--person", elise, "--reason", "none")["objection"]
    assert (rule["id"], "none", None) == (told["rule"], told["reason"], told["withdrawn_at"])
    assert [told] == unefois.told("grants", "--person", elise)["objections"]

    assert unefois.told("unobject", rule["id"], "--person", elise)["objection"]["withdrawn_at"]
    assert "objections.none" == unefois.error("unobject", rule["id"], "--person", elise, code=3)["code"]


def test_in_words(unefois: Program, rule: dict[str, Any], elise: Path) -> None:
    shown = unefois.run("rule", "list", "--lang", "fr").stdout
    assert "CSS, art. L114-19" in shown
    assert "opposition possible" in shown
    unefois.run("object", rule["id"], "--person", elise)
    assert "objection to rule" in unefois.run("grants", "--person", elise).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("rule", "approve", "0" * 32), "rules.unknown"),
        (("rule", "approve", "mine"), "name.rule-id"),
        (("rule", "ask", *WISH, "--field", "iban", *ARTICLE), "rules.unknown-field"),
        (("rule", "ask", *WISH, "--field", "subject", "--article", " "), "grant.article"),
        (
            ("rule", "ask", *WISH, "--field", "subject", *ARTICLE, "--until", "2001-01-01"),
            "rules.ends-before-it-begins",
        ),
    ],
)
def test_what_cannot_be_is_refused(unefois: Program, words: tuple[str, ...], code: str) -> None:
    assert code == unefois.error(*words, code=3)["code"]
