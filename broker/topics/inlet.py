"""Inlet: declarations that a source writes to its own topic, and what it gets back.

    1 read       a batch of `declarations.<source>`, from where the database says
    2 accept     the intake's own checks, as over HTTP; what another source signed is refused
    3 answer     receipts to `receipts.<source>`, what was refused to `declarations.<source>.dead`, as it came
    4 advance    the offset, compared and set, and the ledger's `refused` entries, in one transaction

Refuses: nothing of its own but what is no CloudEvent of a declaration, or says something else outside than inside.
Keeps: a record that is refused never blocks: it goes to the dead topic with its bytes unchanged and the reason in
headers, and the offset moves on. Killed between two steps, the batch is read again: what was accepted gets the same
receipt and has no second effect, by its source and id; a refusal is entered once, for entry and offset are one
transaction; a receipt or a dead record may be there twice, with the same offset in its headers.
Source: docs/kafka.md; CloudEvents, Kafka protocol binding 1.0.2.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from sqlalchemy import delete

from broker.flow.arrived import Accepted
from broker.flow.intake import Intake, reason_of
from broker.flow.offsets import LostOwnership, advance, next_offset
from broker.observability.crashpoints import mark
from broker.observability.measures import INLET_ACCEPTED, INLET_REFUSED
from broker.ports import HEADERS, KEY_BYTES, RECORD_BYTES, Clock, Log, Outgoing, Record, is_header, size_of
from broker.store.engine import Store
from broker.store.rows.seals import RowReader
from broker.store.tables import consumed
from broker.topics import served
from broker.topics.served import TopicUser
from schemas import cloudevents
from schemas import topics as names
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.intake_receipt import RECEIPT_TYPE
from schemas.names import PartyId

BATCH: Final = 100
"""Records in one step."""


class Inlet:
    """Where declarations come in by topic. Any number may run; each batch counts once."""

    def __init__(self, *, store: Store, rows: RowReader, log: Log, intake: Intake, clock: Clock) -> None:
        self._store = store
        self._rows = rows
        self._log = log
        self._intake = intake
        self._clock = clock

    async def served(self) -> tuple[TopicUser, ...]:
        """Who declares by topic now; nobody where others cannot reach the log. Raises Unavailable."""
        if not self._log.for_others:
            return ()
        async with self._store.read() as tx:
            return tuple(user for user in await served.users(tx, self._rows) if user.declares)

    async def take(self, source: PartyId) -> int:
        """A batch of each partition of a source's topic. Returns how many records. Raises Unavailable."""
        for back in (names.receipts(source), served.dead(source)):
            await self._log.partitions(back)  # what could not be answered is not taken
        total = 0
        for partition in range(await self._log.partitions(names.declarations(source))):
            try:
                total += await self._take_batch(source, partition)
            except LostOwnership:
                continue  # another has it, and this batch of it is done
        return total

    async def begin_again(self, source: PartyId) -> None:
        """Read a source's topic from its beginning, as it is there now: after records of it were lost, or it was made
        anew. What was taken before has no second effect. Raises Unavailable.
        """
        async with self._store.begin() as tx:
            await tx.execute(delete(consumed).where(consumed.c.topic == names.declarations(source)))
            mark("inlet.begun")
            # Crash here: as before; the operator says it again.

    async def _take_batch(self, source: PartyId, partition: int) -> int:
        topic = names.declarations(source)
        async with self._store.read_one() as tx:
            offset = await next_offset(tx, topic, partition)
        records = await self._read(topic, partition, offset)
        if not records:
            return 0
        envelopes = [_envelope(record) for record in records]
        taken = iter(await self._intake.take_all([one for one in envelopes if isinstance(one, bytes)], source))
        answers = [one if isinstance(one, Refused) else next(taken) for one in envelopes]
        await self._answer(source, records, answers)
        mark("inlet.answered")
        # Crash here: answered, and not known to be: the batch is read again, and answered with the same.
        refused = [
            (_digest(record, envelope), answer)
            for record, envelope, answer in zip(records, envelopes, answers, strict=True)
            if isinstance(answer, Refused)
        ]
        async with self._store.begin() as tx:
            await advance(tx, topic, partition, offset, records[-1].position.offset + 1)
            self._intake.record_refusals(tx, refused, self._clock(), source)
            mark("inlet.taken")
            # Crash here: entries and offset are gone together; the batch is read again.
        INLET_ACCEPTED.inc(len(records) - len(refused))
        for _, fault in refused:
            INLET_REFUSED.labels(reason_of(fault).value).inc()
        return len(records)

    async def lag(self) -> int:
        """Records that sources have handed in and that were not taken yet. What is missing, or away, is the turn's to
        tell, and counts as nothing here.
        """
        total = 0
        for user in await self.served():
            topic = names.declarations(user.party)
            try:
                ends = [await self._log.end(topic, each) for each in range(await self._log.partitions(topic))]
            except (Refused, Unavailable):
                continue
            async with self._store.read() as tx:
                taken = [await next_offset(tx, topic, partition) for partition in range(len(ends))]
            total += sum(max(0, end - offset) for end, offset in zip(ends, taken, strict=True))
        return total

    async def _read(self, topic: str, partition: int, offset: int) -> Sequence[Record]:
        """What is lost of one source's topic stops nobody else: it is that source's trouble until an operator has
        seen to it, and no contradiction of ours.
        """
        try:
            if offset > await self._log.end(topic, partition):
                raise Unavailable("inlet.shorter", topic=topic, partition=partition, offset=offset)
            if offset == 0:
                offset = await self._log.first(topic, partition)
            return await self._log.read(topic, partition, offset, BATCH)
        except Corrupt as fault:
            if fault.code != "kafka.records-gone":
                raise
            raise Unavailable("inlet.records-gone", topic=topic, partition=partition, offset=offset) from None

    async def _answer(self, source: PartyId, records: Sequence[Record], answers: Sequence[Accepted | Refused]) -> None:
        receipts = [
            Outgoing(bytes(answer.declaration_id), answer.receipt, _place(record, {"content-type": RECEIPT_TYPE}))
            for record, answer in zip(records, answers, strict=True)
            if isinstance(answer, Accepted)
        ]
        dead = [
            _dead(record, answer)
            for record, answer in zip(records, answers, strict=True)
            if isinstance(answer, Refused)
        ]
        await self._log.append_all(names.receipts(source), receipts)
        await self._log.append_all(served.dead(source), dead)


def _envelope(record: Record) -> bytes | Refused:
    """The signed envelope in a record, or why it is none."""
    try:
        event = cloudevents.from_kafka(record.headers.items(), record.value)
        if event.datacontenttype != cloudevents.DECLARATION_MEDIA_TYPE:
            raise Refused("inlet.media-type", "/datacontenttype")
        return cloudevents.envelope_in(event)
    except Refused as fault:
        return fault


def _digest(record: Record, envelope: bytes | Refused) -> bytes:
    """What the ledger calls it: the envelope's hash as over HTTP, the record's where there is no envelope."""
    return sha256(envelope if isinstance(envelope, bytes) else record.value).digest()


def _place(record: Record, more: Mapping[str, bytes | str]) -> dict[str, bytes]:
    """Headers that say which record is meant."""
    at = record.position
    told = {"unefois-partition": str(at.partition), "unefois-offset": str(at.offset), **more}
    return {name: one if isinstance(one, bytes) else one.encode() for name, one in told.items()}


def _dead(record: Record, fault: Refused) -> Outgoing:
    """The record as it came, and why. What no topic takes stays where it is, and its place and size are told."""
    told = _place(record, {"unefois-code": fault.code, "unefois-pointer": fault.pointer[:200]})
    fitting = [(name, one) for name, one in record.headers.items() if is_header(name) and name not in told]
    kept = dict(fitting[: HEADERS - len(told)])
    key = record.key if 0 < len(record.key) <= KEY_BYTES else sha256(record.value).digest()[:16]
    whole = Outgoing(key, record.value, {**kept, **told})
    if size_of(whole) <= RECORD_BYTES:
        return whole
    return Outgoing(key, b"", {**told, "unefois-size": str(len(record.value)).encode()})
