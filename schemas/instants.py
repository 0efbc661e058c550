"""Instants as text: RFC 3339, the one way in which times of this project are written.

Refuses: what no calendar shows (before 1970, after 9999), a time without its offset.
Keeps: what is written is UTC with milliseconds, and reads back as the same instant.
Source: RFC 3339.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.names import Instant

INSTANT_MAX: Final = Instant(253_402_300_799_999)
"""The last millisecond of the year 9999: what every reader's calendar can show."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_WRITTEN = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def is_instant(at: int) -> bool:
    """Is it between 1970 and 9999?"""
    return 0 <= at <= INSTANT_MAX


def instant_of(kept: int | None) -> Instant | None:
    """An instant as a table keeps it; None stays none."""
    return None if kept is None else Instant(kept)


def rfc3339(at: Instant) -> str:
    """`2026-09-01T12:00:00.007Z`. Raises ValueError for what `is_instant` denies."""
    if not is_instant(at):
        raise ValueError("not an instant")
    return (_EPOCH + at * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> Instant | None:
    """The instant, in any offset; what is finer than a millisecond is cut off. None where the text is none."""
    found = _WRITTEN.fullmatch(text)
    if not found:
        return None
    day, clock, fraction, offset = found.groups()
    milliseconds = (fraction or "").ljust(3, "0")[:3]
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{milliseconds}{offset.upper().replace('Z', '+00:00')}")
    except ValueError:
        return None
    at = (moment - _EPOCH) // _MILLISECOND
    return Instant(at) if is_instant(at) else None
