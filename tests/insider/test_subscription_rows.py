"""A subscription's row is no approval: none that an insider wrote lets an administration hear what was not approved."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from schemas.assurance import SURE
from schemas.names import EventType, PartyId
from tests.insider.watch import Watch
from tests.world import BANK, BREST_ADDRESS, CAF, CPAM, FAMILY, MOVED, PORTAL, RENNES, TOWN

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HERS = ["subject", "new_address"]


@asynccontextmanager
async def inserted(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(CPAM, BANK, FAMILY, ["iban"])
    made = {"id": here.home.entropy(16), "recipient": CPAM}
    await watch.hand.copy("subscriptions", {"id": here.subscriptions[CAF, BANK].id}, **made)
    yield CPAM, BANK
    await watch.hand.remove("subscriptions", id=made["id"])


@asynccontextmanager
async def approved(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(CPAM, BANK, FAMILY, ["iban"])
    async with here.home.store.begin() as tx:
        asked = await here.home.subscribing.ask(
            tx,
            here.home.entropy(16),
            recipient=CPAM,
            event_type=BANK,
            purpose=FAMILY,
            fields=frozenset({"iban"}),
            territories=None,
        )
    word = {"status": "approved", "approved_at": here.clock(), "legal_reference": "CSS, art. L583-3"}
    async with watch.hand.flipped(["subscriptions"], {"id": asked.id}, **word):
        yield CPAM, BANK


@asynccontextmanager
async def widened(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(CAF, BANK, FAMILY, ["joint"])
    where = {"id": here.subscriptions[CAF, BANK].id}
    async with watch.hand.flipped(["subscriptions"], where, fields=json.dumps(["joint"])):
        yield CAF, BANK


@asynccontextmanager
async def everywhere(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(RENNES, MOVED, TOWN, HERS)
    async with watch.hand.flipped(["subscriptions"], {"id": here.subscriptions[RENNES, MOVED].id}, territories=None):
        yield RENNES, MOVED


@asynccontextmanager
async def less_sure(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(CAF, BANK, FAMILY, ["iban"])
    where = {"id": here.subscriptions[CAF, BANK].id}
    async with watch.hand.flipped(["subscriptions"], where, least_assurance=None, least_quality=None):
        yield CAF, BANK


@asynccontextmanager
async def another_type(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(RENNES, BANK, TOWN, ["iban"])
    where = {"id": here.subscriptions[RENNES, MOVED].id}
    word = {"event_type": BANK, "fields": json.dumps(["iban"]), "territories": None}
    async with watch.hand.flipped(["subscriptions"], where, **word):
        yield RENNES, BANK


@asynccontextmanager
async def revived(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    subscription = here.subscriptions[CAF, MOVED].id
    yesterday = {"subscriptions": await watch.hand.rows("subscriptions", id=subscription)}
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, subscription, here.clock())
    await here.step()
    async with watch.hand.instead(yesterday):
        yield CAF, MOVED


@asynccontextmanager
async def unpaused(watch: Watch) -> AsyncIterator[tuple[PartyId, EventType]]:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    subscription = here.subscriptions[CAF, MOVED].id
    async with here.home.store.begin() as tx:
        await here.home.subscribing.pause(tx, subscription, here.clock())
    paused = await watch.hand.rows("paused_subscriptions", subscription=subscription)
    await watch.hand.remove("paused_subscriptions", subscription=subscription)
    yield CAF, MOVED
    await watch.hand.put("paused_subscriptions", paused)


Attack = Callable[[Watch], AbstractAsyncContextManager[tuple[PartyId, EventType]]]
ATTACKS: dict[str, Attack] = {
    "subscription: inserted": inserted,
    "subscription: approved by hand": approved,
    "subscription: fields widened": widened,
    "subscription: everywhere": everywhere,
    "subscription: less sure": less_sure,
    "subscription: another type": another_type,
    "subscription: ended, put back": revived,
    "subscription: unpaused": unpaused,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_subscription_that_was_not_approved_so_hears_nothing_and_the_hand_is_noticed(
    watch: Watch, attack: str
) -> None:
    here = watch.here
    async with ATTACKS[attack](watch) as (thief, declared):
        await watch.begins()
        watch.restart()
        record = here.bank() if declared == BANK else here.moved(new_address=BREST_ADDRESS, new_commune="29019")
        stated = SURE if attack != "subscription: less sure" else None
        await here.home.desk.declare(PORTAL, declared, record, provenance=stated)
        await watch.lets(watch.here.home.router.route())
        await watch.takes(thief)

    await watch.judge(attack)


async def test_an_ended_subscription_put_back_with_what_waited_for_it_opens_nothing(watch: Watch) -> None:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    subscription = here.subscriptions[CAF, MOVED].id
    yesterday = {
        "subscriptions": await watch.hand.rows("subscriptions", id=subscription),
        "deliveries": await watch.hand.rows("deliveries", subscription=subscription),
    }
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, subscription, here.clock())
    await here.step()
    await watch.begins()

    async with watch.hand.instead(yesterday):
        watch.restart()
        await watch.takes(CAF)

    await watch.judge("subscription: ended, put back with its delivery")
