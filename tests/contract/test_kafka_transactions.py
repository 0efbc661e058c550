"""Why no Kafka transaction is used (docs/adr/0003): what the client at hand speaks lets a late word tear one."""

import secrets

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol import transaction
from aiokafka.protocol.transaction import EndTxnRequest

from broker.log.kafka_cluster import Cluster


def test_the_client_speaks_the_transactions_of_2017() -> None:
    """Version 0 of every request: KIP-890, which gives each transaction an epoch of its own, needs EndTxn 5."""
    versions = {
        name: struct.API_VERSION
        for name, struct in vars(transaction).items()
        if name.endswith("Request_v0") or name.rpartition("_v")[0].endswith("Request")
    }
    assert {0} == set(versions.values())
    assert {"EndTxnRequest_v0", "TxnOffsetCommitRequest_v0"} <= set(versions)


@pytest.mark.asyncio
async def test_a_commit_that_arrives_late_commits_what_the_next_transaction_has_so_far(kafka: str) -> None:
    """A request that a network held back and its sender repeated: the first transaction's commit, seen once more."""
    topic, name = f"t{secrets.token_hex(6)}.torn", secrets.token_hex(6)
    await Cluster((kafka,), "plaintext").make_topic(topic, 1, 1)
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=name) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"first transaction", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"half of the second", partition=0)

        state = producer._txn_manager
        node = await producer.client.coordinator_lookup(CoordinationType.TRANSACTION, name)
        late = EndTxnRequest(name, state.producer_id, state.producer_epoch, True)
        answer = await producer.client.send(node, late, group=ConnectionGroup.COORDINATION)

        with pytest.raises(KafkaError):  # it is too late to abort: the coordinator calls it committed
            await producer.abort_transaction()
    assert 0 == answer.error_code
    assert [b"first transaction", b"half of the second"] == await committed(kafka, topic)


async def committed(address: str, topic: str) -> list[bytes]:
    """What a reader of committed records sees, up to the end."""
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=address, isolation_level="read_committed") as consumer:
        consumer.assign([place])
        consumer.seek(place, 0)
        end = (await consumer.end_offsets([place]))[place]
        found: list[bytes] = []
        while await consumer.position(place) < end:
            for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                found.append(record.value)
        return found
