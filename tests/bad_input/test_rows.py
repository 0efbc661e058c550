"""The table of bad input and the tests beside it say the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_input.rows import COLLECTED, ROWS

FOLDER = Path(__file__).parent


PREFIX = f"{FOLDER.relative_to(FOLDER.parents[1])}/"


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest) -> frozenset[str]:
    """Every test beside this file, as pytest names it."""
    whole = FOLDER in asked(request.config) or FOLDER.parent in asked(request.config)
    found = request.session.stash[COLLECTED] if whole else set(listed())
    return frozenset(name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX))


def asked(config: pytest.Config) -> set[Path]:
    """The files and folders that this run is about."""
    return {(config.invocation_params.dir / word).resolve() for word in config.args if "::" not in word}


def listed() -> Iterator[str]:
    """The same from a process of its own, for a run that is about less than this folder."""
    kept = {name: told for name, told in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-o", "addopts=--import-mode=importlib", "-q", FOLDER],
        capture_output=True,
        text=True,
        cwd=FOLDER.parents[1],
        env=kept,
        check=True,
    )
    yield from done.stdout.splitlines()


def meant(collected: frozenset[str], node: str) -> set[str]:
    """The cases that a node id of the table stands for."""
    return {case for case in collected if case == node or case.startswith(f"{node}[")}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_tests_that_exist(row: str, collected: frozenset[str]) -> None:
    assert ROWS[row]
    assert [] == [node for node in ROWS[row] if not meant(collected, node)]


def test_every_test_beside_this_one_belongs_to_a_row(collected: frozenset[str]) -> None:
    told = {case for nodes in ROWS.values() for node in nodes for case in meant(collected, node)}
    beside = {case for case in collected if not case.startswith(Path(__file__).name)}

    assert beside
    assert set() == beside - told


def test_no_row_is_forgotten() -> None:
    assert 30 == len(ROWS)
