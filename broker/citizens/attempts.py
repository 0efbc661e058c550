"""Attempts: how often somebody may type a wrong code before they have to wait.

Refuses: another attempt from an address, or of a session, with MOST wrong ones in a window of WINDOW_MS, the right code
among them.
Keeps: counts hold over all processes and over restarts (`broker.access.tallies`). An attempt counts before the code is
looked for, and no longer once it was right: so many who try at once try no more often than one who tries in turn.
Nobody is locked out by failures from another address.
"""

from typing import Final

from broker.access.tallies import Tallies, Tally
from schemas.errors import Refused

MOST: Final = 5
WINDOW_MS: Final = 15 * 60_000


class Attempts:
    """Counted for each address (as quotas count it: an IPv4 address, the network of an IPv6 one), or session."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies

    async def begin(self, what: Tally, of: str) -> None:
        """One more. Raises Refused `citizens.too-many-attempts`, with the seconds to wait; Unavailable."""
        taken = await self._tallies.take(what, of, most=MOST, window_ms=WINDOW_MS)
        if taken.wait:
            raise Refused("citizens.too-many-attempts", after=taken.wait)

    async def right(self, what: Tally, of: str) -> None:
        """It was right. Raises Unavailable."""
        await self._tallies.give_back(what, of)
