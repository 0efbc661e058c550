"""Sources and agencies served by topics, while who serves them is killed -9, and Kafka's nodes too."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from broker.flow.router import TOPIC
from broker.log.kafka_cluster import Cluster
from connectors.kafka import Kafka
from schemas import topics as names
from tests.fire.alive import Serving, until
from tests.fire.topical import TOPICS, served
from tests.fire.town import PARTITIONS, Town, ended, found, on_three
from tests.services.databases import Databases
from tests.services.three import Three
from tests.world import CPAM, PORTAL

pytestmark = pytest.mark.asyncio
MARKS = (
    *(("intake", mark) for mark in ("intake.written-down", "kafka.append", "kafka.appended", "intake.appended")),
    *(("intake", mark) for mark in ("inlet.answered", "inlet.taken")),
    *(("relay", mark) for mark in ("mailbox.handed-out", "relay.leased", "kafka.append", "kafka.appended")),
    *(("relay", mark) for mark in ("relay.appended", "mailbox.held")),
)
"""Where a process of a role dies."""


@pytest_asyncio.fixture
async def single(kafka: str, prefix: str, postgres: Databases, quick: Path) -> AsyncIterator[Town]:
    """A town on one node, with the topics of a source and of an agency."""
    cluster = Cluster((kafka,), "plaintext")
    for topic, partitions in ((TOPIC, PARTITIONS), *((topic, 1) for topic in TOPICS)):
        await cluster.make_topic(prefix + topic, partitions, 1)
    told = {"log": "kafka", "kafka_bootstrap": kafka, "kafka_security": "plaintext", "kafka_replicas": 1}
    async with postgres.migrated() as url:
        town = await found(quick, database_url=url, kafka_topic_prefix=prefix, **told)
        with ended(town):
            yield town


async def dead(one: Serving) -> None:
    """Return once it has died, as it was told to."""

    async def met() -> bool:
        return one.process.poll() is not None

    await until(met, f"the end of {one.told.stem}")
    assert -9 == one.process.returncode, one.words()


async def test_relays_and_intakes_killed_at_each_of_their_marks_lose_nothing_and_repeat_nothing(
    single: Town, kafka: str, prefix: str, kills: Counter[str]
) -> None:
    running = [single.serve(role) for role in ("router", "connectors", "ledger")]
    where = Kafka(kafka, "plaintext", prefix=prefix)
    async with single.opened() as here, served(single, here, Cluster((kafka,), "plaintext"), where) as topical:
        async with single.declaring(here, topical.accept, 4):
            for role, mark in MARKS:
                await dead(single.serve(role, crash=mark))
                kills[mark] += 1
            running += [single.serve(role) for role in ("intake", "relay", "relay")]
        await single.settled(here)
        for one in running:
            one.end()
        await single.check(here)
        topical.check(here)


async def test_nodes_that_are_killed_under_the_relay_and_the_intake_cost_no_delivery_and_no_receipt(
    nodes: Three, prefix: str, postgres: Databases, quick: Path, kills: Counter[str]
) -> None:
    async with postgres.migrated() as url, on_three(nodes, prefix, quick, url) as town:
        for topic in TOPICS:
            await nodes.cluster().make_topic(prefix + topic, 1, 3)
        nodes.whole(*(prefix + topic for topic in TOPICS))
        running = [
            town.serve(role) for role in ("router", "connectors", "ledger", "upkeep", "intake", "relay", "relay")
        ]
        told = {"ca_file": nodes.ca_file, "prefix": prefix}
        where = Kafka(",".join(nodes.bootstrap), "sasl_ssl", "admin", nodes.passwords["admin"], **told)
        async with town.opened() as here, served(town, here, nodes.cluster(), where) as topical:
            async with town.declaring(here, topical.accept, 8) as progress:
                for count, topic in ((10, names.deliveries(CPAM)), (30, names.declarations(PORTAL))):
                    await progress.reached(count)
                    nodes.leader(prefix + topic).kill()
                    kills["Kafka"] += 1
                    await progress.reached(count + 10)  # it goes on with two
                    nodes.whole(*(prefix + topic for topic in TOPICS))
            await town.settled(here)
            for one in running:
                one.end()
            await town.check(here)
            topical.check(here)
