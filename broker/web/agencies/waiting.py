"""Waiting: a long poll that asks the database now and then, for whoever routes may be in another process.

Refuses: more than a few at once for one administration, which would hold connections and ask for the same.
Keeps: no clock is read: so many questions, so far apart; one that is given up costs nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sized
from typing import Final

from schemas.errors import Refused
from schemas.names import PartyId

ONCE: Final = 8
"""Long polls of one administration at a time."""


class Waiting:
    """Counts who waits; `apart` is the seconds between two questions."""

    def __init__(self, apart: float = 0.25) -> None:
        self._apart = apart
        self._here: Counter[PartyId] = Counter()

    async def until(self, party: PartyId, ready: Callable[[], Awaitable[Sized]], seconds: int) -> None:
        """Return when something is ready, or after so many seconds. Raises Refused `api.too-many-waiting`."""
        if self._here[party] >= ONCE:
            raise Refused("api.too-many-waiting", limit=ONCE)
        self._here[party] += 1
        try:
            for _ in range(int(seconds / self._apart)):
                if await ready():
                    return
                await asyncio.sleep(self._apart)
        finally:
            self._here[party] -= 1
