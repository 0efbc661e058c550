"""Routers side by side on PostgreSQL, killed or stopped wherever it hurts: nothing lost, nothing twice, order kept."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import make_url, select

from broker.runtime.stats import take
from broker.settings.choices import Settings, load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store.tables import declarations, deliveries
from schemas.facts import FactKind
from schemas.hpke import Suite
from schemas.names import SubjectRef
from tests.faults.races import breaches
from tests.services.databases import Databases, plain
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, Clock, Entropy, World, populate

pytestmark = [pytest.mark.asyncio, pytest.mark.proof]

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
PEOPLE = 16
EACH = 3
"""Declarations of each of them."""

KILLS = (
    ("router.batch:1", "planner.delivery:1"),
    ("members.beaten:1", "planner.delivery:2"),
    ("router.batch:2", "router.batch:2"),
)
"""Pairs that run at the same time. Each of the last commits one batch and dies in its next."""


@dataclass
class Town:
    """A home with declarations that nobody has routed, and in which order each citizen made theirs."""

    settings: Settings
    environment: Mapping[str, str]
    made: dict[SubjectRef, list[bytes]]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[World]:
        async with open_home(self.settings) as home:
            yield World(home, Clock(), self.settings.home)

    def router(self, crash: str | None = None) -> "subprocess.Popen[bytes]":
        """A process of its own."""
        command = [sys.executable, "-m", "broker", "serve", "--role", "router", "--listen", "none"]
        armed = {} if crash is None else {"UNEFOIS_CRASH_AT": crash}
        return subprocess.Popen(command, cwd=ROOT, env={**self.environment, **armed}, stdout=subprocess.PIPE)

    async def routed(self, *routers: "subprocess.Popen[bytes]") -> None:
        """Return when nothing waits any more; they have to live until then."""
        async with self.opened() as here:
            while sum((await take(here.home)).lag.values()):
                assert [None] * len(routers) == [each.poll() for each in routers]

    async def check(self) -> None:
        """Everything that was declared has its effects, once, and each citizen's in their order."""
        async with self.opened() as here:
            await here.step()
            assert [] == await breaches(here)
            for kind in (FactKind.RECEIVED, FactKind.PLANNED):
                assert PEOPLE * EACH == len(await here.entries(kind))
            both = select(deliveries.c.subject, declarations.c.declaration_id).join_from(
                deliveries, declarations, deliveries.c.declaration == declarations.c.seq
            )
            found: dict[SubjectRef, list[bytes]] = {}
            async with here.home.store.read() as tx:
                for row in await tx.execute(both.order_by(deliveries.c.seq)):
                    found.setdefault(SubjectRef(row.subject), []).append(row.declaration_id)
        assert self.made == found


@pytest_asyncio.fixture
async def town(postgres: Databases, tmp_path: Path) -> AsyncIterator[Town]:
    """Chance is the same in each run, so every partition has its citizens."""
    folder = tmp_path / "home"
    async with postgres.migrated() as url:
        told = {"home": folder, "database_url": url, "log_partitions": PARTITIONS, "hpke_suite": "x25519"}
        settings = load(**told)
        await create_home(settings, entropy=Entropy())
        named = {f"UNEFOIS_{name.upper()}": str(value) for name, value in told.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UNEFOIS_")}
        made = Town(settings, kept | named, {})
        async with made.opened() as here:
            await declared(here, made)
        yield made


async def declared(here: World, town: Town) -> None:
    assert Suite.X25519 is here.home.settings.hpke_suite
    await populate(here)
    people = [ELISE | {"birthdate": f"{1950 + number}-04-12"} for number in range(PEOPLE)]
    for person in people:
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
    for _ in range(EACH):
        envelopes = [await here.home.desk.envelope(PORTAL, MOVED, here.moved(person)) for person in people]
        for person, accepted in zip(people, await here.home.intake.accept_all(envelopes), strict=True):
            assert not isinstance(accepted, Exception)
            town.made.setdefault(here.subject(person), []).append(accepted.declaration_id)
    assert PARTITIONS == sum(count > 0 for count in (await take(here.home)).lag.values())


@contextmanager
def running(*processes: "subprocess.Popen[bytes]") -> Iterator[tuple["subprocess.Popen[bytes]", ...]]:
    """None of them outlives the block."""
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def test_routers_killed_two_at_a_time_lose_nothing_and_repeat_nothing(town: Town) -> None:
    for first, second in KILLS:
        with running(town.router(first), town.router(second)) as both:
            assert [-signal.SIGKILL] * 2 == [process.wait(timeout=60) for process in both], (first, second)

    with running(town.router(), town.router()) as both:
        await town.routed(*both)
        for process in both:
            assert process.stdout is not None
            assert (
                process.stdout.readline()
            )  # it says that it runs once it heeds signals; the other may have been faster
            process.send_signal(signal.SIGTERM)
        assert [0, 0] == [process.wait(timeout=60) for process in both]

    await town.check()


async def test_a_router_whose_connection_is_cut_in_the_middle_of_a_batch_does_it_again_and_lives(town: Town) -> None:
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    holder, watcher = [await asyncpg.connect(plain(make_url(town.settings.database_url))) for _ in range(2)]
    held = holder.transaction()
    await held.start()
    await holder.execute("LOCK TABLE deliveries IN EXCLUSIVE MODE")

    with running(town.router()) as (router,):
        try:
            while (pid := await watcher.fetchval(waiting)) is None:
                assert router.poll() is None
            await watcher.execute("SELECT pg_terminate_backend($1)", pid)
            await held.rollback()
            await town.routed(router)
            router.send_signal(signal.SIGTERM)
            assert 0 == router.wait(timeout=60)
        finally:
            await holder.close()
            await watcher.close()
    await town.check()


@pytest.mark.parametrize(
    ("moment", "told"), [("checked", "router.lost-ownership"), ("written", "store.away")], ids=["checked", "written"]
)
async def test_an_owner_that_stood_still_while_another_took_over_writes_nothing(
    town: Town, moment: str, told: str
) -> None:
    command = [sys.executable, "-m", "tests.faults.zombie", str(town.settings.home), moment]
    with subprocess.Popen(command, cwd=ROOT, env=town.environment, stdout=subprocess.PIPE, text=True) as zombie:
        try:
            assert zombie.stdout is not None
            _, status = os.waitpid(zombie.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)

            async with town.opened() as here:
                await here.home.router.route()
            await town.check()

            zombie.send_signal(signal.SIGCONT)
            assert f"{told}\n" == zombie.stdout.readline()
            assert 0 == zombie.wait(timeout=60)
        finally:
            zombie.kill()

    await town.check()
