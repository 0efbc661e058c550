"""What a value of a row becomes in a file or a column."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.cells import text_of, typed
from connectors.contract import Reject


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), ("", ""), ("a", "a"), (0, "0"), (-5, "-5"), (Decimal("1E+3"), "1000"), (Decimal("1.50"), "1.50")],
)
def test_a_cell_of_a_file_is_text(value: object, expected: str) -> None:
    assert expected == text_of(value, "/A")


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}, b"a"])
def test_what_has_no_one_form_in_a_file_is_rejected_with_its_column(value: object) -> None:
    with pytest.raises(Reject) as caught:
        text_of(value, "/A")
    assert ("connector.cell", "/A") == (caught.value.code, caught.value.pointer)


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        (None, int, None),
        ("a", str, "a"),
        (5, str, "5"),
        (Decimal("1.50"), str, "1.50"),
        (5, int, 5),
        ("-05", int, -5),
        ("1.50", Decimal, Decimal("1.50")),
        (5, Decimal, Decimal(5)),
        ("0.5", float, 0.5),
        (True, bool, True),
        ("2026-11-02", date, date(2026, 11, 2)),
        ("2026-11-02T09:30:00Z", datetime, datetime(2026, 11, 2, 9, 30, tzinfo=UTC)),
        ("2026-11-02T09:30:00", datetime, datetime(2026, 11, 2, 9, 30, tzinfo=UTC)),
        ("a", bytes, "a"),
    ],
)
def test_a_cell_of_a_column_has_the_columns_type(value: object, wanted: type[Any], expected: object) -> None:
    assert repr(expected) == repr(typed(value, wanted, "/A"))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (["a"], str),
        ({"a": 1}, bytes),
        (True, str),
        (True, int),
        ("5.0", int),
        ("--5", int),
        ("٣", int),
        (1.5, int),
        ("NaN", Decimal),
        ("1,5", Decimal),
        (True, Decimal),
        (1, bool),
        ("oui", bool),
        ("02/11/2026", date),
        ("1962-08", date),
        (20261102, date),
        ("2026-11-02T25:00:00Z", datetime),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_rejected(value: object, wanted: type[Any]) -> None:
    with pytest.raises(Reject) as caught:
        typed(value, wanted, "/A")
    assert ("connector.cell", "/A") == (caught.value.code, caught.value.pointer)
