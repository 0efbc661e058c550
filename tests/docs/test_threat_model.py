"""docs/threat-model.md: each question of STRIDE is answered at each boundary, by claims that name tests that exist."""

import re

import pytest

from tests.docs.pages import DOCS
from tests.docs.test_trust import missing

PAGE = (DOCS / "threat-model.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py(?:::\w+)+)`", PAGE)))
BOUNDARIES = dict(re.findall(r"^## (\d\. .+)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_each_question_is_answered_by_claims_that_name_their_tests_and_what_is_accepted_is_said(boundary: str) -> None:
    text = BOUNDARIES[boundary]
    claims = re.findall(r"^\* (?:.+\n?)(?:^  .+\n?)*", text, re.MULTILINE)

    assert set("STRIDE") == {re.match(r"\* \*\*([STRIDE])\*\* ", claim)[1] for claim in claims}  # type: ignore[index]
    assert not [claim for claim in claims if "::" not in claim]
    assert "\nAccepted: " in text


def test_the_tests_that_are_named_exist() -> None:
    assert [] == missing(NAMED)


def test_the_page_has_its_boundaries() -> None:
    assert 8 == len(BOUNDARIES)
    assert len(NAMED) > 70
