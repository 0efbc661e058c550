"""Lookup: answers as of the transaction that asks, and reads the tables once for each version of them."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from broker.directory.lookup import Lookup
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.names import PartyId
from tests.world import BANK, CAF, CPAM, MOVED, PORTAL, RENNES, TOWN, World

pytestmark = pytest.mark.asyncio


async def kids(here: World, party: PartyId) -> int:
    """How many signing keys of a party are listed."""
    async with here.home.store.read() as tx:
        return sum(key.party == party for key in (await here.home.lookup.directory(tx)).signing)


async def test_a_change_counts_from_the_next_transaction(here: World) -> None:
    assert 1 == await kids(here, PORTAL)

    await here.home.parties.rotate(PORTAL, 0)

    assert 2 == await kids(here, PORTAL)


async def test_a_change_of_another_process_counts_too(here: World) -> None:
    stranger = Lookup(here.home.rows)
    async with here.home.store.read() as tx:
        before = await stranger.directory(tx)
    await here.home.parties.rotate(PORTAL, 0)

    async with here.home.store.read() as tx:
        after = await stranger.directory(tx)

    assert len(before.signing) + 1 == len(after.signing)


async def test_what_did_not_change_is_not_read_again(here: World) -> None:
    async with here.home.store.read() as tx:
        one = await here.home.lookup.directory(tx)
    async with here.home.store.read() as tx:
        assert one is await here.home.lookup.directory(tx)


async def test_who_is_in_no_transaction_gets_the_newest_and_what_did_not_change_is_not_read_again(
    here: World,
) -> None:
    stranger = Lookup(here.home.rows)
    before = await stranger.newest(here.home.store)
    assert before is await stranger.newest(here.home.store)

    await here.home.parties.rotate(PORTAL, 0)

    assert len(before.signing) + 1 == len((await stranger.newest(here.home.store)).signing)


async def test_two_readers_on_different_snapshots_each_see_their_own(here: World) -> None:
    async with here.home.store.read() as old:
        before = len((await here.home.lookup.directory(old)).signing)

        # another task changes and reads; this transaction goes on in its own snapshot
        async def change() -> int:
            await here.home.parties.rotate(PORTAL, 0)
            return await kids(here, PORTAL)

        assert 2 == await asyncio.create_task(change())
        assert before == len((await here.home.lookup.directory(old)).signing)
    assert 2 == await kids(here, PORTAL)


async def candidates(here: World, *args: Any) -> set[PartyId]:
    async with here.home.store.read() as tx:
        return {one.recipient for one in await here.home.lookup.candidates(tx, *args)}


async def test_candidates_are_those_for_everywhere_and_those_of_a_territory_that_is_named(here: World) -> None:
    assert {CAF, CPAM} == await candidates(here, MOVED, [])
    assert {CAF, CPAM, RENNES} == await candidates(here, MOVED, ["35238", "44109"])
    assert {CAF} == await candidates(here, BANK, ["35238"])


@pytest.mark.parametrize(
    ("territory", "named", "heard"),
    [
        ("35", "35238", True),
        ("R53", "35238", True),
        ("243500139", "35238", True),
        ("99100", "35238", True),
        ("75056", "75114", True),
        ("75114", "75056", False),
        ("2A004", "20004", True),
        ("44", "35238", False),
        ("00", "00595", True),
    ],
)
async def test_an_area_hears_of_what_lies_in_it(here: World, territory: str, named: str, heard: bool) -> None:
    of = (await here.subscribe(CPAM, MOVED, TOWN, ["subject"], [territory])).id

    async with here.home.store.read() as tx:
        found = {one.id for one in await here.home.lookup.candidates(tx, MOVED, [named])}
        elsewhere = {one.id for one in await here.home.lookup.elsewhere(tx, MOVED, [named])}

    assert (heard, not heard) == (of in found, of in elsewhere)
    assert set() == found & elsewhere


async def test_who_got_the_original_is_a_candidate_wherever_it_is(here: World) -> None:
    assert {CAF, CPAM, RENNES} == await candidates(here, MOVED, ["29019"], frozenset({RENNES}))


async def test_an_ended_subscription_is_no_candidate_and_still_known(here: World) -> None:
    ended = here.subscriptions[CAF, MOVED].id
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, ended, here.clock())

    assert {CPAM} == await candidates(here, MOVED, [])
    async with here.home.store.read() as tx:
        assert ended in await here.home.lookup.subscriptions_by_id(tx)


async def test_a_candidate_is_named_once_and_in_order(here: World) -> None:
    async with here.home.store.read() as tx:
        found = await here.home.lookup.candidates(tx, MOVED, ["35238", "35238"], frozenset({RENNES, CAF}))

    assert sorted({one.recipient for one in found}) == [one.recipient for one in found]


async def test_a_party_is_found_by_its_name_or_unknown(here: World) -> None:
    async with here.home.store.read() as tx:
        assert CAF == (await here.home.lookup.party(tx, CAF)).id
        assert {PORTAL, CAF, CPAM, RENNES, here.home.party} == {one.id for one in await here.home.lookup.parties(tx)}
        with pytest.raises(Refused) as refused:
            await here.home.lookup.party(tx, PartyId("urn:unefois:nobody"))
    assert "directory.unknown-party" == refused.value.code


async def test_what_was_rolled_back_is_not_remembered(here: World) -> None:
    with suppress(ZeroDivisionError):
        async with here.home.store.begin() as tx:
            key = here.home.registrar
            directory = await here.home.lookup.directory(tx)
            (kid,) = [one.kid for one in directory.signing if one.party == PORTAL]
            await key.revoke_key(tx, kid, here.clock)
            raise ZeroDivisionError
    await here.home.parties.rotate(CPAM, 0)

    async with here.home.store.read() as tx:
        listed = [one for one in (await here.home.lookup.directory(tx)).signing if one.party == PORTAL]
        assert [None] == [one.revoked_at for one in listed]
        assert Suite.X25519 == (await here.home.lookup.directory(tx)).current_sealing_key(CAF, here.clock()).suite
