"""The log as a table: embedded and server modes.

Refuses: to delete; offsets are the table's own counting, so whoever does (`broker/maintenance/pruning.py`) leaves the
newest record of each partition, or its number would be another's.
Keeps: each partition's offsets are dense and their order is the order of the commits; a record's key decides its
partition by SHA-256, which no version of Python or of a library changes.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Integer, Row, Select, bindparam, func, select

from broker.log.pinning import PINNED
from broker.observability.crashpoints import mark
from broker.ports import READ_BYTES, Clock, Log, Outgoing, Position, Record, partition_of
from broker.store.engine import Store, Transaction
from broker.store.tables import log_record
from schemas.errors import Corrupt, Refused
from schemas.names import Instant


class SqlLog(Log):
    """One table row per record. Each append is a transaction of its own: do not call it inside one."""

    def __init__(self, store: Store, clock: Clock, partitions: Mapping[str, int], default_partitions: int = 8) -> None:
        """`partitions` by topic, 1 to 1,024 each; a topic that is not named has `default_partitions`.

        Raises Refused `log.partitions`.
        """
        for count in (*partitions.values(), default_partitions):
            if not 1 <= count <= 1024:
                raise Refused("log.partitions", count=count)
        self._store = store
        self._clock = clock
        self._counts = dict(partitions)
        self._default = default_partitions

    async def _append_all(self, topic: str, records: Sequence[Outgoing]) -> tuple[Position, ...]:
        count = await self._partitions(topic)
        places = [partition_of(record.key, count) for record in records]
        positions = []
        async with self._store.begin() as tx:
            await tx.lock_exclusive(sorted({f"log/{topic}/{partition}".encode() for partition in places}))
            moved, ends = await _standing(tx, topic, sorted(set(places)))
            if moved:  # what is appended here nobody would read
                raise Refused("log.moved", "/log")
            for record, partition in zip(records, places, strict=True):
                positions.append(Position(topic, partition, ends[partition]))
                ends[partition] += 1
                tx.add(log_record, self._row(record, positions[-1]))
            await tx.flush()
            mark("log.append")
            # Crash here: the transaction is gone; the caller got no answer and appends again.
        mark("log.appended")
        # Crash here: they are there, the caller does not know and appends again; readers drop what they have seen.
        return tuple(positions)

    def _row(self, record: Outgoing, at: Position) -> dict[str, Any]:
        place = {"topic": at.topic, "partition": at.partition, "offset": at.offset}
        content = {"key": record.key, "value": record.value, "headers": _pack(record.headers)}
        return {**place, **content, "at": self._clock()}

    async def _read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Record, ...]:
        async with self._store.read_one() as tx:
            asked = {"of_topic": topic, "of_partition": partition, "from_offset": offset, "most": limit}
            rows = (await tx.execute(_FITTING, {**asked, "room": READ_BYTES})).all()
        return tuple(
            Record(
                Position(topic, partition, row.offset),
                row.key,
                row.value,
                _unpack(row.headers, partition, row.offset),
                Instant(row.at),
            )
            for row in rows
        )

    async def _partitions(self, topic: str) -> int:
        return self._counts.get(topic, self._default)

    async def _end(self, topic: str, partition: int) -> int:
        return (await self._ends_of(topic, [partition]))[partition]

    async def _ends_of(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        async with self._store.read_one() as tx:
            _, ends = await _standing(tx, topic, partitions)
        return ends

    async def _first(self, topic: str, partition: int) -> int:
        mine = (log_record.c.topic == topic, log_record.c.partition == partition)
        async with self._store.read() as tx:
            oldest = (await tx.execute(select(func.min(log_record.c.offset)).where(*mine))).scalar_one()
            return 0 if oldest is None else int(oldest)


async def _standing(tx: Transaction, topic: str, partitions: Sequence[int]) -> tuple[bool, dict[int, int]]:
    """In one question: whether the log has moved elsewhere, and the next offset of each partition."""
    newest = (
        select(func.max(log_record.c.offset))
        .where(log_record.c.topic == topic, log_record.c.partition == partition)
        .scalar_subquery()
        for partition in partitions
    )
    moved, *last = _numbers((await tx.execute(select(PINNED.exists(), *newest))).one())
    ends = (0 if offset is None else offset + 1 for offset in last)
    return bool(moved), dict(zip(partitions, ends, strict=True))


def _numbers(row: Row[Any]) -> list[int | None]:
    return list(row)


def _fitting() -> Select[Any]:
    """What one read takes: the first record always, so that every reader advances, then while they fit in `room`.

    Only lengths are added up: what is too much is not fetched.
    """
    mine = (
        log_record.c.topic == bindparam("of_topic"),
        log_record.c.partition == bindparam("of_partition"),
        log_record.c.offset >= bindparam("from_offset"),
    )
    length = func.length(log_record.c.value) + func.length(log_record.c.key) + func.length(log_record.c.headers)
    lengths = select(log_record.c.offset, length.label("length")).where(*mine).order_by(log_record.c.offset)
    near = lengths.limit(bindparam("most", type_=Integer)).subquery()
    total = func.sum(near.c.length).over(order_by=near.c.offset).label("total")
    number = func.row_number().over(order_by=near.c.offset).label("number")
    summed = select(near.c.offset, total, number).subquery()
    fits = (summed.c.total <= bindparam("room", type_=Integer)) | (summed.c.number == 1)
    last = select(func.max(summed.c.offset)).where(fits).scalar_subquery()
    return select(log_record).where(*mine, log_record.c.offset <= last).order_by(log_record.c.offset)


_FITTING: Final = _fitting()
"""Made once: SQLAlchemy's subqueries are circles, and each of them is the garbage collector's work."""


def _pack(headers: Mapping[str, bytes]) -> bytes:
    return json.dumps({name: b64encode(told).decode() for name, told in headers.items()}).encode()


def _unpack(packed: bytes, partition: int, offset: int) -> Mapping[str, bytes]:
    try:
        return MappingProxyType({name: b64decode(told, validate=True) for name, told in json.loads(packed).items()})
    except (ValueError, AttributeError, TypeError):
        raise Corrupt("log.damaged", partition=partition, offset=offset) from None
