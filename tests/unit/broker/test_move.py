"""A home moves from one database to another: all of it, once, and nobody goes on in the old one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select

from broker.settings.choices import Settings
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store import move as relocation
from broker.store import tables
from broker.store.engine import Store, Transaction
from broker.store.migrate import upgrade
from broker.store.move import _Content, move
from connectors.contract import Applied
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.hpke import Suite
from tests.services.databases import Databases
from tests.world import CAF, ELISE, FAMILY, MINUTE, MOVED, YANN, Clock, World, populate, settings

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def opened(chosen: Settings, clock: Clock) -> AsyncIterator[World]:
    async with open_home(chosen, clock) as home:
        here = World(home, clock, chosen.home)
        async with home.store.read() as tx:
            for one in (await home.lookup.subscriptions_by_id(tx)).values():
                here.subscriptions[one.recipient, one.event_type] = one
        yield here


@pytest_asyncio.fixture
async def lived(tmp_path: Path) -> Settings:
    """A home in SQLite in which something happened, and something waits."""
    chosen, clock = settings(tmp_path / "home", hpke_suite=Suite.X25519), Clock()
    await create_home(chosen, clock)
    async with opened(chosen, clock) as here:
        await populate(here)
        for person in (ELISE, YANN):
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
            await here.declare(MOVED, here.moved(person))
        await receive(here, 1)
        await here.home.ledger.sequence_unfinished()
    return chosen


async def receive(here: World, limit: int) -> int:
    """An agency takes what it may, and says so."""
    opened_ = await here.open(CAF, await here.inbox(CAF).pull(limit))
    await here.inbox(CAF).acknowledge_all({one.delivery_id: Applied() for one in opened_})
    return len(opened_)


def elsewhere(chosen: Settings, url: str) -> Settings:
    return chosen.model_copy(update={"database_url": url})


async def test_what_waited_in_the_old_one_is_delivered_from_the_new_one_and_the_ledger_goes_on(
    lived: Settings, postgres: Databases, tmp_path: Path
) -> None:
    clock = Clock()
    clock.pass_(MINUTE)
    async with opened(lived, clock) as here:
        (before, root), size = await here.home.ledger.consistency(1), len(await here.entries())
    async with postgres.empty() as url:
        moved = await move(lived.database_url, url)
        assert size == moved.rows["ledger_entries"]
        async with opened(elsewhere(lived, url), clock) as here:
            assert [] == await here.home.fsck.check()
            assert (before, root) == await here.home.ledger.consistency(1)
            assert 1 == await receive(here, 10)
            await here.declare(MOVED, here.moved())
            assert 1 == await receive(here, 10)
            await here.step()
            assert 3 == len(await here.entries(FactKind.APPLIED))
            assert before < (await here.home.ledger.consistency(before))[0]

        back = elsewhere(lived, f"sqlite+aiosqlite:///{tmp_path / 'back.db'}")
        await move(url, back.database_url)
        async with opened(back, clock) as here:
            await here.declare(MOVED, here.moved(YANN))
            assert 1 == await receive(here, 10)
            await here.step()


async def test_the_old_one_is_not_opened_again(lived: Settings, tmp_path: Path) -> None:
    await move(lived.database_url, f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")

    for attempt in (open_home(lived).__aenter__, lambda: create_home(lived), lambda: move(lived.database_url, "x")):
        with pytest.raises(Refused) as refused:
            await attempt()
        assert "store.moved" == refused.value.code


async def test_a_target_that_holds_something_is_left_as_it_is(lived: Settings, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    await upgrade(url)
    async with Store.open(url) as store, store.begin() as tx:
        await tx.execute(insert(tables.meta), {"name": "mine", "value": "1"})

    with pytest.raises(Refused) as refused:
        await move(lived.database_url, url)

    assert "move.not-empty" == refused.value.code
    async with Store.open(url) as store, store.read() as tx:
        assert 1 == (await tx.execute(select(func.count()).select_from(tables.meta))).scalar()
        assert 0 == (await tx.execute(select(func.count()).select_from(tables.ledger_entries))).scalar()
    async with open_home(lived) as home:
        assert [] == await home.fsck.check()


async def test_a_database_is_not_moved_onto_itself(lived: Settings) -> None:
    with pytest.raises(Refused) as refused:
        await move(lived.database_url, lived.database_url)

    assert "move.same" == refused.value.code


async def test_a_target_that_lost_something_on_the_way_stays_empty(
    lived: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    add, seen = _Content.add, []

    def forgetful(content: _Content, row: object) -> None:
        seen.append(row)
        if len(seen) != 3:
            add(content, row)  # type: ignore[arg-type]

    monkeypatch.setattr(_Content, "add", forgetful)
    with pytest.raises(Corrupt) as stopped:
        await move(lived.database_url, url)

    assert "move.differs" == stopped.value.code
    async with Store.open(url) as store, store.read() as tx:
        assert 0 == (await tx.execute(select(func.count()).select_from(tables.meta))).scalar()
    async with open_home(lived) as home:
        assert [] == await home.fsck.check()


async def test_a_source_that_was_written_to_meanwhile_is_not_closed_and_the_target_stays_empty(
    lived: Settings, postgres: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with postgres.empty() as url:
        await move(lived.database_url, url)
        whole = relocation._arrived

        async def then_somebody_writes(leaving: Transaction, arriving: Transaction) -> dict[str, _Content]:
            contents = await whole(leaving, arriving)
            async with Store.open(url) as other, other.begin() as tx:
                await tx.execute(insert(tables.meta), {"name": "late", "value": "1"})
            return contents

        monkeypatch.setattr(relocation, "_arrived", then_somebody_writes)
        target = f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
        with pytest.raises(Refused) as refused:
            await move(url, target)

        assert ("move.changed", "meta") == (refused.value.code, refused.value.details["table"])
        async with Store.open(target) as store, store.read() as tx:
            assert 0 == (await tx.execute(select(func.count()).select_from(tables.meta))).scalar()
        async with open_home(elsewhere(lived, url)) as home:
            assert [] == await home.fsck.check()
