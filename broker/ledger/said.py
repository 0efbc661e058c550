"""Said: what this process has entered into the ledger, remembered until it has its place there.

Refuses: to remember more than REMEMBERED: the oldest are let go.
Keeps: between its commit and its place in the tree an entry is a row, which whoever writes to the database can take
away together with all that it tells of; then nobody would know. Who wrote it does, for as long as it runs, and says so.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select

from broker.observability.observe import RowName, logger
from broker.store.engine import Store
from broker.store.tables import ledger_entries
from consent.asking import one_of
from schemas.names import Instant, LeafHash

REMEMBERED: Final = 262_144
"""Entries: 100 MB at most, of a process whose sequencer stands still."""
_AT_ONCE: Final = 1_000
_PLACES: Final = select(ledger_entries.c.leaf, ledger_entries.c.position).where(one_of(ledger_entries.c.leaf, "leaves"))


class Said:
    """The entries of one process that were committed and not seen in their places."""

    def __init__(self) -> None:
        self._waiting: dict[LeafHash, Instant] = {}

    def add(self, leaf: LeafHash, window: Instant) -> None:
        """It is committed now."""
        if len(self._waiting) >= REMEMBERED:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[leaf] = window

    async def look(self, store: Store, before: int | None) -> int:
        """Look for those of windows before this one, or for all. Returns how many are gone: each is an alarm, once."""
        wanted = [leaf for leaf, window in self._waiting.items() if before is None or window < before]
        gone = 0
        for first in range(0, len(wanted), _AT_ONCE):
            gone += await self._look(store, wanted[first : first + _AT_ONCE])
        return gone

    async def _look(self, store: Store, leaves: Sequence[LeafHash]) -> int:
        async with store.read_one() as tx:
            found = {row.leaf: row.position for row in await tx.execute(_PLACES, {"leaves": list(leaves)})}
        lost = [leaf for leaf in leaves if leaf not in found]
        for leaf in leaves:
            if leaf not in found or found[leaf] is not None:
                self._waiting.pop(leaf, None)
        for leaf in lost:
            logger().error("ledger.entry-lost", row=RowName.of(ledger_entries.name, leaf))
        return len(lost)
