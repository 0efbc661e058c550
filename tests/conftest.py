"""Services for tests: PostgreSQL and Kafka where they can be had, else a skip with its reason.

UNEFOIS_REQUIRE=postgres,kafka makes such a skip a failure. UNEFOIS_TEST_DATABASE=postgres runs every test that takes a
`here`, `empty_url` or `home_url` on PostgreSQL. Without it they run on SQLite, and those marked `databases`, or in a
module of ON_BOTH, on PostgreSQL too; those marked `sqlite` look into its file.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.services import shared
from tests.services.absent import Absent
from tests.services.databases import Databases, databases

DATABASES = ("sqlite", "postgres")
ON_BOTH = frozenset({"test_router", "test_gate", "test_planner"})
"""The flows that lean on locks and on the order of commits."""


def pytest_configure(config: pytest.Config) -> None:
    """The marks that choose a database."""
    config.addinivalue_line("markers", "databases: runs on SQLite and, where it can be had, on PostgreSQL")
    config.addinivalue_line("markers", "sqlite: looks into SQLite's own file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The databases of a test that takes one."""
    if "database" in metafunc.fixturenames:
        chosen = _databases(metafunc)
        metafunc.parametrize("database", chosen, ids=None if len(chosen) > 1 else (pytest.HIDDEN_PARAM,))


def _databases(metafunc: pytest.Metafunc) -> tuple[str, ...]:
    marked = {mark.name for mark in metafunc.definition.iter_markers()}
    if "sqlite" in marked:
        return ("sqlite",)
    if "databases" in marked or metafunc.module.__name__.rpartition(".")[2] in ON_BOTH:
        return DATABASES
    return (os.environ.get("UNEFOIS_TEST_DATABASE", "sqlite"),)


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """What all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


def service(kind: str, folder: Path, config: pytest.Config) -> str:
    """The address of the run's server of this kind; the test that asks is skipped, or fails, without."""
    run = os.getppid() if hasattr(config, "workerinput") else os.getpid()
    try:
        return shared.address(kind, folder, run)
    except Absent as absent:
        if kind in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"{kind} is required: {absent}", pytrace=False)
        pytest.skip(f"{kind}: {absent}")


@pytest.fixture(scope="session")
def postgres(services_folder: Path, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """A PostgreSQL server."""
    with databases(service("postgres", services_folder, request.config)) as made:
        yield made


@pytest.fixture(scope="session")
def kafka(services_folder: Path, request: pytest.FixtureRequest) -> str:
    """`host:port` of a Kafka cluster, plain text."""
    return service("kafka", services_folder, request.config)


@pytest_asyncio.fixture
async def empty_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The URL of a database without tables."""
    if database == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'store.db'}"
        return
    server: Databases = request.getfixturevalue("postgres")
    async with server.empty() as url:
        yield url


@pytest_asyncio.fixture
async def home_url(database: str, request: pytest.FixtureRequest) -> AsyncIterator[str | None]:
    """The URL of a PostgreSQL database with this code's tables; None where the home's own SQLite file is to be used."""
    if database == "sqlite":
        yield None
        return
    server: Databases = request.getfixturevalue("postgres")
    async with server.migrated() as url:
        yield url
