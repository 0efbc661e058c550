"""Drills: a broker gets its next version while citizens declare, as docs/install.md says, and nothing is lost by it.

The next version is this checkout in another folder, under another commit: with the same tables, where roles are
started again one after the other, or with a revision more, where the processes of before stop by themselves. What
else the next version does differently is its own matter, and for its own tests.
"""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio

from broker.access.credentials import Scope
from broker.cli.exits import FINAL, Exit
from broker.setup.roles import ProcessRole
from broker.store import migrate
from connectors.client import Client
from schemas.names import Instant
from tests.fire.alive import DEADLINE, Serving, until
from tests.fire.town import PEOPLE, ROOT, Town, ended, found
from tests.services.databases import Databases
from tests.world import DAY, PORTAL, World

pytestmark = [pytest.mark.asyncio, pytest.mark.proof]

PACKAGES: Final = ("broker", "connectors", "consent", "schemas")
COMMIT: Final = "1" * 40
REVISION: Final = "9999"
TABLES: Final = f'''"""A column that this version does not know.

Revision {REVISION}, after {{before}}.
"""

import sqlalchemy as sa
from alembic import op

revision = "{REVISION}"
down_revision = "{{before}}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("declarations", sa.Column("of_next_version", sa.Text(), nullable=True))
'''
ORDER: Final = [
    role.value
    for role in (ProcessRole.ROUTER, ProcessRole.LEDGER, ProcessRole.UPKEEP, ProcessRole.CONNECTORS, ProcessRole.API)
]
"""Those that have something to do here; any order would do."""
EACH: Final = 8
"""Declarations of each citizen."""


def neighbour(folder: Path, *, tables: bool) -> Path:
    """The next version in this folder; `tables`: with a revision of its own."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "site"))
    (folder / "broker/commit.txt").write_text(f"{COMMIT}\n")
    if tables:
        versions = folder / "broker/store/migrations/versions"
        (versions / f"{REVISION}_of_next_version.py").write_text(TABLES.format(before=migrate.head()))
    return folder


class Door:
    """The address at which sources find the API: whoever has it answers. They hand in no more than they are let."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._let = asyncio.Semaphore(0)
        self.address = ""

    def let(self, count: int) -> None:
        """So many more."""
        for _ in range(count):
            self._let.release()

    async def declare(self, envelope: bytes) -> Any:
        """Hand one envelope in. Raises as the client does."""
        await self._let.acquire()
        try:
            async with Client.open(self.address, self._token, tries=1) as client:
                return await client.declare(envelope)
        except BaseException:
            self._let.release()
            raise


@pytest_asyncio.fixture
async def town(postgres: Databases, tmp_path: Path) -> AsyncIterator[Town]:
    """Citizens, a portal and a hosted family fund; a process for each role."""
    async with postgres.empty() as url:
        made = await found(tmp_path, database_url=url)
        with ended(made):
            yield made


@asynccontextmanager
async def door(town: Town, here: World) -> AsyncIterator[Door]:
    at = here.home.clock()
    async with here.home.store.begin() as tx:
        issued = await here.home.credentials.issue(tx, PORTAL, [Scope.PUBLISH], expires_at=Instant(at + DAY), at=at)
    yield Door(issued.token)


async def commit_of(one: Serving) -> str:
    """Which version a process says that it is."""
    async with httpx2.AsyncClient(timeout=30) as asking:
        told: str = (await asking.get(f"{one.address}/health/live")).json()["commit"]
    return told


async def ready(town: Town, one: Serving) -> None:
    """Return once it has work and does it."""

    async def asked() -> bool:
        async with httpx2.AsyncClient(timeout=30) as asking:
            return (await asking.get(f"{one.address}/health/ready")).status_code == 200

    await until(asked, f"{one.told.stem} is ready", town.look)


async def test_roles_become_the_next_version_one_after_the_other_while_citizens_declare(
    town: Town, tmp_path: Path
) -> None:
    program = neighbour(tmp_path / "next", tables=False)
    running = {role: town.serve(role) for role in ORDER}
    async with town.opened() as here, door(town, here) as source:
        source.address = running["api"].address
        for one in running.values():
            await ready(town, one)
        async with town.declaring(here, source.declare, EACH) as progress:
            for number, role in enumerate(ORDER):
                source.let(PEOPLE)
                await progress.reached(PEOPLE * number + 1)
                replacing = town.serve(role, program=program)
                await ready(town, replacing)
                assert COMMIT == await commit_of(replacing) != await commit_of(running[role])
                if role == "api":
                    source.address = replacing.address
                await asyncio.to_thread(running[role].end)
                running[role] = replacing
            source.let(progress.wanted)
        await town.settled(here)
        assert {COMMIT} == {await commit_of(one) for one in running.values()}
        for one in running.values():
            one.end()
        await town.check(here)


async def test_processes_of_before_stop_by_themselves_when_the_tables_are_the_next_versions(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = neighbour(tmp_path / "next", tables=True)
    before = {role: town.serve(role) for role in ORDER}
    async with town.opened() as here, door(town, here) as source:
        source.address = before["api"].address
        for one in before.values():
            await ready(town, one)
        async with town.declaring(here, source.declare, EACH) as progress:
            source.let(2 * PEOPLE)
            await progress.reached(PEOPLE)
            for one in before.values():
                one.mortal = True
            await asyncio.to_thread(upgrade, town, program)
            source.let(2 * PEOPLE)  # handed in, or refused and kept by its source, as it comes
            for one in before.values():
                await asyncio.to_thread(stopped_by_itself, one)
            late = town.serve("router")  # of before, started again by somebody who does not know
            late.mortal = True
            await asyncio.to_thread(stopped_by_itself, late)
            assert progress.count <= 4 * PEOPLE
            after = {role: town.serve(role, program=program) for role in ORDER}
            source.address = await asyncio.to_thread(lambda: after["api"].address)
            source.let(progress.wanted)
        await town.settled(here)
        for one in after.values():
            one.end()
    monkeypatch.setattr(migrate, "_SCRIPTS", program / "broker/store/migrations")
    migrate._revisions.cache_clear()
    try:
        async with town.opened() as here:  # with the next version's eyes
            await town.check(here)
    finally:
        migrate._revisions.cache_clear()


def upgrade(town: Town, program: Path) -> None:
    """`unefois migrate` of the next version."""
    done = subprocess.run(
        [sys.executable, "-m", "broker", "migrate"],
        cwd=program,
        env=dict(town.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, True) == (done.returncode, f"to {REVISION}." in done.stdout), done.stdout + done.stderr


def stopped_by_itself(one: Serving) -> None:
    """It ended for good, and said why."""
    assert Exit.REFUSED == one.process.wait(DEADLINE), one.words()
    assert Exit.REFUSED in FINAL
    assert "store.newer-version" in one.words()
