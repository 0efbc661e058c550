"""A network between us and Kafka that loses requests, repeats them, loses their answers, or brings them late."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from broker.flow.router import TOPIC
from broker.log import kafka as adapter
from broker.log.kafka import KafkaLog
from broker.log.kafka_cluster import Cluster
from schemas.errors import Unavailable
from tests.fire import proxy
from tests.fire.alive import until
from tests.fire.proxy import Api, Fate, Proxy
from tests.fire.town import PARTITIONS, ended, found
from tests.services import kafka as servers
from tests.services.databases import Databases
from tests.services.processes import free_port

pytestmark = pytest.mark.asyncio
ROLES = ("router", "router", "connectors", "ledger", "upkeep")


@asynccontextmanager
async def _between(port: int, address: str) -> AsyncIterator[Proxy]:
    async with proxy.kafka(port, int(address.rpartition(":")[2])) as made:
        yield made


@pytest_asyncio.fixture
async def between(kafka: str) -> AsyncIterator[Proxy]:
    """Between everybody and a Kafka node of this test's own, which tells its clients to come here."""
    port = free_port()
    with servers.behind(port) as address:
        async with _between(port, address) as made:
            yield made


def at(between: Proxy) -> Cluster:
    """Kafka, through the proxy."""
    return Cluster((f"127.0.0.1:{between.port}",), "plaintext")


class Weather:
    """Chance, the same in each run: some requests of these kinds meet one of these fates."""

    def __init__(self, seed: int, kinds: set[Api], fates: tuple[Fate, ...], one_in: int) -> None:
        self._chance = random.Random(seed)
        self._kinds = kinds
        self._fates = fates
        self._one_in = one_in

    def __call__(self, kind: int | bytes) -> Fate:
        if kind not in self._kinds or self._chance.randrange(self._one_in):
            return Fate.PASSED
        return self._chance.choice(self._fates)


async def test_a_network_that_loses_repeats_and_does_not_answer_costs_nothing_but_time(
    between: Proxy, postgres: Databases, quick: Path
) -> None:
    await at(between).make_topic(TOPIC, PARTITIONS, 1)
    told = {
        "log": "kafka",
        "kafka_bootstrap": f"127.0.0.1:{between.port}",
        "kafka_security": "plaintext",
        "kafka_replicas": 1,
    }
    async with postgres.migrated() as url:
        town = await found(quick, database_url=url, **told)
        with ended(town):
            running = [town.serve(role) for role in ROLES]
            async with town.opened() as here:
                between.rule = Weather(
                    1,
                    {Api.PRODUCE, Api.FETCH, Api.LIST_OFFSETS, Api.METADATA},
                    (Fate.LOST, Fate.UNANSWERED, Fate.TWICE),
                    3,
                )
                async with town.declaring(here, here.home.intake.accept, 15):
                    pass
                between.rule = proxy.passed
                await town.settled(here)
                for one in running:
                    await asyncio.to_thread(one.end)
                await town.check(here)
    done = Counter(between.done)
    for fate in (Fate.LOST, Fate.UNANSWERED, Fate.TWICE):
        assert done[Api.PRODUCE, fate] + done[Api.FETCH, fate] > 0, done
    assert done.total() > 15, done


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNANSWERED, Fate.TWICE])
async def test_a_record_is_there_once_whatever_becomes_of_its_first_request(between: Proxy, fate: Fate) -> None:
    """The idempotent client sends it again under the same number, and Kafka knows that."""
    await at(between).make_topic("single", 1, 1)
    async with KafkaLog(at(between), {"single": 1}) as log:
        await log.append("single", b"k", b"first", {})
        between.rule = once(Api.PRODUCE, fate)
        assert 1 == (await log.append("single", b"k", b"second", {})).offset
        await log.append("single", b"k", b"third", {})
        found_there = [record.value for record in await log.read("single", 0, 0, 10)]

    assert [(Api.PRODUCE, fate)] == between.done
    assert [b"first", b"second", b"third"] == found_there


async def test_a_request_that_comes_after_its_sender_gave_up_adds_a_record_that_was_never_acknowledged(
    between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hence the rule that readers drop what they have seen: whoever sends again sends the same bytes."""
    monkeypatch.setattr(adapter, "APPEND_SECONDS", 1)
    monkeypatch.setattr(adapter, "CLOSE_SECONDS", 1)
    await at(between).make_topic("single", 1, 1)
    async with KafkaLog(at(between), {"single": 1}) as log:
        await log.append("single", b"k", b"first", {})
        between.rule = once(Api.PRODUCE, Fate.HELD)
        with pytest.raises(Unavailable) as raised:
            await log.append("single", b"k", b"second", {})
        assert "kafka.timeout" == raised.value.code
        await log.append("single", b"k", b"second", {})
        assert 2 == await log.end("single", 0)

        between.let_go.set()

        async def late_one_is_there() -> bool:
            return await log.end("single", 0) == 3

        await until(late_one_is_there, "the request that was held")
        found_there = [record.value for record in await log.read("single", 0, 0, 10)]

    assert [b"first", b"second", b"second"] == found_there


async def test_a_reader_whose_answer_is_held_up_goes_on_where_it_was(between: Proxy) -> None:
    await at(between).make_topic("single", 1, 1)
    async with KafkaLog(at(between), {"single": 1}) as log:
        for number in range(5):
            await log.append("single", b"k", str(number).encode(), {})
        for fate in (Fate.LOST, Fate.UNANSWERED, Fate.TWICE):
            between.rule = once(Api.FETCH, fate)
            values = [record.value for offset in range(5) for record in await log.read("single", 0, offset, 1)]
            assert [b"0", b"1", b"2", b"3", b"4"] == values
    assert 3 == len(between.done)


def once(api: Api, fate: Fate) -> proxy.Rule:
    """The next request of a kind, and no other."""
    left = [api]

    def rule(kind: int | bytes) -> Fate:
        if left and kind == left[0]:
            left.clear()
            return fate
        return Fate.PASSED

    return rule
