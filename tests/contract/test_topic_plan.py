"""Plan and apply against a real Kafka of one node without access lists, and what a process says of bad preflight."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from sqlalchemy import insert, update

from broker.flow.offsets import Behind, advance
from broker.log.kafka import KafkaLog
from broker.log.kafka_admin import Admin
from broker.log.kafka_cluster import Cluster
from broker.log.pinning import CLUSTER
from broker.setup import preflight
from broker.setup.opening import cluster_of
from broker.store.tables import meta
from broker.topics import plan as topic_plan
from broker.topics.plan import shape_of
from schemas import topics
from schemas.errors import Corrupt, Fault, Refused
from tests.world import CAF, PORTAL, World, world

pytestmark = pytest.mark.asyncio


@pytest.fixture
def prefix() -> str:
    return f"t{secrets.token_hex(6)}."


@pytest.fixture
def chosen(kafka: str, prefix: str) -> dict[str, Any]:
    """Settings of a home on this Kafka."""
    told = {"log": "kafka", "kafka_bootstrap": kafka, "kafka_security": "plaintext", "kafka_replicas": 1}
    return told | {"kafka_topic_prefix": prefix, "kafka_partitions": 2}


@pytest_asyncio.fixture
async def here(tmp_path: Path, chosen: dict[str, Any]) -> AsyncIterator[World]:
    """A home whose log has no topic yet."""
    async with world(tmp_path, **chosen) as made:
        async with made.home.store.begin() as tx:
            users = made.home.topic_users
            await users.allow(tx, CAF, "caf", receives=True, declares=False, at=made.clock())
            await users.allow(tx, PORTAL, "portal", receives=False, declares=True, at=made.clock())
        yield made


async def plan(here: World) -> topic_plan.Looked:
    settings = here.home.settings
    return await topic_plan.plan(here.home.store, here.home.rows, cluster_of(settings), shape_of(settings))


async def apply(here: World) -> tuple[topic_plan.Step, ...]:
    return await topic_plan.apply(cluster_of(here.home.settings), await plan(here))


async def test_what_is_planned_is_made_once_and_a_change_behind_its_back_is_seen(
    here: World, kafka: str, prefix: str
) -> None:
    first = await plan(here)
    assert {"create"} == {step.what for step in first.steps}
    assert not first.access_lists
    assert len(first.steps) == len(await apply(here))
    while (again := await plan(here)).steps:
        assert {"create"} == {step.what for step in again.steps}  # made, and not told to everybody yet
    assert () == await apply(here)

    admin = Admin(Cluster((kafka,), "plaintext"))
    await admin.set_settings(f"{prefix}declarations", {"retention.ms": "1000"})
    (step,) = (await plan(here)).steps
    assert ("set", "retention.ms 1000, wanted -1", None) == (step.what, step.told, step.code)
    assert (step,) == await apply(here)
    assert () == (await plan(here)).steps


async def test_partitions_are_added_to_an_agencys_topic_and_never_to_the_log(
    here: World, kafka: str, prefix: str
) -> None:
    admin = Admin(Cluster((kafka,), "plaintext"))
    await Cluster((kafka,), "plaintext").make_topic(f"{prefix}declarations", 3, 1)
    await Cluster((kafka,), "plaintext").make_topic(prefix + topics.deliveries(CAF), 1, 1)

    await apply(here)

    found: dict[str, Any] = {}
    while found.get(prefix + topics.deliveries(CAF)) != 2:
        found = {
            name: one.partitions
            for name, one in (await admin.topics([f"{prefix}declarations", prefix + topics.deliveries(CAF)])).items()
        }
    assert 3 == found[f"{prefix}declarations"]
    assert ["topics.log-partitions"] == [step.code for step in topic_plan.left((await plan(here)).steps)]


async def test_a_source_cannot_hide_a_large_record_in_a_small_batch(here: World, kafka: str, prefix: str) -> None:
    """A megabyte of zeros packs into a kilobyte: whoever reads it would unpack what Kafka let pass."""
    await apply(here)
    topic = prefix + topics.declarations(PORTAL)
    await Cluster((kafka,), "plaintext").topic(topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka, compression_type="gzip", max_request_size=4_000_000) as theirs:
        await theirs.send_and_wait(topic, bytes(900_000))
        with pytest.raises(MessageSizeTooLargeError):
            await theirs.send_and_wait(topic, bytes(3_000_000))


async def codes(here: World) -> list[str]:
    return [one.fault.code for one in await preflight.look_log(here.home.settings, here.clock)]


async def raised(here: World) -> str:
    with pytest.raises(Fault) as fault:
        await preflight.check_log(here.home)
    assert isinstance(fault.value, Refused | Corrupt), fault.value
    return fault.value.code


async def test_a_log_as_it_must_be_is_taken_and_its_cluster_is_remembered(here: World) -> None:
    assert "kafka.topic-missing" == await raised(here)
    assert ["kafka.topic-missing"] == await codes(here)
    await apply(here)
    while "kafka.topic-missing" in await codes(here):
        pass
    assert [] == await codes(here)

    await preflight.check_log(here.home)
    await preflight.check_log(here.home)

    async with here.home.store.begin() as tx:
        await tx.execute(update(meta).where(meta.c.name == CLUSTER).values(value="another"))
        await advance(tx, "declarations", 0, 0, 7)  # its log is shorter, too: what follows from it is not told
    assert ("kafka.other-cluster", ["kafka.other-cluster"]) == (await raised(here), await codes(here))


async def test_of_another_homes_kafka_no_topic_is_asked_for(here: World) -> None:
    async with here.home.store.begin() as tx:
        await tx.execute(insert(meta).values(name=CLUSTER, value="another"))

    assert ("kafka.other-cluster", ["kafka.other-cluster"]) == (await raised(here), await codes(here))


async def test_a_log_that_is_shorter_than_what_was_read_stops_it(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KafkaLog, "stale_seconds", 0)
    monkeypatch.setattr(here.home.router, "_behind", Behind("declarations", 0))
    await apply(here)
    while "kafka.topic-missing" in await codes(here):
        pass
    async with here.home.store.begin() as tx:
        await advance(tx, "declarations", 0, 0, 7)
    assert ("log.shorter", ["log.shorter"]) == (await raised(here), await codes(here))
    with pytest.raises(Corrupt, match=r"log\.shorter"):
        await here.home.router.route()


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ({"partitions": 3}, "kafka.partitions"),
        ({"max.message.bytes": "1000"}, "kafka.record-size"),
        ({"retention.ms": "60000"}, "kafka.retention"),
        ({"unclean.leader.election.enable": "true"}, "kafka.unclean"),
    ],
)
async def test_a_topic_that_would_lose_something_is_refused(
    here: World, kafka: str, prefix: str, topic: dict[str, Any], code: str
) -> None:
    good = {"retention.ms": "-1", "max.message.bytes": "1064960"}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    settings = good | {name: told for name, told in topic.items() if "." in name}
    made = NewTopic(f"{prefix}declarations", topic.get("partitions", 1), 1, topic_configs=settings)
    await admin.create_topics([made])
    await admin.close()
    while "kafka.topic-missing" in (found := await codes(here)):
        pass
    assert ([code], code) == (found, await raised(here))


async def test_one_copy_is_refused_where_nobody_said_that_it_is_enough(here: World, kafka: str, prefix: str) -> None:
    await Cluster((kafka,), "plaintext").make_topic(f"{prefix}declarations", 1, 1)
    three = here.home.settings.model_copy(update={"kafka_replicas": 3})
    found = [one.fault.code for one in await preflight.look_log(three, here.clock)]
    assert ["kafka.replicas", "kafka.min-insync"] == found
