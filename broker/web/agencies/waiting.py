"""Waiting: a long poll that asks the database when the bell rings, and now and then without.

Refuses: more than a few at once for one administration, which would hold connections and ask for the same.
Keeps: one that is given up costs nothing; a question that was asked is answered before the wait ends. Who was answered
a moment ago waits for that moment to pass, unless there is all that was asked for: what comes in quick succession is
handed out together, for a pull of one costs nearly what a pull of ten does.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, TypeVar

from broker.store.wake_signal import WakeSignal, planned_for
from schemas.errors import Refused
from schemas.names import PartyId

T = TypeVar("T")

ONCE: Final = 8
"""Long polls of one administration at a time."""
PACE: Final = 0.1
"""Seconds between two answers to one administration that asks for more than there is."""


class Waiting:
    """Counts who waits; `apart` is the seconds between two questions when nobody rings, `pace` between two answers,
    `now` a clock in seconds that never goes back, wherever it begins.
    """

    def __init__(
        self,
        apart: float = 1.0,
        pace: float = PACE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._apart = apart
        self._pace = pace
        self._sleep = sleep
        self._now = now
        self._here: Counter[PartyId] = Counter()
        self._answered: dict[PartyId, float] = {}

    async def until(
        self,
        party: PartyId,
        bell: WakeSignal,
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
        end = self._now() + seconds
        try:
            with bell.heard(planned_for(party)) as rung:
                while (left := end - self._now()) > 0:
                    rung.clear()
                    if await gone():
                        return ()
                    if found := await ready(most):
                        waited = await self._paced(party, len(found) < most, end - self._now())
                        return await ready(most) if waited else found
                    with suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), min(self._apart, left))
        finally:
            self._here[party] -= 1
        return ()

    async def _paced(self, party: PartyId, more_may_come: bool, left: float) -> bool:
        """Whether a moment had to pass, in which others may have come."""
        now = self._now()
        since = now - self._answered.get(party, -inf)
        waited = more_may_come and since < self._pace and left > 0
        if waited:
            await self._sleep(min(self._pace - since, left))
        self._answered[party] = self._now()
        return waited
