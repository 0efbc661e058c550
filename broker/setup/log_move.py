"""Move: a home's log from its database to Kafka, record by record, each under the offset that it had.

Refuses: a topic that holds anything else; an old log that grows meanwhile; a home whose log was moved already.
Keeps: partition and offset of every record, so that what was read, and what dead letters name, stays true; the ledger
is not touched. Every record is read back and compared before the move counts. Afterwards the table takes nothing any
more, in no process: the same transaction that remembers the cluster closes it.

An old log whose head was pruned begins after 0, and a topic begins at 0: the gap is filled with empty records, which
are deleted again; Kafka counts on. Interrupted, it goes on from where the new log ends, after comparing what is there.
Only the instant of appending is Kafka's own, and new; it is for showing alone.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from broker.flow.router import TOPIC
from broker.log.pinning import CLUSTER, pinned
from broker.log.sql import SqlLog
from broker.observability.crashpoints import mark
from broker.ports import READ_BYTES, Log, Outgoing, Record, partition_of, size_of
from broker.store.engine import Store
from broker.store.tables import meta
from schemas.errors import Refused

BATCH: Final = 500
BATCH_BYTES: Final = READ_BYTES // 8

Forget = Callable[[int, int], Awaitable[None]]
"""Deletes what is before an offset of a partition."""


async def move(store: Store, old: SqlLog, new: Log, cluster: str, forget: Forget) -> Mapping[int, int]:
    """Copy, compare, close. Returns how many records of each partition there are in the new log.

    Raises Refused: `log.moved`, `move.log-differs`, `move.log-changed`. Raises Unavailable: call it
    again.
    """
    async with store.read() as tx:
        if await pinned(tx) is not None:
            raise Refused("log.moved", "/log")
    count = await old.partitions(TOPIC)
    moved = {}
    for partition in range(count):
        moved[partition] = await _partition(old, new, partition, count, forget)
    ends = [await old.end(TOPIC, partition) for partition in range(count)]
    if ends != [await new.end(TOPIC, partition) for partition in range(count)]:
        raise Refused("move.log-changed")
    async with store.begin() as tx:
        await tx.lock_exclusive([f"log/{TOPIC}/{partition}".encode() for partition in range(count)])
        if ends != [await old.end(TOPIC, partition) for partition in range(count)]:
            raise Refused("move.log-changed")
        await tx.insert_new(meta, {"name": CLUSTER, "value": cluster})
        mark("move.log-closing")
        # Crash here: both hold the same, and the old one is the home's; called again, all of it is compared again.
    return moved


async def _partition(old: Log, new: Log, partition: int, count: int, forget: Forget) -> int:
    """All of one partition, and what is there already compared first."""
    first, end = await old.first(TOPIC, partition), await old.end(TOPIC, partition)
    await _fill(new, partition, count, first)
    at = first
    while at < (there := min(end, await new.end(TOPIC, partition))):
        at = await _compare(old, new, partition, at, there)
    while at < end:
        records = await old.read(TOPIC, partition, at, BATCH)
        batch = _fitting(records)
        sent = await new.append_all(TOPIC, batch)
        mark("move.log-copied")
        # Crash here: they are there; called again, they are compared, and it goes on after them.
        if [one.offset for one in sent] != [one.position.offset for one in records[: len(batch)]]:
            raise Refused("move.log-differs", partition=partition, offset=at)
        at = await _compare(old, new, partition, at, sent[-1].offset + 1)
    if await new.end(TOPIC, partition) != end:
        raise Refused("move.log-differs", partition=partition, offset=end)
    if first > 0:
        await forget(partition, first)
    return end - first


async def _fill(new: Log, partition: int, count: int, first: int) -> None:
    """Empty records up to where the old log begins. Crash here: the next call fills the rest."""
    key = next(key for number in range(1 << 20) if partition_of(key := number.to_bytes(4, "big"), count) == partition)
    while (missing := first - await new.end(TOPIC, partition)) > 0:
        await new.append_all(TOPIC, [Outgoing(key, b"")] * min(missing, BATCH))


async def _compare(old: Log, new: Log, partition: int, at: int, to: int) -> int:
    """What both hold from `at` on, before `to`, is the same. Returns where to go on."""
    left = await old.read(TOPIC, partition, at, min(BATCH, to - at))
    right = await new.read(TOPIC, partition, at, min(BATCH, to - at))
    both = min(len(left), len(right))
    for one, other in zip(left[:both], right[:both], strict=True):
        if _content(one) != _content(other):
            raise Refused("move.log-differs", partition=partition, offset=one.position.offset)
    if both == 0:
        raise Refused("move.log-differs", partition=partition, offset=at)
    return left[both - 1].position.offset + 1


def _content(record: Record) -> tuple[int, int, bytes, bytes, dict[str, bytes]]:
    place = record.position
    return place.partition, place.offset, record.key, record.value, dict(record.headers)


def _fitting(records: Sequence[Record]) -> list[Outgoing]:
    """As many as go in one request."""
    batch: list[Outgoing] = []
    size = 0
    for record in records:
        one = Outgoing(record.key, record.value, record.headers)
        size += size_of(one)
        if batch and size > BATCH_BYTES:
            break
        batch.append(one)
    return batch
