"""Upkeep: what is due happens at its time, not before, and once."""

import pytest
from sqlalchemy import insert

from broker.maintenance.upkeep import Turn
from broker.ports import KeyKind
from broker.store.tables import consent_epochs, gate_epochs
from consent.tables import consent_keys
from schemas.facts import FactKind
from tests.signed import resign
from tests.world import CAF, DAY, FAMILY, MOVED, World

pytestmark = pytest.mark.asyncio

IDLE = Turn(expired=0, finished=0, gates_opened=0, gates_destroyed=0, rewrapped=None, pruned=0)


async def turn(here: World) -> Turn:
    """One turn."""
    return await here.home.upkeep.turn()


async def test_on_an_ordinary_day_nothing_is_due(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])

    assert IDLE == await turn(here)


async def test_grants_end_at_their_date(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    here.clock.pass_(DAY - 1)
    assert 0 == (await turn(here)).expired
    here.clock.pass_(1)
    assert 1 == (await turn(here)).expired


async def test_the_consent_epoch_turns_when_it_has_served_its_days(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    days = here.home.settings.consent_epoch_days
    here.clock.pass_(days * DAY - 1)
    assert (await turn(here)).rewrapped is None
    here.clock.pass_(1)
    assert 1 == (await turn(here)).rewrapped
    assert (await turn(here)).rewrapped is None


async def test_a_rotation_that_was_interrupted_goes_on_at_the_next_turn(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.epochs.open_consent()  # and then the machine died

    assert 1 == (await turn(here)).rewrapped
    assert {"2"} == set(here.home.keys.names(KeyKind.CONSENT_EPOCH))
    assert IDLE == await turn(here)


async def test_a_rotation_with_nothing_to_wrap_is_told_as_one(here: World) -> None:
    here.clock.pass_(here.home.settings.consent_epoch_days * DAY)

    assert 0 == (await turn(here)).rewrapped


async def test_a_home_without_any_epoch_gets_one_of_each(here: World) -> None:
    async with here.home.store.begin() as tx:
        for table in (consent_keys, consent_epochs, gate_epochs):
            await tx.execute(table.delete())

    done = await turn(here)

    assert (0, 1, 0) == (done.finished, done.gates_opened, done.rewrapped)
    assert [] != await here.home.epochs.gate_epochs()
    for _, name in await here.home.epochs.unknown():  # the keys of before are nobody's now, and nobody's to destroy
        await here.home.epochs.destroy_unknown(name)


async def test_the_gate_key_turns_with_its_overlap_and_ends_with_its_retention(here: World) -> None:
    settings = here.home.settings
    (first,) = await here.home.epochs.gate_epochs()
    start, every, over = here.clock(), settings.gate_epoch_days, settings.gate_retention_days
    opened = 0
    for day in sorted({*range(every, over + 1, every), over}):
        here.clock.pass_(start + day * DAY - here.clock() - 1)
        assert (0, 0) == ((done := await turn(here)).gates_opened, done.gates_destroyed)
        here.clock.pass_(1)
        done = await turn(here)
        assert (day % every == 0, day == over) == (done.gates_opened, done.gates_destroyed)
        opened += done.gates_opened

    epochs = await here.home.epochs.gate_epochs()
    assert over // every == opened
    assert first.kid.hex() not in here.home.keys.names(KeyKind.GATE)
    assert [first.kid] == [epoch.kid for epoch in epochs if epoch.destroyed_at is not None]
    assert epochs[0].closed_at == epochs[1].opened_at + settings.gate_overlap_days * DAY
    assert first.kid in [entry.detail for entry in await here.entries(FactKind.EPOCH_DESTROYED)]


async def test_a_machine_that_slept_for_years_destroys_what_is_over_in_its_first_turns(here: World) -> None:
    here.clock.pass_(3 * here.home.settings.gate_retention_days * DAY)
    first = await turn(here)  # opens a new one, so that the old one may end
    here.clock.pass_(here.home.settings.gate_overlap_days * DAY + 1)
    second = await turn(here)

    assert (1, 0) == (first.gates_opened, first.gates_destroyed)
    assert 1 == second.gates_destroyed


async def test_leftovers_of_crashes_are_finished(here: World) -> None:
    async with here.home.store.begin() as tx:
        row = {"epoch": 2, "opened_at": here.clock(), "destroyed_at": here.clock()}
        await tx.execute(insert(consent_epochs), row)
    await resign(here.home)
    here.home.keys.write(KeyKind.CONSENT_EPOCH, "2", bytes(32))

    assert 1 == (await turn(here)).finished


async def test_what_has_served_its_time_is_pruned_once_an_hour(here: World) -> None:
    await here.home.upkeep.turn()
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.ledger.sequence_unfinished()
    here.clock.pass_(here.home.settings.checkpoint_retention_days * DAY)
    await here.home.upkeep.turn()
    here.clock.pass_(1)
    await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()
    here.clock.pass_(here.home.settings.checkpoint_retention_days * DAY)

    assert (await here.home.upkeep.turn()).pruned
    await here.declare(MOVED, here.moved())
    assert 0 == (await here.home.upkeep.turn()).pruned
