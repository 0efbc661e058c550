"""A disk that is full under PostgreSQL or under Kafka, under load: told, waited for, and nothing is lost by it."""

import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from errno import ENOSPC
from pathlib import Path

import pytest

from broker.flow.router import TOPIC
from broker.log.kafka_cluster import Cluster
from schemas.errors import Unavailable
from tests.fire.alive import Progress, until
from tests.fire.town import PARTITIONS, Town, ended, found
from tests.services import postgres as servers
from tests.services.alone import alone
from tests.services.databases import Databases
from tests.world import World

pytestmark = pytest.mark.asyncio
PAGE = 4096
ROLES = ("router", "router", "connectors", "ledger", "upkeep")


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small one of its own."""
    place = folder / "disk"
    place.mkdir(mode=0o711)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def full(place: Path) -> Iterator[None]:
    """Not a byte is left, until the end of the block."""
    filler, size = place / "filler", 0
    with filler.open("wb") as file:
        for step in (1 << 20, PAGE):  # by steps until there is no room: others write and delete meanwhile
            try:
                while True:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
            except OSError as error:
                if error.errno != ENOSPC:
                    raise
    yield
    filler.unlink()


@asynccontextmanager
async def loaded(town: Town, here: World, faults: Counter[str]) -> AsyncIterator[Progress]:
    """Declarations come in; what their sources are told instead of a receipt is counted."""

    async def accept(envelope: bytes) -> object:
        try:
            return await here.home.intake.accept(envelope)
        except Unavailable as fault:
            faults[fault.code] += 1
            raise

    async with town.declaring(here, accept, 15) as progress:
        yield progress


async def refused(faults: Counter[str], town: Town) -> None:
    """Return once several sources have been told that it cannot be done now."""

    async def met() -> bool:
        return faults.total() >= 5

    await until(met, "somebody is told", town.look)


async def test_a_database_whose_disk_is_full_is_waited_for(needs_postgres: None, quick: Path) -> None:
    faults = Counter[str]()
    with disk(quick, 256) as place, servers.own(place) as server:
        async with Databases(server.address).empty() as url:
            town = await found(quick, database_url=url)
            with ended(town):
                running = [town.serve(role) for role in ROLES]
                async with town.opened() as here:
                    async with loaded(town, here, faults) as progress:
                        await progress.reached(30)
                        with full(place):
                            await refused(faults, town)
                        if not server.alive():
                            server.start()
                    await town.settled(here)
                    for one in running:
                        one.end()
                    await town.check(here)
    assert set(faults) <= {"store.disk-full", "store.away"}, faults


async def test_a_log_whose_disk_is_full_is_waited_for(kafka: str, postgres: Databases, quick: Path) -> None:
    faults = Counter[str]()
    with disk(quick, 96) as place, alone(place) as node:
        await Cluster((node.address,), "plaintext").make_topic(TOPIC, PARTITIONS, 1)
        told = {"log": "kafka", "kafka_bootstrap": node.address, "kafka_security": "plaintext", "kafka_replicas": 1}
        async with postgres.migrated() as url:
            town = await found(quick, database_url=url, **told)
            with ended(town):
                running = [town.serve(role) for role in ROLES]
                async with town.opened() as here:
                    async with loaded(town, here, faults) as progress:
                        await progress.reached(30)
                        with full(place):
                            await refused(faults, town)
                        if node.running.poll() is not None:
                            node.start()
                            node.listening()
                    await town.settled(here)
                    for one in running:
                        one.end()
                    await town.check(here)
    assert all(code.startswith("kafka.") for code in faults), faults
