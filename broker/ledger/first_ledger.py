"""First ledger: the entries of the first format, told in clear, as a home that was carried keeps them.

Refuses: nothing; what cannot be read is a fault of who wrote it.
Keeps: only reading. They are for this home's own checks, and are served to nobody.
Source: docs/protocol.md, section 8, "The first format".
"""

from typing import Final

from sqlalchemy import select

from broker.store.engine import Transaction
from broker.store.tables import first_ledger, meta
from schemas import facts_v1, merkle
from schemas.checkpoint import Checkpoint
from schemas.errors import Corrupt
from schemas.facts import Facts

NOTE: Final = "first-checkpoint"
"""The row of `meta` with the last checkpoint of the old ledger, a signed note."""


async def facts(tx: Transaction) -> list[Facts]:
    """What the old ledger says, in its order; nothing in a home that was made since. Raises Refused `entry.*`."""
    rows = await tx.execute(select(first_ledger.c.entry).order_by(first_ledger.c.position))
    return [facts_v1.decode(row.entry) for row in rows]


async def last_note(tx: Transaction) -> str:
    """The old ledger's last checkpoint, as it was signed. Raises Corrupt `carrying.first-ledger` without one."""
    note: str | None = (await tx.execute(select(meta.c.value).where(meta.c.name == NOTE))).scalar()
    if note is None:
        raise Corrupt("carrying.first-ledger", wrong="checkpoint")
    return note


async def tree(tx: Transaction, origin: str) -> Checkpoint:
    """The old ledger's tree as it ended."""
    frontier, size = merkle.Frontier(), 0
    for raw in (await tx.execute(select(first_ledger.c.entry).order_by(first_ledger.c.position))).scalars():
        frontier, size = frontier.extend([merkle.leaf_hash(raw)]), size + 1
    return Checkpoint(origin, size, frontier.root())
