"""Retry-After: how long another system asks us to wait.

Refuses: to believe more than a day, or a moment that is over.
Keeps: no clock: now is an argument.
Source: RFC 9110, 10.2.3.
"""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from schemas.names import Instant

LONGEST_MS: Final = 24 * 3_600_000
"""What another system may make us wait at most, in milliseconds: a day."""


def retry_after_ms(header: str | None, now: Instant) -> int | None:
    """A Retry-After header in milliseconds from now; None when absent, malformed or in the past."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_MS, int(text[:9]) * 1000)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # An HTTP date is always GMT; "-0000" parses as naive and must not become this machine's own zone.
    wait = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000) - now
    return min(LONGEST_MS, wait) if wait > 0 else None
