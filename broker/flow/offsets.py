"""Offsets: how far each partition was read, stored with what reading it has done; and a log that ends before that.

Refuses: to move an offset that somebody else has moved. A log that seems to end before what was read of it: it was made
anew, or restored from an older day, and what comes next would be taken for what was read.
Keeps: offset and effects are one transaction, so a record has its effects exactly once, whoever dies when. Nothing is
read while a log seems too short, so nothing is taken for anything else. The first such answer is not believed where the
log has nodes, nor waited for longer than one of them may be wrong.

Kafka: a leader that stood still (SIGSTOP, a paused machine) and goes on answers where its log ends for as long as it
does not know that another leads; its end is then older than what was acknowledged. (Found by the trials by fire: a
router stopped with `log.shorter` over it.)
Source: docs/adr/0003.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import bindparam, select, update

from broker.store.engine import Transaction
from broker.store.tables import consumed
from schemas.errors import Corrupt, Unavailable

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


class Behind:
    """Remembers since when each partition of one topic is behind."""

    def __init__(self, topic: str, patience: float, now: Callable[[], float] = time.monotonic) -> None:
        """`patience`: seconds for which a partition may seem to be behind and not be; `now`: seconds, never back."""
        self._topic = topic
        self._patience = patience
        self._now = now
        self._since: dict[int, float] = {}

    def look(self, read: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether any is behind: read up to here, ends there, by partition. Raises Corrupt `log.shorter` for one that
        has been behind for as long as that.
        """
        now = self._now()
        for partition, end in ends.items():
            offset = read.get(partition, 0)
            if offset <= end:
                self._since.pop(partition, None)
            elif now - self._since.setdefault(partition, now) >= self._patience:
                raise Corrupt("log.shorter", topic=self._topic, partition=partition, offset=offset, end=end)
        return bool(self._since)
