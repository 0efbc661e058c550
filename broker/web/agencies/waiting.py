"""Waiting: a long poll that asks the database when the bell rings, and now and then without.

Refuses: more than a few at once for one administration, which would hold connections and ask for the same.
Keeps: one that is given up costs nothing; a question that was asked is answered before the wait ends. Who was answered
a moment ago waits for that moment to pass, unless there is all that was asked for: what comes in quick succession is
handed out together, for a pull of one costs nearly what a pull of ten does.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from broker.store.bell import Bell, planned_for
from schemas.errors import Refused
from schemas.names import PartyId

T = TypeVar("T")

ONCE: Final = 8
"""Long polls of one administration at a time."""
PACE: Final = 0.1
"""Seconds between two answers to one administration that asks for more than there is."""


class Waiting:
    """Counts who waits; `apart` is the seconds between two questions when nobody rings, `pace` between two answers."""

    def __init__(
        self,
        apart: float = 1.0,
        pace: float = PACE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._apart = apart
        self._pace = pace
        self._sleep = sleep
        self._here: Counter[PartyId] = Counter()
        self._answered: dict[PartyId, float] = {}

    async def until(
        self,
        party: PartyId,
        bell: Bell,
        ready: Callable[[int], Awaitable[Sequence[T]]],
        gone: Callable[[], Awaitable[bool]],
        *,
        most: int,
        seconds: int,
    ) -> Sequence[T]:
        """What is ready, as soon as anything is; nothing when who waits has gone, or after so many seconds. `ready`
        looks, for `most` at most.

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
                    if await gone():
                        return ()
                    if found := await ready(most):
                        waited = await self._paced(party, len(found) < most, end - loop.time())
                        return await ready(most) if waited else found
                    with suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), min(self._apart, left))
        finally:
            self._here[party] -= 1
        return ()

    async def _paced(self, party: PartyId, more_may_come: bool, left: float) -> bool:
        """Whether a moment had to pass, in which others may have come."""
        now = asyncio.get_running_loop().time()
        rest = min(self._answered.get(party, now - self._pace) + self._pace - now, left)
        waited = more_may_come and rest > 0
        if waited:
            await self._sleep(rest)
        self._answered[party] = asyncio.get_running_loop().time()
        return waited
