"""Publishers: who declares where nobody says it."""

import pytest

from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.services.publishers import publisher_of
from schemas.errors import Refused
from schemas.names import EventType, PartyId
from tests.world import BANK, CAF, MOVED, PORTAL, World

pytestmark = pytest.mark.asyncio
BORN = EventType("fr.unefois.person.born.v1")
TOWN_HALL = PartyId("urn:unefois:town-hall")


async def enrol(here: World, *types: EventType) -> None:
    party = Party(TOWN_HALL, "Mairie", "town", PartyKind.ADMINISTRATION, "1", "c", "un an", here.clock())
    await here.home.parties.enrol(Enrolment(party, 1, None, types))


async def test_who_is_named_is_taken_and_judged_later(here: World) -> None:
    assert CAF == await publisher_of(here.home, MOVED, CAF)


async def test_the_only_one_who_may_is_chosen(here: World) -> None:
    assert PORTAL == await publisher_of(here.home, MOVED, None)


async def test_between_two_nobody_is_chosen(here: World) -> None:
    await enrol(here, MOVED)

    with pytest.raises(Refused) as refused:
        await publisher_of(here.home, MOVED, None)

    assert ("publishers.several", f"{PORTAL}, {TOWN_HALL}") == (refused.value.code, refused.value.details["parties"])


async def test_where_nobody_may_nobody_is_chosen(here: World) -> None:
    with pytest.raises(Refused, match=r"publishers\.nobody"):
        await publisher_of(here.home, BORN, None)


async def test_a_right_that_ended_does_not_count(here: World) -> None:
    await enrol(here, MOVED)
    async with here.home.store.begin() as tx:
        await here.home.registrar.end_publishing(tx, TOWN_HALL, MOVED, here.clock)
    here.clock.pass_(1)

    assert PORTAL == await publisher_of(here.home, MOVED, None)


async def test_a_party_that_cannot_sign_any_more_does_not_count(here: World) -> None:
    await enrol(here, BANK)
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    (key,) = [each for each in directory.signing if each.party == TOWN_HALL]
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, key.kid, here.clock)
    here.clock.pass_(1)

    assert PORTAL == await publisher_of(here.home, BANK, None)
