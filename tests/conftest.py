"""Services for tests: PostgreSQL and Kafka where they can be had, else a skip with its reason.

UNEFOIS_REQUIRE=postgres,kafka makes such a skip a failure. UNEFOIS_TEST_DATABASE=postgres runs every test that takes a
`here`, an `empty_url` or `home_settings` on PostgreSQL, and =cluster with the log on Kafka beside it. Without it they
run on SQLite, and those marked `databases`, or of a module in ON_MORE, on others too; those marked `sqlite` look into
its file. UNEFOIS_ONE_DATABASE=1 runs each on the first of its databases alone. UNEFOIS_SHARE=3 runs a third of all
tests, chosen by their names: the same ones everywhere.
"""

import gc
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings

from broker.log.kafka_cluster import Cluster
from tests import answers, compiled, machine
from tests.services import shared
from tests.services.absent import Absent
from tests.services.databases import Databases, databases

if TYPE_CHECKING:
    from tests.services.three import Three

_ANY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("test", derandomize=True, max_examples=40, **_ANY)
settings.register_profile("proof", max_examples=1000, **_ANY)
settings.load_profile("proof" if os.environ.get("UNEFOIS_PROOF") else "test")

compiled.share()
machine.forget()

LONGER = {Path(__file__).parent / name for name in ("agency", "cluster", "compose", "fire", "systems", "web")}
DATABASES = ("sqlite", "postgres")
ON_MORE = {
    "test_router": (*DATABASES, pytest.param("cluster", marks=pytest.mark.proof)),
    "test_gate": DATABASES,
    "test_planner": DATABASES,
    "test_registry": DATABASES,
    "test_engine": DATABASES,
    "test_migrate": DATABASES,
    "test_logins": ("postgres",),
}
"""The flows that lean on locks, on the order of commits and on the log; on a cluster in `make test-proof`."""


def pytest_configure(config: pytest.Config) -> None:
    """The marks that choose a database."""
    config.addinivalue_line("markers", "databases: runs on SQLite and, where it can be had, on PostgreSQL")
    config.addinivalue_line("markers", "sqlite: looks into SQLite's own file")
    config.addinivalue_line("markers", "more: does more in `make test-proof`, as every property does")
    config.addinivalue_line("markers", "proof: takes too long for `make test`, runs in `make test-proof`")
    config.addinivalue_line("markers", "long: takes minutes, so it begins before all others")
    config.addinivalue_line("markers", "takes(seconds): a trial by fire that may take longer than the others")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The longer suites run when they are named: `make test-cluster`, `-faults`, `-agency`, `-compose`, `-web`."""
    if collection_path not in LONGER:
        return None
    asked = [Path(word.partition("::")[0]).absolute() for word in config.args]
    return not any(path.is_relative_to(collection_path) for path in asked) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whoever took up one of the long ones at the end would leave the other workers idle."""
    share = int(os.environ.get("UNEFOIS_SHARE", "1"))
    left = [item for item in items if crc32(item.nodeid.encode()) % share]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not crc32(item.nodeid.encode()) % share]
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: whoever looks for garbage need not go through them again and again. And what
    they need is loaded by now.
    """
    answers.share()
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Who ran a command in this process has turned its log to a stream that is closed by now."""
    if structlog.is_configured():
        structlog.reset_defaults()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The databases of a test that takes one."""
    if "database" in metafunc.fixturenames:
        chosen = _databases(metafunc)
        if os.environ.get("UNEFOIS_ONE_DATABASE"):
            chosen = chosen[:1]
        metafunc.parametrize("database", chosen, ids=None if len(chosen) > 1 else (pytest.HIDDEN_PARAM,))


def _databases(metafunc: pytest.Metafunc) -> tuple[Any, ...]:
    marked = {mark.name for mark in metafunc.definition.iter_markers()}
    if "sqlite" in marked:
        return ("sqlite",)
    if "databases" in marked:
        return DATABASES
    asked = os.environ.get("UNEFOIS_TEST_DATABASE")
    return (asked,) if asked else ON_MORE.get(metafunc.module.__name__.rpartition(".")[2], ("sqlite",))


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


@pytest.fixture(scope="session")
def nodes() -> Iterator["Three"]:
    """Three Kafka nodes with TLS, SCRAM and access lists, started once for the run."""
    from tests.services import three

    try:
        with three.running() as made:
            yield made
    except Absent as absent:
        if "kafka" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"kafka is required: {absent}", pytrace=False)
        pytest.skip(f"kafka: {absent}")


@pytest.fixture
def prefix() -> str:
    """Of the topics of one test."""
    return f"t{secrets.token_hex(6)}."


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
async def home_settings(database: str, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    """Where a home keeps what it knows: a PostgreSQL database with this code's tables, a Kafka topic; {} on SQLite."""
    if database == "sqlite":
        yield {}
        return
    server: Databases = request.getfixturevalue("postgres")
    chosen: dict[str, Any] = {}
    if database == "cluster":
        address, prefix = request.getfixturevalue("kafka"), f"t{secrets.token_hex(6)}."
        await Cluster((address,), "plaintext").make_topic(f"{prefix}declarations", 1, 1)
        chosen = {
            "log": "kafka",
            "kafka_bootstrap": address,
            "kafka_security": "plaintext",
            "kafka_replicas": 1,
            "kafka_topic_prefix": prefix,
        }
    async with server.migrated() as url:
        yield {"database_url": url, **chosen}
