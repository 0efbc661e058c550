"""Steps: what the ledger says became of a delivery, whatever its row says."""

from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from broker.flow.deliveries import load
from broker.ledger.openings import StepReader
from broker.store.tables import deliveries, ledger_entries
from schemas.entry import EntryKind
from tests.world import CAF, FAMILY, MOVED, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]


async def planned(here: World) -> Any:
    """The row of a delivery that waits for the family fund."""
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    async with here.home.store.read() as tx:
        return (await tx.execute(select(deliveries).order_by(deliveries.c.seq.desc()).limit(1))).one()


async def change(here: World, statement: Any, *values: Any) -> None:
    async with here.home.store.begin() as tx:
        await tx.execute(statement, *values)


async def pulls(here: World) -> int:
    return len((await here.inbox(CAF).pull(10)).locked)


@pytest.mark.parametrize("entry", [b"", b"\x04\x00", b"nonsense", b"\x04" + bytes(80)])
async def test_a_row_under_its_tag_that_is_no_entry_keeps_nothing_closed(here: World, entry: bytes) -> None:
    row = await planned(here)
    made = {"leaf": bytes(32), "entry": entry, "window": 0, "position": -1, "tag": row.tag}
    await change(here, insert(ledger_entries), made)

    assert 1 == await pulls(here)
    await change(here, delete(ledger_entries).where(ledger_entries.c.leaf == bytes(32)))


async def test_in_a_home_from_before_the_openings_say_whose_the_steps_are(here: World) -> None:
    row = await planned(here)
    kept = []
    async with here.home.store.begin() as tx:
        for table in (deliveries, ledger_entries):
            theirs = table.c.tag == row.tag
            kept.append((table, (await tx.execute(select(table.c.mac).where(theirs))).scalar_one()))
            await tx.execute(update(table).where(theirs).values(mac=None))

    assert 1 == await pulls(here)
    for table, mac in kept:
        await change(here, update(table).where(table.c.tag == row.tag, table.c.mac.is_(None)).values(mac=mac))


async def test_without_its_mac_a_delivery_is_not_led_to_the_steps_of_another(here: World) -> None:
    first, second = await planned(here), await planned(here)
    await here.take(CAF)
    mine = update(deliveries).where(deliveries.c.seq == first.seq)
    async with here.home.store.read() as tx:
        today = (await tx.execute(select(deliveries).where(deliveries.c.seq == first.seq))).one()._mapping
    led = {"mac": None, "tag": second.tag, "plan_blind": second.plan_blind}
    again = {"state": "pending", "done_at": None, "lease_until": None}
    await change(here, mine.values(led | again))

    assert 0 == await pulls(here)
    await change(here, mine.values({name: today[name] for name in [*led, *again]}))


async def test_the_steps_are_told_in_the_order_of_writing(here: World) -> None:
    await planned(here)
    assert 1 == await pulls(here)
    async with here.home.store.read() as tx:
        (delivery,) = await load(tx)
        steps = (await StepReader(here.home.macs, here.home.openings).of(tx, [delivery]))[delivery.id]

    assert [EntryKind.PLANNED, EntryKind.RELEASED] == [step.head.kind for step in steps.all]
    assert steps.left
    assert steps.released is steps.all[-1]
    assert steps.plan == steps.all[0].head.content == steps.all[1].head.content
