"""Surroundings: a database that forgets, or that is not of this version, is refused before anything begins."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import make_url

from broker.settings.choices import Settings, load
from broker.setup import preflight
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.store.server import NAMES, server_settings
from schemas.errors import Refused, Unavailable
from tests.services.databases import Databases, plain
from tests.services.processes import free_port

pytestmark = pytest.mark.asyncio

GOOD = {
    "server_version_num": "150004",
    "fsync": "on",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
}


@pytest_asyncio.fixture
async def url(postgres: Databases) -> AsyncIterator[str]:
    """A PostgreSQL database with this version's tables."""
    async with postgres.migrated() as made:
        yield made


def at(url: str, tmp_path: Path) -> Settings:
    return load(home=tmp_path, database_url=url)


async def told(url: str, statement: str) -> None:
    connection = await asyncpg.connect(plain(make_url(url)))
    try:
        await connection.execute(statement.format(make_url(url).database))
    finally:
        await connection.close()


async def codes(url: str, tmp_path: Path) -> list[tuple[str, bool]]:
    return [(one.fault.code, one.serious) for one in await preflight.look(at(url, tmp_path))]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("server_version_num", "140000", []),
        ("server_version_num", "130014", [("store.old-server", True)]),
        ("fsync", "off", [("store.fsync-off", True)]),
        ("synchronous_commit", "off", [("store.asynchronous-commit", True)]),
        ("synchronous_commit", "remote_apply", []),
        ("default_transaction_isolation", "serializable", [("store.isolation", False)]),
    ],
)
async def test_what_a_server_tells_of_itself_is_judged(name: str, value: str, found: list[tuple[str, bool]]) -> None:
    judged = preflight.judged(GOOD | {name: value})

    assert found == [(one.fault.code, one.serious) for one in judged]


async def test_the_tests_own_server_is_a_good_one_and_tells_all_that_is_judged(url: str, tmp_path: Path) -> None:
    assert set(NAMES) == set(await server_settings(url))
    assert [] == await codes(url, tmp_path)


async def test_a_database_that_commits_asynchronously_is_refused_though_our_own_sessions_ask_for_more(
    url: str, tmp_path: Path
) -> None:
    await told(url, "ALTER DATABASE {} SET synchronous_commit = off")

    assert [("store.asynchronous-commit", True)] == await codes(url, tmp_path)


async def test_another_default_isolation_is_told_and_refused_by_nobody(url: str, tmp_path: Path) -> None:
    await told(url, "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'")

    assert [("store.isolation", False)] == await codes(url, tmp_path)


async def test_tables_of_a_newer_version_are_refused(url: str, tmp_path: Path) -> None:
    await told(url, "UPDATE alembic_version SET version_num = '9999'")

    assert [("store.newer-version", True)] == await codes(url, tmp_path)


async def test_a_server_that_forgets_is_told_beside_tables_that_are_not_there(
    postgres: Databases, tmp_path: Path
) -> None:
    async with postgres.empty() as url:
        await told(url, "ALTER DATABASE {} SET synchronous_commit = off")

        assert [("store.asynchronous-commit", True), ("store.not-migrated", True)] == await codes(url, tmp_path)
        assert () == await preflight.look_log(at(url, tmp_path))


async def test_a_database_and_a_kafka_that_are_both_away_are_both_told(tmp_path: Path) -> None:
    kafka = {"log": "kafka", "kafka_bootstrap": f"127.0.0.1:{free_port()}", "kafka_security": "plaintext"}
    chosen = load(home=tmp_path, database_url=f"postgresql+asyncpg://u:p@127.0.0.1:{free_port()}/none", **kafka)

    assert ["store.away"] == [one.fault.code for one in await preflight.look(chosen)]
    assert ["kafka.away"] == [one.fault.code for one in await preflight.look_log(chosen)]


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"database": "nowhere"}])
async def test_a_server_that_does_not_let_us_in_is_told_without_the_password(
    url: str, tmp_path: Path, change: dict[str, str]
) -> None:
    wrong = make_url(url).set(**change).render_as_string(hide_password=False)

    (found,) = await preflight.look(at(wrong, tmp_path))

    assert ("store.denied", True) == (found.fault.code, found.serious)
    assert "wrong" not in str(found.fault)
    with pytest.raises(Refused, match=r"store\.denied"):
        await server_settings(wrong)


async def test_a_server_that_is_away_is_a_matter_of_waiting(tmp_path: Path) -> None:
    away = f"postgresql+asyncpg://u:p@127.0.0.1:{free_port()}/none"

    with pytest.raises(Unavailable, match=r"store\.away"):
        await server_settings(away)
    assert [("store.away", True)] == await codes(away, tmp_path)


async def test_without_a_server_there_is_nothing_to_judge(tmp_path: Path) -> None:
    assert {} == await server_settings(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")


async def test_a_home_whose_log_went_to_kafka_refuses_the_table(tmp_path: Path) -> None:
    chosen = load(home=tmp_path, ledger_origin="log.example/x")
    await create_home(chosen)
    async with open_home(chosen) as home:
        await preflight.check_log(home)
        assert () == await preflight.look_log(chosen)
        async with home.store.begin() as tx:
            await preflight._pin(tx, "a cluster")
        with pytest.raises(Refused, match=r"log\.moved"):
            await preflight.check_log(home)
    assert ["log.moved"] == [one.fault.code for one in await preflight.look_log(chosen)]
    with pytest.raises(Refused, match=r"log\.moved"):
        async with open_home(chosen):
            pass
