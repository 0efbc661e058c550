"""The log on Apache Kafka: cluster mode.

Refuses: Kafka's transactions (docs/adr/0003), its consumer groups and its committed offsets; a topic whose number of
partitions is not the one that was agreed, for a citizen's declarations would change partition and lose their order.
Keeps: `append` returns when every in-sync replica has the records (acks=all, idempotent, so a repeated request adds
nothing twice); what was not answered in time is Unavailable and may be there; the partition of a key is ours, by
SHA-256, the same as in the table.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from broker.log.kafka_cluster import BATCH_BYTES, Cluster, fault_of, faults
from broker.log.kafka_identity import Identity
from broker.log.kafka_reader import Ends, Reader
from broker.observability.crashpoints import mark
from broker.ports import Log, Outgoing, Position, Record, partition_of
from schemas.errors import Fault, Unavailable

APPEND_SECONDS: Final = 20
"""After that an append is Unavailable. The idempotent client itself never gives up."""
LINGER_MS: Final = 0
"""No wait for company: while one request is under way the next batch gathers. Measured on one node: one record
acknowledged in 2.0 ms (6.1 with 5), and no fewer records a second from many writers."""
CLOSE_SECONDS: Final = 5


class KafkaLog(Log):
    """Connects at first use: a process that only appends never reads, and the other way round."""

    for_others = True
    stale_seconds = 30.0

    def __init__(self, cluster: Cluster, partitions: Mapping[str, int], prefix: str = "", replicas: int = 1) -> None:
        """`partitions` by topic as agreed: a topic that is not named has what Kafka says.

        `replicas`: the fewest copies that `look` is content with.
        `prefix` is put before each topic's name in Kafka, so that several brokers can share a cluster.
        """
        self._cluster = cluster
        self._agreed = dict(partitions)
        self._prefix = prefix
        self._replicas = replicas
        self._identity = Identity()
        self._counts: dict[str, int] = {}
        self._producer: AIOKafkaProducer | None = None
        self._ends: Ends | None = None
        self._readers: dict[TopicPartition, Reader] = {}
        self._opening = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection. Appends that nobody waits for any more may be there or not."""
        async with self._opening:
            if self._producer is not None:
                self._leave(self._producer)
            readers, self._readers = self._readers, {}
            ends, self._ends = self._ends, None
        for reader in readers.values():
            await reader.close()
        if ends is not None:
            await ends.close()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def look(self, topic: str, needed: frozenset[str]) -> tuple[Fault, ...]:
        """Whether we get in, the topic is there as it must be, and we may do what is `needed` there."""
        from broker.log.kafka_look import look

        name = self._prefix + topic
        return await look(
            self._cluster,
            name,
            partitions=self._agreed.get(topic),
            replicas=self._replicas,
            needed=needed,
            expected=self._identity.expected,
        )

    async def cluster(self) -> str | None:
        """The id that the cluster was formatted with."""
        from broker.log.kafka_admin import Admin

        return await Admin(self._cluster).cluster_id()

    def expect(self, cluster: str | None) -> None:
        """As the port says; asked where a client has connected anew."""
        self._identity.expect(cluster)

    async def _append_all(self, topic: str, records: Sequence[Outgoing]) -> tuple[Position, ...]:
        count = await self._partitions(topic)
        with self._identity.watched():
            producer = await self._started(topic)
        mark("kafka.append")
        # Crash here: nothing was sent; the caller got no answer and appends again.
        try:
            with self._identity.watched(), faults(topic):
                async with asyncio.timeout(APPEND_SECONDS):
                    sent = [await self._send(producer, topic, record, count) for record in records]
                    await asyncio.wait(sent)  # for all, whatever becomes of the first
                    answers = [one.result() for one in sent]
        except Fault:
            # A client that failed once may have lost count of its sequence numbers: the next append gets a new one.
            self._leave(producer)
            raise
        positions = tuple(Position(topic, answer.partition, answer.offset) for answer in answers)
        if any(position.offset < 0 for position in positions):
            # Kafka had the batch already and no longer knows where: readers drop what they have seen.
            raise Unavailable("kafka.unknown-offset", topic=topic)
        mark("kafka.appended")
        # Crash here: they are there, the caller does not know and appends again; readers drop what they have seen.
        return positions

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, record: Outgoing, count: int
    ) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = await producer.send(
            self._prefix + topic,
            key=record.key,
            value=record.value,
            partition=partition_of(record.key, count),
            headers=list(record.headers.items()),
        )
        return future

    async def _read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Record, ...]:
        place = TopicPartition(self._prefix + topic, partition)
        with self._identity.watched():
            ends = await self._opened_ends()
            async with self._opening:
                if place not in self._readers:
                    self._readers[place] = await Reader.open(self._cluster, topic, place, ends, self._identity)
                reader = self._readers[place]
            return await reader.read(offset, limit)

    async def _partitions(self, topic: str) -> int:
        """Asked once: who adds partitions to a topic that holds records must restart every process, and cannot."""
        if topic not in self._counts:
            found = (await self._cluster.topic(self._prefix + topic)).partitions
            if found != self._agreed.get(topic, found):
                raise Unavailable(
                    "kafka.partitions", topic=self._prefix + topic, count=found, needed=self._agreed[topic]
                )
            self._counts[topic] = found
        return self._counts[topic]

    async def _end(self, topic: str, partition: int) -> int:
        with self._identity.watched(), faults(topic):
            ends = await self._opened_ends()
            return await ends.next(TopicPartition(self._prefix + topic, partition))

    async def _ends_of(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """One partition without a leader keeps the answer for all of them back: each is then asked by itself, where it
        is read.
        """
        places = [TopicPartition(self._prefix + topic, each) for each in partitions]
        try:
            with self._identity.watched(), faults(topic):
                found = await (await self._opened_ends()).all_next(places)
        except Unavailable:
            return {}
        return {place.partition: end for place, end in found.items()}

    async def _first(self, topic: str, partition: int) -> int:
        with self._identity.watched(), faults(topic):
            ends = await self._opened_ends()
            return await ends.first(TopicPartition(self._prefix + topic, partition))

    async def _opened_ends(self) -> Ends:
        async with self._opening:
            if self._ends is None:
                self._ends = await Ends.open(self._cluster, self._identity)
            return self._ends

    async def _started(self, topic: str) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._cluster.options(),
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=LINGER_MS,
                    max_batch_size=BATCH_BYTES // 2,
                    max_request_size=BATCH_BYTES,
                )
                self._identity.guard(producer.client)
                try:
                    await producer.start()
                except (OSError, TimeoutError, KafkaError) as error:
                    await producer.stop()
                    # Who may write nowhere is told so before anything is sent, and can be reached all the same.
                    told = fault_of(error, topic)
                    raise (told if told.code == "kafka.not-allowed" else await self._cluster.reason()) from None
                self._producer = producer
            return self._producer

    def _leave(self, producer: AIOKafkaProducer) -> None:
        """Close it beside what goes on; others who use it get an answer, or Unavailable."""
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(_closed(producer))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _closed(producer: AIOKafkaProducer) -> None:
    """Send what waits, for a while. Its own `stop` would wait for ever for a Kafka that is away."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer.stop()
    except TimeoutError:
        await producer._sender.close()  # the only way to end its endless repeating
        await producer.client.close()
