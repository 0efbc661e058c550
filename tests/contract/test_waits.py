"""What PostgreSQL ends because it took too long: told as something to be done again, and nothing of it was done."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import Integer, column, func, make_url, select, table, text

from broker.settings.choices import load
from broker.setup import parts
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.engine import Store, Transaction
from broker.store.postgres import Waits
from broker.store.tables import meta
from schemas.errors import Unavailable
from tests.services import pgbouncer
from tests.services.absent import Absent
from tests.services.databases import Databases, plain
from tests.world import CAF, FAMILY, MOVED, World, world

pytestmark = pytest.mark.asyncio

SHORT = Waits(lock_ms=60, statement_ms=120, absent_ms=250)
SLEEP = select(func.pg_sleep(0.3))
LOCKED = "LOCK TABLE declarations IN ACCESS EXCLUSIVE MODE"


@pytest_asyncio.fixture
async def direct(postgres: Databases) -> AsyncIterator[str]:
    """A database with our tables."""
    async with postgres.migrated() as url:
        yield url


@pytest.fixture(params=["direct", "pooled"])
def url(direct: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same, and through a pooler whose connections are anybody's after each transaction."""
    if request.param == "direct":
        yield direct
        return
    try:
        with pgbouncer.before(direct) as through:
            yield through
    except Absent as absent:
        if "pgbouncer" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"pgbouncer is required: {absent}", pytrace=False)
        pytest.skip(f"pgbouncer: {absent}")


@asynccontextmanager
async def somebody(direct: str, statement: str) -> AsyncIterator[None]:
    """Another program in the middle of a transaction that has run this."""
    other = await asyncpg.connect(plain(make_url(direct)))
    try:
        async with other.transaction():
            await other.execute(statement)
            yield
    finally:
        await other.close()


async def note(tx: Transaction, name: str) -> None:
    await tx.execute(meta.insert(), {"name": name, "value": "x"})


async def noted(store: Store) -> set[str]:
    async with store.read() as tx:
        return set((await tx.execute(select(meta.c.name))).scalars())


async def note_and_sleep(store: Store) -> None:
    async with store.begin() as tx:
        await note(tx, "before")
        await tx.execute(SLEEP)


async def stand_still(one: Store, other: Store) -> None:
    """Inside a transaction, with a lock, until somebody else has it."""
    async with one.begin() as tx:
        await tx.lock_exclusive([b"ours"])
        await note(tx, "still")
        async with other.begin() as second:
            await second.lock_exclusive([b"ours"])  # comes through when the server has ended the first
            await note(second, "next")
        await note(tx, "late")


async def test_a_statement_without_end_is_ended_and_its_transaction_with_it(url: str) -> None:
    async with Store.open(url, SHORT) as store:
        with pytest.raises(Unavailable, match=r"store\.too-slow"):
            await note_and_sleep(store)
        assert "before" not in await noted(store)
        async with store.begin() as tx:  # the same connection, or another: it works on
            await note(tx, "after")
        assert "after" in await noted(store)


async def test_who_waits_for_a_lock_is_told_so_and_waits_no_longer(url: str, direct: str) -> None:
    async with Store.open(url, SHORT) as store:
        async with somebody(direct, LOCKED):
            with pytest.raises(Unavailable, match=r"store\.locked"):
                async with store.read() as tx:
                    await tx.execute(select(func.count()).select_from(table("declarations", column("seq", Integer))))
        async with store.read() as tx:
            assert 0 == (await tx.execute(text("SELECT count(*) FROM declarations"))).scalar_one()


async def test_who_stands_still_inside_a_transaction_loses_it_and_its_locks(url: str) -> None:
    async with Store.open(url, SHORT) as one, Store.open(url, Waits(lock_ms=5000)) as other:
        with pytest.raises(Unavailable, match=r"store\.away"):
            await stand_still(one, other)
        assert {"next"} == await noted(other) & {"still", "late", "next"}


async def test_who_is_patient_on_purpose_is_not_ended(url: str) -> None:
    async with Store.open(url, SHORT) as store:
        async with store.begin(patient=True) as tx:
            await tx.execute(SLEEP)
            await note(tx, "long")
        async with store.read(patient=True) as tx:
            await tx.execute(SLEEP)
        assert "long" in await noted(store)
        with pytest.raises(Unavailable):  # its patience was for that transaction
            async with store.read() as tx:
                await tx.execute(SLEEP)


async def test_a_migration_has_no_end(postgres: Databases) -> None:
    async with postgres.empty() as url:
        engine = migrate.dialect_of(make_url(url), SHORT).migrator(make_url(url))
        try:
            async with engine.begin() as connection:
                await connection.execute(SLEEP)
                assert "60ms" == (await connection.execute(text("SHOW lock_timeout"))).scalar_one()
        finally:
            await engine.dispose()


async def test_what_could_not_be_routed_for_a_lock_is_routed_once_when_it_is_free(direct: str, tmp_path: Path) -> None:
    async with world(tmp_path, database_url=direct) as here:
        was = here.home
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        async with Store.open(direct, SHORT) as store, open_log(was.settings, store, was.clock) as log:
            home = Home(
                was.settings,
                store=store,
                log=log,
                keys=was.keys,
                endings=was.endings,
                clock=was.clock,
                entropy=was.entropy,
            )
            hasty = World(home, here.clock, tmp_path, here.subscriptions)
            await hasty.declare(MOVED, hasty.moved(), route=False)
            async with somebody(direct, LOCKED):
                with pytest.raises(Unavailable, match=r"store\.locked"):
                    await home.router.route()
            await home.router.route()
            await home.router.route()
            assert 1 == len(await hasty.take(CAF))
            assert [] == await hasty.take(CAF)
            await hasty.step()


async def test_the_settings_say_how_long(tmp_path: Path) -> None:
    chosen = load(home=tmp_path, database_lock_seconds=2, database_statement_seconds=3, database_absent_seconds=11)
    assert Waits(lock_ms=2000, statement_ms=3000, absent_ms=11_000) == parts.waits(chosen)
    assert Waits() == parts.waits(load(home=tmp_path))
