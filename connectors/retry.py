"""How long to wait before trying again: exponential, with full jitter, capped, and never sooner than we were asked to.

Refuses: to read a clock or to sleep. Instants and randomness are arguments; the caller waits.
Keeps: many agencies that lost the same dependency do not come back at the same instant (full jitter), and one that
       is away for a week is asked at least every `cap_ms`.
Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.retry import LONGEST_MS, doubled_ms, retry_after_ms

__all__ = ["LONGEST_MS", "Backoff", "retry_after_ms"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits for attempt 0, 1, 2 ...: uniform between 0 and min(cap, base * 2^attempt), but at least `floor_ms`."""

    entropy: Callable[[int], bytes]
    base_ms: int = 2_000
    cap_ms: int = 3_600_000
    floor_ms: int = 250

    def delay_ms(self, attempt: int, asked_ms: int | None = None) -> int:
        """Milliseconds to wait after the attempt with this number, from 0.

        `asked_ms`, the other system's Retry-After, is a lower bound (up to a day); the jitter comes on top of it.
        """
        ceiling = doubled_ms(self.base_ms, self.cap_ms, attempt + 1)
        jitter = ceiling * int.from_bytes(self.entropy(4), "big") >> 32
        if asked_ms is None:
            return max(self.floor_ms, jitter)
        return min(LONGEST_MS, max(0, asked_ms)) + jitter
