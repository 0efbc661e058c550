"""The bed of this folder's other tests: three nodes that refuse strangers and lose nothing with one gone."""

from collections.abc import Awaitable
from dataclasses import replace

import pytest
from confluent_kafka.admin import AclOperation

from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from broker.ports import Outgoing
from schemas.errors import Fault
from tests.services.three import Three

pytestmark = pytest.mark.asyncio


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(Fault) as raised:
        await call
    return raised.value.code


async def test_a_topic_has_three_copies_and_goes_on_without_the_node_that_led_it(nodes: Three, prefix: str) -> None:
    topic = f"{prefix}declarations"
    assert await nodes.cluster().make_topic(topic, 1, 3)
    assert (1, 3) == ((found := await nodes.cluster().topic(topic)).partitions, found.replicas)

    async with KafkaLog(nodes.cluster(), {"declarations": 1}, prefix) as log:
        await log.append_all("declarations", [Outgoing(b"k", str(number).encode(), {}) for number in range(10)])
        nodes.leader(topic).kill()
        try:
            assert 10 == (await log.append("declarations", b"k", b"10", {})).offset
            found = await log.read("declarations", 0, 0, 100)
        finally:
            nodes.whole(topic)

    assert [str(number).encode() for number in range(11)] == [record.value for record in found]


async def test_an_account_without_rights_and_a_stranger_get_nothing(nodes: Three, prefix: str) -> None:
    await nodes.cluster().make_topic(f"{prefix}one", 1, 3)
    nodes.enlist("reader")
    async with KafkaLog(nodes.cluster("reader"), {}, prefix) as log:
        assert await code_of(log.read("one", 0, 0, 1)) in {"kafka.not-allowed", "kafka.topic-missing"}

        nodes.allow("reader", prefix, AclOperation.READ, AclOperation.DESCRIBE)
        while (await may_not_read(log)) in {"kafka.not-allowed", "kafka.topic-missing"}:
            pass  # an access list takes a moment to reach every node

        assert "kafka.not-allowed" == await code_of(log.append("one", b"k", b"v", {}))

    known = nodes.cluster()
    for stranger in (
        Cluster(known.bootstrap, "sasl_ssl", "admin", "not the password", ca_file=known.ca_file),
        Cluster(known.bootstrap, "sasl_ssl", "nobody", "any", ca_file=known.ca_file),
    ):
        assert "kafka.credential" == await code_of(stranger.topic(f"{prefix}one"))
    assert "kafka.tls" == await code_of(Cluster(known.bootstrap, "sasl_ssl", "admin", "any").topic(f"{prefix}one"))


async def test_a_credential_that_ran_out_is_told_as_such_and_a_new_one_goes_on(nodes: Three, prefix: str) -> None:
    await nodes.cluster().make_topic(f"{prefix}one", 1, 3)
    nodes.enlist(user := f"{prefix}writer")
    nodes.allow(user, prefix, AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE)
    old = nodes.cluster(user)
    await known_to(old)
    async with KafkaLog(old, {}, prefix) as log:
        while await may_not_read(log):
            pass  # an access list takes a moment to reach every node
        await log.append("one", b"k", b"before", {})

    nodes.withdraw(user)
    while await refusals(old) != {"kafka.credential"}:
        pass  # so does its end
    async with KafkaLog(old, {}, prefix) as log:
        assert "kafka.credential" == await code_of(log.append("one", b"k", b"lost", {}))

    nodes.enlist(user)
    await known_to(nodes.cluster(user))
    assert {"kafka.credential"} == await refusals(old)
    async with KafkaLog(nodes.cluster(user), {}, prefix) as log:
        await log.append("one", b"k", b"after", {})
        assert [b"before", b"after"] == [record.value for record in await log.read("one", 0, 0, 10)]


async def refusals(cluster: Cluster) -> set[str | None]:
    """What the nodes say to these, each asked alone; None where they are let in."""
    found: set[str | None] = set()
    for address in cluster.bootstrap:
        try:
            await replace(cluster, bootstrap=(address,)).topic("none")
        except Fault as fault:
            found.add(None if fault.code in {"kafka.topic-missing", "kafka.not-allowed"} else fault.code)
    return found


async def known_to(cluster: Cluster) -> None:
    """Return once every node lets it in."""
    while await refusals(cluster) != {None}:
        pass


async def may_not_read(log: KafkaLog) -> str | None:
    """Why not, or None."""
    try:
        await log.read("one", 0, 0, 1)
    except Fault as fault:
        return fault.code
    return None
