"""Many at once, also where writers go side by side: each thing happens once, and no state runs backwards."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker.directory.registrar import changing
from broker.flow.deliveries import Delivery, DeliveryState, citizen_lock, load
from connectors.contract import Applied, Rejected
from consent.grant import Scope
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import Reason
from tests.faults.races import breaches, prepare
from tests.world import CAF, CPAM, FAMILY, HEALTH, MINUTE, MOVED, PORTAL, VOICE, YANN, World, world

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)
ROUNDS = 12


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker, clean at the end."""
    async with world(tmp_path, **home_settings) as made:
        yield made
        await made.step()


async def mailbox(here: World) -> list[Delivery]:
    async with here.home.store.read() as tx:
        return await load(tx)


async def together(*waiting: Awaitable[Any]) -> list[Any]:
    """All at once; what is refused, or has to be tried again, is an answer."""
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Refused | Unavailable):
            raise answer
    return answers


async def test_a_delivery_is_leased_to_one_of_those_who_ask_at_once(here: World) -> None:
    await prepare(here, 9)
    here.clock.pass_(MINUTE)

    leased = await together(*(here.inbox(CAF).lease(5) for _ in range(4)))

    got = Counter(delivery.id for one in leased for delivery in one)
    assert {1} == set(got.values())
    assert 9 == len(got)


async def test_a_delivery_is_pulled_by_one_of_those_who_saw_it_at_once(here: World) -> None:
    await prepare(here, 9)
    here.clock.pass_(MINUTE)
    seen = await here.inbox(CAF).due(9)

    pulled = await together(*(here.inbox(CAF).pull_due(seen[first:]) for first in range(4)))

    got = Counter(one.delivery_id for each in pulled for one in each.locked)
    assert {1} == set(got.values())
    assert 9 == len(got) == len(await here.entries(FactKind.RELEASED))


async def test_the_same_end_from_several_connections_is_written_down_once(here: World) -> None:
    prepared = await prepare(here, ROUNDS)
    ids = [delivery.id for _, delivery in prepared]
    await here.inbox(CAF).release(ids)

    for one in ids:
        await together(*(here.inbox(CAF).acknowledge_all({one: Applied()}) for _ in range(4)))

    assert ROUNDS == len(await here.entries(FactKind.APPLIED))


async def test_two_ends_at_once_leave_one_that_is_final(here: World) -> None:
    prepared = await prepare(here, ROUNDS)
    await here.inbox(CAF).release([delivery.id for _, delivery in prepared])

    for _, delivery in prepared:
        inbox = here.inbox(CAF)
        await together(inbox.acknowledge_all({delivery.id: REFUSED}), inbox.acknowledge_all({delivery.id: Applied()}))

    assert {DeliveryState.APPLIED} == {one.state for one in await mailbox(here)}
    assert [] == await here.home.dead_letters.list()


async def test_what_was_applied_is_not_set_back_by_a_release_at_the_same_moment(here: World) -> None:
    prepared = await prepare(here, ROUNDS)
    await here.inbox(CAF).release([delivery.id for _, delivery in prepared])

    for _, delivery in prepared:
        inbox = here.inbox(CAF)
        await together(inbox.release([delivery.id]), inbox.acknowledge_all({delivery.id: Applied()}))

    assert {DeliveryState.APPLIED} == {one.state for one in await mailbox(here)}
    assert [] == await breaches(here)


async def test_a_letter_is_replayed_once_by_whoever_was_first(here: World) -> None:
    prepared = await prepare(here, ROUNDS)
    await here.inbox(CAF).acknowledge_all({delivery.id: REFUSED for _, delivery in prepared})

    for letter in await here.home.dead_letters.list():
        answers = await together(*(here.home.dead_letters.replay(letter.id) for _ in range(3)))
        assert ["dead.replayed"] * 2 == [answer.code for answer in answers if isinstance(answer, Refused)]

    assert ROUNDS == len(await here.entries(FactKind.REPLAYED))


async def test_a_once_consent_is_spent_once_by_two_who_plan_at_once(here: World) -> None:
    for round_ in range(ROUNDS):
        person = YANN | {"birthdate": f"19{40 + round_}-01-01"}
        await here.declare(MOVED, here.moved(person))
        grant = await here.give(CAF, MOVED, FAMILY, ["subject"], person=person, scope=Scope.ONCE)
        await here.declare(MOVED, here.moved(person), route=False)
        await together(
            here.home.router.route(),
            here.give(CAF, MOVED, FAMILY, ["new_address"], person=person, include_latest=True),
            here.home.router.route(),
        )
        (head,) = [one for one in await here.home.consents.of(here.subject(person)) if one.id == grant.grant.id]
        under = [one for one in await mailbox(here) if one.grant_id == grant.grant.id]
        assert {head.once_for} == {one.declaration_id for one in under}
        await here.home.router.route()


async def test_no_consent_is_given_between_the_look_and_the_plan_of_whoever_routes_for_that_citizen(
    here: World,
) -> None:
    """Else neither would see the other: the router not the consent, `include_latest` not the declaration."""
    store = here.home.store
    async with store.begin() as routing:
        await routing.lock_shared([citizen_lock(here.subject())])
        giving = asyncio.create_task(here.give(CAF, MOVED, FAMILY, ["subject"], include_latest=True))
        for _ in range(200):  # far more turns than giving takes when nothing is in its way
            async with store.read() as looking:
                await load(looking)
        assert not giving.done()
    await giving


async def test_nobody_routes_for_a_citizen_whose_consent_is_being_changed(here: World) -> None:
    """Else the router would decide by a consent that is revoked by the time its plan is there."""
    store = here.home.store
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved(), route=False)
    async with store.begin() as changing_it:
        await changing_it.lock_exclusive([citizen_lock(here.subject())])
        routing = asyncio.create_task(here.home.router.route())
        for _ in range(200):  # far more turns than routing takes when nothing is in its way
            async with store.read() as looking:
                await load(looking)
        assert not routing.done()
    assert 1 == await routing


async def test_what_is_declared_does_not_wait_for_who_changes_subscriptions(here: World) -> None:
    """Who ends one may move all of its deliveries, and holds the directory meanwhile."""
    envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    async with here.home.store.begin() as ending:
        await changing(ending)
        declaring = asyncio.create_task(here.home.intake.accept(envelope))
        if ending.dialect.writers > 1:
            await asyncio.wait_for(declaring, 20)
    await declaring


async def test_everybody_at_once_leaves_no_contradiction(here: World) -> None:
    chance = random.Random(3)
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address"])
    for _ in range(ROUNDS):
        begun = [await anything(here, chance) for _ in range(6)]
        await together(*(one for one in begun if one is not None))
        here.clock.pass_(MINUTE + 1)
        await here.step()
        assert [] == await breaches(here)


async def anything(here: World, chance: random.Random) -> Awaitable[Any] | None:
    """What somebody may do now."""
    home, party = here.home, chance.choice((CAF, CPAM))
    grants = [one for one in await home.consents.of(here.subject()) if not one.status.over]
    deliveries = [one for one in await mailbox(here) if one.recipient == party and one.handed_at is not None]
    letters = await home.dead_letters.list()
    what = chance.choice(("declare", "route", "give", "change", "lease", "release", "end", "replay", "rotate"))
    if what == "declare":
        return here.declare(MOVED, here.moved())
    if what == "route":
        return home.router.route()
    if what == "give":
        purpose = FAMILY if party == CAF else HEALTH
        return here.give(party, MOVED, purpose, ["subject"], include_latest=chance.random() < 0.5)
    if what == "change" and grants:
        grant = chance.choice(grants)
        change = chance.choice((home.consents.pause, home.consents.resume, home.consents.revoke))
        return change(grant.id, VOICE)
    if what == "lease":
        return here.inbox(party).lease(5)
    if what == "release" and deliveries:
        return here.inbox(party).release([chance.choice(deliveries).id])
    if what == "end" and deliveries:
        return here.inbox(party).acknowledge_all({chance.choice(deliveries).id: chance.choice((Applied(), REFUSED))})
    if what == "replay" and letters:
        return home.dead_letters.replay(chance.choice(letters).id)
    return home.epochs.rotate_consent() if what == "rotate" else None
