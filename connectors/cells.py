"""Cells: what one value of a row becomes in a file or in a column.

Refuses: lists and records (a mapping joins or picks), booleans and fractions in a file (the agency's own words for yes
         and no belong in the mapping), and a value that the column's type cannot hold.
Keeps: nothing is rounded or cut in silence.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.contract import Reject


def text_of(value: object, pointer: str) -> str:
    """A cell of a text file: null is empty. Raises Reject("connector.cell")."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Reject("connector.cell", pointer, kind=type(value).__name__)


def typed(value: object, wanted: type[Any], pointer: str) -> object:
    """A value as the column's Python type. Raises Reject("connector.cell") where it is none."""
    if value is None:
        return None
    if isinstance(value, list | dict):
        raise Reject("connector.cell", pointer, kind=type(value).__name__)
    convert = _CONVERSIONS.get(wanted)
    if convert is None:
        return value
    try:
        return convert(value)
    except (ValueError, TypeError, InvalidOperation):
        pass
    raise Reject("connector.cell", pointer, kind=wanted.__name__)


def _text(value: object) -> str:
    if isinstance(value, bool):
        raise TypeError("a boolean is no text")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _whole(value: object) -> int:
    if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError("no whole number")


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool):
        raise TypeError("a boolean is no number")
    exact = Decimal(str(value))
    if not exact.is_finite():
        raise ValueError("no number")
    return exact


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError("no boolean")


def _date(value: object) -> date:
    return date.fromisoformat(_iso(value, 10))


def _datetime(value: object) -> datetime:
    moment = datetime.fromisoformat(_iso(value, 32))
    # Columns without a zone get UTC; columns with one keep the instant.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _iso(value: object, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise TypeError("no ISO date")
    return value


_CONVERSIONS: Mapping[type[Any], Callable[[object], object]] = {
    str: _text,
    int: _whole,
    float: lambda value: float(_decimal(value)),
    Decimal: _decimal,
    bool: _boolean,
    date: _date,
    datetime: _datetime,
}
