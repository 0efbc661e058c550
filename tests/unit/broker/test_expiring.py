"""Expiring: told is what nothing outlasts, from the month before, and no end that a rotation gave."""

import pytest

from broker.access.credentials import Scope
from broker.maintenance.expiring import DAYS, Expiring, expiring
from schemas.names import Instant
from tests.world import CAF, CPAM, DAY, PORTAL, World

pytestmark = pytest.mark.asyncio


async def told(here: World) -> list[Expiring]:
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
        tokens = await here.home.credentials.list(tx)
    return expiring(directory, tokens, here.clock())


async def issued(here: World, days: int, *scopes: Scope) -> bytes:
    async with here.home.store.begin() as tx:
        at = here.clock()
        made = await here.home.credentials.issue(tx, CAF, scopes, expires_at=Instant(at + days * DAY), at=at)
    return made.credential.id


async def test_where_everything_lasts_nothing_is_told(here: World) -> None:
    await issued(here, DAYS + 1, Scope.READ)
    assert [] == await told(here)


async def test_a_token_is_told_a_month_before_its_end_and_not_after_it(here: World) -> None:
    await issued(here, DAYS + 1, Scope.READ, Scope.RECEIVE)
    here.clock.pass_(DAY)

    assert [("read", CAF), ("receive", CAF)] == [(one.kind, one.party) for one in await told(here)]
    here.clock.pass_(DAYS * DAY)
    assert [] == await told(here)


async def test_a_token_that_another_outlasts_is_told_for_what_the_other_may_not(here: World) -> None:
    first = await issued(here, 3, Scope.READ, Scope.RECEIVE)
    await issued(here, 300, Scope.READ)
    assert ["receive"] == [one.kind for one in await told(here)]

    async with here.home.store.begin() as tx:
        await here.home.credentials.revoke(tx, first, here.clock())
    assert [] == await told(here)


async def test_the_end_that_a_rotation_gives_is_told_to_nobody(here: World) -> None:
    await here.home.parties.rotate(CAF, 3 * DAY)
    await here.home.parties.rotate(PORTAL, 3 * DAY)
    await here.home.epochs.open_gate(here.home.settings.hpke_suite, 3 * DAY)
    assert [] == await told(here)


async def test_the_last_key_is_told_and_of_two_algorithms_the_one_that_the_policy_wants(here: World) -> None:
    home = here.home
    here.clock.pass_(1)
    await home.parties.demand(CPAM, 4)
    for new in await home.parties.rotate(CPAM, 5 * DAY):  # and the new ones are stolen at once
        async with home.store.begin() as tx:
            await home.registrar.revoke_key(tx, new, here.clock)

    assert ["any", "ed25519", "ml_dsa_44"] == sorted(one.kind for one in await told(here))
    await here.home.parties.demand(CPAM, 2, Instant(here.clock() + 1))
    here.clock.pass_(2)
    assert ["any", "ml_dsa_44"] == sorted(one.kind for one in await told(here))
