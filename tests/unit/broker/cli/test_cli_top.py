"""top: what waits, where and since when."""

from pathlib import Path

import pytest

from broker.cli import frame, top
from tests.program import FIELDS, Program, grant_and_declare


def test_one_look_tells_what_waits(unefois: Program, elise: Path, move: Path) -> None:
    grant_and_declare(unefois, elise, move, *FIELDS)

    told = unefois.told("top", "--once")

    assert 1 == sum(told["lag"].values())
    assert (0, 0) == (told["dead_letters"], told["routers"])
    assert told["ledger_waiting"] > 0
    assert None is told["undelivered_age_ms"]


def test_in_a_pipe_it_is_one_look_in_the_language_asked_for(unefois: Program) -> None:
    result = unefois.run("top", "--lang", "fr")

    assert 0 == result.exit_code
    assert "lettres mortes                    0\n" in result.stdout


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(None, "-"), (999, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (7_200_000, "2 h"), (172_800_000, "2 d")],
)
def test_an_age_is_told_in_the_unit_that_is_read_at_once(milliseconds: int | None, words: str) -> None:
    frame.choose(None, False, "en")

    assert words == top._age(milliseconds)
