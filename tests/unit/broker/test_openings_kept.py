"""Openings in the database: whose they are, in which order they come, and what is left when some of them are gone."""

import os
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from broker.ledger.openings import PERIOD_MS, Openings, period_of
from broker.ports import KeyKind
from broker.store.tables import ledger_openings
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import Instant, LeafHash
from tests.memory import MemoryKeys
from tests.world import YANN, World, world

pytestmark = pytest.mark.asyncio


async def viewed(here: World, *times: int, person: dict[str, object] | None = None) -> list[LeafHash]:
    """An entry about a person at each of these instants."""
    leaves = []
    async with here.home.store.begin() as tx:
        for at in times:
            about = here.subject(person) if person else here.subject()
            leaves.append(here.home.recorder.record(tx, FactKind.VIEWED, Instant(at), about=about))
    return leaves


def anew(here: World) -> Openings:
    """As another process has them, which has read no key yet."""
    return Openings(here.home.keys, here.home.entropy, here.home.openings._secret)


async def of_elise(here: World, openings: Openings, *kinds: str) -> list[LeafHash]:
    async with here.home.store.read() as tx:
        return [one.leaf for one in await openings.of_subject(tx, here.subject(), *kinds)]


async def test_a_citizens_are_theirs_alone_and_the_newest_comes_first(here: World) -> None:
    first, second = await viewed(here, 3_000, 2_000)
    (other,) = await viewed(here, 4_000, person=YANN)

    assert [second, first] == await of_elise(here, anew(here))
    assert [second, first] == await of_elise(here, anew(here), "viewed", "refused")
    assert [] == await of_elise(here, anew(here), "refused")
    async with here.home.store.read() as tx:
        found = await anew(here).of_leaf(tx, other)
        assert found is not None
        assert (other, FactKind.VIEWED, 4_000) == (found.entry.leaf_hash(), found.facts.kind, found.facts.at)


async def test_the_key_of_a_period_is_made_once_and_is_another_for_the_next(here: World) -> None:
    before = set(here.home.keys.names(KeyKind.OPENING))
    last = PERIOD_MS * 1_000 - 1
    here.clock.now = Instant(last + 1)
    await viewed(here, last, last - 1, last + 1)

    made = set(here.home.keys.names(KeyKind.OPENING)) - before
    assert {str(period_of(Instant(last))), str(period_of(Instant(last)) + 1)} == made
    assert 2 == len({here.home.keys.read(KeyKind.OPENING, name) for name in made})


async def test_what_a_destroyed_period_held_is_skipped_and_the_rest_opens(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        old, older = await viewed(here, 5 * PERIOD_MS, 5 * PERIOD_MS - 1)
        here.home.keys.destroy(KeyKind.OPENING, "5")

        assert [older] == await of_elise(here, anew(here))
        async with here.home.store.read() as tx:
            assert None is await anew(here).of_leaf(tx, old)
            assert None is not await anew(here).of_leaf(tx, older)


async def test_what_was_deleted_is_skipped_and_the_rest_opens(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        first, second = await viewed(here, 1_000, 2_000)
        async with here.home.store.begin() as tx:
            await tx.execute(delete(ledger_openings).where(ledger_openings.c.leaf == first))

        assert [second] == await of_elise(here, anew(here))
        async with here.home.store.read() as tx:
            assert None is await anew(here).of_leaf(tx, first)
            told = {leaf for leaf, _ in await anew(here).all(tx)}
        assert (False, True) == (first in told, second in told)


async def test_a_damaged_one_is_not_skipped_but_told(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        (leaf,) = await viewed(here, 1_000)
        async with here.home.store.begin() as tx:
            await tx.execute(
                update(ledger_openings).where(ledger_openings.c.leaf == leaf).values(sealed=bytes(60), kind="refused")
            )

        with pytest.raises(Corrupt, match=r"openings\.damaged"):
            await of_elise(here, anew(here))
        async with here.home.store.read() as tx:
            with pytest.raises(Corrupt, match=r"openings\.damaged"):
                await anew(here).of_leaf(tx, leaf)


async def test_one_that_was_moved_to_another_person_opens_for_nobody(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        (leaf,) = await viewed(here, 1_000, person=YANN)
        async with here.home.store.begin() as tx:
            await tx.execute(
                update(ledger_openings).where(ledger_openings.c.leaf == leaf).values(subject=here.subject())
            )

        with pytest.raises(Corrupt, match=r"openings\.damaged"):
            await of_elise(here, anew(here))


async def test_one_that_was_moved_to_another_entry_opens_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        first, second = await viewed(here, 1_000, 1_000)
        async with here.home.store.begin() as tx:
            where = ledger_openings.c.leaf == second
            other = (await tx.execute(select(ledger_openings.c.sealed).where(where))).scalar_one()
            await tx.execute(update(ledger_openings).where(ledger_openings.c.leaf == first).values(sealed=other))

        with pytest.raises(Corrupt, match=r"openings\.damaged"):
            await of_elise(here, anew(here))


async def test_those_of_many_leaves_come_in_one_question(here: World) -> None:
    leaves = await viewed(here, *range(1_000, 1_010))
    entries = {entry.leaf_hash(): entry for entry in await here.sealed()}

    async with here.home.store.read() as tx:
        found = await anew(here).of_leaves(tx, {leaf: entries[leaf] for leaf in leaves[:7]})

    assert set(leaves[:7]) == set(found)
    assert list(range(1_000, 1_007)) == sorted(one.facts.at for one in found.values())


async def test_two_processes_that_need_a_new_period_at_once_have_one_key() -> None:
    keys = MemoryKeys()
    mine, theirs = [Openings(keys, os.urandom, bytes(32)) for _ in range(2)]
    read, held = keys.read, []

    def late(kind: KeyKind, name: str) -> bytes:
        """Between the look of one and its writing the other has written."""
        if not held:
            held.append(True)
            theirs._period(7)
            raise Refused("keys.missing", name=name)
        return read(kind, name)

    keys.read = late  # type: ignore[method-assign]

    assert mine._period(7) == theirs._period(7)
    assert ["7"] == list(keys.names(KeyKind.OPENING))
