"""Kafka inbox: an agency's deliveries from its topic, their keys and their ends over HTTP.

    async with Client.open(url, token) as broker, KafkaInbox.open(broker.inbox(), agency, Kafka(...)) as inbox:
        await run_routes(inbox, agency, routes, ...)            # as with any other inbox

Refuses: a record that is not a locked delivery of this broker for this agency, or whose attributes say something else
than it does: it is passed over and counted, and the mailbox puts the true one there again.
Keeps: an offset is committed when every record before it has come to its end: acknowledged, withheld, or ended at the
broker already. So whoever dies reads again what was under way, and drops what it has by the delivery's id. What must
wait is kept here and keeps no other waiting; when too much waits, nothing more is fetched.
Source: CloudEvents, Kafka protocol binding 1.0.2; docs/kafka.md.
"""

import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

from aiokafka import (
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    OffsetAndMetadata,
    TopicPartition,
    errors,
)

from connectors.contract import Agency, Inbox, Outcome, Pulled, Ready
from schemas import cloudevents, topics
from schemas.errors import Refused, Unavailable
from schemas.locked import LockedDelivery
from schemas.manifest import Manifest
from schemas.names import DeliveryId, Instant, PartyId

HELD: Final = 1_000
"""Deliveries that may wait here for their end; more are not fetched."""
WAIT_MS: Final = 1_000
"""How long a pull stays when nothing is there."""
ENDED: Final = frozenset({"gate.ended", "gate.unknown-delivery"})
"""What the broker says of a delivery that nobody may open any more: this record of it is done."""


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where the broker's Kafka is, and as whom the agency comes."""

    bootstrap: str
    """`host:port`, several of them separated by commas."""
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = field(default=None, repr=False)
    prefix: str = ""
    """Before each topic's name, where the broker says so."""

    def options(self) -> dict[str, Any]:
        """What the client is made with. Raises Refused `inbox.certificate`."""
        told: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security.upper()}
        if self.security.startswith("sasl"):
            told |= {"sasl_mechanism": self.mechanism, "sasl_plain_username": self.username}
            told["sasl_plain_password"] = self.password
        if self.security in ("ssl", "sasl_ssl"):
            try:
                told["ssl_context"] = context = ssl.create_default_context(cafile=self.ca_file)
                if self.certificate_file is not None:
                    context.load_cert_chain(self.certificate_file, self.key_file)
            except (OSError, ssl.SSLError) as error:
                raise Refused("inbox.certificate", "/ca_file", error=type(error).__name__) from None
        return told


@dataclass(slots=True)
class _Lying:
    """A delivery that was read and has not ended: where its records are, and not before when to try it."""

    locked: LockedDelivery
    places: list[tuple[TopicPartition, int]]
    due: Instant


class KafkaInbox:
    """One agency's inbox; `connectors.contract.Inbox`. Made by `open`."""

    def __init__(
        self, inbox: Inbox, consumer: AIOKafkaConsumer, party: PartyId, broker: PartyId, clock: Callable[[], Instant]
    ) -> None:
        self.unreadable = 0
        """Records that were passed over."""
        self._inbox = inbox
        self._consumer = consumer
        self._party = party
        self._broker = broker
        self._clock = clock
        self._lying: dict[DeliveryId, _Lying] = {}
        self._open: dict[TopicPartition, set[int]] = defaultdict(set)
        self._read: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, inbox: Inbox, agency: Agency, kafka: Kafka, clock: Callable[[], Instant]
    ) -> AsyncIterator[Self]:
        """Read until the block ends. `inbox`: where keys come from and ends go to, `Client.inbox()`.

        Raises Unavailable `inbox.kafka-away`; Refused `inbox.kafka-not-allowed`, `inbox.certificate`.
        """
        topic = kafka.prefix + topics.deliveries(agency.party)
        consumer = AIOKafkaConsumer(
            **kafka.options(),
            group_id=topic,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_uncommitted",
        )
        made = cls(inbox, consumer, agency.party, agency.directory.broker, clock)
        consumer.subscribe([topic], listener=_Leaving(made))
        try:
            with _faults():
                await consumer.start()
            yield made
        finally:
            await consumer.stop()

    async def pull(self, limit: int) -> Pulled:
        """What is due here, and what is new on the topic: at most `limit`, with the keys that the gate gives now."""
        due = self._due(limit)
        room = min(limit, HELD - len(self._lying)) - len(due)
        if room > 0:
            await self._fetch(room, 0 if due else WAIT_MS)
            due = self._due(limit)
        pulled = await self._released(due) if due else Pulled((), b"")
        self._done(one.delivery_id for one in pulled.withheld)
        await self._commit()
        return pulled

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """The keys of these deliveries alone."""
        return await self._inbox.release(ids)

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """Record the ends at the broker, then commit. A refused one has ended there already, or comes again."""
        refused = await self._inbox.acknowledge_all(ended)
        self._done(ended)
        await self._commit()
        # Crash before the commit: it is read again, and the gate says that it has ended.
        return refused

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """It waits here; its offset is not committed meanwhile."""
        if delivery_id in self._lying:
            self._lying[delivery_id].due = Instant(self._clock() + (after_ms or 0))
        await self._inbox.retry_later(delivery_id, code, after_ms)

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """Nothing is known before it is read."""
        return ()

    def _due(self, limit: int) -> list[DeliveryId]:
        at = self._clock()
        return [delivery for delivery, lying in self._lying.items() if lying.due <= at][:limit]

    async def _fetch(self, limit: int, wait_ms: int) -> None:
        with _faults():
            found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=limit)
        for place, records in found.items():
            for record in records:
                self._take(place, record)

    def _take(self, place: TopicPartition, record: ConsumerRecord) -> None:
        self._read[place] = record.offset + 1
        try:
            locked = self._locked(record)
        except Refused:
            self.unreadable += 1
            return
        lying = self._lying.setdefault(locked.delivery_id, _Lying(locked, [], self._clock()))
        lying.places.append((place, record.offset))
        self._open[place].add(record.offset)

    def _locked(self, record: ConsumerRecord) -> LockedDelivery:
        """The delivery in a record. Raises Refused when it is none, or not what its attributes say."""
        event = cloudevents.from_kafka(record.headers, record.value)
        if event.datacontenttype != cloudevents.DELIVERY_MEDIA_TYPE:
            raise Refused("cloudevents.format")
        locked = LockedDelivery.decode(event.data)
        manifest = Manifest.decode(locked.payload)
        expected = cloudevents.delivery(
            self._broker,
            manifest.event_type,
            manifest.schema,
            delivery_id=locked.delivery_id,
            planned_at=event.time if event.time is not None else Instant(0),
            locked=event.data,
        )
        if event.id == locked.delivery_id.hex():
            event = replace(event, id=expected.id)  # a record of before 0.1.0, which had no dashes
        cloudevents.agree(event, expected)
        if locked.recipient != self._party:
            raise Refused("inbox.not-mine", "/recipient")
        return locked

    async def _released(self, wanted: Sequence[DeliveryId]) -> Pulled:
        """Their keys. The gate refuses all where one has ended meanwhile, and says which: that record is done.

        While the gate answers, another reader may get their partitions: what was asked for is still delivered here, and
        there as well, once more.
        """
        ids = list(wanted)
        held = {delivery: self._lying[delivery].locked for delivery in ids}
        while ids:
            try:
                pulled = await self._inbox.release(ids)
            except Refused as fault:
                number = _which(fault)
                if number is None or number >= len(ids):
                    raise  # a fault that somebody must see
                self._done([ids.pop(number)])
                continue
            # The bytes that were read, under the keys that came: what does not open so, the runner asks for again.
            locked = tuple(held[one.delivery_id] for one in pulled.locked)
            return Pulled(locked, pulled.key_release, pulled.withheld, pulled.attempts)
        return Pulled((), b"")

    def _done(self, ended: Iterable[DeliveryId]) -> None:
        for delivery in ended:
            lying = self._lying.pop(delivery, None)
            for place, offset in lying.places if lying is not None else ():
                self._open[place].discard(offset)

    async def _commit(self) -> None:
        """Up to the first record of each partition that has not ended. What is not committed is read again."""
        upto = {place: min(self._open[place], default=read) for place, read in self._read.items()}
        news = {place: offset for place, offset in upto.items() if self._committed.get(place) != offset}
        if news:
            with suppress(errors.KafkaError):  # away, or another has the partition now: nothing is lost by it
                await self._consumer.commit({place: OffsetAndMetadata(offset, "") for place, offset in news.items()})
                self._committed |= news

    def leave(self, places: Iterable[TopicPartition]) -> None:
        """Another reads these partitions from now on, from what was committed."""
        gone = set(places)
        for delivery, lying in list(self._lying.items()):
            lying.places = [place for place in lying.places if place[0] not in gone]
            if not lying.places:
                del self._lying[delivery]
        for place in gone:
            self._open.pop(place, None)
            self._read.pop(place, None)
            self._committed.pop(place, None)


class _Leaving(ConsumerRebalanceListener):  # type: ignore[misc]
    """Forgets what another will read."""

    def __init__(self, inbox: KafkaInbox) -> None:
        self._inbox = inbox

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before another gets them."""
        await self._inbox._commit()
        self._inbox.leave(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing to do: the consumer begins at what was committed."""


def _which(fault: Refused) -> int | None:
    """Which of the deliveries that were asked for has ended; None when the fault is another."""
    told = fault.details.get("told", fault.code)  # over HTTP the broker's own code is a detail
    number = fault.pointer.removeprefix("/deliveries/")
    return int(number) if told in ENDED and number.isdecimal() else None


@contextmanager
def _faults() -> Iterator[None]:
    """Kafka's errors inside become ours, by their type alone."""
    try:
        yield
    except (errors.TopicAuthorizationFailedError, errors.GroupAuthorizationFailedError):
        raise Refused("inbox.kafka-not-allowed") from None
    except (OSError, TimeoutError, errors.KafkaError, errors.ConsumerStoppedError) as error:
        raise Unavailable("inbox.kafka-away", error=type(error).__name__) from None
