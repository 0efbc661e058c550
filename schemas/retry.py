"""Retry: when something that did not work is tried again. One curve for all: doubling, capped, with chance.

Refuses: to read a clock, to sleep or to draw; to believe more than a day of what another system asks (Retry-After), or
a moment that is over.
Keeps: what is away for a week is asked at least once in the longest wait; many that lost the same thing do not come
back at the same instant.
Source: RFC 9110, 10.2.3; M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from schemas.names import Instant

LONGEST_MS: Final = 24 * 3_600_000
"""What another system may make us wait at most, in milliseconds: a day."""


def doubled_ms(first_ms: int, most_ms: int, failures: int) -> int:
    """The wait after so many failures in a row, from 1: `first_ms`, then twice as long each time, up to `most_ms`."""
    # 2^40 * first is beyond any cap: a huge number of failures must not become a huge integer.
    return min(most_ms, first_ms << min(max(failures - 1, 0), 40))


def spread_ms(wait_ms: int, entropy: Callable[[int], bytes]) -> int:
    """This wait, or up to a quarter more, by chance."""
    return wait_ms + wait_ms * entropy(1)[0] // 1024


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
