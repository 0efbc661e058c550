"""Members: router processes that share the partitions of a home, and are forgotten when they are gone."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update

from broker.runtime.membership import BEAT_MS, CLAIM_MS, LEASE_MS, PartitionMembership, claim, living
from broker.store.engine import Transaction
from broker.store.tables import meta
from tests.world import World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

PARTITIONS = 8


def member(here: World) -> PartitionMembership:
    return PartitionMembership(here.home.store, here.clock, here.home.entropy)


async def shares(*members: PartitionMembership) -> list[tuple[int, ...]]:
    for one in members:
        await one.beat()
    for one in members:
        await one.beat()
    return [await one.share(PARTITIONS) for one in members]


async def test_one_alone_has_every_partition(here: World) -> None:
    assert tuple(range(PARTITIONS)) == await member(here).share(PARTITIONS)


async def test_several_have_each_partition_once_and_as_many_as_the_others(here: World) -> None:
    taken = await shares(*(member(here) for _ in range(3)))

    assert list(range(PARTITIONS)) == sorted(each for share in taken for each in share)
    assert [2, 3, 3] == sorted(map(len, taken))


async def test_one_more_than_there_are_partitions_has_none(here: World) -> None:
    taken = await shares(*(member(here) for _ in range(PARTITIONS + 1)))

    assert [0] + [1] * PARTITIONS == sorted(map(len, taken))


async def test_one_that_is_forgotten_while_it_beats_is_there_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent for longer than its lease, it comes back while another's beat takes its row away."""
    one, insert_new, forgotten = member(here), Transaction.insert_new, [False]
    await one.beat()

    async def raced(tx: Transaction, table: Table, row: Mapping[str, Any]) -> bool:
        found = await insert_new(tx, table, row)
        if not found and not forgotten[0]:
            forgotten[0] = True
            await tx.execute(delete(meta).where(meta.c.name == row["name"]))
        return found

    monkeypatch.setattr(Transaction, "insert_new", raced)
    await one.beat()

    assert forgotten == [True]
    assert tuple(range(PARTITIONS)) == await one.share(PARTITIONS)


async def test_what_one_leaves_the_other_takes_at_its_next_beat(here: World) -> None:
    first, second = member(here), member(here)
    await shares(first, second)

    await first.leave()
    here.clock.pass_(BEAT_MS)

    assert tuple(range(PARTITIONS)) == await second.share(PARTITIONS)


async def test_one_that_says_nothing_any_more_is_forgotten_after_its_lease_and_not_before(here: World) -> None:
    silent, other = member(here), member(here)
    await shares(silent, other)

    here.clock.pass_(LEASE_MS)
    assert PARTITIONS // 2 == len(await other.share(PARTITIONS))

    here.clock.pass_(BEAT_MS)
    assert PARTITIONS == len(await other.share(PARTITIONS))
    async with here.home.store.read() as tx:
        assert 1 == len((await tx.execute(select(meta).where(meta.c.name.startswith("router/")))).all())


async def test_one_that_was_forgotten_comes_back_with_its_next_word(here: World) -> None:
    silent, other = member(here), member(here)
    await shares(silent, other)
    here.clock.pass_(LEASE_MS + 1)
    await other.beat()

    assert PARTITIONS // 2 == len(await silent.share(PARTITIONS))


async def test_a_member_whose_clock_is_far_ahead_does_not_keep_its_share_for_ever(here: World) -> None:
    ahead = member(here)
    await ahead.beat()
    async with here.home.store.begin() as tx:
        later = str(here.clock() + LEASE_MS + 1)
        await tx.execute(update(meta).where(meta.c.name.startswith("router/")).values(value=later))

    assert PARTITIONS == len(await member(here).share(PARTITIONS))


async def test_what_is_no_time_is_no_member(here: World) -> None:
    await member(here).beat()
    async with here.home.store.begin() as tx:
        await tx.execute(update(meta).where(meta.c.name.startswith("router/")).values(value="soon"))

    async with here.home.store.read() as tx:
        assert () == await living(tx, here.clock())


async def test_between_two_beats_nobody_asks_the_database(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = member(here)
    await one.beat()
    monkeypatch.setattr(PartitionMembership, "beat", None)
    here.clock.pass_(BEAT_MS - 1)

    assert PARTITIONS == len(await one.share(PARTITIONS))


async def test_what_is_claimed_is_one_holders_for_as_long_as_it_says_so(here: World) -> None:
    store, clock = here.home.store, here.clock

    assert await claim(store, "notify/a", "one", clock)
    assert not await claim(store, "notify/a", "other", clock)
    assert await claim(store, "notify/b", "other", clock)
    clock.pass_(CLAIM_MS - 1)
    assert await claim(store, "notify/a", "one", clock)  # said again: another CLAIM_MS from now
    clock.pass_(CLAIM_MS - 1)
    assert not await claim(store, "notify/a", "other", clock)
    clock.pass_(1)
    assert await claim(store, "notify/a", "other", clock)
    assert not await claim(store, "notify/a", "one", clock)


@pytest.mark.databases
async def test_of_two_that_claim_at_once_one_has_it(here: World) -> None:
    had = await asyncio.gather(*(claim(here.home.store, "notify/a", str(number), here.clock) for number in range(6)))

    assert 1 == sum(had)


@pytest.mark.parametrize("value", ["", "other", "other soon", "other 99999999999999"])
async def test_a_claim_that_no_holder_can_have_written_holds_nothing(here: World, value: str) -> None:
    async with here.home.store.begin() as tx:
        await tx.execute(insert(meta), {"name": "claim/notify/a", "value": value})

    assert await claim(here.home.store, "notify/a", "one", here.clock)
