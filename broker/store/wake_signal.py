"""Wake signal: tells whoever waits, in this process or another, that there may be something to do. It carries no news.

Refuses: to be relied on. A ring may be lost, or come for nothing: who waits looks for itself now and then all the same,
and looks again after each ring.
Keeps: ringing never waits and never fails, so nothing durable depends on it; a ring made inside a transaction is made
after its commit.

Here: within one process. Between processes it is PostgreSQL's (`postgres_wake_signal`); a file of SQLite has nothing of
the kind, and processes that share one look now and then.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from schemas.names import PartyId

DECLARED: Final = "declared"
"""Something was appended to the log of declarations."""
PLANNED: Final = "planned"
"""Something waits for some recipient."""


def declared_in(partition: int) -> str:
    """The bell of one partition of that log; it rings DECLARED as well. Who routes others need not wake."""
    return f"{DECLARED}:{partition}"


def planned_for(party: PartyId) -> str:
    """The bell of one recipient; it rings PLANNED as well."""
    return f"{PLANNED}:{party}"


class WakeSignal:
    """Within one process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[asyncio.Event]] = defaultdict(list)

    def ring(self, name: str) -> None:
        """Wake who waits for this name, or for what stands before its colon."""
        for heard in {name, name.partition(":")[0]}:
            for event in self._waiting.get(heard, ()):
                event.set()

    @contextmanager
    def heard(self, name: str, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """An event that each ring of this name sets, for the length of the block."""
        event = event or asyncio.Event()
        self._waiting[name].append(event)
        try:
            yield event
        finally:
            self._waiting[name].remove(event)
            if not self._waiting[name]:
                del self._waiting[name]

    async def close(self) -> None:
        """Ring no more."""
