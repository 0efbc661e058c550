"""Clocks that are wrong by half a day; an agency that is away for a week."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from broker.hosting import FOLDER
from broker.hosting import load as hosted
from broker.turns import Turn, turn
from schemas.entry import EntryKind
from tests.fire import shift
from tests.fire.test_kills import FEWER, shifts
from tests.world import CAF, DAY, FAMILY, MOVED, RENNES_ADDRESS, VOICE

HOUR = DAY // 24


def test_workers_whose_clocks_are_wrong_by_half_a_day_either_way_lose_nothing(quick: Path, kills: Counter[str]) -> None:
    homes = [quick / "a", quick / "b"]
    for home in homes:
        asyncio.run(shift.ready(home))

    killed = shifts(homes, 300, FEWER, "jumps")

    kills.update(killed)
    assert 2 * FEWER == killed.total()


@pytest.mark.asyncio
async def test_an_agency_that_is_away_for_a_week_gets_all_that_still_stands_once_and_in_order(quick: Path) -> None:
    await shift.ready(quick / "a")
    agencies, system = hosted(quick / "a" / FOLDER), quick / "a" / "fund.db"
    system.write_text("no database")
    people = [shift.person(number) for number in range(3)]
    async with shift.opened(quick / "a", 0) as here:
        given = [await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person) for person in people]
        troubles = Counter[str]()
        for day in range(7):
            for person in people:
                moved = here.moved(person, new_address=RENNES_ADDRESS | {"housenumber": str(day + 1)})
                await here.declare(MOVED, moved, route=False)
            for _ in range(24):
                done: Turn = await turn(here.home, agencies)
                assert (0, 0) == (done.applied, done.rejected)
                troubles.update(one.code for one in done.troubles)
                here.clock.pass_(HOUR)
            if day == 3:
                await here.home.consents.revoke(given[0].grant.id, VOICE)
        assert {"table.away"} == set(troubles)
        assert [] == await here.home.dead_letters.list()

        system.unlink()
        while (await turn(here.home, agencies)).moved:
            here.clock.pass_(HOUR)
        await here.step()

        week = [str(number + 1) for number in range(7)]
        written = shift.rows(quick / "a")
        for person, expected in zip(people, ([], week, week), strict=True):
            assert expected == [number for born, number in written if born == person["birthdate"]]
        assert len(written) == len(await here.entries(EntryKind.APPLIED))
