"""What is held before anybody gets it: it blocks nothing, opens to nobody, and its citizen stops it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import update

from broker.flow.mailbox import Due
from broker.flow.tracking import Progress
from broker.services import retractions
from broker.store.tables import declarations, deliveries
from broker.store.tables import retractions as table
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, Reason
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, PORTAL, YANN, World, world

HOURS = 3_600_000


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker that holds bank accounts as it does unless somebody says otherwise."""
    async with world(tmp_path, **home_settings, bank_hold_hours=72) as made:
        yield made
        await made.step()


async def held(here: World) -> DeclarationId:
    """A change of bank account, on its way to the CAF."""
    await here.give(CAF, BANK, FAMILY, ("iban",))
    return (await here.declare(BANK, here.bank())).declaration_id


async def due(here: World) -> Due:
    """Its delivery, whatever the mailbox says."""
    async with here.home.store.read() as tx:
        (row,) = await tx.execute(deliveries.select().where(deliveries.c.held_until.is_not(None)))
    return Due(row.id, row.grant_id)


@pytest.mark.asyncio
async def test_nobody_gets_a_bank_account_before_three_days(here: World) -> None:
    await held(here)

    assert [] == await here.take(CAF)
    here.clock.pass_(72 * HOURS - 1)
    assert [] == await here.take(CAF)
    here.clock.pass_(1)
    assert [BANK] == [one.event_type for one in await here.take(CAF)]
    await here.step()


@pytest.mark.asyncio
async def test_what_is_held_stands_in_nobodys_way(here: World) -> None:
    await held(here)
    await here.give(CAF, MOVED, FAMILY, ("subject",))
    await here.declare(MOVED, here.moved())

    assert [MOVED] == [one.event_type for one in await here.take(CAF)]
    here.clock.pass_(3 * DAY)
    await here.declare(MOVED, here.moved())
    assert [BANK] == [one.event_type for one in await here.take(CAF)]  # in its citizen's order again
    assert [MOVED] == [one.event_type for one in await here.take(CAF)]


@pytest.mark.asyncio
async def test_the_dry_run_and_the_track_say_until_when_it_is_held(here: World) -> None:
    end = here.clock.now + 72 * HOURS
    assert end == (await here.home.desk.explain(PORTAL, BANK, here.bank())).held_until
    assert None is (await here.home.desk.explain(PORTAL, MOVED, here.moved())).held_until

    of = await held(here)
    assert [end] == [one.held_until for one in (await here.home.tracking.track(of)).steps if one.recipient == CAF]
    here.clock.pass_(3 * DAY)
    await here.take(CAF)
    assert {None} == {one.held_until for one in (await here.home.tracking.track(of)).steps}


@pytest.mark.asyncio
async def test_its_citizen_stops_it_and_nobody_gets_it(here: World) -> None:
    of = await held(here)
    assert [of] == [one.declaration for one in await retractions.held(here.home, here.subject())]

    made = await retractions.stop(here.home, here.subject(), of, given_by="self")
    again = await retractions.stop(here.home, here.subject(), of, given_by="self")

    assert made == again
    here.clock.pass_(3 * DAY)
    assert [] == await here.take(CAF)
    (step,) = (await here.home.tracking.track(of)).steps
    assert (Progress.WITHHELD, Reason.STOPPED) == (step.progress, step.reason)
    assert [Reason.STOPPED] == [one.reason for one in await here.entries(FactKind.RETRACTED)]
    await here.step()


@pytest.mark.asyncio
async def test_what_is_stopped_before_it_is_routed_goes_to_nobody(here: World) -> None:
    await here.give(CAF, BANK, FAMILY, ("iban",))
    of = (await here.declare(BANK, here.bank(), route=False)).declaration_id

    await retractions.stop(here.home, here.subject(), of, given_by="self")
    await here.home.router.route()
    here.clock.pass_(3 * DAY)

    assert [] == await here.take(CAF)
    with pytest.raises(Refused, match=r"retractions\.stopped"):  # nobody got it, so nobody is told to undo it
        await retractions.recall(here.home, of, reason="fraud")
    await here.step()


@pytest.mark.asyncio
async def test_a_stop_by_another_after_the_hold_or_of_what_is_not_held_is_refused(here: World) -> None:
    of = await held(here)
    moved = (await here.declare(MOVED, here.moved())).declaration_id

    with pytest.raises(Refused, match=r"holds\.unknown"):
        await retractions.stop(here.home, here.subject(YANN), of, given_by="self")
    with pytest.raises(Refused, match=r"holds\.unknown"):
        await retractions.stop(here.home, here.subject(), DeclarationId(bytes(16)), given_by="self")
    with pytest.raises(Refused, match=r"holds\.none"):
        await retractions.stop(here.home, here.subject(), moved, given_by="self")
    with pytest.raises(Refused, match=r"grant\.given-by"):
        await retractions.stop(here.home, here.subject(), of, given_by="Élise Martin")
    here.clock.pass_(3 * DAY)
    with pytest.raises(Refused, match=r"holds\.over"):
        await retractions.stop(here.home, here.subject(), of, given_by="self")
    assert [] == await retractions.held(here.home, here.subject())
    assert [] == await retractions.held(here.home, here.subject(YANN))


@pytest.mark.asyncio
async def test_whoever_edits_the_rows_opens_nothing_before_the_hold_ends(here: World) -> None:
    await held(here)
    one = await due(here)
    async with here.home.store.begin() as tx:
        await tx.execute(update(deliveries).values(held_until=None, available_at=0))

    pulled = await here.inbox(CAF).pull_due([one])

    assert ((), [Reason.NOT_YET]) == (pulled.locked, [each.reason for each in pulled.withheld])
    assert one == await due(here)  # put right, so that it blocks nothing
    assert [] == await here.take(CAF)
    here.clock.pass_(3 * DAY)
    assert [BANK] == [each.event_type for each in await here.take(CAF)]


@pytest.mark.asyncio
async def test_whoever_edits_when_it_came_has_made_a_row_that_opens_for_ever_nothing(here: World) -> None:
    await held(here)
    one = await due(here)
    async with here.home.store.begin() as tx:
        await tx.execute(update(deliveries).values(held_until=None))
        await tx.execute(update(declarations).values(received_at=declarations.c.received_at - 4 * DAY))

    assert () == (await here.inbox(CAF).pull_due([one])).locked
    here.clock.pass_(4 * DAY)
    assert () == (await here.inbox(CAF).pull_due([one])).locked
    async with here.home.store.begin() as tx:  # put right again
        await tx.execute(update(declarations).values(received_at=declarations.c.received_at + 4 * DAY))


@pytest.mark.asyncio
async def test_whoever_deletes_the_row_of_a_stop_and_puts_the_delivery_back_opens_nothing(here: World) -> None:
    of = await held(here)
    one = await due(here)
    await retractions.stop(here.home, here.subject(), of, given_by="self")
    async with here.home.store.begin() as tx:
        await tx.execute(table.delete())
        back = {"state": "pending", "reason": None, "done_at": None, "held_until": None}
        await tx.execute(update(deliveries).values(back))
    here.clock.pass_(3 * DAY)

    pulled = await here.inbox(CAF).pull_due([one])

    assert ((), [Reason.STOPPED]) == (pulled.locked, [each.reason for each in pulled.withheld])
    found = {one.check for one in await here.home.fsck.check()}
    assert {"endings.behind"} == found  # the gate has closed the delivery again
    await here.home.completion.finish(all_of_it=True)


@pytest.mark.asyncio
async def test_a_stop_that_met_a_crash_is_completed(here: World) -> None:
    of = await held(here)
    made = await retractions.stop(here.home, here.subject(), of, given_by="self")
    async with here.home.store.begin() as tx:
        await tx.execute(table.delete())
        await tx.execute(update(deliveries).values(state="pending", reason=None, done_at=None))

    done = await here.home.completion.finish(all_of_it=True)

    assert [(table.name, of)] == [(one.table, one.key) for one in done if one.done]
    assert [made] == await retractions.every(here.home)
    here.clock.pass_(3 * DAY)
    assert [] == await here.take(CAF)


@pytest.mark.asyncio
async def test_a_longer_setting_holds_what_was_planned_under_a_shorter_one(here: World) -> None:
    await held(here)
    here.home.gate._holds = {BANK: 96 * HOURS}
    here.clock.pass_(3 * DAY)

    assert [] == await here.take(CAF)
    here.clock.pass_(DAY)
    assert [BANK] == [one.event_type for one in await here.take(CAF)]
