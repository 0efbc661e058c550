"""Rounds: one step for each of many administrations, where the trouble of one keeps no other waiting.

Refuses: to try one again that is in trouble before its wait is over; it doubles each time, up to a bound.
Keeps: a trouble is told for as long as it lasts, also in rounds that leave its administration out.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from broker.ports import Entropy
from broker.runtime import turns
from broker.runtime.turns import Trouble
from schemas.errors import Unavailable
from schemas.names import PartyId
from schemas.retry import doubled_ms, spread_ms

Step = Callable[[PartyId], Awaitable[int]]
"""Returns how many it moved; 0 when nothing is left to do now."""

STEPS = 50
"""Of one administration in one round, so that one that never ends does not starve the others."""


@dataclass(slots=True)
class _Held:
    """Left out until then, on the clock of the rounds, seconds."""

    trouble: Trouble
    until: float
    failures: int


class Rounds:
    """One kind of step, for everybody who wants it."""

    def __init__(self, step: Step, entropy: Entropy, *, first_ms: int, most_ms: int) -> None:
        """`first_ms` and `most_ms`: the bounds of a wait."""
        self._step = step
        self._entropy = entropy
        self._first_ms = first_ms
        self._most_ms = most_ms
        self._held: dict[PartyId, _Held] = {}

    async def round(
        self, parties: Iterable[PartyId], now: float, stopping: Callable[[], bool]
    ) -> tuple[int, tuple[Trouble, ...]]:
        """How much was moved, and who is in trouble. Raises Corrupt, and whatever else is no mere absence."""
        wanted, moved = list(parties), 0
        self._held = {party: held for party, held in self._held.items() if party in wanted}
        for party in wanted:
            held = self._held.get(party)
            if stopping():
                break
            if held is not None and now < held.until:
                continue
            try:
                moved += await self._all(party, stopping)
            except Unavailable as fault:
                failures = 1 if held is None else held.failures + 1
                wait = spread_ms(doubled_ms(self._first_ms, self._most_ms, failures), self._entropy)
                self._held[party] = _Held(turns.trouble(None, fault), now + wait / 1000, failures)
            else:
                self._held.pop(party, None)
        return moved, tuple(held.trouble for held in self._held.values())

    async def _all(self, party: PartyId, stopping: Callable[[], bool]) -> int:
        total = 0
        for _ in range(STEPS):
            count = await self._step(party)
            total += count
            if not count or stopping():
                break
        return total
