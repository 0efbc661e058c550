"""The machine's clock: what is done by it when it is far from what the database knows, and who says it is right."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, update

from broker.runtime import turns
from broker.store.tables import meta
from broker.timekeeping import BELIEVED, WRITE_MS
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant
from tests.world import CAF, DAY, FAMILY, MOVED, World, world

pytestmark = pytest.mark.asyncio

TRUST = 7


@pytest_asyncio.fixture
async def timed(tmp_path: Path) -> AsyncIterator[World]:
    """A broker with the bound that an operator has."""
    async with world(tmp_path, clock_trust_days=TRUST) as made:
        yield made


async def refusal(awaitable: Any) -> tuple[str, object]:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code, refused.value.details["days"]


async def state(here: World) -> Any:
    return (
        await here.home.epochs.gate_epochs(),
        await here.home.epochs.consent_epochs(),
        await here.entries(FactKind.EPOCH_DESTROYED, FactKind.EXPIRED),
    )


@pytest.mark.parametrize(("days", "code"), [(600, "clock.ahead"), (-600, "clock.behind")])
async def test_a_clock_that_is_far_off_for_one_turn_opens_ends_and_prunes_nothing(
    timed: World, days: int, code: str
) -> None:
    home = timed.home
    await timed.give(CAF, MOVED, FAMILY, ["subject"], expires_at=Instant(timed.clock() + 30 * DAY))
    await timed.step()
    before, right = await state(timed), timed.clock()
    timed.clock.pass_(days * DAY)

    done = await turns.turn(home, ())
    assert [code] == [one.code for one in done.troubles]
    for act in (
        home.upkeep.turn,
        home.epochs.open_consent,
        home.epochs.rotate_consent,
        home.epochs.retire_consent,
        home.pruning.prune,
        lambda: home.epochs.open_gate(home.settings.hpke_suite, DAY),
        lambda: home.epochs.destroy_gate(before[0][0].kid),
    ):
        assert (code, 600) == await refusal(act())

    timed.clock.now = right
    assert before == await state(timed)
    assert [] == (await turns.turn(home, ())).troubles
    await timed.step()


@pytest.mark.parametrize("sign", [1, -1])
async def test_the_bound_is_the_setting_to_the_millisecond(timed: World, sign: int) -> None:
    start = timed.clock()
    timed.clock.now = Instant(start + sign * TRUST * DAY + sign)
    assert TRUST == (await refusal(timed.home.timekeeping.check()))[1]
    timed.clock.now = Instant(start + sign * TRUST * DAY)
    await timed.home.timekeeping.check()


async def test_what_others_write_by_a_wrong_clock_does_not_make_it_right(timed: World) -> None:
    timed.clock.pass_(600 * DAY)
    await timed.give(CAF, MOVED, FAMILY, ["subject"])
    await timed.home.ledger.sequence_unfinished()

    assert ("clock.ahead", 600) == await refusal(timed.home.upkeep.turn())


async def test_a_home_that_was_off_for_half_a_year_goes_on_after_one_command(timed: World) -> None:
    timed.clock.pass_(183 * DAY)
    assert "clock.ahead" == (await refusal(timed.home.upkeep.turn()))[0]

    await timed.home.timekeeping.accept()

    assert 1 == (await timed.home.upkeep.turn()).gates_opened
    await timed.step()


async def test_a_home_at_work_is_believed_for_years_though_nothing_comes(timed: World) -> None:
    for _ in range(40):
        timed.clock.pass_(TRUST * DAY)
        await timed.home.upkeep.turn()
    await timed.step()


async def test_it_is_written_down_once_an_hour(timed: World) -> None:
    time, start = timed.home.timekeeping, timed.clock()
    timed.clock.pass_(WRITE_MS - 1)
    await time.check()
    assert start == (await time.look()).known
    timed.clock.pass_(1)
    await time.check()
    assert timed.clock() == (await time.look()).known


@pytest.mark.parametrize("told", [None, "soon"])
async def test_a_database_that_wrote_none_down_knows_its_epochs_and_checkpoints(timed: World, told: str | None) -> None:
    async with timed.home.store.begin() as tx:
        if told is None:
            await tx.execute(delete(meta).where(meta.c.name == BELIEVED))
        else:
            await tx.execute(update(meta).where(meta.c.name == BELIEVED).values(value=told))
    timed.clock.pass_(600 * DAY)

    assert ("clock.ahead", 600) == await refusal(timed.home.upkeep.turn())
