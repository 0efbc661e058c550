"""Waiting: a long poll that asks the database when the bell rings, and now and then without.

Refuses: more than a few at once for one administration, which would hold connections and ask for the same.
Keeps: one that is given up costs nothing; a question that was asked is answered before the wait ends.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sized
from contextlib import suppress
from typing import Final

from broker.store.bell import Bell, planned_for
from schemas.errors import Refused
from schemas.names import PartyId

ONCE: Final = 8
"""Long polls of one administration at a time."""


class Waiting:
    """Counts who waits; `apart` is the seconds between two questions when nobody rings."""

    def __init__(self, apart: float = 1.0) -> None:
        self._apart = apart
        self._here: Counter[PartyId] = Counter()

    async def until(
        self,
        party: PartyId,
        bell: Bell,
        ready: Callable[[], Awaitable[Sized]],
        gone: Callable[[], Awaitable[bool]],
        seconds: int,
    ) -> None:
        """Return when something is ready, when who waits has gone, or after so many seconds.

        Raises Refused `api.too-many-waiting`.
        """
        if self._here[party] >= ONCE:
            raise Refused("api.too-many-waiting", limit=ONCE)
        self._here[party] += 1
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            with bell.heard(planned_for(party)) as rung:
                while (left := end - loop.time()) > 0:
                    rung.clear()
                    if await gone() or await ready():
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), min(self._apart, left))
        finally:
            self._here[party] -= 1
