"""docs/change.md is true: its three changes are done as it shows them, each step is missed, and each name exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.change import PAGE, Change, Copy, changes, commands, patched
from tests.docs.pages import ROOT

CHANGES = changes()
MISSED = [
    pytest.param(change, step, test, id=f"{name}-{step}")
    for name, change in CHANGES.items()
    for step, test in change.misses
]


@pytest.mark.proof
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_follows_the_page_works(change: Change, tmp_path: Path) -> None:
    copy = Copy.into(tmp_path / "copy")
    copy.make(change)

    assert change.checks
    for block in change.checks:
        for command in commands(block):
            done = copy.run(command)
            assert 0 == done.returncode, f"$ {command}\n{done.stdout}"


@pytest.mark.proof
@pytest.mark.parametrize(("change", "step", "test"), MISSED)
def test_a_step_that_is_left_out_is_missed(change: Change, step: int, test: str, tmp_path: Path) -> None:
    copy = Copy.into(tmp_path / "copy")
    copy.make(change, without=step)

    done = copy.run(f"python -m pytest {test}")
    assert 1 == done.returncode, done.stdout


TEXT = PAGE.read_text("utf-8")
NAMED = sorted(set(re.findall(r"`([\w./-]+\.py)::([\w.:]+)`", TEXT)))
PLACES = sorted(
    set(re.findall(r"`((?:schemas|consent|broker|connectors|agency|tests|docs|deploy)/[\w./-]+)(?:::[^`]*)?`", TEXT))
)


def names(scope: ast.Module | ast.ClassDef, above: str = "") -> Iterator[str]:
    """Everything that a module or a class defines: `Grant`, `KINDS`, `Grant.unbound`, and a test as `TestX::test_y`."""
    for node in scope.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from (f"{above}{each.id}" for each in targets if isinstance(each, ast.Name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield f"{above}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from names(node, f"{above}{node.name}.")
            yield from names(node, f"{above}{node.name}::")


def test_every_name_of_the_page_exists() -> None:
    missing = []
    for file, name in NAMED:
        there = set(names(ast.parse((ROOT / file).read_text("utf-8"))))
        missing += [] if name in there else [f"{file}::{name}"]

    assert len(NAMED) > 90
    assert [] == missing


def test_every_place_of_the_page_exists() -> None:
    assert [] == [place for place in PLACES if not (ROOT / place).exists()]


def test_every_line_of_the_first_table_leads_to_its_section_and_counts_its_places() -> None:
    lines = re.findall(r"^\| ([\w ]+?) \| (\d+) \| \[[^]]+\]\(#([\w-]+)\)", TEXT, re.MULTILINE)
    sections = {
        name.lower().replace(" ", "-"): below
        for name, below in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)+)", TEXT, re.MULTILINE)
    }
    places = {
        anchor: max(map(int, re.findall(r"^(?:### |\| )(\d+)(?:\.| \|)", below, re.MULTILINE)))
        for anchor, below in sections.items()
    }

    assert [(anchor, places[anchor]) for _, _, anchor in lines] == [(anchor, int(count)) for _, count, anchor in lines]
    assert list(sections) == [anchor for _, _, anchor in lines]


def test_what_every_test_of_a_missed_step_is_named_for_is_a_step() -> None:
    assert {"An event type", "A reason for a denial", "A connector"} == set(CHANGES)
    for change in CHANGES.values():
        assert {step for step, _ in change.misses} <= set(change.steps)
        assert len(change.misses) >= 4


def test_a_change_that_does_not_fit_the_file_is_found() -> None:
    assert "a\nc\nb\n" == patched("a\nb\n", " a\n+c\n b\n", "here")
    assert "c\nb\n" == patched("a\nb\n", "-a\n+c\n", "here")
    for wrong in (" x\n+c\n", "+c\n a\n", "a\n"):
        with pytest.raises(AssertionError, match="here"):
            patched("a\na\n", wrong, "here")
