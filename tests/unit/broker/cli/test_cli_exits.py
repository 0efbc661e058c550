"""Exit codes: one table, and a fault's code follows from its type."""

import pytest

from broker.cli.exits import MEANINGS, Exit, exit_of
from connectors.contract import Reject, Retry
from schemas.errors import Corrupt, Fault, Refused, Unavailable


def test_every_code_has_its_meaning_and_scripts_can_rely_on_the_numbers() -> None:
    assert list(Exit) == list(MEANINGS)
    assert {"OK": 0, "FINDINGS": 1, "USAGE": 2, "REFUSED": 3, "UNAVAILABLE": 4, "CORRUPT": 5, "UNEXPECTED": 6} == {
        code.name: code.value for code in Exit
    }


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Refused("name.party"), Exit.REFUSED),
        (Reject("name.party"), Exit.REFUSED),
        (Unavailable("store.locked"), Exit.UNAVAILABLE),
        (Retry("table.away"), Exit.UNAVAILABLE),
        (Corrupt("store.corrupt"), Exit.CORRUPT),
    ],
)
def test_a_fault_of_a_derived_type_ends_as_its_kind_does(fault: Fault, code: Exit) -> None:
    assert code is exit_of(fault)
