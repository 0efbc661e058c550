"""Rights as `unefois topics apply` gives them, on three nodes that refuse strangers: each may its own, and no more."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from confluent_kafka import KafkaError, Producer

from broker.flow.router import TOPIC
from broker.log.kafka import KafkaLog
from broker.runtime.hosting import agency_of
from broker.setup import preflight
from broker.setup.opening import cluster_of
from broker.setup.roles import EVERYTHING_OF_THE_LOG, ProcessRole, log_rights
from broker.topics import plan as topic_plan
from broker.topics.plan import shape_of
from broker.topics.relay import Relay
from connectors.kafka import Kafka, KafkaInbox
from schemas import topics
from schemas.errors import Refused, Unavailable
from tests.services.three import Three
from tests.world import CAF, CPAM, DAY, FAMILY, MOVED, PORTAL, World, world

pytestmark = pytest.mark.asyncio

USERS = ("caf", "cpam", "portal", "api", "router", "relay", "intake", "stranger")


@pytest_asyncio.fixture
async def here(nodes: Three, prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """A home whose topics and rights were planned and applied by the administrator."""
    for user in USERS:
        nodes.enlist(f"{prefix}{user}")
    principals = {role: f"{prefix}{role}" for role in ("api", "router", "relay", "intake")}
    chosen: dict[str, Any] = {**nodes.settings("admin"), "kafka_topic_prefix": prefix, "kafka_principals": principals}
    async with world(tmp_path, **chosen) as made:
        async with made.home.store.begin() as tx:
            for party, receives in ((CAF, True), (CPAM, True), (PORTAL, False)):
                name, at = f"{prefix}{party.rpartition(':')[2]}", made.clock()
                await made.home.topic_users.allow(tx, party, name, receives=receives, declares=not receives, at=at)
        await applied(made)
        yield made


async def plan(here: World) -> topic_plan.Looked:
    settings = here.home.settings
    return await topic_plan.plan(here.home.store, here.home.rows, cluster_of(settings), shape_of(settings))


async def applied(here: World) -> None:
    """Until nothing differs: what was made takes a moment to be known to every node."""
    while (looked := await plan(here)).steps:
        assert not topic_plan.left(looked.steps), looked.steps
        with suppress(Unavailable):  # what is there already, only not everywhere, cannot be made twice
            await topic_plan.apply(cluster_of(here.home.settings), looked)


def may_write(nodes: Three, user: str, topic: str) -> bool:
    """Asked with a client that we did not write."""
    told: list[KafkaError | None] = []
    producer = Producer({**nodes.client(user), "message.timeout.ms": 20_000})
    producer.produce(topic, b"value", b"key", partition=0, on_delivery=lambda error, _: told.append(error))
    producer.flush(30)
    (error,) = told
    assert error is None or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, error
    return error is None


async def may_read(nodes: Three, user: str, topic: str) -> bool:
    """Of a topic that holds something in its first partition."""
    async with KafkaLog(nodes.cluster(user), {}, "") as log:
        try:
            return bool(await log.read(topic, 0, 0, 1))
        except Unavailable as fault:
            if fault.code != "kafka.not-allowed":
                raise
            return False


async def test_each_may_do_its_own_and_nothing_of_anothers(here: World, nodes: Three, prefix: str) -> None:
    caf, cpam, declared = (
        prefix + name for name in (topics.deliveries(CAF), topics.deliveries(CPAM), topics.declarations(PORTAL))
    )
    log, receipts = prefix + TOPIC, prefix + topics.receipts(PORTAL)
    readers = {"caf": {caf}, "cpam": {cpam}, "portal": {receipts}, "router": {log}, "intake": {declared}}
    writers = {"portal": {declared}, "relay": {caf, cpam}, "api": {log}, "intake": {log, receipts}}
    everything = (caf, cpam, declared, log, receipts)
    assert all(may_write(nodes, "admin", topic) for topic in everything)
    for user in USERS:
        name = f"{prefix}{user}"
        assert readers.get(user, set()) == {topic for topic in everything if await may_read(nodes, name, topic)}, user
        assert writers.get(user, set()) == {topic for topic in everything if may_write(nodes, name, topic)}, user

    theirs = AIOKafkaConsumer(cpam, **nodes.cluster(f"{prefix}caf").options(), group_id=cpam)
    try:
        with pytest.raises((GroupAuthorizationFailedError, TopicAuthorizationFailedError)):
            await theirs.start()
    finally:
        await theirs.stop()


async def test_a_delivery_goes_by_the_relays_user_to_the_agencys_user(here: World, nodes: Three, prefix: str) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    home = here.home
    parts: dict[str, Any] = {
        "store": home.store,
        "rows": home.rows,
        "mailbox": home.mailbox,
        "party": home.party,
        "clock": here.clock,
    }
    async with KafkaLog(nodes.cluster(f"{prefix}relay"), {}, prefix) as log:
        assert 1 == await Relay(log=log, repeat_ms=DAY, **parts).relay(CAF)
    known = nodes.cluster(f"{prefix}caf")
    told = {"ca_file": known.ca_file, "prefix": prefix}
    where = Kafka(",".join(nodes.bootstrap), "sasl_ssl", known.username, known.password, **told)
    async with KafkaInbox.open(here.inbox(CAF), await agency_of(home, CAF), where, here.clock) as inbox:
        while not (pulled := await inbox.pull(10)).locked:
            pass
    assert 1 == len(await here.open(CAF, pulled))


async def test_a_right_that_is_missing_stops_the_relay_and_nothing_is_lost(
    here: World, nodes: Three, prefix: str
) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    home = here.home
    parts: dict[str, Any] = {
        "store": home.store,
        "rows": home.rows,
        "mailbox": home.mailbox,
        "party": home.party,
        "clock": here.clock,
    }
    for user, code in (("stranger", "kafka.not-allowed"), ("caf", "kafka.not-allowed")):
        async with KafkaLog(nodes.cluster(f"{prefix}{user}"), {}, prefix) as log:
            with pytest.raises(Unavailable) as fault:
                await Relay(log=log, repeat_ms=DAY, **parts).relay(CAF)
            assert code == fault.value.code
    async with KafkaLog(nodes.cluster(f"{prefix}relay"), {}, prefix) as log:
        assert 1 == await Relay(log=log, repeat_ms=DAY, **parts).relay(CAF)


async def test_who_is_served_no_more_loses_its_rights_and_no_topic_is_deleted(
    here: World, nodes: Three, prefix: str
) -> None:
    topic = prefix + topics.deliveries(CAF)
    async with here.home.store.begin() as tx:
        await here.home.topic_users.end(tx, CAF, here.clock())
    await applied(here)
    assert may_write(nodes, "admin", topic)
    while await may_read(nodes, f"{prefix}caf", topic):
        pass  # an access list takes a moment to reach every node
    assert 4 == (await nodes.cluster().topic(topic)).partitions


async def test_bad_surroundings_are_told_one_by_one(here: World, nodes: Three, prefix: str) -> None:
    async def codes(**changes: Any) -> list[str]:
        settings = here.home.settings.model_copy(update=changes)
        return [one.fault.code for one in await preflight.look_log(settings, here.clock)]

    assert [] == await codes()
    password = here.home.settings.kafka_password
    assert ["kafka.credential"] == await codes(kafka_username="nobody")
    assert ["kafka.speaks-tls"] == await codes(kafka_security="plaintext", kafka_username=None, kafka_password=None)
    assert ["kafka.speaks-tls"] == await codes(kafka_security="sasl_plaintext")
    assert ["kafka.asks-credential"] == await codes(kafka_security="ssl", kafka_username=None, kafka_password=None)
    assert ["kafka.tls"] == await codes(kafka_ca_file=None)
    assert ["kafka.not-allowed"] == await codes(
        kafka_username=f"{prefix}stranger", kafka_password=type(password)(nodes.passwords[f"{prefix}stranger"])
    )
    router = {
        "kafka_username": f"{prefix}router",
        "kafka_password": type(password)(nodes.passwords[f"{prefix}router"]),
    }
    assert ["kafka.may-not"] == await codes(**router)  # all that is asked for here: a router may not write
    as_router = here.home.settings.model_copy(update=router)
    assert () == await preflight.look_log(as_router, here.clock, log_rights(ProcessRole.ROUTER))
    assert ["kafka.topic-missing"] == await codes(kafka_topic_prefix="none.")
    async with KafkaLog(nodes.cluster(f"{prefix}router"), {TOPIC: 1}, prefix, 3) as log:
        assert () == await log.look(TOPIC, frozenset({"read", "describe"}))
        assert isinstance((await log.look(TOPIC, EVERYTHING_OF_THE_LOG))[0], Refused)
