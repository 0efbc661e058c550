"""Attempts: how often somebody may type a wrong code before they have to wait.

Refuses: another attempt from an address with MOST failures in the last WINDOW_MS, the right code among them.
Keeps: counts are of this process alone and bounded: no request writes to the database to be counted, and no address is
kept longer than it counts. Nobody is locked out by failures from another address.
"""

from collections import OrderedDict, deque
from typing import Final

from broker.ports import Clock
from schemas.errors import Refused
from schemas.names import Instant

MOST: Final = 5
WINDOW_MS: Final = 15 * 60_000
KEYS: Final = 10_000
"""Addresses that are remembered; beyond it, who has not come for the longest time is forgotten."""


class Attempts:
    """One count for each address (as quotas count it: an IPv4 address, the network of an IPv6 one)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, deque[Instant]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises Refused `citizens.too-many-attempts`, with the seconds to wait."""
        at, told = self._clock(), self._failed.get(address)
        if told is not None and len(told) == MOST and 0 <= at - told[0] < WINDOW_MS:
            raise Refused("citizens.too-many-attempts", after=-(-(told[0] + WINDOW_MS - at) // 1000))

    def failed(self, address: str) -> None:
        """One more, now."""
        self._failed.setdefault(address, deque(maxlen=MOST)).append(self._clock())
        self._failed.move_to_end(address)
        if len(self._failed) > KEYS:
            self._failed.popitem(last=False)
