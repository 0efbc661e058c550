"""What `pytest --connector=NAME` collects."""

from pathlib import Path

import pytest

from connectors.description import Case
from connectors.kit import cases
from connectors.kit.rig import rig


def test_connector(kit_case: Case, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """One case. One that the connector is spared is skipped with its reason; one of which nothing is said fails."""
    made = rig(pytestconfig.getoption("--connector"))
    if kit_case in cases.undeclared(made):
        pytest.fail(f"{kit_case}: the rig does not play it, and nothing says why (`spared`)", pytrace=False)
    reason = cases.spared(made).get(kit_case)
    if reason is not None:
        pytest.skip(reason["en"])
    cases.play(kit_case, made, tmp_path)
