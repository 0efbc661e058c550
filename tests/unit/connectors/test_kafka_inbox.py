"""The inbox on a topic: an offset is committed when every record before it has come to its end, and not sooner."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, TopicAuthorizationFailedError

from broker.flow.hosted import HostedInbox
from broker.ports import Record
from connectors import kafka as module
from connectors.contract import Applied, Outcome, Pulled
from connectors.kafka import Kafka, KafkaInbox, _Leaving
from schemas import topics
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, PartyId, Reason
from tests.world import CAF, CPAM, FAMILY, MOVED, VOICE, YANN, World, world

pytestmark = pytest.mark.asyncio

PLACE = TopicPartition("deliveries.unefois-caf", 0)


@dataclass
class Read:
    """A record as aiokafka gives it."""

    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass
class Topic:
    """A topic with one reader: gives what it was given, remembers what was committed."""

    records: list[Read] = field(default_factory=list)
    position: int = 0
    committed: list[int] = field(default_factory=list)
    fault: Exception | None = None

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, list[Read]]:
        if self.fault is not None:
            raise self.fault
        taken = self.records[self.position : self.position + max_records]
        self.position += len(taken)
        return {PLACE: taken} if taken else {}

    async def commit(self, offsets: Mapping[TopicPartition, Any]) -> None:
        if self.fault is not None:
            raise self.fault
        self.committed.append(offsets[PLACE].offset)

    def put(self, record: Record, **changes: Any) -> None:
        headers = tuple((record.headers | changes.pop("headers", {})).items())
        self.records.append(Read(len(self.records), changes.get("value", record.value), headers))


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A broker whose CAF may receive the moves of two citizens."""
    async with world(tmp_path) as made:
        for person in (made.moved()["subject"], YANN):
            await made.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
        yield made
        await made.step()


@dataclass
class Broker:
    """The keys' and the ends' side; may be away. `meanwhile`: happens while it answers with keys."""

    inbox: HostedInbox
    away: bool = False
    meanwhile: Callable[[], None] = lambda: None
    asked: list[int] = field(default_factory=list)

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        self._check()
        self.asked.append(len(ids))
        self.meanwhile()
        return await self.inbox.release(ids)

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        self._check()
        return await self.inbox.acknowledge_all(ended)

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """As over HTTP: nothing."""

    def _check(self) -> None:
        if self.away:
            raise Unavailable("client.away", error="503")


def opened(here: World, topic: Topic, party: PartyId = CAF) -> tuple[KafkaInbox, Broker]:
    broker = Broker(here.inbox(party))
    return KafkaInbox(broker, topic, party, here.home.party, here.clock), broker  # type: ignore[arg-type]


async def two(here: World, topic: Topic) -> list[DeliveryId]:
    """Two deliveries of two citizens, relayed."""
    for person in (here.moved()["subject"], YANN):
        await here.declare(MOVED, here.moved(person))
    assert 2 == await here.home.relay.relay(CAF)
    for record in await here.home.log.read(topics.deliveries(CAF), 0, 0, 100):
        topic.put(record)
    return [DeliveryId.parse(dict(one.headers)["ce_id"].decode()) for one in topic.records]


async def test_what_was_asked_for_is_delivered_though_another_reader_gets_its_partition_meanwhile(here: World) -> None:
    topic = Topic()
    both = await two(here, topic)
    inbox, broker = opened(here, topic)
    broker.meanwhile = lambda: inbox.leave([PLACE])

    pulled = await inbox.pull(10)

    assert both == [one.delivery_id for one in await here.open(CAF, pulled)]
    assert {} == await inbox.acknowledge_all(dict.fromkeys(both, Applied(None)))
    assert [] == topic.committed  # which is the other reader's to do


async def test_what_is_read_opens_and_is_committed_when_it_is_acknowledged(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    inbox, _ = opened(here, topic)

    pulled = await inbox.pull(10)

    assert [first, second] == [one.delivery_id for one in await here.open(CAF, pulled)]
    assert [0] == topic.committed
    await inbox.acknowledge_all({second: Applied()})
    assert [0] == topic.committed  # the first is still under way
    await inbox.acknowledge_all({first: Applied()})
    assert [0, 2] == topic.committed
    assert ((), 1) == ((await inbox.pull(10)).locked, len(inbox._committed))


async def test_who_dies_reads_again_and_drops_what_has_ended(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    inbox, _ = opened(here, topic)
    await inbox.pull(10)
    await inbox.acknowledge_all({second: Applied()})

    topic.position = topic.committed[-1]
    again, _ = opened(here, topic)
    assert (first,) == tuple(one.delivery_id for one in (await again.pull(10)).locked)
    await again.acknowledge_all({first: Applied()})
    assert 2 == topic.committed[-1]


async def test_the_same_delivery_twice_is_handed_out_once_and_both_records_are_done(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    topic.records += [Read(2, topic.records[0].value, topic.records[0].headers)]
    inbox, _ = opened(here, topic)

    assert 2 == len((await inbox.pull(10)).locked)
    await inbox.acknowledge_all({first: Applied(), second: Applied()})
    assert 3 == topic.committed[-1]


async def test_a_record_of_before_whose_id_has_no_dashes_is_read(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    told = dict(topic.records[0].headers)
    assert 36 == len(told["ce_id"])
    topic.records[0] = Read(0, topic.records[0].value, tuple((told | {"ce_id": first.hex().encode()}).items()))
    inbox, _ = opened(here, topic)

    assert [first, second] == [one.delivery_id for one in (await inbox.pull(10)).locked]


async def test_revoked_in_between_it_is_withheld_and_done(here: World) -> None:
    topic = Topic()
    await two(here, topic)
    await here.home.consents.revoke_all(here.subject(YANN), VOICE)
    inbox, _ = opened(here, topic)

    pulled = await inbox.pull(10)

    assert ([Reason.REVOKED], 1) == ([one.reason for one in pulled.withheld], len(pulled.locked))
    await inbox.acknowledge_all({pulled.locked[0].delivery_id: Applied()})
    assert 2 == topic.committed[-1]


async def test_a_broker_that_is_away_loses_nothing(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    inbox, broker = opened(here, topic)
    broker.away = True
    for call in (inbox.pull(10), inbox.pull(10)):
        with pytest.raises(Unavailable):
            await call
    assert [] == topic.committed

    broker.away = False
    assert 2 == len((await inbox.pull(10)).locked)
    broker.away = True
    with pytest.raises(Unavailable):
        await inbox.acknowledge_all({first: Applied(), second: Applied()})
    broker.away = False
    assert 2 == len((await inbox.pull(10)).locked)  # once more: the connector finds that it has them
    assert {0} == set(topic.committed)


async def test_what_must_wait_waits_here_and_keeps_no_other_waiting(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    inbox, _ = opened(here, topic)
    await inbox.pull(10)
    await inbox.retry_later(first, "table.away", 5_000)
    await inbox.acknowledge_all({second: Applied()})

    assert () == (await inbox.pull(10)).locked
    here.clock.pass_(5_000)
    assert (first,) == tuple(one.delivery_id for one in (await inbox.pull(10)).locked)
    assert {0} == set(topic.committed)
    await inbox.acknowledge_all({first: Applied()})


async def test_when_too_much_waits_nothing_more_is_read(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD", 1)
    topic = Topic()
    first, _ = await two(here, topic)
    inbox, _ = opened(here, topic)

    assert 1 == len((await inbox.pull(10)).locked)
    await inbox.retry_later(first, "table.away", 5_000)
    assert ((), 1) == ((await inbox.pull(10)).locked, topic.position)
    here.clock.pass_(5_000)
    await inbox.pull(10)
    await inbox.acknowledge_all({first: Applied()})
    assert (1, 2) == (len((await inbox.pull(10)).locked), topic.position)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": b"noise"},
        {"value": None},
        {"headers": {"ce_id": b"00" * 16}},
        {"headers": {"ce_source": b"urn:unefois:caf"}},
        {"headers": {"ce_type": b"fr.unefois.person.died.v1"}},
        {"headers": {"content-type": b"application/vnd.unefois.declaration.v1+avro"}},
        {"headers": {"ce_subject": b"somebody"}},
    ],
)
async def test_a_record_that_is_not_what_it_says_is_passed_over_and_counted(
    here: World, changes: dict[str, Any]
) -> None:
    topic = Topic()
    await two(here, topic)
    value, headers = topic.records[0].value, dict(topic.records[0].headers)
    told = {"value": value, "headers": {}} | changes
    topic.records[0] = Read(0, told["value"], tuple((headers | told["headers"]).items()))
    inbox, _ = opened(here, topic)

    pulled = await inbox.pull(10)

    assert (1, 1) == (inbox.unreadable, len(pulled.locked))
    assert 1 == topic.committed[-1]


async def test_another_agencys_delivery_is_passed_over(here: World) -> None:
    topic = Topic()
    await two(here, topic)
    inbox, broker = opened(here, topic, CPAM)

    assert ((), 2, []) == ((await inbox.pull(10)).locked, inbox.unreadable, broker.asked)


async def test_what_another_has_ended_meanwhile_closes_no_other(here: World) -> None:
    topic = Topic()
    first, second = await two(here, topic)
    await here.inbox(CAF).release([first])
    await here.inbox(CAF).acknowledge(first, Applied())
    inbox, broker = opened(here, topic)

    assert (second,) == tuple(one.delivery_id for one in (await inbox.pull(10)).locked)
    assert [2, 1] == broker.asked
    assert 1 == topic.committed[-1]


async def test_a_fault_of_another_kind_is_not_taken_for_an_end(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic()
    await two(here, topic)
    inbox, broker = opened(here, topic)

    async def release(_: Sequence[DeliveryId]) -> Pulled:
        raise Refused("client.refused", "/deliveries/0", status=409, told="directory.no-sealing-key")

    monkeypatch.setattr(broker, "release", release)
    with pytest.raises(Refused, match=r"client\.refused"):
        await inbox.pull(10)
    assert 2 == len(inbox._lying)


async def test_a_partition_that_goes_to_another_is_forgotten_here(here: World) -> None:
    topic = Topic()
    first, _ = await two(here, topic)
    inbox, _ = opened(here, topic)
    await inbox.pull(10)

    await _Leaving(inbox).on_partitions_revoked([PLACE])

    assert ({}, {}, {}) == (inbox._lying, inbox._read, inbox._open)
    await inbox.acknowledge_all({first: Applied()})
    assert [0] == topic.committed


async def test_a_commit_that_fails_loses_nothing_and_other_errors_are_ours(here: World) -> None:
    topic = Topic()
    await two(here, topic)
    inbox, _ = opened(here, topic)
    pulled = await inbox.pull(10)
    topic.fault = CommitFailedError()
    await inbox.acknowledge_all({one.delivery_id: Applied() for one in pulled.locked})
    topic.fault = TopicAuthorizationFailedError("CANARY")
    with pytest.raises(Refused, match=r"inbox\.kafka-not-allowed") as refused:
        await inbox.pull(10)
    assert "CANARY" not in repr(refused.value)
    topic.fault = TimeoutError()
    with pytest.raises(Unavailable, match=r"inbox\.kafka-away"):
        await inbox.pull(10)
    topic.fault = None
    await inbox.pull(10)
    assert 2 == topic.committed[-1]


async def test_a_password_is_in_no_repr_and_a_bad_certificate_is_told(tmp_path: Path) -> None:
    kafka = Kafka("k1:9093", "sasl_ssl", "caf", "CANARY", ca_file=tmp_path / "none.pem")
    assert "CANARY" not in repr(kafka)
    with pytest.raises(Refused, match=r"inbox\.certificate"):
        kafka.options()
