"""What was released and is not applied when its consent ends: closed for everybody, and still its recipient's to
acknowledge.
"""

from collections.abc import Awaitable, Callable

import pytest

from broker.consents.consents import Recorded
from broker.flow.deliveries import Delivery, DeliveryState, load
from connectors.contract import Applied, Rejected
from schemas.delivery import VerifiedDelivery
from schemas.entry import EntryKind
from schemas.facts import FactKind
from schemas.names import Reason
from tests.world import CAF, DAY, FAMILY, MOVED, VOICE, World

pytestmark = pytest.mark.asyncio

REFUSED = Rejected("table.refused", Reason.SYSTEM_REFUSED)


async def revoked(here: World, given: Recorded) -> None:
    await here.home.consents.revoke(given.grant.id, VOICE)


async def paused(here: World, given: Recorded) -> None:
    await here.home.consents.pause(given.grant.id, VOICE)


async def expired(here: World, _: Recorded) -> None:
    here.clock.pass_(DAY)
    assert 1 == await here.home.consents.expire_due()


async def ended(here: World, _: Recorded) -> None:
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, here.clock())


ENDS: dict[Reason, Callable[[World, Recorded], Awaitable[None]]] = {
    Reason.REVOKED: revoked,
    Reason.PAUSED: paused,
    Reason.EXPIRED: expired,
    Reason.ENDED: ended,
}
BY_REASON = pytest.mark.parametrize("reason", ENDS, ids=lambda reason: reason.value)


async def released(here: World) -> tuple[Recorded, VerifiedDelivery]:
    """A consent, and what its recipient has read under it."""
    given = await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved())
    (delivery,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    return given, delivery


async def only(here: World) -> Delivery:
    async with here.home.store.read() as tx:
        (delivery,) = await load(tx)
    return delivery


async def steps(here: World) -> list[EntryKind]:
    """What anyone reads of the one delivery, in the order of writing."""
    return [entry.kind for entry in await here.sealed() if entry.tag == (await only(here)).tag]


@BY_REASON
async def test_what_was_released_is_closed_with_what_was_not_and_its_release_is_not_forgotten(
    here: World, reason: Reason
) -> None:
    given, delivery = await released(here)
    at = here.clock()
    here.clock.pass_(1)

    await ENDS[reason](here, given)

    found = await only(here)
    assert (DeliveryState.WITHHELD, reason, at) == (found.state, found.reason, found.released_at)
    assert None is found.lease_until
    assert [EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.CLOSED] == await steps(here)
    (told,) = await here.entries(FactKind.WITHHELD)
    assert (delivery.delivery_id, reason) == (told.delivery, told.reason)


@BY_REASON
async def test_what_was_closed_is_not_released_again_nor_handed_out(here: World, reason: Reason) -> None:
    given, delivery = await released(here)
    await ENDS[reason](here, given)
    here.clock.pass_(1)

    again = await here.inbox(CAF).release([delivery.delivery_id])
    pulled = await here.inbox(CAF).pull(10)

    withheld = [(one.delivery_id, one.reason) for one in again.withheld]
    assert ((), [(delivery.delivery_id, reason)]) == (again.locked, withheld)
    assert ((), ()) == (pulled.locked, pulled.withheld)
    assert [EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.CLOSED] == await steps(here)


@BY_REASON
@pytest.mark.parametrize("end", [Applied(None), REFUSED], ids=["applied", "rejected"])
async def test_its_recipient_still_says_what_became_of_it_and_says_it_once(
    here: World, reason: Reason, end: Applied | Rejected
) -> None:
    given, delivery = await released(here)
    await ENDS[reason](here, given)
    here.clock.pass_(1)
    inbox = here.inbox(CAF)

    for _ in range(2):
        assert {} == await inbox.acknowledge_all({delivery.delivery_id: end})

    state, kind = {
        True: (DeliveryState.APPLIED, EntryKind.APPLIED),
        False: (DeliveryState.REJECTED, EntryKind.REJECTED),
    }[isinstance(end, Applied)]
    assert state is (await only(here)).state
    assert [EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.CLOSED, kind] == await steps(here)


@BY_REASON
async def test_what_was_handed_out_and_never_released_cannot_have_been_applied(here: World, reason: Reason) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved())
    (leased,) = await here.inbox(CAF).lease(1)
    await ENDS[reason](here, given)

    told = {}
    for end in (Applied(None), REFUSED):
        told |= {type(end): one.code for one in (await here.inbox(CAF).acknowledge_all({leased.id: end})).values()}

    assert {Applied: "mailbox.not-released", Rejected: "mailbox.not-handed"} == told
    assert [EntryKind.PLANNED, EntryKind.CLOSED] == await steps(here)


async def test_a_resumed_consent_brings_what_was_released_once_more_under_a_new_plan(here: World) -> None:
    given, first = await released(here)
    before = await only(here)
    await paused(here, given)
    await here.home.consents.resume(given.grant.id, VOICE)

    (again,) = await here.take(CAF)

    assert (first.delivery_id, 3) == (again.delivery_id, again.grant_version)
    assert first.ledger_entry != again.ledger_entry
    after = await only(here)
    assert before.tag == after.tag
    assert before.plan_blind != after.plan_blind
    way = [EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.CLOSED]
    assert [*way, EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.APPLIED] == await steps(here)


async def test_what_was_applied_in_a_pause_does_not_come_again(here: World) -> None:
    given, delivery = await released(here)
    await paused(here, given)
    await here.inbox(CAF).acknowledge(delivery.delivery_id, Applied(None))

    await here.home.consents.resume(given.grant.id, VOICE)

    assert [] == await here.take(CAF)
    assert DeliveryState.APPLIED is (await only(here)).state


async def test_an_acknowledgement_of_what_was_released_before_the_pause_counts_after_it_too(here: World) -> None:
    given, delivery = await released(here)
    await paused(here, given)
    await here.home.consents.resume(given.grant.id, VOICE)
    assert DeliveryState.PENDING is (await only(here)).state

    assert {} == await here.inbox(CAF).acknowledge_all({delivery.delivery_id: Applied(None)})

    assert DeliveryState.APPLIED is (await only(here)).state


@pytest.mark.parametrize("reason", [one for one in ENDS if one is not Reason.ENDED], ids=lambda reason: reason.value)
async def test_the_next_one_of_the_citizen_does_not_wait_for_what_was_closed(here: World, reason: Reason) -> None:
    given, _ = await released(here)
    await ENDS[reason](here, given)
    other = await here.give(CAF, MOVED, FAMILY, ["new_address"])
    await here.declare(MOVED, here.moved())

    pulled = await here.inbox(CAF).pull(10)

    assert [other.grant.id] == [one.grant_id for one in pulled.locked]


async def test_what_was_applied_stays_applied_whatever_ends(here: World) -> None:
    given, delivery = await released(here)
    await here.inbox(CAF).acknowledge(delivery.delivery_id, Applied(None))

    for end in (paused, revoked, ended):
        await end(here, given)

    assert [EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.APPLIED] == await steps(here)
