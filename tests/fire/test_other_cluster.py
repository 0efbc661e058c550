"""Another Kafka cluster at the old one's address, with a topic of the same name: who runs stops; nothing is mixed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from broker.flow.arrived import Accepted
from broker.flow.offsets import next_offset
from broker.flow.router import TOPIC
from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from schemas.errors import Corrupt, Unavailable
from tests.fire import proxy
from tests.fire.alive import Serving, until
from tests.fire.town import PARTITIONS, ended, found
from tests.services import kafka as servers
from tests.services.databases import Databases
from tests.services.processes import free_port
from tests.world import MOVED, PORTAL, RENNES_ADDRESS, World

pytestmark = pytest.mark.asyncio
MORE = 300
"""Records of the other cluster: more than was ever read of ours, so that every offset is there."""


async def offsets(here: World) -> list[int]:
    async with here.home.store.read() as tx:
        return [await next_offset(tx, TOPIC, number) for number in range(PARTITIONS)]


async def test_a_cluster_that_takes_anothers_place_is_not_read_and_nothing_is_acknowledged_from_it(
    kafka: str, postgres: Databases, quick: Path
) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with servers.behind(port) as ours, servers.behind(port) as theirs:
        async with proxy.kafka(port, _port(theirs)) as between:
            through = Cluster((address,), "plaintext")
            await through.make_topic(TOPIC, PARTITIONS, 1)
            async with KafkaLog(through, {}) as log:
                for number in range(MORE):
                    await log.append(TOPIC, str(number).encode(), b"another home's", {})
            between.upstream = _port(ours)
            between.cut()
            await through.make_topic(TOPIC, PARTITIONS, 1)
            told = {"log": "kafka", "kafka_bootstrap": address, "kafka_security": "plaintext", "kafka_replicas": 1}
            async with postgres.migrated() as url:
                town = await found(quick, database_url=url, **told)
                with ended(town):
                    router, worker = town.serve("router"), town.serve("connectors")
                    async with town.opened() as here:
                        async with town.declaring(here, here.home.intake.accept, 2):
                            pass
                        await town.settled(here)
                        before = await offsets(here)
                        router.mortal = True
                        between.upstream = _port(theirs)
                        between.cut()

                        await until(_over(router), "the router stops")
                        assert "log.other-cluster" in router.words()
                        assert before == await offsets(here)
                        record = here.moved(town.people[0], new_address=RENNES_ADDRESS | {"housenumber": "3"})
                        envelope = await here.home.desk.envelope(PORTAL, MOVED, record)
                        with pytest.raises(Corrupt, match=r"log\.other-cluster"):
                            await _answered(here, envelope)

                        between.upstream = _port(ours)
                        between.cut()
                    async with town.opened() as here:
                        again = town.serve("router")
                        accepted = await _answered(here, envelope)
                        town.accepted[here.subject(town.people[0])].append(accepted.declaration_id)
                        await town.settled(here)
                        for one in (again, worker):
                            await asyncio.to_thread(one.end)
                        await town.check(here)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _over(one: Serving) -> Callable[[], Awaitable[bool]]:
    async def met() -> bool:
        return one.process.poll() is not None

    return met


async def _answered(here: World, envelope: bytes) -> Accepted:
    """Sent again for as long as the log is away."""
    while True:
        try:
            return await here.home.intake.accept(envelope)
        except Unavailable:
            await asyncio.sleep(0.1)
