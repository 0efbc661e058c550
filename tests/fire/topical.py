"""A source that declares by its topic and an agency that is served by its own, in a town under fire.

The portal sends the same bytes again until their receipt lies on its topic. The health fund writes each delivery that
it opens once, by its id, and acknowledges.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from broker.runtime.hosting import agency_of
from broker.topics.served import dead
from connectors.contract import Applied
from connectors.kafka import Kafka, KafkaInbox
from schemas import cloudevents
from schemas import topics as names
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused, Unavailable
from schemas.manifest import Manifest
from schemas.names import DeclarationId, DeliveryId
from tests.fire.alive import BACK_OFF
from tests.fire.town import Town
from tests.world import CPAM, HEALTH, MOVED, PORTAL, World

PATIENCE: Final = 5
"""Seconds that the portal waits for a receipt, before it sends the same bytes again."""
TOPICS: Final = (names.declarations(PORTAL), dead(PORTAL), names.receipts(PORTAL), names.deliveries(CPAM))


@dataclass
class Topical:
    """Both of them, and what they have."""

    town: Town
    log: KafkaLog
    receipts: set[bytes] = field(default_factory=set)
    written: dict[DeliveryId, tuple[str, str]] = field(default_factory=dict)
    """By the delivery, whose it is and which of theirs; in the order in which they came."""

    async def accept(self, envelope: bytes) -> Manifest:
        """Hand in by the topic. Raises Unavailable when no receipt came: then the same bytes are sent again."""
        manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
        told = {"declaration_id": manifest.declaration_id, "issued_at": manifest.issued_at, "envelope": envelope}
        event = cloudevents.declaration(PORTAL, MOVED, manifest.schema, **told)
        headers, value = cloudevents.to_kafka(event)
        await self.log.append(names.declarations(PORTAL), bytes(manifest.declaration_id), value, dict(headers))
        try:
            async with asyncio.timeout(PATIENCE):
                while bytes(manifest.declaration_id) not in self.receipts:
                    await asyncio.sleep(BACK_OFF)
        except TimeoutError:
            raise Unavailable("kafka.timeout", topic=names.receipts(PORTAL)) from None
        return manifest

    async def hear(self) -> None:
        """Take receipts from the topic, for good."""
        offset = 0
        while True:
            with suppress(Unavailable):
                for record in await self.log.read(names.receipts(PORTAL), 0, offset, 100):
                    self.receipts.add(record.key)
                    offset = record.position.offset + 1
            await asyncio.sleep(BACK_OFF)

    async def receive(self, here: World, where: Kafka) -> None:
        """Take deliveries from the topic, for good, with a new client after each trouble."""
        agency = await agency_of(here.home, CPAM)
        while True:
            with suppress(Unavailable):
                async with KafkaInbox.open(here.inbox(CPAM), agency, where, here.clock) as inbox:
                    while True:
                        await self._take(here, inbox)
            await asyncio.sleep(BACK_OFF)

    async def _take(self, here: World, inbox: KafkaInbox) -> None:
        ended: dict[DeliveryId, Applied] = {}
        for one in await here.open(CPAM, await inbox.pull(20)):
            told = (str(one.record["subject"]["birthdate"]), str(one.record["new_address"]["housenumber"]))
            self.written.setdefault(one.delivery_id, told)
            ended[one.delivery_id] = Applied(None)
        if ended:
            refused: dict[DeliveryId, Refused] = dict(await inbox.acknowledge_all(ended))
            assert {} == refused

    def check(self, here: World) -> None:
        """Each citizen's declarations are there, once, in their order."""
        for person in self.town.people:
            mine: list[DeclarationId] = self.town.accepted[here.subject(person)]
            whole = [str(number + 1) for number in range(len(mine))]
            assert whole == [number for born, number in self.written.values() if born == person["birthdate"]]


@asynccontextmanager
async def served(town: Town, here: World, cluster: Cluster, where: Kafka) -> AsyncIterator[Topical]:
    """Both at work while the block runs. Their topics are there already."""
    async with here.home.store.begin() as tx:
        users, at = here.home.topic_users, here.clock()
        await users.allow(tx, PORTAL, "portal", receives=False, declares=True, at=at)
        await users.allow(tx, CPAM, "cpam", receives=True, declares=False, at=at)
    for person in town.people:
        await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address"], person=person)
    town.recipients.add(CPAM)
    async with KafkaLog(cluster, {}, where.prefix) as log:
        made = Topical(town, log)
        both: list[asyncio.Task[Any]] = [
            asyncio.create_task(made.hear()),
            asyncio.create_task(made.receive(here, where)),
        ]
        town.tasks += both
        try:
            yield made
        finally:
            town.tasks.clear()
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
