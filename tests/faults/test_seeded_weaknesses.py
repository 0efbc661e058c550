"""Tests of the tests: each weakness, planted in the code, turns the tests that are named for it red.

(A naive gate is planted in `test_revocation_race.py`, which needs its own race to show.)
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.faults.weakened import VARIABLE, WEAKNESSES

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
FIRST, DURABLE, LAST = (
    "tests/faults/test_record_first.py",
    "tests/faults/test_durable.py",
    "tests/faults/test_last_byte.py",
)

CAUGHT_BY: Mapping[str, Sequence[str]] = {
    "entry_after_the_answer": (f"{FIRST}::test_a_release_is_in_the_ledger_when_its_keys_leave",),
    "entry_beside_its_effect": (f"{FIRST}::test_what_the_ledger_cannot_take_does_not_happen",),
    "synchronous_normal": (
        "tests/unit/broker/test_engine.py::test_a_connection_is_set_up_to_lose_nothing[synchronous-2]",
        f"{DURABLE}::test_the_writer_of_a_home_loses_nothing",
        f"{DURABLE}::test_a_writer_that_connects_anew_loses_nothing",
        f"{DURABLE}::test_every_reader_of_a_home_is_set_alike",
        f"{DURABLE}::test_what_changes_tables_loses_nothing",
    ),
    "trailing_bytes": (
        "tests/unit/schemas/test_avro.py::test_trailing_bytes_are_refused",
        "tests/unit/schemas/test_delivery.py::test_each_step_refuses_what_no_other_would[9 a byte behind the value]",
        "tests/bad_input/test_bad_bytes.py::test_an_envelope_with_something_behind_it_is_refused_by_its_size",
    ),
    "commitment_by_its_beginning": (
        f"{LAST}::test_a_commitment_is_compared_to_its_end[-1]",
        f"{LAST}::test_the_manifest_that_a_statement_names_is_compared_to_its_end[-1]",
        f"{LAST}::test_the_ciphertexts_that_a_statement_names_are_compared_to_their_end[-1]",
        f"{LAST}::test_the_manifest_that_a_recipient_has_seen_is_compared_to_its_end[-1]",
    ),
    "slip_by_its_beginning": (f"{LAST}::test_the_slip_s_commitment_is_compared_to_its_end[-1]",),
    "digests_by_equals": (f"{LAST}::test_digests_are_compared_in_a_time_that_tells_nothing",),
    "bitmap_by_its_beginning": (
        f"{LAST}::test_the_fields_that_a_statement_names_are_compared_to_their_end[last-byte]",
    ),
}


def run(tests: Sequence[str], weakness: str | None) -> "subprocess.CompletedProcess[str]":
    """These tests in a process of their own, with one weakness planted or none."""
    kept = {name: told for name, told in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "UNEFOIS_"))}
    return subprocess.run(
        [
            *(sys.executable, "-B", "-m", "pytest", "-p", "tests.faults.weakened"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:pytest_cov", "-o", "addopts="),
            *("--import-mode=importlib", "--tb=no", "-q", "-rfE"),
            *tests,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=kept | ({} if weakness is None else {VARIABLE: weakness}),
        check=False,
    )


def red(told: str) -> set[str]:
    """The tests that failed; an error is no failure."""
    return {line.partition(" - ")[0] for line in re.findall(r"^FAILED (.*)$", told, re.MULTILINE)}


def test_every_weakness_is_named_with_what_catches_it() -> None:
    assert set(WEAKNESSES) == set(CAUGHT_BY)


def test_without_a_weakness_all_of_these_tests_pass() -> None:
    tests = [test for tests in CAUGHT_BY.values() for test in tests]

    done = run(tests, None)

    assert 0 == done.returncode, done.stdout
    assert f"{len(tests)} passed" in done.stdout


@pytest.mark.parametrize("weakness", CAUGHT_BY)
def test_a_weakness_turns_its_tests_red(weakness: str) -> None:
    done = run(CAUGHT_BY[weakness], weakness)

    assert 1 == done.returncode, done.stdout
    assert set(CAUGHT_BY[weakness]) == red(done.stdout), done.stdout
