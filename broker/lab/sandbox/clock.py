"""Clock: the machine's own, moved by as much as somebody asked for.

Refuses: to go further than ten years either way.
Keeps: time goes on between two moves; everything in the sandbox reads this one clock.
"""

from typing import Final

from broker.ports import Clock
from schemas.errors import Refused
from schemas.names import Instant

MOST_MS: Final = 10 * 366 * 86_400_000


class MovedClock:
    """A `Clock` that can be moved."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self.moved_ms = 0
        """How far it is ahead of the machine's clock, in milliseconds."""

    def __call__(self) -> Instant:
        """The time now, in the sandbox."""
        return Instant(self._base() + self.moved_ms)

    def move(self, by_ms: int) -> None:
        """Go forward, or back. Raises Refused `sandbox.clock`."""
        self.set(self.moved_ms + by_ms)

    def set(self, moved_ms: int) -> None:
        """Be so far ahead of the machine's clock; 0 is its time again. Raises Refused `sandbox.clock`."""
        if abs(moved_ms) > MOST_MS:
            raise Refused("sandbox.clock", "/seconds", limit=MOST_MS // 1000)
        self.moved_ms = moved_ms
