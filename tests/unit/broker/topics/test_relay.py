"""The relay: what waits in a mailbox lies on its agency's topic, sealed, in each citizen's order, and is not lost."""

from typing import Any

import pytest

from broker.flow.deliveries import Delivery, DeliveryState, load
from broker.log.sql import SqlLog
from broker.ports import RECORD_BYTES, Record
from broker.runtime.rounds import Rounds
from broker.topics.relay import Relay, order_key
from connectors.contract import Applied
from schemas import cloudevents, topics
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.facts import FactKind
from schemas.locked import LockedDelivery
from schemas.names import PartyId, Reason
from tests.world import BANK, CAF, CPAM, DAY, ELISE, FAMILY, MOVED, VOICE, YANN, World

pytestmark = pytest.mark.asyncio

TOPIC = topics.deliveries(CAF)
HOUR = 3_600_000


def relay_of(here: World, log: Any = None) -> Relay:
    home = here.home
    parts: dict[str, Any] = {"store": home.store, "rows": home.rows, "mailbox": home.mailbox, "party": home.party}
    return Relay(log=log or here.home.log, repeat_ms=24 * HOUR, clock=here.clock, **parts)


async def on_topic(here: World, topic: str = TOPIC) -> list[Record]:
    return list(await here.home.log.read(topic, 0, 0, 1000))


async def mailbox(here: World) -> list[Delivery]:
    async with here.home.store.read() as tx:
        return await load(tx)


async def allowed(here: World) -> None:
    for person in (ELISE, YANN):
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
    await here.give(CAF, BANK, FAMILY, ["iban"])


async def test_a_record_is_the_sealed_delivery_with_identifiers_around_it_and_nothing_else(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())

    assert 1 == await here.home.relay.relay(CAF)

    (delivery,), (record,) = await mailbox(here), await on_topic(here)
    event = cloudevents.from_kafka(record.headers.items(), record.value)
    locked = LockedDelivery.decode(event.data)
    assert (delivery.id, delivery.locked) == (locked.delivery_id, record.value)
    expected = cloudevents.delivery(
        here.home.party,
        MOVED,
        delivery.schema,
        delivery_id=delivery.id,
        planned_at=delivery.planned_at,
        locked=delivery.locked,
    )
    cloudevents.agree(event, expected)
    assert {f"ce_{name}" for name in ("specversion", "id", "source", "type", "time", "dataschema")} | {
        "content-type"
    } == set(record.headers)
    assert [] == await here.entries(FactKind.RELEASED)
    assert DeliveryState.HANDED is delivery.state


async def test_one_citizens_key_is_the_same_for_an_agency_and_another_for_the_next(here: World) -> None:
    elise, yann = here.subject(ELISE), here.subject(YANN)
    assert order_key(CAF, elise) == order_key(CAF, elise)
    assert 3 == len({order_key(CAF, elise), order_key(CAF, yann), order_key(CPAM, elise)})
    assert 16 == len(order_key(CAF, elise))


async def test_the_next_delivery_of_a_citizen_waits_until_the_one_before_is_acknowledged(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())
    await here.declare(BANK, here.bank())
    await here.declare(MOVED, here.moved(YANN))

    assert 2 == await here.home.relay.relay(CAF)
    assert 0 == await here.home.relay.relay(CAF)
    first = (await mailbox(here))[0]
    await here.inbox(CAF).release([first.id])
    assert 0 == await here.home.relay.relay(CAF)
    await here.inbox(CAF).acknowledge(first.id, Applied())

    assert 1 == await here.home.relay.relay(CAF)
    keys = [record.key for record in await on_topic(here)]
    assert (keys[0], 3, 2) == (keys[2], len(keys), len(set(keys)))


async def test_what_is_on_the_topic_opens_by_its_keys_and_is_acknowledged(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())
    await here.home.relay.relay(CAF)

    (record,) = await on_topic(here)
    locked = LockedDelivery.decode(record.value)
    released = await here.inbox(CAF).release([locked.delivery_id])
    (opened,) = await here.open(CAF, released)

    assert (locked,) == released.locked
    assert "35000" == opened.record["new_address"]["postcode"]
    await here.inbox(CAF).acknowledge(opened.delivery_id, Applied())
    assert DeliveryState.APPLIED is (await mailbox(here))[0].state


async def test_revoked_in_between_a_record_stays_noise(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    await here.home.relay.relay(CAF)
    await here.home.consents.revoke(given.grant.id, VOICE)

    locked = LockedDelivery.decode((await on_topic(here))[0].value)
    released = await here.inbox(CAF).release([locked.delivery_id])

    assert ((), [Reason.REVOKED]) == (released.locked, [one.reason for one in released.withheld])
    assert 0 == await here.home.relay.relay(CAF)


async def test_what_nobody_acknowledges_is_put_there_again_and_parked_in_the_end(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())
    for day in range(here.home.settings.delivery_attempts):
        assert 1 == await here.home.relay.relay(CAF), day
        here.clock.pass_(DAY - 1)
        assert 0 == await here.home.relay.relay(CAF), day
        here.clock.pass_(1)

    assert 0 == await here.home.relay.relay(CAF)
    assert DeliveryState.PARKED is (await mailbox(here))[0].state
    assert 1 == len({record.value for record in await on_topic(here)})


async def test_a_replayed_delivery_comes_to_the_topic_again(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())
    await here.home.relay.relay(CAF)
    (delivery,) = await mailbox(here)
    async with here.home.store.begin() as tx:
        from broker.flow.answers import Rejection

        ends = {delivery.id: Rejection("table.refused", Reason.SYSTEM_REFUSED)}
        await here.home.mailbox.acknowledge(tx, CAF, ends, here.clock())
    (letter,) = await here.home.dead_letters.list()

    assert None is await here.home.dead_letters.replay(letter.id)
    assert 1 == await here.home.relay.relay(CAF)
    assert 2 == len(await on_topic(here))


class Away(SqlLog):
    """Kafka as it is not there: either nothing is known of the topic, or it may have been written."""

    lost = False

    async def _partitions(self, topic: str) -> int:
        if not self.lost:
            raise Unavailable("kafka.topic-missing", topic=topic)
        return 1

    async def _append_all(self, topic: str, records: Any) -> Any:
        await super()._append_all(topic, records)
        raise Unavailable("kafka.timeout")


async def test_a_topic_that_is_missing_hands_nothing_out(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())

    with pytest.raises(Unavailable, match=r"kafka\.topic-missing"):
        await relay_of(here, Away(here.home.store, here.clock, {})).relay(CAF)

    (delivery,) = await mailbox(here)
    assert (DeliveryState.PENDING, 0) == (delivery.state, delivery.attempts)


async def test_an_append_that_failed_spends_no_attempt_and_the_record_comes_again(here: World) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())
    log = Away(here.home.store, here.clock, {})
    log.lost = True

    for _ in range(here.home.settings.delivery_attempts + 1):
        with pytest.raises(Unavailable, match=r"kafka\.timeout"):
            await relay_of(here, log).relay(CAF)

    assert 0 == (await mailbox(here))[0].attempts
    before = len(await on_topic(here))
    assert 1 == await here.home.relay.relay(CAF)
    records = await on_topic(here)
    assert (before + 1, 1) == (len(records), len({record.headers["ce_id"] for record in records}))


async def test_what_no_topic_takes_is_parked_with_its_code_and_the_others_go(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await allowed(here)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    first = (await mailbox(here))[0]
    monkeypatch.setattr("broker.topics.relay.size_of", lambda r: RECORD_BYTES + (bytes(first.locked) == bytes(r.value)))

    assert 1 == await here.home.relay.relay(CAF)

    assert ["relay.too-large"] == [one.code for one in await here.home.dead_letters.list()]
    assert [DeliveryState.PARKED, DeliveryState.HANDED] == [one.state for one in await mailbox(here)]


async def test_only_those_are_served_who_may_and_where_they_can_reach_the_log(here: World) -> None:
    async with here.home.store.begin() as tx:
        users = here.home.topic_users
        await users.allow(tx, CAF, "caf", receives=True, declares=False, at=here.clock())
        await users.allow(tx, CPAM, "cpam", receives=False, declares=True, at=here.clock())

    assert () == await here.home.relay.served()
    log = SqlLog(here.home.store, here.clock, {})
    log.for_others = True
    assert [CAF] == [user.party for user in await relay_of(here, log).served()]


async def test_how_long_a_delivery_waits_for_its_topic_is_told(here: World) -> None:
    log = SqlLog(here.home.store, here.clock, {})
    log.for_others = True
    relay = relay_of(here, log)
    await allowed(here)
    assert None is await relay.waiting_since()
    async with here.home.store.begin() as tx:
        at = here.clock()
        await here.home.topic_users.allow(tx, CAF, "caf", receives=True, declares=False, at=at)
    await here.declare(MOVED, here.moved())
    here.clock.pass_(5_000)
    assert at == await relay.waiting_since()
    await relay.relay(CAF)
    assert None is await relay.waiting_since()


@pytest.mark.parametrize(
    ("principal", "wanted", "code"),
    [
        ("*", {"receives": True}, "topics.principal"),
        ("ANONYMOUS", {"receives": True}, "topics.principal"),
        ("User:caf", {"receives": True}, "topics.principal"),
        ("", {"receives": True}, "topics.principal"),
        ("cpam", {"receives": True}, "topics.principal-taken"),
        ("caf", {}, "topics.nothing"),
    ],
)
async def test_who_is_served_is_one_user_of_kafka_and_nobody_elses(
    here: World, principal: str, wanted: dict[str, bool], code: str
) -> None:
    async with here.home.store.begin() as tx:
        users, choice = here.home.topic_users, {"receives": False, "declares": False, **wanted}
        await users.allow(tx, CPAM, "cpam", receives=True, declares=False, at=here.clock())
        with pytest.raises(Refused) as raised:
            await users.allow(tx, CAF, principal, at=here.clock(), **choice)
        assert code == raised.value.code


async def test_what_is_said_anew_ends_what_was_said_before_and_the_ledger_tells_both(here: World) -> None:
    users = here.home.topic_users
    async with here.home.store.begin() as tx:
        await users.allow(tx, CAF, "caf", receives=True, declares=False, at=here.clock())
        await users.allow(tx, CAF, "caf", receives=True, declares=False, at=here.clock())
    async with here.home.store.begin() as tx:
        await users.allow(tx, CAF, "caf-2", receives=True, declares=True, at=here.clock())
    await here.step()
    async with here.home.store.begin() as tx:
        await users.end(tx, CAF, here.clock())
    async with here.home.store.begin() as tx:
        with pytest.raises(Refused, match=r"topics\.not-served"):
            await users.end(tx, CAF, here.clock())
    assert 2 == len([one for one in await here.entries(FactKind.KEY_REVOKED) if one.recipient == CAF])


# ── rounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Steps:
    """What each administration has left, or what it raises."""

    def __init__(self, **left: Any) -> None:
        self.left = left
        self.asked: list[str] = []

    async def __call__(self, party: PartyId) -> int:
        self.asked.append(party)
        told = self.left[party]
        if isinstance(told, Exception):
            raise told
        self.left[party] = max(0, told - 1)
        return min(1, told)


def rounds_of(steps: Steps) -> Rounds:
    return Rounds(steps, bytes, first_ms=1_000, most_ms=3_000)


async def test_one_in_trouble_waits_longer_each_time_and_keeps_nobody_waiting() -> None:
    steps = Steps(a=Unavailable("kafka.timeout"), b=2)
    rounds = rounds_of(steps)

    moved, troubles = await rounds.round(["a", "b"], 0.0, lambda: False)
    assert (2, ["kafka.timeout"]) == (moved, [one.code for one in troubles])
    tried = []
    for now in range(1, 12):
        steps.asked.clear()
        _, troubles = await rounds.round(["a", "b"], float(now), lambda: False)
        tried += [now] * steps.asked.count("a")
        assert 1 == len(troubles)
    assert [1, 3, 6, 9] == tried

    steps.left["a"] = 0
    assert (0, ()) == await rounds.round(["a", "b"], 100.0, lambda: False)


async def test_one_that_is_wanted_no_more_leaves_its_trouble_behind() -> None:
    rounds = rounds_of(Steps(a=Unavailable("kafka.timeout")))
    await rounds.round(["a"], 0.0, lambda: False)
    assert (0, ()) == await rounds.round([], 0.1, lambda: False)


async def test_a_contradiction_stops_the_round_and_so_does_being_asked_to_stop() -> None:
    with pytest.raises(Corrupt):
        await rounds_of(Steps(a=Corrupt("store.corrupt"))).round(["a"], 0.0, lambda: False)
    steps = Steps(a=5)
    assert (0, ()) == await rounds_of(steps).round(["a"], 0.0, lambda: True)
    assert [] == steps.asked
