"""PostgreSQL killed under load and started again, commits whose answers are lost, commits that never arrive."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import make_url

from tests.fire import proxy
from tests.fire.proxy import Fate
from tests.fire.town import Town, ended, found
from tests.services import postgres as servers
from tests.services.databases import Databases
from tests.services.postgres import Server
from tests.services.processes import free_port

pytestmark = pytest.mark.asyncio
ROLES = ("router", "router", "connectors", "ledger", "upkeep")


@pytest.fixture
def server(needs_postgres: None) -> Iterator[Server]:
    """A PostgreSQL that this test may kill."""
    with servers.own() as made:
        yield made


@pytest_asyncio.fixture
async def town(server: Server, quick: Path) -> AsyncIterator[Town]:
    """A town whose database is there."""
    async with Databases(server.address).empty() as url:
        made = await found(quick, database_url=url)
        with ended(made):
            yield made


async def test_a_database_that_is_killed_under_load_loses_nothing_and_nothing_is_done_twice(
    server: Server, town: Town, kills: Counter[str]
) -> None:
    running = [town.serve(role) for role in ROLES]
    async with town.opened() as here:
        async with town.declaring(here, here.home.intake.accept, 20) as progress:
            for number in range(5):
                await progress.reached(25 * (number + 1))
                server.kill()
                kills["PostgreSQL"] += 1
                await asyncio.sleep(0)
                server.start()
        await town.settled(here)
        for one in running:
            one.end()
        await town.check(here)


class Commits:
    """Every so many commits, one is not answered, or does not arrive, in turn."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = 0

    def __call__(self, kind: int | bytes) -> Fate:
        if not isinstance(kind, bytes) or not kind.upper().startswith(b"COMMIT"):
            return Fate.PASSED
        self._seen += 1
        if self._seen % self._every:
            return Fate.PASSED
        return Fate.UNANSWERED if self._seen // self._every % 2 else Fate.LOST


async def test_commits_that_were_done_and_not_answered_and_commits_that_never_came_are_both_survived(
    postgres: Databases, quick: Path
) -> None:
    port = free_port()
    async with postgres.migrated() as url, proxy.postgres(port, make_url(url).port or 5432) as between:
        through = make_url(url).set(port=port).render_as_string(hide_password=False)
        town = await found(quick, database_url=through)
        with ended(town):
            running = [town.serve(role) for role in ROLES]
            for one in running:
                await asyncio.to_thread(lambda one=one: one.address)
            async with town.opened() as here:
                between.rule = Commits(7)
                async with town.declaring(here, here.home.intake.accept, 20):
                    pass
                between.rule = proxy.passed
                await town.settled(here)
                for one in running:
                    await asyncio.to_thread(one.end)
                await town.check(here)
    fates = Counter(fate for _, fate in between.done)
    assert min(fates[Fate.LOST], fates[Fate.UNANSWERED]) >= 20, fates
