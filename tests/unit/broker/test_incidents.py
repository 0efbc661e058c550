"""Incidents: what a key signed, what left, who sends most, as both databases tell it."""

import pytest

from broker.flow.tracking import Progress
from broker.services import incidents
from broker.services.incidents import PAGE, Told
from schemas.errors import Refused
from schemas.names import Kid
from tests.world import BANK, CAF, FAMILY, MOVED, PORTAL, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]


async def signing_key(here: World) -> Kid:
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    (kid,) = [key.kid for key in directory.signing if key.party == PORTAL and key.valid_to is None]
    return kid


async def test_what_was_signed_left_and_sent_is_told(here: World) -> None:
    home = here.home
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    first = (await here.declare(MOVED, here.moved())).declaration_id
    opened_at = here.clock()
    await here.take(CAF)
    here.clock.pass_(1)
    second = (await here.declare(MOVED, here.moved())).declaration_id
    await here.declare(BANK, here.bank(), route=False)
    kid, since = await signing_key(here), here.clock()

    found = await incidents.signed_by(home, kid)
    assert (PORTAL, [first, second], 1, 1) == (
        found.party,
        [one.declaration for one in found.declarations],
        found.waiting,
        found.persons,
    )
    assert [(Told(CAF, Progress.DONE, opened_at),), (Told(CAF, Progress.SENT, None),)] == [
        one.told for one in found.declarations
    ]
    assert [(CAF, 1)] == [(party.id, count) for party, count in found.opened_by]
    assert [second] == [one.declaration for one in (await incidents.signed_by(home, kid, since)).declarations]

    of = here.subscriptions[CAF, MOVED].id
    left = await incidents.released_under(home, of)
    assert [(first, ("subject", "new_address"), opened_at)] == [
        (one.declaration, one.fields, one.released_at) for one in left.deliveries
    ]
    assert (CAF, 1) == (left.recipient.id, left.persons)
    assert () == (await incidents.released_under(home, of, since)).deliveries
    busiest = await incidents.busiest(home, 1)
    assert (since, [(PORTAL, 1)]) == (busiest.since, [(one.id, count) for one, count in busiest.sources])
    await here.step()


async def test_more_declarations_than_a_page_are_all_told(here: World) -> None:
    for _ in range(PAGE + 1):
        await here.declare(MOVED, here.moved(), route=False)
    await here.home.router.route()
    assert PAGE + 1 == len((await incidents.signed_by(here.home, await signing_key(here))).declarations)


async def test_a_key_and_a_subscription_that_are_none_are_unknown(here: World) -> None:
    for work, code in (
        (incidents.signed_by(here.home, Kid(bytes(32))), "registrar.unknown-key"),
        (incidents.released_under(here.home, bytes(16)), "subscribing.unknown"),
    ):
        with pytest.raises(Refused) as refused:
            await work
        assert code == refused.value.code
