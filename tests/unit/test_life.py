"""docs/life-of-a-declaration.md names only functions that exist: whoever reads it finds every step in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "life-of-a-declaration.md").read_text("utf-8")
STEPS = re.findall(r"`([a-z_/]+\.py)`\s·\s`([A-Za-z_.]+)`", PAGE)


def _functions(file: Path) -> set[str]:
    found = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = (m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef))
            found.update(f"{node.name}.{member.name}" for member in members)
    return found


@pytest.mark.parametrize(("file", "function"), STEPS)
def test_every_step_of_the_page_is_in_the_code(file: str, function: str) -> None:
    assert function in _functions(ROOT / file)


def test_every_numbered_step_names_a_function() -> None:
    numbered = re.split(r"\n(?=\d+\. \*\*|\n|\* \*\*)", PAGE)
    steps = [part for part in numbered if re.match(r"(\d+\.|\*) \*\*", part)]

    assert len(steps) >= 26
    assert [] == [part.splitlines()[0] for part in steps if "· `" not in part]
