"""A drill on PostgreSQL's own tools: a server's disk is lost; a base backup and its archived log are there."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from broker.services.backups import backup
from consent.grant import Status
from schemas.errors import Refused
from tests.drills.homes import Place
from tests.services import postgres as servers
from tests.services.databases import Databases, plain
from tests.services.postgres import Server
from tests.world import BANK, CAF, FAMILY, MOVED, VOICE


@pytest.fixture
def server(postgres: object) -> Iterator[Server]:
    """One that archives; where `postgres` cannot be had this test is left out as the others are."""
    with servers.own(archives=True) as made:
        yield made


async def archived(server: Server) -> None:
    """All that was written until now is in the archive."""
    connection = await asyncpg.connect(plain(Databases(server.address).server))
    try:
        await connection.execute("CREATE TABLE archived_up_to_here ()")
        segment = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        while await connection.fetchval("SELECT coalesce(last_archived_wal, '') < $1 FROM pg_stat_archiver", segment):
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


@pytest.mark.asyncio
@pytest.mark.proof
async def test_a_base_backup_needs_its_archived_log_and_with_it_everything_goes_on(
    server: Server, tmp_path: Path
) -> None:
    async with Databases(server.address).empty() as url:
        place = Place(tmp_path / "home", more={"database_url": url})
        await place.found()
        async with place.opened() as here:
            gone = await here.give(CAF, MOVED, FAMILY, ["subject"])
            held = await here.give(CAF, BANK, FAMILY, ["iban", "holder"])
            await here.declare(MOVED, here.moved())
            await here.step()
            await backup(here.home, tmp_path / "monday")
            await asyncio.to_thread(server.base_backup, "monday")
        async with place.opened() as here:
            await here.home.consents.revoke(gone.grant.id, VOICE)
            await here.home.consents.narrow(held.grant.id, frozenset({"iban"}), VOICE)
            declared = await here.declare(BANK, here.bank())
            await here.step()
            marked = await here.home.endings.marked()
        await archived(server)
        await asyncio.to_thread(server.kill)

        await asyncio.to_thread(server.put_back, "monday", archived=False)
        with pytest.raises(Refused, match=r"backup\.below-mark"):
            await place.restore(tmp_path / "monday")
        await asyncio.to_thread(server.kill)

        await asyncio.to_thread(server.put_back, "monday", archived=True)
        done = await place.restore(tmp_path / "monday")
        assert ([], [], False) == (list(done.again), list(done.findings), done.needs_successor)
        async with place.opened() as here:
            grants = {one.id: one for one in await here.home.consents.of(here.subject())}
            assert Status.REVOKED is grants[gone.grant.id].status
            assert frozenset({"iban"}) == grants[held.grant.id].fields
            assert marked == await here.home.endings.marked()
            (opened,) = await here.take(CAF)
            assert (declared.declaration_id, ("iban",)) == (opened.declaration_id, opened.disclosed)
            await here.step()
