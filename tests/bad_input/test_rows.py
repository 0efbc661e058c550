"""The table of bad input and the tests beside it say the same."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.bad_input.rows import ROWS

FOLDER = Path(__file__).parent


@cache
def collected() -> frozenset[str]:
    """Every test beside this file, as pytest names it."""
    kept = {name: told for name, told in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-o", "addopts=--import-mode=importlib", "-q", FOLDER],
        capture_output=True,
        text=True,
        cwd=FOLDER.parents[1],
        env=kept,
        check=True,
    )
    prefix = f"{FOLDER.relative_to(FOLDER.parents[1])}/"
    found = [line.removeprefix(prefix) for line in done.stdout.splitlines() if line.startswith(prefix)]
    return frozenset(found)


def meant(node: str) -> set[str]:
    """The cases that a node id of the table stands for."""
    return {case for case in collected() if case == node or case.startswith(f"{node}[")}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_tests_that_exist(row: str) -> None:
    assert ROWS[row]
    assert [] == [node for node in ROWS[row] if not meant(node)]


def test_every_test_beside_this_one_belongs_to_a_row() -> None:
    listed = {case for nodes in ROWS.values() for node in nodes for case in meant(node)}
    beside = {case for case in collected() if not case.startswith(Path(__file__).name)}

    assert set() == beside - listed


def test_no_row_is_forgotten() -> None:
    assert 30 == len(ROWS)
