"""Uses: the newest addresses of each credential stay; a process writes what it has not written itself."""

import asyncio

import pytest

from broker.access import uses
from broker.access.credentials import Scope
from broker.access.uses import ADDRESSES, EVERY_MS, Use, Uses
from schemas.names import Instant
from tests.world import CAF, DAY, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]


async def issued(here: World) -> bytes:
    at = here.clock()
    async with here.home.store.begin() as tx:
        until = Instant(at + DAY)
        return (await here.home.credentials.issue(tx, CAF, [Scope.READ], expires_at=until, at=at)).credential.id


async def told(here: World, of: bytes) -> list[Use]:
    async with here.home.store.read() as tx:
        return await uses.of(tx, of)


async def test_of_each_token_the_newest_addresses_stay(here: World) -> None:
    mine, other = await issued(here), await issued(here)
    await here.home.uses.note(other, "198.51.100.1")
    for number in range(ADDRESSES + 2):
        here.clock.pass_(1)
        await here.home.uses.note(mine, f"192.0.2.{number}")

    assert [f"192.0.2.{number}" for number in range(ADDRESSES + 1, 1, -1)] == [
        one.address for one in await told(here, mine)
    ]
    assert ["198.51.100.1"] == [one.address for one in await told(here, other)]
    async with here.home.store.read() as tx:
        assert {mine, other} == set(await uses.last(tx))
    await here.step()


async def test_two_processes_note_one_address_and_the_last_use_never_goes_back(here: World) -> None:
    of, first = await issued(here), here.clock()
    one, two = (Uses(here.home.store, here.clock) for _ in range(2))
    await asyncio.gather(one.note(of, "192.0.2.7"), two.note(of, "192.0.2.7"))
    here.clock.pass_(EVERY_MS)
    await one.note(of, "192.0.2.7")
    late = here.clock()
    here.clock.pass_(-1)
    await Uses(here.home.store, here.clock).note(of, "192.0.2.7")

    assert [Use("192.0.2.7", first, late)] == await told(here, of)
