"""Tests of the tests: a shift with a mistake planted in it does not come to its end.

(Those of the lock and of `acks=1` stand beside the trials that catch them: `test_race.py`, `test_kafka_fails.py`.)
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fire import mutants
from tests.fire.alive import DEADLINE
from tests.fire.town import ROOT
from tests.services.processes import bound_to_parent

KILLS = 60
"""More than enough: a mistake shows long before."""

SIGNS = {
    "offset_after_the_effects": ("IntegrityError", "len(letters)"),
    "auto_commit": ("sorted(receipts) == sorted(routed)", "fsck: "),
    "held_before_the_append": ("set(states) <=",),
    "entry_after_the_answer": ("fsck: ", "set(written) <= set(released)", "[] == wrong"),
}
"""What is said of each: one of these."""


def test_every_mutant_has_its_signs() -> None:
    assert set(mutants.MUTANTS) == set(SIGNS)


@pytest.mark.parametrize("mutant", SIGNS)
def test_a_shift_notices(quick: Path, mutant: str) -> None:
    command = [sys.executable, "-m", "tests.fire.shift", "0", str(KILLS), str(quick / "a")]
    done = subprocess.run(
        bound_to_parent(command),
        cwd=ROOT,
        env=os.environ | {mutants.VARIABLE: mutant},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert 1 == done.returncode, done.stdout
    assert any(sign in done.stderr for sign in SIGNS[mutant]), done.stderr[-3000:]
