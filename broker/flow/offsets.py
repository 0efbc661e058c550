"""Offsets: how far each partition of a topic was read, stored with what reading it has done.

Refuses: to move an offset that somebody else has moved.
Keeps: offset and effects are one transaction, so a record has its effects exactly once, whoever dies when.
Source: docs/adr/0003.
"""

from typing import Final

from sqlalchemy import bindparam, select, update

from broker.store.engine import Transaction
from broker.store.tables import consumed
from schemas.errors import Unavailable

_OFFSETS: Final = select(consumed.c.partition, consumed.c.next_offset).where(consumed.c.topic == bindparam("topic"))


class LostOwnership(Unavailable):
    """Somebody else moved the offset of this partition first: nothing was done, read again."""


async def next_offset(tx: Transaction, topic: str, partition: int) -> int:
    """Where to read on; 0 at the beginning."""
    where = (consumed.c.topic == topic, consumed.c.partition == partition)
    return (await tx.execute(select(consumed.c.next_offset).where(*where))).scalar() or 0


async def next_offsets(tx: Transaction, topic: str) -> dict[int, int]:
    """Where to read on in each partition of which anything was read."""
    rows = await tx.execute(_OFFSETS, {"topic": topic})
    return {row.partition: row.next_offset for row in rows}


async def advance(tx: Transaction, topic: str, partition: int, expected: int, to: int) -> None:
    """Compare and set: only who read from where the partition stands may write its effects. Raises LostOwnership."""
    if expected == 0 and await tx.insert_new(consumed, {"topic": topic, "partition": partition, "next_offset": to}):
        return
    moved = await tx.execute(
        update(consumed)
        .where(consumed.c.topic == topic, consumed.c.partition == partition, consumed.c.next_offset == expected)
        .values(next_offset=to)
    )
    if moved.rowcount != 1:
        raise LostOwnership("router.lost-ownership", partition=partition)
