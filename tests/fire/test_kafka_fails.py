"""Brokers of three killed and stopped under load; and what `acks=1` would lose, as a test of the test."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from broker.log import kafka as adapter
from broker.log.kafka import KafkaLog
from schemas.errors import Unavailable
from tests.fire.alive import until
from tests.fire.town import Town, on_three
from tests.services.databases import Databases
from tests.services.three import Three

pytestmark = pytest.mark.asyncio
ROLES = ("router", "router", "connectors", "ledger", "upkeep")


@pytest_asyncio.fixture
async def town(nodes: Three, prefix: str, postgres: Databases, quick: Path) -> AsyncIterator[Town]:
    """A town whose log is on three nodes."""
    async with postgres.migrated() as url, on_three(nodes, prefix, quick, url) as made:
        yield made


async def test_a_follower_killed_then_the_leader_then_a_leader_that_stands_still_cost_no_record(
    nodes: Three, town: Town, kills: Counter[str]
) -> None:
    topic = f"{town.settings.kafka_topic_prefix}declarations"
    running = [town.serve(role) for role in ROLES]
    async with town.opened() as here:
        async with town.declaring(here, here.home.intake.accept, 20) as progress:
            await progress.reached(20)
            follower = next(node for node in nodes.nodes if node is not nodes.leader(topic))
            follower.kill()
            await progress.reached(60)  # it goes on with two
            nodes.whole(topic)

            nodes.leader(topic).kill()
            await progress.reached(100)
            nodes.whole(topic)

            stopped = nodes.leader(topic)
            stopped.stop()
            await progress.reached(140)
            stopped.go_on()
        kills["Kafka"] += 2
        nodes.whole(topic)
        await town.settled(here)
        for one in running:
            one.end()
        await town.check(here)


async def acknowledged_and_lost(nodes: Three, prefix: str) -> tuple[list[bytes], set[bytes]]:
    """Both followers stand still, the leader takes records and is killed. What was acknowledged, and what is missing.

    Each follower's last question waits at the leader: the first of these records may be its answer, the last cannot.
    """
    topic = f"{prefix}declarations"
    await nodes.cluster().make_topic(topic, 1, 3)
    nodes.whole(topic)
    acknowledged = []
    async with KafkaLog(nodes.cluster(), {"declarations": 1}, prefix) as log:
        await log.append("declarations", b"k", b"before", {})
        acknowledged.append(b"before")
        leader = nodes.leader(topic)
        followers = [node for node in nodes.nodes if node is not leader]
        for node in followers:
            node.stop()
        try:
            for value in (b"first", b"second", b"last"):
                await log.append("declarations", b"k", value, {})
                acknowledged.append(value)
        except Unavailable:
            pass
        leader.kill()
        for node in followers:
            node.go_on()

    async def another_leads() -> bool:
        return nodes.leader(topic) is not leader

    await until(another_leads, "another leader")
    async with KafkaLog(nodes.cluster(), {"declarations": 1}, prefix) as log:
        found = {record.value for record in await log.read("declarations", 0, 0, 10)}
    nodes.whole(topic)
    return acknowledged, set(acknowledged) - found


async def test_what_one_node_alone_has_is_not_acknowledged(
    nodes: Three, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "APPEND_SECONDS", 1)
    monkeypatch.setattr(adapter, "CLOSE_SECONDS", 1)

    assert ([b"before"], set()) == await acknowledged_and_lost(nodes, prefix)


async def test_with_acks_one_the_same_trial_loses_what_was_acknowledged(
    nodes: Three, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: quicker by a copy or two, and wrong."""

    def hasty(**told: object) -> AIOKafkaProducer:
        return AIOKafkaProducer(**{**told, "acks": 1, "enable_idempotence": False})

    monkeypatch.setattr(adapter, "AIOKafkaProducer", hasty)

    acknowledged, lost = await acknowledged_and_lost(nodes, prefix)

    assert b"last" in acknowledged
    assert b"last" in lost
