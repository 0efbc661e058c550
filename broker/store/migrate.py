"""Migrate: bring a database to the tables that this code knows, and refuse one that this code does not know.

Refuses: a database that a newer version wrote, or that is not ours; to run on one that is not up to date; to go back
(docs/adr/0022).
Keeps: an upgrade happens whole or not at all, and once when two processes try; no row loses what it refers to.
"""

import asyncio
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, make_url, select, table

from broker.observability.crashpoints import mark
from broker.store.dialects import Dialect, connected, faults
from broker.store.engine import Store, dialect_of
from broker.store.tables import meta
from schemas.errors import Corrupt, Refused

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = b"migrate"
_AT = table("alembic_version", column("version_num"))
"""Where Alembic writes which revision a database is at."""
MOVED = "moved"
"""The row of `meta` that says: this database's home lives in another one now."""
CARRY = "carry"
"""The row of `meta` that says: the tables are new, and what lives is still to be carried (`broker.setup.carrying`)."""


async def upgrade(url: str) -> str:
    """Make or change the tables of the database at this URL; nothing to do when it is up to date. Returns the revision.

    Raises Refused: `store.newer-version`, `store.not-ours`, and what opening refuses. Raises Unavailable, Corrupt.
    """
    parsed = make_url(url)
    dialect = dialect_of(parsed)
    engine = dialect.migrator(parsed)
    try:
        with faults(dialect):
            async with connected(dialect, engine) as connection, connection.begin():
                await dialect.locks.exclusive(connection, [_LOCK])
                await connection.run_sync(_upgrade, dialect)
                mark("migrate.upgraded")
                # Crash here: the tables are as they were before; the next start upgrades again.
    finally:
        await engine.dispose()
    return head()


async def current(store: Store) -> str | None:
    """The revision that a database is at, or None when it has no tables yet. Raises Unavailable, Corrupt."""
    async with store.read() as tx:
        return await tx.conn.run_sync(_current)


async def known(store: Store) -> str | None:
    """As `current`, of a database that this version can upgrade. Raises Refused `store.newer-version`,
    `store.not-ours`.
    """
    async with store.read() as tx:
        found = await tx.conn.run_sync(_current)
        foreign = found is None and await tx.conn.run_sync(lambda there: bool(inspect(there).get_table_names()))
    if foreign:
        raise Refused("store.not-ours")
    if found is not None:
        _check_known(found)
    return found


async def check(store: Store, *, carried: bool = True) -> None:
    """Raises Refused unless the database is what this code knows, and the home's own: `store.not-migrated`,
    `store.newer-version`, `store.moved`. `carried`: its ledger has to be of today's format, too: `store.not-carried`.
    """
    found = await current(store)
    if found == head():
        async with store.read() as tx:
            marks = set((await tx.execute(select(meta.c.name).where(meta.c.name.in_([MOVED, CARRY])))).scalars())
        if MOVED in marks:
            raise Refused("store.moved")
        if carried and CARRY in marks:
            raise Refused("store.not-carried")
        return
    if found is not None:
        _check_known(found)
    raise Refused("store.not-migrated", found=found or "-", needed=head())


def head() -> str:
    """The revision that this code needs. Raises Corrupt `store.no-revisions`."""
    if not _revisions():
        raise Corrupt("store.no-revisions")
    return _revisions()[-1]


@cache
def _revisions() -> tuple[str, ...]:
    """All that this code knows, the first one first. Each stands in the name of its file, so that a home is opened
    without Alembic, which would load and run every one of the files.
    """
    return tuple(sorted(file.name.partition("_")[0] for file in (_SCRIPTS / "versions").glob("[0-9]*.py")))


def _upgrade(connection: Connection, dialect: Dialect) -> None:
    found = _current(connection)
    if found is None and inspect(connection).get_table_names():
        raise Refused("store.not-ours")
    if found is not None:
        _check_known(found)
    from alembic import command

    command.upgrade(_config(connection), "head")
    broken = dialect.broken_references(connection)
    if broken:
        raise Corrupt("store.broken-references", count=broken)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_AT.name):
        return None
    return " ".join(sorted(connection.execute(select(_AT.c.version_num)).scalars())) or None  # ours is always one


def _check_known(revision: str) -> None:
    if revision not in _revisions():
        raise Refused("store.newer-version", found=revision)


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def draft(url: str, revision: str, message: str) -> None:
    """For developers: write the revision that leads from this database to the code's tables. Read it before use."""
    from alembic import command

    engine = dialect_of(make_url(url)).migrator(make_url(url))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(
                lambda there: command.revision(_config(there), message, rev_id=revision, autogenerate=True)
            )
    finally:
        await engine.dispose()


async def _draft_next(revision: str, message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/draft.db"
        if any((_SCRIPTS / "versions").glob("*.py")):
            await upgrade(url)
        await draft(url, revision, message)


if __name__ == "__main__":
    asyncio.run(_draft_next(sys.argv[1], sys.argv[2]))
