"""Upgrades with data: a home of every earlier version comes out whole, checks clean, and works on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.ports import KeyKind, KeyStore
from broker.setup.opening import open_log
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.engine import Store, dialect_of
from connectors.contract import Rejected
from schemas.names import Reason
from tests import furnished
from tests.memory import MemoryEndings, MemoryKeys
from tests.signed import sign_rows
from tests.world import CAF, CPAM, ELISE, FAMILY, HEALTH, MOVED, VOICE, YANN, World, settings, world

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

REVISIONS = [one.revision for one in ScriptDirectory(str(migrate._SCRIPTS)).walk_revisions()][:0:-1]
"""All but the newest, oldest first."""
SEALED = "0017"
WHOLE = "0020"
"""From here on every row that should has its seal or its MAC, and is brought along with it."""
"""From here on entries are sealed: what was there of the ledger is set aside, and carried by `unefois migrate`."""
NOISE = b"written behind the intake's back"


@dataclass(frozen=True)
class Old:
    """A home with a day's work in it, of what there was since the first version."""

    file: Path
    made: World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def old(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Old]:
    """Consents that were given, changed and revoked; deliveries in every state; letters; a ledger over a tile."""
    folder = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as then:
        then.setattr("broker.flow.subscribing.LEAST", {})  # no subscription of before says how sure it has to be
        then.setattr(furnished, "MADE", {})
        async with _made(folder) as one:
            yield one


@asynccontextmanager
async def _made(folder: Path) -> AsyncIterator[Old]:
    async with world(folder) as here:
        for number in range(20):
            person = ELISE | {"birthdate": f"19{50 + number}-01-01"}
            await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
            await here.declare(MOVED, here.moved(person))
            await here.take(CAF)
        first = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        given = await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address"])
        await here.home.log.append("declarations", b"anybody", NOISE, {})
        await here.declare(MOVED, here.moved())
        await here.declare(MOVED, here.moved(YANN))
        inbox = here.inbox(CAF)
        (one,) = await here.open(CAF, await inbox.pull(1))
        await inbox.acknowledge(one.delivery_id, Rejected("table.refused", Reason.SYSTEM_REFUSED))
        await here.home.consents.narrow(first.grant.id, frozenset({"subject"}), VOICE)
        await here.home.consents.revoke(given.grant.id, VOICE)
        await here.home.epochs.rotate_consent()
        await here.step()
        await here.home.store.forget()
        yield Old(folder / "unefois.db", here)


async def made_at(url: str, revision: str, source: Path) -> dict[str, list[str]]:
    """A database as that revision had it, with the rows of another: of the tables and columns that there were, told."""
    dialect = dialect_of(make_url(url))
    engine = dialect.migrator(make_url(url))
    reader = dialect_of(make_url(f"sqlite+aiosqlite:///{source}")).reader(make_url(f"sqlite+aiosqlite:///{source}"))
    try:
        async with engine.begin() as connection, reader.connect() as rows:
            await connection.run_sync(lambda there: command.upgrade(migrate._config(there), revision))
            tables = await connection.run_sync(_tables)
            for table in tables:
                await _copied(rows, connection, table)
                await dialect.resume_numbers(connection, table)
    finally:
        await reader.dispose()
        await engine.dispose()
    return {table.name: [column.name for column in table.c] for table in tables}


def _tables(connection: Connection) -> list[Table]:
    """As they are there, those that are referred to first; partitions and Alembic's own left out."""
    found, known = MetaData(), migrate.meta.metadata.tables
    found.reflect(connection, only=lambda name, _: name in known)  # and the partitions that are referred to
    return [table for table in found.sorted_tables if table.name in known]


async def _copied(source: AsyncConnection, target: AsyncConnection, table: Table) -> None:
    there = migrate.meta.metadata.tables[table.name]
    columns = [there.c[column.name] for column in table.c]
    rows = [dict(row._mapping) for row in await source.execute(select(*columns))]
    if rows:
        await target.execute(insert(table), rows)


def of_before(keys: KeyStore) -> MemoryKeys:
    """The keys of a home whose rows nobody signed yet."""
    made = MemoryKeys()
    for kind in KeyKind:
        for name in keys.names(kind) if kind not in (KeyKind.ROWS, KeyKind.ROWS_PUBLIC) else ():
            made.write(kind, name, keys.read(kind, name))
    return made


async def _all(url: str, there: Mapping[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the tables and columns that there were and are, in an order of its own, without its seal."""
    async with Store.open(url) as store, store.read() as tx:
        found = {}
        for table in [one for one in migrate.meta.metadata.sorted_tables if one.name in there]:
            known = set(there[table.name]) - {"row_version", "seal", "mac"}
            columns = [column for column in table.c if column.name in known]
            found[table.name] = sorted((tuple(row) for row in await tx.execute(select(*columns))), key=repr)
        return found


@pytest.mark.parametrize(
    "revision",
    [
        # The oldest goes through every upgrade, the newest through the one of today.
        pytest.param(one, marks=() if one in (REVISIONS[0], REVISIONS[-1]) else pytest.mark.proof)
        for one in REVISIONS
    ],
)
async def test_a_home_of_an_earlier_version_is_upgraded_whole_and_works_on(
    old: Old, empty_url: str, tmp_path: Path, revision: str
) -> None:
    there = await made_at(empty_url, revision, old.file)
    if revision < SEALED:  # how a real home of before is carried: test_home_v1.py
        there = {name: columns for name, columns in there.items() if name != "meta" and not name.startswith("ledger")}

    assert migrate.head() == await migrate.upgrade(empty_url)

    assert await _all(f"sqlite+aiosqlite:///{old.file}", there) == await _all(empty_url, there)
    if revision < SEALED:
        return
    chosen = settings(tmp_path, database_url=empty_url)
    was = old.made.home
    async with Store.open(empty_url) as store, open_log(chosen, store, was.clock) as log:
        await migrate.check(store)
        keys: KeyStore = was.keys
        if revision < WHOLE:
            keys = of_before(was.keys)
            assert () == (await sign_rows(keys, store)).unsigned
        assert await _all(f"sqlite+aiosqlite:///{old.file}", there) == await _all(empty_url, there)
        home = Home(
            chosen, store=store, log=log, keys=keys, endings=MemoryEndings(), clock=was.clock, entropy=was.entropy
        )
        here = World(home, old.made.clock, tmp_path, old.made.subscriptions)
        await here.step()
        await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
        await here.declare(MOVED, here.moved(YANN))
        assert 1 == len(await here.take(CAF))
        await here.step()


async def test_there_is_something_in_every_table_that_a_citizen_fills(old: Old) -> None:
    there = {table.name: [column.name for column in table.c] for table in migrate.meta.metadata.sorted_tables}
    found = await _all(f"sqlite+aiosqlite:///{old.file}", there)
    filled = {name for name, rows in found.items() if rows}
    assert {"grants", "grant_versions", "consent_keys", "submissions", "declarations", "deliveries"} <= filled
    assert {"withholdings", "dead_letters", "log_record", "ledger_entries", "ledger_tiles", "ledger_openings"} <= filled


async def test_an_upgrade_that_is_broken_off_leaves_the_old_version(
    old: Old, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made_at(empty_url, "0004", old.file)

    def broken(*_: object) -> int:
        raise RuntimeError("the power went")

    monkeypatch.setattr(dialect_of(make_url(empty_url)).__class__, "broken_references", broken)
    with pytest.raises(RuntimeError):
        await migrate.upgrade(empty_url)
    async with Store.open(empty_url) as store:
        assert "0004" == await migrate.current(store)
        async with store.read() as tx:
            assert (await tx.execute(text("SELECT count(*) FROM grants"))).scalar_one() > 20
