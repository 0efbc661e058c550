"""docs/trust.md claims nothing that no test holds: every claim names its tests, and they exist."""

import re
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "trust.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py(?:::\w+)+)`", PAGE)))
CLAIMS = re.findall(r"^\* (?:.+\n?)(?:^  .+\n?)*", PAGE.partition("\n## Limits")[0], re.MULTILINE)


def collected(named: Iterable[str]) -> list[str]:
    """The node ids of the files of these tests; no test runs."""
    files = sorted({name.partition("::")[0] for name in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return [line.partition("[")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim[2:50])
def test_a_claim_names_a_test_that_holds_it(claim: str) -> None:
    assert "::" in claim


def test_the_tests_that_are_named_exist() -> None:
    assert [] == sorted({*NAMED} - {*collected(NAMED)})


def test_the_page_has_its_claims() -> None:
    assert len(CLAIMS) > 50
    assert len(NAMED) > 70
