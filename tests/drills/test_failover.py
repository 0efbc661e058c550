"""A drill on PostgreSQL: a copy of the database that has not seen everything takes over, with the journal elsewhere."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from broker.setup.opening import catch_up
from consent.grant import Status
from schemas.errors import Corrupt
from tests.drills.homes import Place
from tests.services.databases import Databases, plain
from tests.world import BANK, CAF, FAMILY, MOVED, VOICE

pytestmark = pytest.mark.asyncio


async def replica(server: Databases, url: str, name: str) -> str:
    """The database as it is now, under another name: a replica that sees nothing after this."""
    source = make_url(url).database
    connection = await asyncpg.connect(plain(server.server))
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
    finally:
        await connection.close()
    return server.url(name)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["journal in a file", "journal in a second database"])
async def test_a_replica_that_lags_and_takes_over_ends_again_what_it_has_not_seen_and_signs_nothing(
    postgres: Databases, tmp_path: Path, elsewhere: bool
) -> None:
    lagging_name = f"lagging_{'elsewhere' if elsewhere else 'file'}"
    async with postgres.empty() as first, postgres.empty() as journal:
        more = {"database_url": first} | ({"endings_database_url": journal} if elsewhere else {})
        place = Place(tmp_path / "home", more=more)
        await place.found()
        async with place.opened() as here:
            gone = await here.give(CAF, MOVED, FAMILY, ["subject"])
            held = await here.give(CAF, BANK, FAMILY, ["iban", "holder"])
            await here.declare(MOVED, here.moved())
            await here.step()
        lagging = await replica(postgres, first, lagging_name)
        try:
            async with place.opened() as here:
                await here.home.consents.revoke(gone.grant.id, VOICE)
                await here.home.consents.narrow(held.grant.id, frozenset({"iban"}), VOICE)
                await here.home.ledger.sequence_unfinished()

            place.more["database_url"] = lagging
            async with place.opened(checked=False) as here:
                with pytest.raises(Corrupt, match=r"ledger\.rolled-back"):
                    await here.home.ledger.sequence_unfinished()
                with pytest.raises(Corrupt, match=r"ledger\.rolled-back"):
                    await here.take(CAF)
                assert {"grants"} == {one.table for one in await catch_up(here.home)}
                grants = {one.id: one for one in await here.home.consents.of(here.subject())}
                assert Status.REVOKED is grants[gone.grant.id].status
                assert frozenset({"iban"}) == grants[held.grant.id].fields
                assert ["ledger.stands-still"] == [one.check for one in await here.home.fsck.check()]
        finally:
            await postgres._dropped(lagging_name)


async def test_endings_race_with_completions_in_many_tasks_on_one_database(postgres: Databases, tmp_path: Path) -> None:
    async with postgres.empty() as url:
        place = Place(tmp_path / "home", more={"database_url": url})
        await place.found()
        async with place.opened() as here, place.opened() as other:
            given = [await here.give(CAF, MOVED, FAMILY, ["subject"]) for _ in range(6)]
            await asyncio.gather(
                *(here.home.consents.revoke(one.grant.id, VOICE) for one in given[:3]),
                *(other.home.consents.revoke(one.grant.id, VOICE) for one in given[3:]),
                other.home.upkeep.turn(),
                here.home.completion.finish(all_of_it=True),
            )
            assert {Status.REVOKED} == {one.status for one in await here.home.consents.of(here.subject())}
            await here.step()
