"""Dead letters: kept with stage, reason and attempts; a replay obeys the consent of its day."""

import pytest
from sqlalchemy import select

from broker.flow.deliveries import DeliveryState, Stage, load
from broker.flow.router import TOPIC
from broker.store.tables import dead_letters
from connectors.contract import Applied, Rejected
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeliveryId, Reason
from tests.world import CAF, DAY, FAMILY, MOVED, PORTAL, VOICE, World

pytestmark = pytest.mark.asyncio

BOTH = ["subject", "new_address"]
REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)


async def rejected(here: World) -> tuple[int, DeliveryId]:
    """A declaration that the agency could not take, released before: the letter's number and the delivery."""
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    await here.inbox(CAF).acknowledge_all({delivery.delivery_id: REFUSED})
    return (await here.home.dead_letters.list())[-1].id, delivery.delivery_id


async def state(here: World) -> list[tuple[DeliveryState, Reason | None]]:
    async with here.home.store.read() as tx:
        return [(delivery.state, delivery.reason) for delivery in await load(tx)]


async def refusal(here: World, number: int) -> str:
    """The code with which a replay is refused; nothing is written by it."""
    before = await here.entries()
    with pytest.raises(Refused) as refused:
        await here.home.dead_letters.replay(number)
    assert before == await here.entries()
    return refused.value.code


async def test_a_letter_tells_what_failed_where_and_why_and_no_more(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    number, delivery = await rejected(here)

    letter = await here.home.dead_letters.show(number)

    assert (Stage.DELIVERY, Reason.SYSTEM_REFUSED, "table.refused", 1) == (
        letter.stage,
        letter.reason,
        letter.code,
        letter.attempts,
    )
    assert (delivery, CAF, MOVED, None, None) == (
        letter.delivery,
        letter.recipient,
        letter.event_type,
        letter.place,
        letter.size,
    )


async def test_a_replay_under_the_same_consent_goes_out_and_says_so(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    number, delivery = await rejected(here)

    assert await here.home.dead_letters.replay(number) is None

    (entry,) = await here.entries(FactKind.REPLAYED)
    assert (delivery, Reason.SYSTEM_REFUSED) == (entry.delivery, entry.reason)
    assert [delivery] == [one.delivery_id for one in await here.take(CAF)]
    assert [] == await here.home.dead_letters.list()


async def test_a_replay_under_a_narrowed_consent_carries_less(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    number, _ = await rejected(here)
    await here.home.consents.narrow(grant.grant.id, frozenset({"subject"}), VOICE)

    await here.home.dead_letters.replay(number)

    assert [("subject",)] == [one.disclosed for one in await here.take(CAF)]


async def test_a_replay_under_a_revoked_consent_stays_withheld_and_the_letter_is_done(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    number, _ = await rejected(here)
    await here.home.consents.revoke(grant.grant.id, VOICE)

    assert Reason.REVOKED is await here.home.dead_letters.replay(number)

    assert [(DeliveryState.WITHHELD, Reason.REVOKED)] == await state(here)
    assert [] == await here.take(CAF)
    assert [] == await here.home.dead_letters.list()


async def test_a_replay_under_a_paused_consent_comes_when_the_pause_ends(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    number, delivery = await rejected(here)
    await here.home.consents.pause(grant.grant.id, VOICE)
    assert [(DeliveryState.REJECTED, Reason.SYSTEM_REFUSED)] == await state(here)  # a pause changes nothing dead

    assert Reason.PAUSED is await here.home.dead_letters.replay(number)
    await here.home.consents.resume(grant.grant.id, VOICE)

    assert [delivery] == [one.delivery_id for one in await here.take(CAF)]


async def test_a_replay_asks_the_consents_of_today_a_new_one_too(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, BOTH)
    number, _ = await rejected(here)
    await here.home.consents.revoke(grant.grant.id, VOICE)
    here.clock.pass_(DAY)
    again = await here.give(CAF, MOVED, FAMILY, ["new_address"])

    assert await here.home.dead_letters.replay(number) is None

    (delivery,) = await here.take(CAF)
    assert (again.grant.id, ("new_address",)) == (delivery.grant_id, delivery.disclosed)
    assert [(DeliveryState.WITHHELD, Reason.REVOKED), (DeliveryState.APPLIED, None)] == await state(here)


async def test_an_administration_that_tries_again_itself_gets_only_what_stood_when_it_was_routed(here: World) -> None:
    """It rejected, waited 200 days, and was given something wider since: by nobody's wish does that reach back."""
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    _, delivery = await rejected(here)
    here.clock.pass_(200 * DAY)
    later = await here.give(CAF, MOVED, FAMILY, BOTH)

    assert await here.home.dead_letters.replay_own(CAF, delivery) is None
    (entry,) = await here.entries(FactKind.REPLAYED)
    assert (CAF, delivery) == (entry.actor, entry.delivery)
    assert [(grant.grant.id, ("subject",))] == [(one.grant_id, one.disclosed) for one in await here.take(CAF)]

    await here.home.consents.revoke(grant.grant.id, VOICE)
    await here.declare(MOVED, here.moved())
    assert [later.grant.id] == [one.grant_id for one in await here.take(CAF)]


async def test_an_administration_whose_consent_was_revoked_gets_nothing_under_a_later_one(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    _, delivery = await rejected(here)
    await here.home.consents.revoke(grant.grant.id, VOICE)
    here.clock.pass_(DAY)
    await here.give(CAF, MOVED, FAMILY, BOTH)

    assert Reason.REVOKED is await here.home.dead_letters.replay_own(CAF, delivery)
    assert [] == await here.take(CAF)


async def test_a_replay_after_the_subscription_ended_stays_withheld(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    number, _ = await rejected(here)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, here.clock())

    assert Reason.ENDED is await here.home.dead_letters.replay(number)


async def test_a_replay_wakes_one_delivery_and_not_its_neighbour(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["new_address"])
    await here.declare(MOVED, here.moved())
    for _ in range(2):
        (leased,) = await here.inbox(CAF).lease(1)
        await here.inbox(CAF).acknowledge_all({leased.id: REFUSED})
    one, other = await here.home.dead_letters.list()

    await here.home.dead_letters.replay(other.id)

    assert [DeliveryState.REJECTED, DeliveryState.PENDING] == [found for found, _ in await state(here)]
    assert [one.id] == [letter.id for letter in await here.home.dead_letters.list()]


async def test_a_replay_that_fails_again_is_another_letter(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    first, delivery = await rejected(here)
    await here.home.dead_letters.replay(first)
    await here.inbox(CAF).lease(1)
    await here.inbox(CAF).acknowledge_all({delivery: REFUSED})

    (second,) = await here.home.dead_letters.list()

    assert second.id != first
    assert [first, second.id] == [letter.id for letter in await here.home.dead_letters.list(replayed=True)]
    await here.home.dead_letters.replay(second.id)
    assert 1 == len(await here.take(CAF))


async def test_a_replayed_one_comes_before_what_was_declared_after_it(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    number, dead = await rejected(here)
    await here.declare(MOVED, here.moved())

    await here.home.dead_letters.replay(number)

    assert [dead] == [one.delivery_id for one in await here.take(CAF)]


async def test_a_letter_that_never_was_is_unknown(here: World) -> None:
    assert "dead.unknown" == await refusal(here, 1)
    with pytest.raises(Refused) as refused:
        await here.home.dead_letters.show(1)
    assert ("dead.unknown", "/id") == (refused.value.code, refused.value.pointer)


async def test_a_letter_is_replayed_once(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    number, _ = await rejected(here)
    await here.home.dead_letters.replay(number)

    assert "dead.replayed" == await refusal(here, number)


async def test_what_was_applied_after_all_is_not_replayed(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, BOTH)
    number, delivery = await rejected(here)
    await here.inbox(CAF).acknowledge_all({delivery: Applied(None)})

    assert "dead.applied" == await refusal(here, number)
    assert [] == await here.home.dead_letters.list()


async def test_a_record_that_is_still_wrong_is_refused_again_and_its_letter_waits(here: World) -> None:
    raw = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    await here.home.log.append(TOPIC, b"early", raw, {})
    await here.home.router.route()
    (letter,) = await here.home.dead_letters.list()

    assert "router.not-accepted" == await refusal(here, letter.id)

    assert (Stage.ROUTER, None, "declarations/0/0", len(raw)) == (
        letter.stage,
        letter.delivery,
        letter.place,
        letter.size,
    )
    assert [letter] == await here.home.dead_letters.list()


async def test_a_limit_of_letters_gives_the_oldest(here: World) -> None:
    for noise in (b"one", b"two", b"three"):
        await here.home.log.append(TOPIC, b"anybody", noise, {})
    await here.home.router.route()

    async with here.home.store.read() as tx:
        numbers = [row.id for row in await tx.execute(select(dead_letters.c.id).order_by(dead_letters.c.id))]
    assert numbers[:2] == [letter.id for letter in await here.home.dead_letters.list(limit=2)]
