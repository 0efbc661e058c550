"""What one fsck knows of the state it looks at: which tables are empty, and the small ones whole."""

import pytest
from sqlalchemy import func, select

from broker.maintenance.checks import parts
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.tables import objections, parties
from consent.tables import metadata
from tests.world import CAF, FAMILY, MOVED, World


@pytest.mark.asyncio
@pytest.mark.databases
async def test_exactly_the_tables_without_a_row_are_empty(here: World) -> None:
    """Of every table that there is."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    async with here.home.store.read() as tx:
        snapshot = await Snapshot.of(tx)
        for table in metadata.tables.values():
            count = (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            assert snapshot.empty(table) is (count == 0), table.name
            assert len(await snapshot.rows(table)) == count
    assert {"parties", "grants", "deliveries"} <= snapshot.filled
    assert not snapshot.empty(parties)
    assert snapshot.empty(objections)


@pytest.mark.asyncio
async def test_what_grows_with_the_citizens_is_not_kept(here: World) -> None:
    """A part is read, judged and let go; the administrations are read once."""
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    async with here.home.store.read() as tx:
        snapshot = await Snapshot.of(tx)
        grants = metadata.tables["grants"]
        assert await snapshot.rows(parties) is await snapshot.rows(parties)
        assert await snapshot.rows(grants) is not await snapshot.rows(grants)


def test_a_part_leaves_out_no_row_because_another_table_is_empty() -> None:
    """Each of its lists is left out for its own table alone."""
    first = {name: parts.FIRST_OF[one].name for name, one in parts.OF_CITIZENS.items()}
    other = {
        "versions": "grant_versions",
        "keys": "consent_keys",
        "beside": "declarations",
        "away": "deliveries",
        "links": "reference_links",
        "letters": "dead_letters",
        "told": "ledger_openings",
    }
    assert first == {name: other.get(name, name) for name in parts.OF_CITIZENS}
