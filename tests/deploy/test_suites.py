"""What `make test` leaves out, `make test-proof` does; nothing falls between the two."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKE = (ROOT / "Makefile").read_text()
SCALED = re.compile(r'environ(?:\.get\(|\[)"(?:UNEFOIS_PROOF|UNEFOIS_FAULTS|UNEFOIS_RACE_ROUNDS)"')
MARKED = re.compile(r"pytest\.mark\.more|^pytestmark = .*pytest\.mark\.proof", re.MULTILINE)
APART = {"tests/conftest.py", "tests/examples.py", "tests/deploy/test_suites.py"}
"""The profile of all properties, and what multiplies their examples: each property is marked by its library."""


def recipe(target: str) -> str:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKE, re.MULTILINE)
    assert found, target
    return found[1].replace("\\\n", " ")


def test_the_two_suites_are_chosen_by_marks_over_all_tests() -> None:
    assert re.search(r"^test: check tests$", MAKE, re.MULTILINE)
    assert '-m "not proof"' in recipe("tests")
    assert '-m "proof or more or hypothesis"' in recipe("test-proof")
    assert [] == re.findall(r"\btests/\S+", recipe("tests") + recipe("test-proof"))


def test_who_does_more_for_a_proof_is_marked_so() -> None:
    """A file that reads the environment of `make test-proof` and has no mark would do its more for nobody."""
    unmarked = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        text, name = file.read_text("utf-8"), file.relative_to(ROOT).as_posix()
        if SCALED.search(text) and name not in APART and "tests/fire/" not in name:
            unmarked += [] if MARKED.search(text) else [name]
    assert [] == unmarked


def test_nobody_is_skipped_for_want_of_the_proofs_environment() -> None:
    """A skip is counted as if something was missing; `proof` says that it is for the other suite."""
    skipped = [
        file.name
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"skipif\([^)]*UNEFOIS_PROOF", file.read_text("utf-8")) and file != Path(__file__)
    ]
    assert [] == skipped
