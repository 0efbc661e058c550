"""One topic's reader: a consumer to which every partition is assigned by hand, placed where each read wants it.

Refuses: a group, a committed offset, an offset chosen by Kafka: where to read is the caller's knowledge alone.
Keeps: reads that follow each other are served from what was fetched ahead; a read at the end asks where the end is and
does not wait; a partition that was never read is never fetched.
"""

import asyncio
from collections import defaultdict
from types import MappingProxyType
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from broker.log.kafka_cluster import REQUEST_MS, Cluster, faults
from broker.ports import READ_BYTES, Position, Record
from schemas.errors import Corrupt, Unavailable
from schemas.names import Instant

FETCH_BYTES: Final = READ_BYTES // 4
"""What is fetched ahead of one partition: with 64 of them behind, 128 MiB at most."""
WAIT_SECONDS: Final = 15
"""How long records that are known to be there may take to come."""


class Reader:
    """Of one topic. Reads of one partition take turns; partitions do not wait for each other."""

    def __init__(self, name: str, kafka_name: str, consumer: AIOKafkaConsumer) -> None:
        """`name` is the topic as our records tell it, `kafka_name` as Kafka knows it."""
        self._name = name
        self._kafka_name = kafka_name
        self._consumer = consumer
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    async def open(cls, cluster: Cluster, name: str, kafka_name: str, partitions: int) -> Self:
        """Raises Unavailable."""
        consumer = AIOKafkaConsumer(
            **cluster.options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_uncommitted",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=READ_BYTES,
        )
        try:
            await consumer.start()
        except (OSError, TimeoutError, KafkaError):
            await consumer.stop()
            raise await cluster.reason() from None
        places = [TopicPartition(kafka_name, partition) for partition in range(partitions)]
        consumer.assign(places)
        for place in places:  # before the loop turns: a place without an offset is an error, not a default
            consumer.seek(place, 0)
        consumer.pause(*places)
        return cls(name, kafka_name, consumer)

    async def close(self) -> None:
        """Nothing is lost: what was fetched ahead is fetched again."""
        stopping = asyncio.create_task(self._consumer.stop())
        await asyncio.wait([stopping])
        if stopping.cancelled():
            # With Kafka away its own fetches are asleep, and the end of their sleep escapes from its `stop`, which then
            # has closed all but the connections.
            await self._consumer._client.close()
        else:
            stopping.result()

    async def end(self, partition: int) -> int:
        """The offset of the next record to come. Raises Unavailable."""
        place = TopicPartition(self._kafka_name, partition)
        with faults(self._name):
            return int((await self._consumer.end_offsets([place]))[place])

    async def read(self, partition: int, offset: int, limit: int) -> tuple[Record, ...]:
        """Up to `limit` records from `offset` on. Raises Unavailable; Corrupt `kafka.records-gone`."""
        async with self._turns[partition]:
            place = TopicPartition(self._kafka_name, partition)
            with faults(self._name):
                try:
                    taken = await self._take(place, offset, limit)
                except OffsetOutOfRangeError:
                    await self._check_kept(place, offset)
                    return ()
                count = _fitting(taken)
                if count < len(taken):
                    self._consumer.seek(place, taken[count].offset)
        return tuple(self._record(one) for one in taken[:count])

    async def _take(self, place: TopicPartition, offset: int, limit: int) -> list[ConsumerRecord]:
        if await self._consumer.position(place) != offset or place in self._consumer.paused():
            if offset >= await self.end(place.partition):
                return []
            self._consumer.seek(place, offset)
            self._consumer.resume(place)
        taken = await self._next(place, 0, limit)
        if not taken and offset < await self.end(place.partition):
            taken = await self._expected(place, limit)
        while taken and len(taken) < limit and _size(taken) < READ_BYTES and self._more(place, taken[-1].offset + 1):
            more = await self._next(place, REQUEST_MS, limit - len(taken))
            if not more:
                break
            taken += more
        return taken

    async def _expected(self, place: TopicPartition, limit: int) -> list[ConsumerRecord]:
        """Records that are there: all that is left is to fetch them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_SECONDS
        while loop.time() < until:
            taken = await self._next(place, 500, limit)
            if taken or await self._consumer.position(place) >= await self.end(place.partition):
                return taken
        raise Unavailable("kafka.timeout")

    async def _next(self, place: TopicPartition, wait_ms: int, limit: int) -> list[ConsumerRecord]:
        found = await self._consumer.getmany(place, timeout_ms=wait_ms, max_records=limit)
        return list(found.get(place, ()))

    def _more(self, place: TopicPartition, offset: int) -> bool:
        """Whether the last answer already knew of records from `offset` on."""
        return offset < (self._consumer.highwater(place) or 0)

    async def _check_kept(self, place: TopicPartition, offset: int) -> None:
        first = (await self._consumer.beginning_offsets([place]))[place]
        if offset < first:
            raise Corrupt("kafka.records-gone", topic=self._name, partition=place.partition, offset=offset, first=first)

    def _record(self, one: ConsumerRecord) -> Record:
        headers = MappingProxyType({name: bytes(told or b"") for name, told in one.headers})
        at = Position(self._name, one.partition, one.offset)
        return Record(at, one.key or b"", one.value or b"", headers, Instant(max(0, one.timestamp)))


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
