"""From the mailbox by a real Kafka into an agency's hands: the relay on one side, the inbox on the other."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Consumer

from broker.access.credentials import Scope
from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from broker.runtime.hosting import agency_of
from broker.topics.relay import Relay
from broker.web.app import build
from connectors import mapping_files
from connectors.client import Client
from connectors.contract import Agency, Ground
from connectors.kafka import Kafka, KafkaInbox
from connectors.retry import Backoff
from connectors.runner import Route, run_routes
from connectors.table import TableConnector
from schemas import cloudevents, topics
from schemas.errors import Unavailable
from schemas.locked import LockedDelivery
from schemas.names import Instant, uuid_text
from tests.services.processes import free_port
from tests.world import CAF, DAY, FAMILY, MOVED, World, world

pytestmark = pytest.mark.asyncio

MAPPING = b"""
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {nom: record.subject.family_name, ville: record.new_address.city}
"""


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A furnished broker, clean at the end."""
    async with world(tmp_path) as made:
        await made.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        await made.declare(MOVED, made.moved())
        yield made
        await made.step()


@pytest.fixture
def prefix() -> str:
    return f"t{secrets.token_hex(6)}."


@pytest_asyncio.fixture
async def log(kafka: str, prefix: str) -> AsyncIterator[KafkaLog]:
    """With the topic of CAF, two partitions."""
    cluster = Cluster((kafka,), "plaintext")
    await cluster.make_topic(prefix + topics.deliveries(CAF), 2, 1)
    async with KafkaLog(cluster, {}, prefix) as opened:
        yield opened


def relay_of(here: World, log: KafkaLog) -> Relay:
    home = here.home
    return Relay(
        store=home.store,
        rows=home.rows,
        log=log,
        mailbox=home.mailbox,
        party=home.party,
        repeat_ms=DAY,
        clock=here.clock,
    )


async def test_what_the_relay_wrote_is_read_by_a_client_that_we_did_not_write(
    here: World, log: KafkaLog, kafka: str, prefix: str
) -> None:
    assert 1 == await relay_of(here, log).relay(CAF)

    theirs = Consumer({"bootstrap.servers": kafka, "group.id": secrets.token_hex(4), "auto.offset.reset": "earliest"})
    theirs.subscribe([prefix + topics.deliveries(CAF)])
    try:
        while (message := theirs.poll(10)) is None or message.error():
            pass
    finally:
        theirs.close()
    event = cloudevents.from_kafka(message.headers() or [], message.value())
    assert uuid_text(LockedDelivery.decode(event.data).delivery_id) == event.id
    assert 16 == len(message.key() or b"")


async def test_an_agencys_connector_works_from_its_topic(
    here: World, log: KafkaLog, kafka: str, prefix: str, tmp_path: Path
) -> None:
    assert 1 == await relay_of(here, log).relay(CAF)
    at, hosted = here.clock(), await agency_of(here.home, CAF)
    async with here.home.store.begin() as tx:
        issued = await here.home.credentials.issue(tx, CAF, tuple(Scope), expires_at=Instant(at + DAY), at=at)
    mapping = mapping_files.loaded(MAPPING, "small")
    ground = Ground(here.clock, here.home.entropy)
    table = {"url": f"sqlite+aiosqlite:///{tmp_path / 'caf.db'}", "table": "t", "create": True}
    connector = await TableConnector.open(table, mapping.targets, ground)
    where = Kafka(kafka, "plaintext", prefix=prefix)
    transport = httpx2.ASGITransport(build(here.home))
    try:
        async with Client.open("http://localhost", issued.token, transport=transport, clock=here.clock) as caf:
            mine = Agency(CAF, hosted.sealing_keys, await caf.directory(), here.home.catalogue)
            applied = []
            for _ in range(2):  # the second process finds nothing: the first has committed
                async with KafkaInbox.open(caf.inbox(), mine, where, here.clock) as inbox:
                    for _ in range(20):
                        routes = [Route(mapping, connector)]
                        more = {"clock": here.clock, "limit": 10, "backoff": Backoff(here.home.entropy)}
                        report = await run_routes(inbox, mine, routes, **more)
                        applied += report.applied
                        if report.applied or len(inbox._consumer.assignment()) == 2:
                            break
            assert (1, 0) == (len(applied), (await caf.status())["waiting"])
    finally:
        await connector.close()
    reader = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=prefix + topics.deliveries(CAF))
    await reader.start()
    try:
        topic = prefix + topics.deliveries(CAF)
        assert 1 == sum([await reader.committed(TopicPartition(topic, number)) or 0 for number in range(2)])
    finally:
        await reader.stop()


async def test_a_kafka_that_is_away_is_unavailable_on_both_sides(here: World) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with KafkaLog(Cluster((address,), "plaintext"), {}) as log:
        with pytest.raises(Unavailable, match=r"kafka\.away"):
            await relay_of(here, log).relay(CAF)
    hosted = await agency_of(here.home, CAF)
    with pytest.raises(Unavailable, match=r"inbox\.kafka-away"):
        async with KafkaInbox.open(here.inbox(CAF), hosted, Kafka(address, "plaintext"), here.clock):
            pass
