"""Timekeeping: whether the machine's clock can be believed, by the last instant that the database knows.

Refuses: to let anything open, end, expire or be pruned by a clock that is further than `clock_trust_days` from that
instant, ahead or behind: what a wrong clock ends stays ended when it is right again.
Keeps: the instant is written down while the clock is believed, once an hour, and by nobody else: what others write by a
wrong clock makes no wrong clock right. An operator who knows better says so (`accept`), once.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, update

from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.engine import Store, Transaction
from broker.store.tables import consent_epochs, gate_epochs, ledger_checkpoints, meta
from schemas.errors import Refused
from schemas.names import Instant

BELIEVED: Final = "clock-believed"
DAY_MS: Final = 86_400_000
WRITE_MS: Final = 3_600_000
"""From one writing down to the next."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the clock says now, the last instant that the database knows (None: it knows none), and the bound."""

    now: Instant
    known: Instant | None
    trust_days: int
    written: bool
    """Whether it was written down, and is no guess from epochs and checkpoints."""

    @property
    def ahead_ms(self) -> int:
        """How far the clock is ahead of what is known; below 0: behind."""
        return 0 if self.known is None else self.now - self.known

    @property
    def believed(self) -> bool:
        """Whether that is within the bound."""
        return abs(self.ahead_ms) <= self.trust_days * DAY_MS


class Timekeeping:
    """Asked before anything happens because time has passed."""

    def __init__(self, store: Store, trust_days: int, clock: Clock) -> None:
        self._store = store
        self._trust_days = trust_days
        self._clock = clock

    async def look(self) -> Standing:
        """How it stands. Changes nothing. Raises Unavailable."""
        async with self._store.read() as tx:
            known = await _believed(tx)
            newest = known if known is not None else await _newest(tx)
        return Standing(self._clock(), newest, self._trust_days, known is not None)

    async def judge(self) -> Standing:
        """As `look`. Raises Refused `clock.ahead`, `clock.behind`, with days and bound."""
        found = await self.look()
        if not found.believed and found.ahead_ms > 0:
            raise Refused("clock.ahead", days=found.ahead_ms // DAY_MS, limit=self._trust_days)
        if not found.believed:
            raise Refused("clock.behind", days=-found.ahead_ms // DAY_MS, limit=self._trust_days)
        return found

    async def check(self) -> None:
        """As `judge`; a clock that is believed is written down."""
        found = await self.judge()
        if not found.written or found.ahead_ms >= WRITE_MS:
            await self._write(found.now)

    async def accept(self) -> Standing:
        """The clock is right, says somebody who looked. Returns how it stood before."""
        found = await self.look()
        await self._write(found.now)
        return found

    async def _write(self, at: Instant) -> None:
        async with self._store.begin() as tx:
            if (await tx.execute(update(meta).where(meta.c.name == BELIEVED).values(value=str(at)))).rowcount == 0:
                await tx.insert_new(meta, {"name": BELIEVED, "value": str(at)})
            mark("timekeeping.believed")
            # Crash here: the instant before, which is as true; the next turn writes it again.


async def _believed(tx: Transaction) -> Instant | None:
    raw = (await tx.execute(select(meta.c.value).where(meta.c.name == BELIEVED))).scalar()
    return Instant(int(raw)) if raw is not None and raw.isdecimal() else None


async def _newest(tx: Transaction) -> Instant | None:
    """For a database of a version that wrote none down: of its checkpoints and epochs, the newest."""
    found: list[int] = []
    for column in (ledger_checkpoints.c.at, gate_epochs.c.opened_at, consent_epochs.c.opened_at):
        newest = (await tx.execute(select(func.max(column)))).scalar()
        if newest is not None:
            found.append(newest)
    return Instant(max(found)) if found else None
