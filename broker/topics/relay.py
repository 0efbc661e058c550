"""Relay: sealed deliveries from the mailbox to the topic of an agency that is served by topics.

    1 lease      as for a pull, under a short lease         crash: it runs out, and 1 begins again
    2 append     to `deliveries.<agency>`, acks=all         crash: it may be there; comes again, same id
    3 hold       not again before REPEAT                    crash: as before 3

Refuses: to open anything: what lies on a topic is ciphertext until the gate releases its keys, and after a revocation
for ever. Refuses to spend a delivery's attempts on a topic that is away.
Keeps: per citizen and agency the next delivery is put on the topic when the one before is acknowledged, parked or
withheld, and not sooner: the mailbox decides, as for everybody. The database knows first: what is on a topic was handed
out. At least once: whoever reads drops what it has by the delivery's id (the attribute `id`).

What was never acknowledged is put there again every REPEAT, so that a topic that was lost, or whose retention is over,
loses nothing; after as many times as anything is tried it is parked.
"""

from collections.abc import Sequence
from hashlib import sha256

from broker.flow.answers import Rejection
from broker.flow.deliveries import Delivery
from broker.flow.mailbox import Mailbox
from broker.observability import spans
from broker.observability.crashpoints import mark
from broker.observability.measures import RELAYED
from broker.observability.observe import logger
from broker.ports import RECORD_BYTES, Clock, Log, Outgoing, size_of
from broker.store.engine import Store
from broker.store.rows.seals import RowReader
from broker.topics import served
from broker.topics.served import TopicUser
from schemas import cloudevents
from schemas import topics as names
from schemas.errors import Unavailable
from schemas.names import Instant, PartyId, Reason, SubjectRef

BATCH = 200
"""Deliveries in one step."""


class Relay:
    """Any number may run; each delivery is handed out by one of them."""

    def __init__(
        self,
        *,
        store: Store,
        rows: RowReader,
        log: Log,
        mailbox: Mailbox,
        party: PartyId,
        repeat_ms: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._rows = rows
        self._log = log
        self._mailbox = mailbox
        self._party = party
        self._repeat_ms = repeat_ms
        self._clock = clock

    async def served(self) -> tuple[TopicUser, ...]:
        """Who receives by topic now; nobody where others cannot reach the log. Raises Unavailable."""
        if not self._log.for_others:
            return ()
        async with self._store.read() as tx:
            return tuple(user for user in await served.users(tx, self._rows) if user.receives)

    async def waiting_since(self) -> Instant | None:
        """When the oldest delivery was planned that is not on its topic, and should be. Raises Unavailable."""
        found: list[Instant] = []
        for user in await self.served():
            async with self._store.read() as tx:
                found += [one.planned_at for one in await self._mailbox.ready(tx, user.party, 1, self._clock())]
        return min(found, default=None)

    async def relay(self, agency: PartyId) -> int:
        """Put what may be handed out now on the agency's topic. Returns how many. Raises Unavailable: nothing is lost,
        and no attempt is spent.
        """
        at, topic = self._clock(), names.deliveries(agency)
        async with self._store.read() as tx:
            if not await self._mailbox.ready(tx, agency, 1, at):
                return 0
        await self._log.partitions(topic)  # a topic that is missing is found before anything is handed out
        leased = await self._lease(agency)
        ids = [delivery.id for delivery in leased]
        mark("relay.leased")
        # Crash here: handed out to nobody; the lease runs out by itself, and they are put there then.
        try:
            await self._log.append_all(topic, [self._record(delivery) for delivery in leased])
        except Unavailable:
            async with self._store.begin() as tx:
                await self._mailbox.give_back(tx, agency, ids)
            raise
        mark("relay.appended")
        # Crash here: they are there, and the mailbox does not know: the lease runs out, and they are put there again.
        async with self._store.begin() as tx:
            await self._mailbox.hold(tx, agency, ids, Instant(at + self._repeat_ms))
        RELAYED.inc(len(leased))
        for one in leased:
            logger().info("relay.relayed", delivery=one.id, recipient=agency, trace_id=one.trace)
            spans.ended("relay.relayed", one.trace, one.planned_at, at, delivery=one.id, recipient=agency)
        return len(leased)

    async def _lease(self, agency: PartyId) -> Sequence[Delivery]:
        """Handed out, but those that no topic takes: they are parked, for repeating would not make them smaller."""
        async with self._store.begin() as tx:
            at = self._clock()
            leased = await self._mailbox.lease(tx, agency, BATCH, at)
            fitting = []
            for delivery in leased:
                if size_of(self._record(delivery)) > RECORD_BYTES:
                    await self._mailbox.park(tx, delivery, Rejection("relay.too-large", Reason.PARKED), at)
                else:
                    fitting.append(delivery)
        return fitting

    def _record(self, delivery: Delivery) -> Outgoing:
        event = cloudevents.delivery(
            self._party,
            delivery.event_type,
            delivery.schema,
            delivery_id=delivery.id,
            planned_at=delivery.planned_at,
            locked=delivery.locked,
        )
        headers, value = cloudevents.to_kafka(event)
        return Outgoing(order_key(delivery.recipient, delivery.subject), value, dict(headers))


def order_key(agency: PartyId, subject: SubjectRef) -> bytes:
    """The record's key: one for each citizen, so that their deliveries stay in order; another for each agency, so that
    two of them find nothing in common; made of a reference that never leaves the broker.
    """
    return sha256(b"unefois/delivery-key/v1\x00" + agency.encode() + b"\x00" + subject).digest()[:16]
