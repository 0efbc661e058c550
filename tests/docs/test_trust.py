"""docs/trust.md claims nothing that no test holds: every claim names its tests, and they exist."""

import ast
import re
from collections.abc import Iterable, Iterator

from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "trust.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py(?:::\w+)+)`", PAGE)))
CLAIMS = re.findall(r"^\* (?:.+\n?)(?:^  .+\n?)*", PAGE.partition("\n## Limits")[0], re.MULTILINE)


def missing(named: Iterable[str]) -> list[str]:
    """Of these node ids, those that no function of their file is: what stands in a class has the class's name, too."""
    files = {name.partition("::")[0] for name in named}
    there = {f"{file}::{found}" for file in files for found in _functions(ast.parse((ROOT / file).read_text("utf-8")))}
    return sorted({*named} - there)


def _functions(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{name}" for name in _functions(node))


def test_each_claim_names_a_test_that_holds_it() -> None:
    assert [] == [claim for claim in CLAIMS if "::" not in claim]


def test_the_tests_that_are_named_exist() -> None:
    assert [] == missing(NAMED)


def test_the_page_has_its_claims() -> None:
    assert len(CLAIMS) > 50
    assert len(NAMED) > 70
