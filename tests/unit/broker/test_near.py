"""The connection that stays near: what waits is on the thread, all else is not, and the order of calls is kept."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest
import pytest_asyncio

from broker.store.sqlite import NearConnection, connector

pytestmark = pytest.mark.asyncio


async def opened(path: Path, *, writes: bool) -> aiosqlite.Connection:
    return await connector(writes=writes)(str(path), isolation_level=None, timeout=5)


@pytest_asyncio.fixture
async def writer(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    connection = await opened(tmp_path / "near.db", writes=True)
    await connection.execute("PRAGMA journal_mode=WAL")
    await connection.execute("CREATE TABLE t (place TEXT)")
    yield connection
    await connection.close()


def places(connection: aiosqlite.Connection) -> list[str]:
    """From now on, the name of the thread of every statement."""
    told: list[str] = []
    connection._conn.set_trace_callback(lambda statement: told.append(f"{statement} {threading.current_thread().name}"))
    return told


async def test_what_waits_for_nobody_runs_on_the_loops_own_thread(writer: aiosqlite.Connection) -> None:
    told, here = places(writer), threading.current_thread().name

    await writer.execute("BEGIN")
    await writer.execute("INSERT INTO t VALUES ('x')")
    await writer.rollback()

    assert [f"BEGIN {here}", f"INSERT INTO t VALUES ('x') {here}", f"ROLLBACK {here}"] == told


async def test_the_write_lock_and_the_commit_are_waited_for_on_the_thread(writer: aiosqlite.Connection) -> None:
    told, here = places(writer), threading.current_thread().name

    await writer.execute("BEGIN IMMEDIATE")
    await writer.execute("INSERT INTO t VALUES ('x')")
    await writer.commit()

    assert [False, True, False] == [one.endswith(here) for one in told]


async def test_the_loop_goes_on_while_another_process_holds_the_lock(
    writer: aiosqlite.Connection, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "near.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    waiting = asyncio.create_task(_begin(writer))
    await asyncio.sleep(0)
    assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    await waiting

    assert writer.in_transaction


async def test_what_follows_a_cancelled_wait_waits_for_its_end(writer: aiosqlite.Connection, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "near.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(_begin(writer))
    await asyncio.sleep(0)
    waiting.cancel()
    after = asyncio.create_task(writer.rollback())
    await asyncio.sleep(0)
    assert not after.done()
    other.execute("ROLLBACK")
    other.close()
    await after

    assert not writer.in_transaction


async def test_a_reader_commits_near(tmp_path: Path, writer: aiosqlite.Connection) -> None:
    reader = await opened(tmp_path / "near.db", writes=False)
    told, here = places(reader), threading.current_thread().name
    await reader.execute("BEGIN")
    await reader.commit()
    await reader.close()

    assert [f"BEGIN {here}", f"COMMIT {here}"] == told


async def test_a_closed_connection_says_so(tmp_path: Path) -> None:
    reader = await opened(tmp_path / "near.db", writes=False)
    await reader.close()

    with pytest.raises(ValueError, match="no active connection"):
        await reader.execute("SELECT 1")


async def _begin(connection: aiosqlite.Connection) -> None:
    await connection.execute("BEGIN IMMEDIATE")


async def test_a_connection_that_cannot_be_opened_leaves_no_thread_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[NearConnection] = []
    ordinary = NearConnection.__init__

    def remembered(self: NearConnection, *arguments: object, **options: object) -> None:
        made.append(self)
        ordinary(self, *arguments, **options)

    monkeypatch.setattr(NearConnection, "__init__", remembered)
    with pytest.raises(sqlite3.OperationalError):
        await opened(tmp_path, writes=False)
    assert [False] == [one._thread.is_alive() for one in made]
