"""Dates as agencies write them: ISO 8601 in our records, day first or packed in their files; partial where life is.

Refuses: a date that no calendar has, two-digit years, and to invent the day of a partial date.
Keeps: `1962`, `1962-08` and `1962-08-24` are three different statements. A layout with separators drops what is not
       known (`08/1962`); a packed layout refuses, unless `zeros` is asked for (`00081962`, as INSEE files do).
"""

import re
from datetime import UTC, date, datetime, timedelta

from schemas.errors import Refused

_ISO = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_ORDERS = ("ddmmyyyy", "yyyymmdd", "mmyyyy", "yyyymm", "yyyy")
_WIDTH = {"dd": 2, "mm": 2, "yyyy": 4}

LAYOUTS: dict[str, tuple[str, tuple[str, ...]]] = {}
"""Every layout with its separator and its parts in order: `dd/mm/yyyy` is ("/", ("dd", "mm", "yyyy"))."""

for _order in _ORDERS:
    _parts = tuple(re.findall("dd|mm|yyyy", _order))
    for _separator in ("", "/", "-", ".", " "):
        LAYOUTS[_separator.join(_parts)] = (_separator, _parts)


def _layout(name: str) -> tuple[str, tuple[str, ...]]:
    found = LAYOUTS.get(name.lower())
    if found is None:
        raise Refused("mapping.date-layout")
    return found


def _known(text: str) -> dict[str, str]:
    """The parts of a full or partial ISO date. Raises Refused when it is none."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise Refused("mapping.date")
    parts = {name: part for name, part in zip(("yyyy", "mm", "dd"), match.groups(), strict=True) if part is not None}
    _possible(parts)
    return parts


def _possible(parts: dict[str, str]) -> None:
    try:
        date(int(parts["yyyy"]), int(parts.get("mm", "1")), int(parts.get("dd", "1")))
    except ValueError:
        possible = False
    else:
        possible = True
    if not possible:
        raise Refused("mapping.date")


def date_as(text: str, layout: str) -> str:
    """An ISO date (`1962-08-24`, `1962-08`, `1962`) in a layout such as `dd/mm/yyyy` or `yyyymmdd`."""
    separator, order = _layout(layout)
    parts = _known(text)
    if separator:
        return separator.join(parts[name] for name in order if name in parts)
    if any(name not in parts for name in order):
        raise Refused("mapping.date-partial")
    return "".join(parts[name] for name in order)


def date_zeros(text: str, layout: str) -> str:
    """Like `date_as`, with zeros for what is not known: `00/08/1962`, `00001962`."""
    separator, order = _layout(layout)
    parts = _known(text)
    return separator.join(parts.get(name, "0" * _WIDTH[name]) for name in order)


def date_from(text: str, layout: str) -> str:
    """A date in a layout as ISO; a day or month of zeros makes it partial. Raises Refused for any other text."""
    separator, order = _layout(layout)
    pattern = re.escape(separator).join(f"([0-9]{{{_WIDTH[name]}}})" for name in order)
    match = re.fullmatch(pattern, text.strip())
    if match is None:
        raise Refused("mapping.date")
    parts = dict(zip(order, match.groups(), strict=True))
    if parts.get("dd") == "00":
        del parts["dd"]
    if parts.get("mm") == "00":
        if "dd" in parts:
            raise Refused("mapping.date")
        del parts["mm"]
    _possible(parts)
    return "-".join(parts[name] for name in ("yyyy", "mm", "dd") if name in parts)


def date_day(text: str) -> str | None:
    """`24` of `1962-08-24`; None where the day is not known."""
    return _known(text).get("dd")


def date_month(text: str) -> str | None:
    """`08` of `1962-08`; None where the month is not known."""
    return _known(text).get("mm")


def date_year(text: str) -> str:
    """`1962` of `1962-08`."""
    return _known(text)["yyyy"]


def date_of(day: object, month: object, year: object) -> str | None:
    """An ISO date of its three parts, each a text, a number, or nothing: null, empty and zero are not known.

    None where nothing is known. Raises Refused for a day without its month, a year of other than four digits.
    """
    parts = {name: _part(told, _WIDTH[name]) for name, told in (("yyyy", year), ("mm", month), ("dd", day))}
    known = {name: part for name, part in parts.items() if part is not None}
    if not known:
        return None
    if list(known) != ["yyyy", "mm", "dd"][: len(known)]:
        raise Refused("mapping.date")
    _possible(known)
    return "-".join(known.values())


def _part(told: object, width: int) -> str | None:
    if told is None or isinstance(told, bool):
        text = "" if told is None else "-"
    else:
        text = str(told).strip() if isinstance(told, str | int) else "-"
    if not text.strip("0"):
        return None
    if re.fullmatch(f"[0-9]{{{width if width == 4 else 1},{width}}}", text) is None:
        raise Refused("mapping.date")
    return text.zfill(width)


def paris_day(text: str) -> str:
    """The calendar day in metropolitan France at an instant: `1992-12-11T23:00Z` is 1992-12-12.

    The rule of directive 2000/84/EC (summer time from the last Sunday of March to the last of October, 01:00 UTC), so
    that the day does not depend on a machine's own time zone tables. It holds from 1996 on; before that, one hour.
    """
    if _INSTANT.fullmatch(text) is None:
        raise Refused("mapping.instant")
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        shifted = moment + timedelta(hours=2 if _is_summer(moment) else 1)
    except (ValueError, OverflowError):
        shifted = None
    if shifted is None:
        raise Refused("mapping.instant")
    return shifted.date().isoformat()


def _is_summer(moment: datetime) -> bool:
    if moment.year < 1996:
        return False
    starts, ends = (_last_sunday(moment.year, month) for month in (3, 10))
    return starts <= moment < ends


def _last_sunday(year: int, month: int) -> datetime:
    last = datetime(year, month, 31, 1, tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)
