"""One partition's reader: a consumer to which it is assigned by hand, placed where each read wants it.

Refuses: a group, a committed offset, an offset chosen by Kafka: where to read is the caller's knowledge alone.
Keeps: reads that follow each other are served from what was fetched ahead; a read at the end asks where the end is and
does not wait; a partition that was never read is never fetched.

Kafka answers the requests of one connection in their order, and a consumer asks for one node's next records with one
request that waits for them. So each partition has a consumer of its own, or it would wait for the silence of the
others (measured: 1,600 records of 2 KB a second instead of 30,000), and where the end is, is asked on yet another
connection.
"""

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from broker.log.kafka_cluster import REQUEST_MS, Cluster, faults
from broker.log.kafka_identity import Identity
from broker.ports import READ_BYTES, Position, Record
from schemas.errors import Corrupt, Unavailable
from schemas.names import Instant

FETCH_BYTES: Final = READ_BYTES // 4
"""What is fetched ahead of one partition: with 64 of them behind, 128 MiB at most."""
FETCH_WAIT_MS: Final = 250
"""How long Kafka keeps a question for records that are not there yet; who goes back to older ones waits for it."""
WAIT_SECONDS: Final = 15
"""How long records that are known to be there may take to come."""


class Ends:
    """Where partitions begin and end, asked of Kafka each time."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    @classmethod
    async def open(cls, cluster: Cluster, identity: Identity) -> Self:
        """Raises Unavailable."""
        return cls(await _started(cluster, identity))

    async def close(self) -> None:
        """End its connections."""
        await _stopped(self._consumer)

    async def first(self, place: TopicPartition) -> int:
        """The offset of the oldest record that is kept."""
        return int((await self._consumer.beginning_offsets([place]))[place])

    async def next(self, place: TopicPartition) -> int:
        """The offset of the next record to come."""
        return (await self.all_next([place]))[place]

    async def all_next(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The same of many: one request for each node that leads some of them."""
        return {place: int(end) for place, end in (await self._consumer.end_offsets(list(places))).items()}


class Reader:
    """Of one partition. Reads take turns."""

    def __init__(
        self, name: str, place: TopicPartition, consumer: AIOKafkaConsumer, ends: Ends, identity: Identity
    ) -> None:
        """`name` is the topic as our records tell it; `place` has it as Kafka knows it."""
        self._name = name
        self._place = place
        self._consumer = consumer
        self._ends = ends
        self._identity = identity
        self._fetching = False
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, cluster: Cluster, name: str, place: TopicPartition, ends: Ends, identity: Identity) -> Self:
        """Raises Unavailable."""
        consumer = await _started(cluster, identity)
        consumer.assign([place])
        consumer.seek(place, 0)  # before the loop turns: a place without an offset is an error, not a default
        consumer.pause(place)
        return cls(name, place, consumer, ends, identity)

    async def close(self) -> None:
        """Nothing is lost: what was fetched ahead is fetched again."""
        await _stopped(self._consumer)

    async def read(self, offset: int, limit: int) -> tuple[Record, ...]:
        """Up to `limit` records from `offset` on. Raises Unavailable; Corrupt
        `kafka.records-gone`, `log.other-cluster`.
        """
        async with self._turn:
            with faults(self._name):
                try:
                    taken = await self._take(offset, limit)
                except OffsetOutOfRangeError:
                    await self._check_kept(offset)
                    return ()
                count = _fitting(taken)
                if count < len(taken):
                    self._consumer.seek(self._place, taken[count].offset)
        return tuple(self._record(one) for one in taken[:count])

    async def _take(self, offset: int, limit: int) -> list[ConsumerRecord]:
        if not self._fetching or await self._consumer.position(self._place) != offset:
            if offset >= await self._ends.next(self._place):
                return []
            self._consumer.seek(self._place, offset)
            self._consumer.resume(self._place)
            self._fetching = True
        taken = await self._next(0, limit)
        if not taken and offset < await self._ends.next(self._place):
            taken = await self._expected(limit)
        while taken and len(taken) < limit and _size(taken) < READ_BYTES and self._more(taken[-1].offset + 1):
            more = await self._next(REQUEST_MS, limit - len(taken))
            if not more:
                break
            taken += more
        return taken

    async def _expected(self, limit: int) -> list[ConsumerRecord]:
        """Records that are there: all that is left is to fetch them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_SECONDS
        while loop.time() < until:
            taken = await self._next(500, limit)
            self._identity.check()
            if taken or await self._consumer.position(self._place) >= await self._ends.next(self._place):
                return taken
        raise Unavailable("kafka.timeout")

    async def _next(self, wait_ms: int, limit: int) -> list[ConsumerRecord]:
        found = await self._consumer.getmany(self._place, timeout_ms=wait_ms, max_records=limit)
        return list(found.get(self._place, ()))

    def _more(self, offset: int) -> bool:
        """Whether the last answer already knew of records from `offset` on."""
        return offset < (self._consumer.highwater(self._place) or 0)

    async def _check_kept(self, offset: int) -> None:
        first = await self._ends.first(self._place)
        if offset < first:
            partition = self._place.partition
            raise Corrupt("kafka.records-gone", topic=self._name, partition=partition, offset=offset, first=first)

    def _record(self, one: ConsumerRecord) -> Record:
        headers = MappingProxyType({name: bytes(told or b"") for name, told in one.headers})
        at = Position(self._name, one.partition, one.offset)
        return Record(at, one.key or b"", one.value or b"", headers, Instant(max(0, one.timestamp)))


async def _started(cluster: Cluster, identity: Identity) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        **cluster.options(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_uncommitted",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_bytes=READ_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    identity.guard(consumer._client)
    try:
        await consumer.start()
    except (OSError, TimeoutError, KafkaError):
        await consumer.stop()
        raise await cluster.reason() from None
    return consumer


async def _stopped(consumer: AIOKafkaConsumer) -> None:
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        # With Kafka away its own fetches are asleep, and the end of their sleep escapes from its `stop`, which then has
        # closed all but the connections.
        await consumer._client.close()
    else:
        stopping.result()


def _size(taken: list[ConsumerRecord]) -> int:
    return sum(_bytes_of(one) for one in taken)


def _bytes_of(one: ConsumerRecord) -> int:
    return len(one.key or b"") + len(one.value or b"") + sum(len(name) + len(told or b"") for name, told in one.headers)


def _fitting(taken: list[ConsumerRecord]) -> int:
    """How many records one read gives: the first always, then while they fit."""
    total = 0
    for number, one in enumerate(taken):
        total += _bytes_of(one)
        if total > READ_BYTES and number > 0:
            return number
    return len(taken)
