"""Services for tests: PostgreSQL and Kafka where they can be had, else a skip with its reason.

UNEFOIS_REQUIRE=postgres,kafka makes such a skip a failure. UNEFOIS_TEST_DATABASE=postgres runs every test that takes a
`here` or a `store_url` on PostgreSQL; without it, on SQLite, and the marked ones on both.
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


def pytest_configure(config: pytest.Config) -> None:
    """The mark of a test that runs on every database."""
    config.addinivalue_line("markers", "databases: runs on SQLite and, where it can be had, on PostgreSQL")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `database` runs on the one that was asked for, or on all when it is marked."""
    if "database" in metafunc.fixturenames:
        asked = os.environ.get("UNEFOIS_TEST_DATABASE", "sqlite")
        marked = metafunc.definition.get_closest_marker("databases") is not None
        metafunc.parametrize(
            "database", DATABASES if marked else (asked,), ids=None if marked else (pytest.HIDDEN_PARAM,)
        )


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
