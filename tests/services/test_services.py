"""The services of the tests: shared, told from absent, and gone with the run that wanted them."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests import conftest
from tests.services import docker, kafka, keeper, shared
from tests.services.absent import Absent
from tests.services.databases import Databases, plain
from tests.services.processes import listens


@pytest.fixture
def run() -> "subprocess.Popen[bytes]":
    """A process that stands for a test run."""
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


def test_a_killed_run_leaves_no_server_behind(
    run: "subprocess.Popen[bytes]", tmp_path: Path, postgres: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNEFOIS_TEST_POSTGRES", raising=False)
    try:
        address = shared.address("postgres", tmp_path, run.pid)
        assert address == shared.address("postgres", tmp_path, run.pid)
        port = int(address.rpartition(":")[2].partition("/")[0])
        assert listens(port)
    finally:
        run.kill()
        run.communicate()
    until = time.monotonic() + 20
    while listens(port) and time.monotonic() < until:
        time.sleep(0.05)
    assert not listens(port)


@pytest.mark.asyncio
async def test_a_database_is_used_again_as_if_it_were_new(postgres: Databases) -> None:
    async with postgres.migrated() as url:
        await tell(url, "INSERT INTO meta (name, value) VALUES ('left', '')")
        await tell(url, "SELECT nextval(pg_get_serial_sequence('deliveries', 'seq'))")
    async with postgres.migrated() as again:
        assert url == again
        assert [(0,)] == await tell(again, "SELECT count(*) FROM meta")
        assert [(1,)] == await tell(again, "SELECT nextval(pg_get_serial_sequence('deliveries', 'seq'))")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "changed", ["ALTER TABLE meta ADD COLUMN more text", "UPDATE alembic_version SET version_num = '9999'"]
)
async def test_a_database_that_was_changed_is_not_used_again(postgres: Databases, changed: str) -> None:
    async with postgres.migrated() as url:
        await tell(url, changed)
    async with postgres.migrated() as other:
        assert url != other


async def tell(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(plain(make_url(url)))
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def test_an_address_from_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNEFOIS_TEST_KAFKA", "kafka.example:9092")
    assert "kafka.example:9092" == shared.address("kafka", tmp_path, 1)


def test_why_a_service_is_absent_is_told_to_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNEFOIS_TEST_KAFKA", raising=False)
    (tmp_path / "kafka.json").write_text(json.dumps({"absent": "no Java"}))
    with pytest.raises(Absent, match="no Java"):
        shared.address("kafka", tmp_path, 1)


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("", pytest.skip.Exception), ("postgres", pytest.skip.Exception), ("postgres,kafka", pytest.fail.Exception)],
)
def test_an_absent_service_is_a_skip_and_a_required_one_a_failure(
    required: str,
    outcome: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    monkeypatch.delenv("UNEFOIS_TEST_KAFKA", raising=False)
    monkeypatch.setenv("UNEFOIS_REQUIRE", required)
    (tmp_path / "kafka.json").write_text(json.dumps({"absent": "no Java"}))
    with pytest.raises(outcome, match="no Java"):
        conftest.service("kafka", tmp_path, pytestconfig)


def test_a_server_that_cannot_be_had_is_told_from_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    keeper.main("kafka", 1, tmp_path / "kafka.json")
    assert "no Java" in json.loads((tmp_path / "kafka.json").read_text())["absent"]


def test_jars_that_are_not_those_that_were_pinned_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kafka, "_fetch", lambda folder: (folder / "kafka_2.13-4.3.1.jar").write_bytes(b"other"))
    with pytest.raises(Absent, match="not those that were pinned"):
        kafka.jars()
    assert [] == list((tmp_path / "unefois-tests").iterdir())


def test_a_docker_client_without_an_engine_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not docker.answers()
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexit 1\n")
    client.chmod(0o755)
    assert not docker.answers()
