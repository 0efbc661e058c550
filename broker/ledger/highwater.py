"""High water: below the highest checkpoint that the ledger's key has signed, nothing is ever signed again.

    marked (size, root, which entries in which order) ──► signed and committed ──► shown to anybody

Refuses: to sign, and to release, while the database knows less of the ledger than was signed, or other things: it was
restored, or a replica that had not seen everything took over. Whoever has the newer checkpoint would see a fork.
Keeps: the mark lies in the journal of endings, outside the database and its backups, and moves before each checkpoint
is committed. A signature that a crash interrupted is made again over the same entries, so it is the same. Once the mark
is that of a successor (`broker.services.succeeding`), nothing is signed under the old name, by whatever process is left
of it.
Source: docs/operate.md, "Restore"; C2SP tlog-checkpoint; RFC 9162, section 11 (misbehaving logs).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from broker.ended import LEDGER, Ended, Ending, Mark
from broker.ledger.origins import ORIGIN
from broker.store.engine import Store, Transaction
from broker.store.tables import ledger_checkpoints, ledger_entries, meta
from schemas.errors import Corrupt, Fault, Refused
from schemas.names import Instant

ROLLED_BACK: Final = "ledger.rolled-back"
NEEDS_SUCCESSOR: Final = "ledger.needs-successor"
_AT_ONCE: Final = 10_000
"""Entries in one question: PostgreSQL takes 32,767 parameters."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The mark as the sequencer found it under its lock, and what a crash left it to sign again."""

    seen: Mark | None
    again: Mark | None = None

    @property
    def order(self) -> list[int] | None:
        """Which entries this turn orders, and how: as the interrupted one did; None: whatever waits."""
        return None if self.again is None else list(self.again.order)

    async def move(self, tx: Transaction, new: Mark) -> None:
        """Mark what is about to be signed and committed. Raises Corrupt where it is not what was marked before."""
        if tx.journal is None:
            return
        if self.again is not None:
            if (new.size, new.root, new.order) != (self.again.size, self.again.root, self.again.order):
                await stop(tx, ROLLED_BACK)
                raise _rolled_back(self.again, new.size)
            return
        await tx.journal.move_mark(new, self.seen)


def check_signing(ended: Ended) -> None:
    """Raises Corrupt `ledger.rolled-back`, or Refused `ledger.needs-successor`, while the ledger stands still."""
    if not ended.ended(*LEDGER):
        return
    told = ended.newest(*LEDGER)
    why: dict[str, Any] = {} if told is None else told.told
    if why.get("why") == NEEDS_SUCCESSOR:
        raise Refused("ledger.needs-successor", size=int(why.get("size", 0)))
    raise Corrupt("ledger.rolled-back", size=int(why.get("size", 0)), found=int(why.get("found", 0)))


async def standing(tx: Transaction, size: int, origin: str) -> Standing:
    """What the sequencer may go on from, under its lock; `size`: what the newest checkpoint covers here; `origin`: the
    name that it signs under.

    Raises as `check_signing`; the first time, it stops everybody else, too. Raises Refused `ledger.other-name` in a
    process that was started before the ledger had its successor.
    """
    if tx.journal is None:
        return Standing(None)
    check_signing(await tx.endings())
    mark = await tx.journal.marked()
    fault, again = await compared(tx, size, mark)
    if fault is None and mark is not None and mark.origin != origin:
        raise Refused("ledger.other-name", kept=mark.origin, found=origin)
    if fault is not None:
        await stop(tx, ROLLED_BACK, mark, size)
        raise fault
    return Standing(mark, again)


async def look(store: Store) -> Fault | None:
    """Whether the database is one that the ledger can go on from; if not, what is wrong, and nobody signs or releases.

    For whoever opens a home, and for fsck. Raises Unavailable, Corrupt `endings.*`.
    """
    if store.journal is None:
        return None
    mark = await store.journal.marked()
    async with store.read() as tx:
        size = await newest_size(tx)
        fault, _ = await compared(tx, size, mark)
        try:
            check_signing(await tx.endings())
        except (Refused, Corrupt) as stopped:
            return stopped
        if fault is not None:
            await stop(tx, ROLLED_BACK, mark, size)
    return fault


async def stop(tx: Transaction, why: str, mark: Mark | None = None, found: int = 0) -> None:
    """Nothing is signed or released from now on, in any process, whatever becomes of this transaction."""
    if tx.journal is not None:
        size = 0 if mark is None else mark.size
        await tx.journal.write([Ending.of(*LEDGER, at=Instant(0), least=1, why=why, size=size, found=found)])


async def newest_size(tx: Transaction) -> int:
    """What the newest checkpoint here covers."""
    return (await tx.execute(select(func.max(ledger_checkpoints.c.size)))).scalar() or 0


async def compared(tx: Transaction, size: int, mark: Mark | None) -> tuple[Fault | None, Mark | None]:
    """What is wrong with a ledger of this size, and what it has to sign again: both None where it goes on."""
    if mark is None:
        return None, None
    named = (await tx.execute(select(meta.c.value).where(meta.c.name == ORIGIN))).scalar()
    if named is not None and named != mark.origin:  # of a ledger that ended, or that never was
        return _rolled_back(mark, size), None
    if size >= mark.size:
        here = select(ledger_checkpoints.c.root).where(ledger_checkpoints.c.size == mark.size)
        root = (await tx.execute(here)).scalar()
        gone = root is None and size > mark.size  # pruned: newer ones were signed over it
        return (None if gone or root == mark.root else _rolled_back(mark, size)), None
    if size == mark.before and await _waiting(tx, mark.order) == len(mark.order):
        return None, mark
    return _rolled_back(mark, size), None


async def _waiting(tx: Transaction, order: Sequence[int]) -> int:
    """How many of these entries wait for a position."""
    found = 0
    for first in range(0, len(order), _AT_ONCE):
        ids = order[first : first + _AT_ONCE]
        waiting = (ledger_entries.c.id.in_(ids), ledger_entries.c.position.is_(None))
        found += (await tx.execute(select(func.count()).select_from(ledger_entries).where(*waiting))).scalar_one()
    return found


def _rolled_back(mark: Mark, size: int) -> Corrupt:
    return Corrupt("ledger.rolled-back", size=mark.size, found=size)
