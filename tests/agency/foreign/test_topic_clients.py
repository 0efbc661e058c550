"""What the relay puts on an agency's topic, read by a client of Kafka and an SDK of CloudEvents that are not ours."""

import asyncio
import secrets
from base64 import b64decode
from pathlib import Path

import pytest

from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from broker.topics.relay import Relay
from schemas import catalogue, cloudevents, topics
from schemas.locked import LockedDelivery
from schemas.names import EventType, uuid_text
from tests.agency.foreign.clients import Room
from tests.world import CAF, DAY, FAMILY, MOVED, world

pytestmark = pytest.mark.asyncio
CLIENT = "kafkajs with the CloudEvents SDK"


async def test_a_delivery_is_an_event_whose_attributes_are_ours_and_whose_data_is_the_locked_delivery(
    room: Room, kafka: str, tmp_path: Path
) -> None:
    prefix = f"t{secrets.token_hex(6)}."
    topic, cluster = prefix + topics.deliveries(CAF), Cluster((kafka,), "plaintext")
    await cluster.make_topic(topic, 1, 1)
    async with world(tmp_path) as here, KafkaLog(cluster, {}, prefix) as log:
        home = here.home
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        await here.declare(MOVED, here.moved())
        await here.step()
        relay = Relay(store=home.store, rows=home.rows, log=log, mailbox=home.mailbox, party=home.party,
                      repeat_ms=DAY, clock=here.clock)  # fmt: skip
        assert 1 == await relay.relay(CAF)

        seen = await asyncio.to_thread(room.run, CLIENT, kafka=kafka, topic=topic, group=topic)

        data, attributes = b64decode(seen["data"]), seen["attributes"]
        schema = catalogue.builtin().by_type(EventType(MOVED)).schema.id
        assert uuid_text(LockedDelivery.decode(data).delivery_id) == attributes["id"]
        assert (home.party, MOVED, cloudevents.schema_urn(schema), cloudevents.DELIVERY_MEDIA_TYPE) == tuple(
            attributes[name] for name in ("source", "type", "dataschema", "datacontenttype")
        )
        assert attributes["time"].endswith("Z")
        assert 16 == seen["key"]
