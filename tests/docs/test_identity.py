"""docs/identity.md shows the cases that the tests of the canonical identity have, each as they have it."""

import re
import tomllib
from typing import Any

from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "identity.md").read_text("utf-8")
CASES = tomllib.loads((ROOT / "tests/identity/people.toml").read_text("utf-8"))["case"]


def shown(part: dict[str, Any]) -> str:
    """One way to write somebody, as the page has it: what is not as in the first case."""
    written = [", ".join(told) if isinstance(told, list) else told for told in part.values()]
    return " · ".join(one or "(empty)" for one in written)


def test_the_page_has_every_case() -> None:
    told = re.search(r"<!-- cases -->\n\|.*\n\|-.*\n((?:\|.*\n)+)<!-- end of cases -->", PAGE)
    assert told is not None
    expected = [
        f"| {case['why']} | {shown(case['one'])} | {shown(case['other'])} | {'one' if case['same'] else 'two'} |"
        for case in CASES
    ]
    assert expected == told[1].splitlines()
