"""Turns: the machine at work, which goes on when one agency is in trouble and stops when it is asked to."""

from pathlib import Path

import pytest

from broker.runtime.hosting import Hosted
from broker.runtime.turns import Turn, turn
from schemas.errors import Corrupt, Unavailable
from tests.announced import announce
from tests.two_agencies import count, two_agencies
from tests.world import CAF, DAY, FAMILY, MINUTE, MOVED, RENNES, TOWN, World

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)


@pytest.fixture
def agencies(tmp_path: Path) -> tuple[Hosted, ...]:
    return two_agencies(tmp_path)


async def granted(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(RENNES, MOVED, TOWN, ["subject"])


async def test_one_turn_brings_what_was_declared_to_everybody_and_into_the_ledger(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path
) -> None:
    await granted(here)
    await here.declare(MOVED, here.moved(), route=False)

    done = await turn(here.home, agencies, only=True)

    assert (1, 2, 0, []) == (done.routed, done.applied, done.rejected, done.troubles)
    assert done.sequenced > 0
    assert (1, 1) == (count(tmp_path, "caf"), count(tmp_path, "rennes"))
    assert 0 == await here.home.ledger.sequence_unfinished()


async def test_a_turn_that_another_follows_leaves_the_window_that_is_not_over_to_it(
    here: World, agencies: tuple[Hosted, ...]
) -> None:
    await granted(here)
    here.clock.pass_(2 * MINUTE)  # the window of the two grants is over
    await here.declare(MOVED, here.moved(), route=False)

    first = await turn(here.home, agencies)
    here.clock.pass_(2 * MINUTE)
    second = await turn(here.home, agencies)

    assert (2, 2) == (first.applied, first.sequenced)
    assert second.sequenced > 0
    assert 0 == await here.home.ledger.sequence_unfinished()


async def test_a_second_turn_finds_nothing_to_do(here: World, agencies: tuple[Hosted, ...]) -> None:
    await granted(here)
    await here.declare(MOVED, here.moved(), route=False)
    await turn(here.home, agencies)

    again = await turn(here.home, agencies)

    assert (False, Turn()) == (again.moved, again)


async def test_one_citizens_deliveries_come_one_after_the_other_in_the_same_turn(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path
) -> None:
    await granted(here)
    for occupants in (1, 2, 3):
        household = [{"relation": "other", "identity": {**here.moved()["subject"]}}] * (occupants - 1)
        await here.declare(MOVED, here.moved(occupants=occupants, household=household), route=False)

    done = await turn(here.home, agencies)

    assert 6 == done.applied
    assert 3 == count(tmp_path, "caf")


async def test_an_agency_in_trouble_does_not_keep_the_others_waiting(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path
) -> None:
    (tmp_path / "caf.db").write_text("no database")
    await granted(here)
    await here.declare(MOVED, here.moved(), route=False)

    done = await turn(here.home, agencies)

    assert [(CAF, True)] == [(each.party, each.retriable) for each in done.troubles]
    assert 1 == count(tmp_path, "rennes")


async def test_what_a_connector_could_not_write_now_is_told_with_its_code(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connectors.contract import Retry
    from connectors.table import TableConnector

    async def write(*_: object) -> None:
        raise Retry("table.away")

    await granted(here)
    await here.declare(MOVED, here.moved(), route=False)
    monkeypatch.setattr(TableConnector, "write", write)

    done = await turn(here.home, agencies)

    assert 2 == done.retried
    assert [(CAF, "table.away"), (RENNES, "table.away")] == [(each.party, each.code) for each in done.troubles]


async def test_the_brokers_own_trouble_leaves_the_rest_of_the_turn(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def route(*_: object) -> int:
        raise Unavailable("store.locked")

    await granted(here)
    await here.declare(MOVED, here.moved())
    monkeypatch.setattr(type(here.home.router), "route", route)

    done = await turn(here.home, agencies)

    assert [(None, "store.locked", True)] == [(each.party, each.code, each.retriable) for each in done.troubles]
    assert 2 == done.applied


async def test_a_contradiction_stops_everything(
    here: World, agencies: tuple[Hosted, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def route(*_: object) -> int:
        raise Corrupt("store.corrupt")

    monkeypatch.setattr(type(here.home.router), "route", route)

    with pytest.raises(Corrupt):
        await turn(here.home, agencies)


async def test_what_time_asks_for_is_done_too(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"], expires_at=here.clock() + DAY)
    here.clock.pass_(2 * DAY)

    assert 1 == (await turn(here.home, ())).expired

    here.clock.pass_(40 * DAY)
    assert (await turn(here.home, ())).epochs > 0


async def test_asked_to_stop_between_two_agencies_the_second_is_left_for_later(
    here: World, agencies: tuple[Hosted, ...], tmp_path: Path
) -> None:
    await granted(here)
    here.clock.pass_(2 * MINUTE)
    await here.declare(MOVED, here.moved(), route=False)
    asked: list[bool] = []

    def stopping() -> bool:
        asked.append(True)
        return len(asked) > 1

    done = await turn(here.home, agencies, stopping)

    assert 1 == done.applied
    assert not (tmp_path / "rennes.db").exists()
    assert done.sequenced > 0
