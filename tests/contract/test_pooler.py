"""Behind a real pgbouncer in transaction mode: the whole way of a declaration, side by side, over four connections."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import event, literal_column, make_url, select, text

from broker.setup import preflight
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store.engine import Store
from broker.store.postgres import Postgres
from broker.store.wake_signal import WakeSignal
from schemas.errors import Refused
from schemas.facts import FactKind
from tests.services import pgbouncer
from tests.services.absent import Absent
from tests.services.databases import Databases, plain
from tests.world import CAF, ELISE, FAMILY, MOVED, VOICE, World, world

pytestmark = pytest.mark.asyncio

CITIZENS = 12


@pytest_asyncio.fixture
async def pooled_url(postgres: Databases) -> AsyncIterator[str]:
    """A database with our tables, through a pooler."""
    async with postgres.migrated() as url:
        try:
            with pgbouncer.before(url) as through:
                yield through
        except Absent as absent:
            if "pgbouncer" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
                pytest.fail(f"pgbouncer is required: {absent}", pytrace=False)
            pytest.skip(f"pgbouncer: {absent}")


async def connections(url: str) -> list[tuple[int, str]]:
    """Of each connection that the pooler holds: the statements kept there under a name, and its lock time-out."""
    address = plain(make_url(url).difference_update_query(["pooler"]))
    opened = [await asyncpg.connect(address, statement_cache_size=0) for _ in range(pgbouncer.POOL)]
    transactions = [connection.transaction() for connection in opened]
    try:
        for transaction in transactions:
            await transaction.start()  # each has one of the server's now
        counts = [await one.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") for one in opened]
        return [(count, await one.fetchval("SHOW lock_timeout")) for count, one in zip(counts, opened, strict=True)]
    finally:
        for connection in opened:
            await connection.close()


async def test_many_homes_share_four_connections_and_everybody_is_served_once(pooled_url: str, tmp_path: Path) -> None:
    async with world(tmp_path, database_url=pooled_url) as here:
        was = here.home
        async with Store.open(pooled_url) as store, open_log(was.settings, store, was.clock) as log:
            home = Home(
                was.settings,
                store=store,
                log=log,
                keys=was.keys,
                endings=was.endings,
                clock=was.clock,
                entropy=was.entropy,
            )
            other = World(home, here.clock, tmp_path, here.subscriptions)
            people = [ELISE | {"birthdate": f"19{50 + number}-01-01"} for number in range(CITIZENS)]

            async def lives(number: int, place: World) -> None:
                given = await place.give(CAF, MOVED, FAMILY, ["subject"], person=people[number])
                await place.declare(MOVED, place.moved(people[number]), route=False)
                if number % 4 == 0:
                    await place.home.consents.revoke(given.grant.id, VOICE)

            await asyncio.gather(*(lives(number, (here, other)[number % 2]) for number in range(CITIZENS)))
            await here.home.router.route()
            pulled = [await place.take(CAF, 5) for place in (here, other) * 2]
            await here.step()

    assert CITIZENS * 3 // 4 == sum(map(len, pulled))
    assert {(0, "0")} == set(await connections(pooled_url))


async def test_a_transaction_asks_for_what_a_session_would_have(pooled_url: str) -> None:
    asked = text(
        "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout'),"
        " current_setting('idle_in_transaction_session_timeout'), current_setting('transaction_isolation')"
    )
    async with Store.open(pooled_url) as store:
        async with store.begin() as tx:
            assert ("on", "10s", "1min", "read committed") == tuple((await tx.execute(asked)).one())
        async with store.read() as tx:
            assert ("on", "10s", "1min", "repeatable read") == tuple((await tx.execute(asked)).one())


async def test_a_glance_is_one_question(pooled_url: str) -> None:
    asked: list[str] = []
    async with Store.open(pooled_url) as store:
        event.listen(store._reader.sync_engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
        async with store.read() as tx:
            await tx.execute(select(literal_column("1")))
        async with store.read_one() as tx:
            await tx.execute(select(literal_column("2")))

    assert ["SELECT 1", "SELECT 2"] == asked[1:]
    assert asked[0].startswith("SELECT set_config(")


async def test_a_revocation_waits_for_the_release_before_it(pooled_url: str, tmp_path: Path) -> None:
    async with world(tmp_path, database_url=pooled_url) as here:
        given = await here.give(CAF, MOVED, FAMILY, ["subject"])
        async with here.home.store.begin() as tx:
            await tx.lock_shared([given.grant.id])
            revoking = asyncio.create_task(here.home.consents.revoke(given.grant.id, VOICE))
            async with here.home.store.read() as looking:
                waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                while not (await looking.execute(waits)).scalar_one():
                    assert not revoking.done()
        await revoking
        assert 1 == len(await here.entries(FactKind.REVOKED))
        await here.step()


async def test_the_server_behind_it_is_looked_at(pooled_url: str, tmp_path: Path) -> None:
    async with world(tmp_path, database_url=pooled_url) as here:
        await preflight.check(here.home)
        assert () == await preflight.look(here.home.settings)


async def test_nobody_listens_on_a_connection_that_is_anybodys(pooled_url: str) -> None:
    assert type(Postgres().wake_signal(make_url(pooled_url))) is WakeSignal


async def test_a_pooler_that_gives_single_statements_is_refused() -> None:
    with pytest.raises(Refused, match=r"store\.url"):
        Store.open("postgresql+asyncpg://u@localhost/db?pooler=statement")
