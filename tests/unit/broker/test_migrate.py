"""Migrations: the tables that the revisions make are the tables that the code knows."""

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, text

from broker.store import migrate, tables
from broker.store.engine import Store
from broker.store.sqlite import Sqlite
from schemas.errors import Corrupt, Fault, Refused, Unavailable

pytestmark = pytest.mark.asyncio
METADATA = tables.meta.metadata


def url_of(folder: Path, name: str = "store.db") -> str:
    return f"sqlite+aiosqlite:///{folder / name}"


def described(file: Path) -> dict[str, list[str]]:
    """Every table and index as SQLite keeps it: its parts in any order, for the order of constraints means nothing, nor
    do quotes.
    """
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {
        f"{kind} {name}": sorted(
            part.strip() for part in re.split(r",(?![^(]*\))", " ".join(sql.replace('"', "").removesuffix(")").split()))
        )
        for kind, name, sql in rows
        if name != "alembic_version"
    }


async def test_the_revisions_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    await migrate.upgrade(url_of(tmp_path, "migrated.db"))
    async with Store.open(url_of(tmp_path, "made.db")) as store, store.begin() as tx:
        await tx.conn.run_sync(METADATA.create_all)
    made = described(tmp_path / "made.db")
    assert made == described(tmp_path / "migrated.db")
    assert {f"table {name}" for name in METADATA.tables} <= set(made)


async def test_alembic_sees_no_difference_either(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    async with Store.open(empty_url) as store, store.read() as tx:
        options = {"compare_type": True, "include_object": is_ours}
        assert [] == await tx.conn.run_sync(
            lambda connection: compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
        )


def is_ours(part: Any, name: str | None, kind: str, *_: object) -> bool:
    """Partitions, and the references to a partitioned table, differ on purpose: revision 0006."""
    partition = kind == "table" and re.fullmatch(r"grants_p\d\d", str(name))
    refers = kind == "foreign_key_constraint" and part.parent.name in {"grant_versions", "consent_keys"}
    return not (partition or refers)


async def test_an_upgraded_database_is_current_and_upgrading_again_keeps_its_rows(empty_url: str) -> None:
    assert migrate.head() == await migrate.upgrade(empty_url)
    async with Store.open(empty_url) as store:
        await migrate.check(store)
        assert migrate.head() == await migrate.current(store)
        async with store.begin() as tx:
            await tx.execute(insert(tables.meta), {"name": "kept", "value": "yes"})
    assert migrate.head() == await migrate.upgrade(empty_url)
    async with Store.open(empty_url) as store, store.read() as tx:
        assert "yes" == (await tx.execute(text("SELECT value FROM meta"))).scalar_one()


async def test_an_empty_database_is_not_run_on(empty_url: str) -> None:
    async with Store.open(empty_url) as store:
        assert await migrate.current(store) is None
        with pytest.raises(Refused) as raised:
            await migrate.check(store)
    assert ("store.not-migrated", migrate.head()) == (raised.value.code, raised.value.details["needed"])


async def test_an_older_database_is_not_run_on(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate.upgrade(empty_url)
    found = migrate.head()
    monkeypatch.setattr(migrate, "head", lambda: "9999")
    async with Store.open(empty_url) as store:
        with pytest.raises(Refused) as raised:
            await migrate.check(store)
    assert ("store.not-migrated", found) == (raised.value.code, raised.value.details["found"])


async def test_a_newer_database_is_neither_run_on_nor_upgraded(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    async with Store.open(empty_url) as store:
        async with store.begin() as tx:
            await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(Refused) as raised:
            await migrate.check(store)
        assert ("store.newer-version", "9999") == (raised.value.code, raised.value.details["found"])
        with pytest.raises(Refused) as raised:
            await migrate.upgrade(empty_url)
        assert "store.newer-version" == raised.value.code
        assert "9999" == await migrate.current(store)


async def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    async with Store.open(url_of(tmp_path)) as store, store.begin() as tx:
        await tx.execute(text("CREATE TABLE customers (id INTEGER)"))
    with pytest.raises(Refused) as raised:
        await migrate.upgrade(url_of(tmp_path))
    assert ("store.not-ours", {"table customers"}) == (raised.value.code, set(described(tmp_path / "store.db")))


async def test_an_upgrade_that_fails_half_way_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sqlite, "broken_references", lambda *_: 3)
    with pytest.raises(Corrupt) as raised:
        await migrate.upgrade(url_of(tmp_path))
    assert ("store.broken-references", {}) == (raised.value.code, described(tmp_path / "store.db"))


async def test_a_row_that_lost_what_it_refers_to_is_counted(tmp_path: Path) -> None:
    await migrate.upgrade(url_of(tmp_path))
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("INSERT INTO publishing_rights VALUES ('urn:unefois:none', 'a.b.v1', 0, NULL, NULL, NULL)")
    connection.commit()
    connection.close()
    with pytest.raises(Corrupt) as raised:
        await migrate.upgrade(url_of(tmp_path))
    assert ("store.broken-references", 1) == (raised.value.code, raised.value.details["count"])


async def test_two_upgrades_at_once_make_the_tables_once(empty_url: str) -> None:
    assert [migrate.head()] * 2 == await asyncio.gather(*(migrate.upgrade(empty_url) for _ in range(2)))


async def test_an_upgrade_of_a_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.store.sqlite.BUSY_SECONDS", 0)
    await migrate.upgrade(url_of(tmp_path))
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Fault) as raised:
        await migrate.upgrade(url_of(tmp_path))
    other.close()
    assert (Unavailable, "store.locked") == (type(raised.value), raised.value.code)


async def test_the_files_are_named_after_their_revisions_and_each_follows_the_one_before_it() -> None:
    walked = [(one.revision, one.down_revision) for one in ScriptDirectory(str(migrate._SCRIPTS)).walk_revisions()]
    named = migrate._revisions()
    assert list(zip(named, (None, *named), strict=False)) == walked[::-1]


async def test_a_revision_knows_no_way_back() -> None:
    versions = ScriptDirectory(str(migrate._SCRIPTS)).walk_revisions()
    assert [] == [one.revision for one in versions if hasattr(one.module, "downgrade")]
