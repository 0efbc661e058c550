"""Who is protected is in no row, no backup, no line of the log and no figure; and no row takes a protection away.

Two worlds, in which the same happens but for one thing: in the one a person is protected from her town, in the other
she takes back what she allowed it, as anybody may. Whoever reads the database does not tell them apart.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY, generate_latest
from sqlalchemy import select

from broker.consents.protecting import Wanted
from broker.services import person_export, person_report
from broker.store.tables import metadata
from tests.insider.watch import Watch
from tests.world import CAF, FAMILY, MOVED, PORTAL, RENNES, TOWN, VOICE, YANN, World, world

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

DRAWN = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}")
HERS = ("subject", "new_address")
PLACES = frozenset({"35238"})


@pytest_asyncio.fixture
async def twins(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[tuple[World, World]]:
    """Two worlds that are alike."""
    if "database_url" in home_settings:
        pytest.skip("one database")
    async with AsyncExitStack() as made:
        there = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            there.append(await made.enter_async_context(world(tmp_path / name, stepped=True)))
        yield there[0], there[1]


async def protected(here: World) -> None:
    """She is kept from her town."""
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=PLACES))


async def took_back(here: World) -> None:
    """She takes back what she allowed it."""
    for grant in await here.home.consents.of(here.subject()):
        if grant.recipient == RENNES:
            await here.home.consents.revoke(grant.id, VOICE)


async def shape(here: World) -> dict[str, list[str]]:
    """Every row of every table in the order of its key, without what is drawn or follows from it."""
    async with here.home.store.read() as tx:
        found = {}
        for table in metadata.sorted_tables:
            rows = (await tx.execute(select(table).order_by(*table.primary_key))).all()
            told = [{name: one for name, one in row._mapping.items() if not isinstance(one, bytes)} for row in rows]
            found[table.name] = [repr(one) for one in told]
        return found


async def life(here: World, act: Any) -> None:
    """What she and somebody else do before and after it."""
    for person in ({}, {"person": YANN}):
        await here.give(RENNES, MOVED, TOWN, HERS, **person)
        await here.give(CAF, MOVED, FAMILY, HERS, **person)
    await here.declare(MOVED, here.moved())
    await act(here)
    await here.take(RENNES)
    await here.declare(MOVED, here.moved(YANN))
    for party in (RENNES, CAF):
        await here.take(party)
    await here.step()


async def test_who_reads_every_row_does_not_tell_a_protection_from_a_change_of_mind(
    twins: tuple[World, World],
) -> None:
    one, other = twins
    await life(one, protected)
    await life(other, took_back)

    first, second = await shape(one), await shape(other)

    assert {} == {name: (first[name], second[name]) for name in first if first[name] != second[name]}


async def test_the_same_comparison_sees_a_row_that_would_tell(twins: tuple[World, World]) -> None:
    """The comparison is one that can fail: two persons who do something else have other rows."""
    one, other = twins
    await life(one, protected)
    await life(other, nothing)

    assert await shape(one) != await shape(other)


async def nothing(_: World) -> None:
    """Does nothing."""


def readable(told: Any) -> Any:
    """A document without what is drawn: identifiers and digests."""
    if isinstance(told, dict):
        return {name: readable(one) for name, one in told.items()}
    if isinstance(told, list):
        return [readable(one) for one in told]
    return DRAWN.sub("-", told) if isinstance(told, str) else told


@pytest.mark.parametrize("own", [True, False], ids=["the person's own", "an operator's"])
async def test_an_export_is_that_of_somebody_who_changed_their_mind(twins: tuple[World, World], own: bool) -> None:
    """Her own one, too, which somebody may read at home."""
    exports = []
    for here, act in zip(twins, (protected, took_back), strict=True):
        await life(here, act)
        whose = here.subject() if own else None
        exports.append(readable(await person_export.person_export(here.home, here.subject(), whose=whose)))

    assert exports[0] == exports[1]
    assert exports[0]["held"]["consents"]


async def test_no_line_of_the_log_and_no_figure_says_it(watch: Watch) -> None:
    here = watch.here
    await life(here, protected)
    await person_report.person_report(here.home, here.subject())
    await here.home.protecting.lift(here.subject(), given_by="self")
    await here.home.completion.finish()

    assert "protect" not in watch.said.getvalue().lower()
    assert "housemate" not in watch.said.getvalue().lower()
    figures = generate_latest(REGISTRY).decode()
    assert "protect" not in figures.lower()


async def test_rows_of_before_that_are_put_back_open_nothing(watch: Watch) -> None:
    """Consent, history, key, delivery: all of it as it was the day before."""
    here = watch.here
    await here.give(RENNES, MOVED, TOWN, HERS)
    await here.declare(MOVED, here.moved())
    tables = ("grants", "grant_versions", "consent_keys", "deliveries")
    before = {name: await watch.hand.rows(name) for name in tables}
    await protected(here)
    await here.step()
    await watch.begins()

    for name, rows in before.items():
        for row in rows:
            key = {"id": row["id"]} if "id" in row else {"grant_id": row["grant_id"]}
            if name != "grant_versions":
                await watch.hand.remove(name, **key)
                await watch.hand.insert(name, row)
    watch.restart()
    await watch.takes(RENNES)
    await here.home.desk.declare(PORTAL, MOVED, here.moved())
    await watch.lets(watch.here.home.router.route())
    await watch.takes(RENNES)

    assert set() == watch.gained
