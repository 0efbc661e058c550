"""The store: what a transaction promises, seen from outside."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, Table, delete, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncResult

from broker.store import dialects
from broker.store.dialects import CONNECTIONS
from broker.store.engine import Store
from broker.store.sqlite import Sqlite
from broker.store.wake_signal import WakeSignal
from schemas.errors import Corrupt, Refused, Unavailable
from tests.services.databases import Databases, plain

METADATA = MetaData()
NOTES = Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("body", LargeBinary, nullable=False))
CHILDREN = Table("children", METADATA, Column("note", Integer, ForeignKey("notes.id"), primary_key=True))

pytestmark = pytest.mark.asyncio


def url_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'store.db'}"


@pytest_asyncio.fixture
async def store(empty_url: str) -> AsyncIterator[Store]:
    async with Store.open(empty_url) as opened:
        async with opened.begin() as tx:
            await tx.conn.run_sync(METADATA.create_all)
        yield opened


async def bodies(store: Store) -> list[bytes]:
    async with store.read() as tx:
        return [row.body for row in await tx.execute(select(NOTES.c.body).order_by(NOTES.c.id))]


async def write(store: Store, number: int, body: bytes = b"x") -> None:
    async with store.begin() as tx:
        await tx.execute(insert(NOTES), {"id": number, "body": body})


async def test_what_was_committed_is_there_after_reopening(store: Store, empty_url: str) -> None:
    await write(store, 1, b"kept")
    await store.dispose()
    async with Store.open(empty_url) as reopened:
        assert [b"kept"] == await bodies(reopened)


async def test_a_block_that_raises_leaves_nothing(store: Store) -> None:
    async def fail() -> None:
        async with store.begin() as tx:
            await tx.execute(insert(NOTES), {"id": 1, "body": b"x"})
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert [] == await bodies(store)


async def test_a_cancelled_writer_leaves_nothing_and_the_next_one_goes_on(store: Store) -> None:
    inside, never = asyncio.Event(), asyncio.Event()

    async def stopped() -> None:
        async with store.begin() as tx:
            await tx.execute(insert(NOTES), {"id": 1, "body": b"x"})
            inside.set()
            await never.wait()

    task = asyncio.create_task(stopped())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await write(store, 2, b"next")
    assert [b"next"] == await bodies(store)


async def test_a_writer_cancelled_while_it_queues_never_takes_its_turn(store: Store) -> None:
    async with store.begin() as tx:
        queued = asyncio.create_task(write(store, 1))
        await asyncio.sleep(0)
        queued.cancel()
        await tx.execute(insert(NOTES), {"id": 2, "body": b"first"})
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert [b"first"] == await bodies(store)


@pytest.mark.sqlite
async def test_writers_of_one_process_take_turns_in_the_order_in_which_they_came(store: Store) -> None:
    order: list[int] = []

    async def turn(number: int) -> None:
        async with store.begin() as tx:
            await tx.execute(select(NOTES))
            order.append(number)

    await asyncio.gather(*(turn(number) for number in range(20)))
    assert list(range(20)) == order


async def test_a_writer_waits_for_its_turn_however_long_the_others_take(
    store: Store, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialects, "CONNECTION_WAIT_SECONDS", 0)
    async with Store.open(empty_url) as patient:
        await asyncio.gather(*(write(patient, number) for number in range(5)))
        assert [b"x"] * 5 == await bodies(patient)


async def test_a_writer_sees_what_the_writer_before_it_left(store: Store) -> None:
    await write(store, 1, b"\x00")

    async def add() -> None:
        async with store.begin() as tx:
            await tx.lock_exclusive([b"note"])
            body = (await tx.execute(select(NOTES.c.body))).scalar_one()
            await tx.execute(NOTES.update().values(body=bytes([body[0] + 1])))

    await asyncio.gather(*(add() for _ in range(10)))
    assert [b"\x0a"] == await bodies(store)


async def test_a_reader_keeps_its_snapshot_while_others_commit(store: Store) -> None:
    async with store.read() as tx:
        before = (await tx.execute(select(NOTES))).all()
        await asyncio.create_task(write(store, 1))
        assert before == (await tx.execute(select(NOTES))).all() == []
    assert [b"x"] == await bodies(store)


async def test_pages_are_all_rows_of_one_snapshot_and_none_of_them_is_longer_than_asked(store: Store) -> None:
    for number in range(7):
        await write(store, number)
    async with store.read() as tx:
        pages = []
        async for rows in tx.pages(select(NOTES.c.id).order_by(NOTES.c.id), 3):
            pages.append([row.id for row in rows])
            await asyncio.create_task(write(store, 100 + len(pages)))
    assert [[0, 1, 2], [3, 4, 5], [6]] == pages


async def test_who_leaves_in_the_middle_of_pages_and_closes_them_goes_on(store: Store) -> None:
    for number in range(7):
        await write(store, number)
    async with store.read() as tx:
        async with aclosing(tx.pages(select(NOTES.c.id).order_by(NOTES.c.id), 3)) as pages:
            assert [0, 1, 2] == [row.id for row in await anext(pages)]
        assert 7 == len((await tx.execute(select(NOTES))).all())


async def test_who_leaves_in_the_middle_of_pages_leaves_no_old_snapshot(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Python's collector does: each result is held here, as a cycle holds it."""
    held: list[AsyncResult[Any]] = []
    made = AsyncResult.__init__

    def making(self: AsyncResult[Any], *more: Any) -> None:
        held.append(self)
        made(self, *more)

    monkeypatch.setattr(AsyncResult, "__init__", making)
    for number in range(7):
        await write(store, number)
    for _ in range(CONNECTIONS):
        async with store.read() as tx, aclosing(tx.pages(select(NOTES), 3)) as pages:
            await anext(pages)
    await write(store, 100)

    for _ in range(CONNECTIONS):
        async with store.read() as tx:
            assert 8 == len((await tx.execute(select(NOTES))).all())
    assert CONNECTIONS == len(held)


async def test_a_glance_is_one_question(store: Store) -> None:
    await write(store, 1)
    async with store.read_one() as tx:
        assert [b"x"] == [row.body for row in await tx.execute(select(NOTES.c.body))]
        with pytest.raises(ValueError, match="one question"):
            await anext(tx.pages(select(NOTES), 1))
        with pytest.raises(ValueError, match="one question"):
            await tx.execute(select(NOTES))
    assert [b"x"] == await bodies(store)


async def test_a_glance_changes_nothing(store: Store) -> None:
    async with store.read_one() as tx:
        with pytest.raises(ValueError, match="undo"):
            await tx.execute(insert(NOTES), {"id": 1, "body": b"x"})
        with pytest.raises(ValueError, match="guard"):
            tx.add(NOTES, {"id": 1, "body": b"x"})
    assert [] == await bodies(store)


async def test_readers_do_not_wait_for_a_writer(store: Store) -> None:
    async with store.begin() as tx:
        await tx.execute(insert(NOTES), {"id": 1, "body": b"x"})
        assert [] == await asyncio.create_task(bodies(store))


async def test_a_reading_transaction_cannot_write(store: Store) -> None:
    with pytest.raises(Unavailable) as raised:
        async with store.read() as tx:
            await tx.execute(insert(NOTES), {"id": 1, "body": b"x"})
    assert "store.read-only" == raised.value.code


async def test_a_reading_transaction_cannot_lock(store: Store) -> None:
    async with store.read() as tx:
        with pytest.raises(ValueError, match="snapshot"):
            await tx.lock_shared([b"grant"])
        with pytest.raises(ValueError, match="snapshot"):
            await tx.lock_exclusive([b"grant"])


async def test_a_writing_transaction_may_lock(store: Store) -> None:
    async with store.begin() as tx:
        await tx.lock_shared([b"grant"])
        await tx.lock_exclusive([b"grant"])


async def test_a_transaction_inside_a_transaction_is_an_error_not_a_deadlock(store: Store) -> None:
    async with store.begin():
        with pytest.raises(ValueError, match="inside a transaction"):
            await write(store, 1)
    await write(store, 2)
    assert [b"x"] == await bodies(store)


async def test_a_new_row_is_told_from_one_that_is_there(store: Store) -> None:
    async with store.begin() as tx:
        told = [await tx.insert_new(NOTES, {"id": 1, "body": body}) for body in (b"first", b"second")]
    assert ([True, False], [b"first"]) == (told, await bodies(store))


async def test_rows_that_were_added_are_there_when_the_transaction_commits_and_in_order(store: Store) -> None:
    async with store.begin() as tx:
        for number in (1, 2):
            tx.add(NOTES, {"id": number, "body": str(number).encode()})
            tx.add(CHILDREN, {"note": number})
        assert [] == (await tx.execute(select(NOTES))).all()
    assert [b"1", b"2"] == await bodies(store)
    async with store.read() as tx:
        assert [1, 2] == [row.note for row in await tx.execute(select(CHILDREN).order_by(CHILDREN.c.note))]


async def test_rows_that_were_added_go_with_a_transaction_that_raises(store: Store) -> None:
    async def fail() -> None:
        async with store.begin() as tx:
            tx.add(NOTES, {"id": 1, "body": b"x"})
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert [] == await bodies(store)


async def test_a_flush_makes_added_rows_readable_once(store: Store) -> None:
    async with store.begin() as tx:
        tx.add(NOTES, {"id": 1, "body": b"x"})
        await tx.flush()
        assert [b"x"] == [row.body for row in await tx.execute(select(NOTES))]
    assert [b"x"] == await bodies(store)


async def test_a_reading_transaction_cannot_add(store: Store) -> None:
    async with store.read() as tx:
        with pytest.raises(ValueError, match="snapshot"):
            tx.add(NOTES, {"id": 1, "body": b"x"})


async def test_of_many_new_rows_those_tell_what_is_wanted_that_were_not_there(store: Store) -> None:
    rows = [{"id": 7, "body": b"x"}, {"id": 9, "body": b"y"}, {"id": 7, "body": b"z"}]
    async with store.begin() as tx:
        told = [await tx.insert_all_new(NOTES, some, NOTES.c.id, NOTES.c.body) for some in (rows, rows[:1], [])]
    assert [[(7, b"x"), (9, b"y")], [], []] == [sorted(tuple(row) for row in rows) for rows in told]
    assert [b"x", b"y"] == sorted(await bodies(store))


async def test_foreign_keys_are_enforced(store: Store) -> None:
    with pytest.raises(IntegrityError):
        async with store.begin() as tx:
            await tx.execute(insert(CHILDREN), {"note": 7})


@pytest.mark.parametrize(
    ("pragma", "expected"), [("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1), ("foreign_keys", 1)]
)
@pytest.mark.sqlite
async def test_a_connection_is_set_up_to_lose_nothing(store: Store, pragma: str, expected: str | int) -> None:
    async with store.begin() as tx:
        assert expected == (await tx.execute(text(f"PRAGMA {pragma}"))).scalar_one()
    async with store.read() as tx:
        assert expected == (await tx.execute(text(f"PRAGMA {pragma}"))).scalar_one()


@pytest.mark.sqlite
async def test_a_writing_transaction_holds_the_write_lock_before_its_first_statement(
    store: Store, tmp_path: Path
) -> None:
    async with store.begin(), closing_sqlite(tmp_path) as other:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")


class closing_sqlite(closing[sqlite3.Connection]):
    """Another process's connection, as it were: it does not wait."""

    def __init__(self, folder: Path) -> None:
        super().__init__(sqlite3.connect(folder / "store.db", timeout=0, isolation_level=None))

    async def __aenter__(self) -> sqlite3.Connection:
        return self.thing

    async def __aexit__(self, *_: object) -> None:
        self.thing.close()


@pytest.mark.sqlite
async def test_a_database_held_by_another_process_is_unavailable(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.store.sqlite.BUSY_SECONDS", 0)
    async with Store.open(url_of(tmp_path)) as impatient, closing_sqlite(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as raised:
            await write(impatient, 1)
        other.execute("ROLLBACK")
        await write(impatient, 2)
    assert "store.locked" == raised.value.code


@pytest.mark.sqlite
async def test_a_full_disk_is_unavailable_and_leaves_nothing(store: Store) -> None:
    async def fill() -> None:
        async with store.begin() as tx:
            await tx.execute(text("PRAGMA max_page_count=1"))
            await tx.execute(insert(NOTES), {"id": 1, "body": bytes(1_000_000)})

    with pytest.raises(Unavailable) as raised:
        await fill()
    assert ("store.disk-full", []) == (raised.value.code, await bodies(store))


@pytest.mark.sqlite
async def test_a_damaged_page_is_corrupt(store: Store, tmp_path: Path) -> None:
    await write(store, 1, bytes(100_000))
    await store.dispose()
    file = tmp_path / "store.db"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    async with Store.open(url_of(tmp_path)) as damaged:
        with pytest.raises(Corrupt) as raised:
            await bodies(damaged)
    assert "store.corrupt" == raised.value.code


async def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database" * 1000)
    async with Store.open(url_of(tmp_path)) as other:
        with pytest.raises(Corrupt) as raised:
            await write(other, 1)
    assert "store.corrupt" == raised.value.code


@pytest.mark.sqlite
async def test_the_file_is_made_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    await write(store, 1)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600} == modes


@pytest.mark.sqlite
async def test_opened_twice_in_one_process_a_file_keeps_its_log_when_another_process_leaves_it(
    store: Store, empty_url: str, tmp_path: Path
) -> None:
    async with Store.open(empty_url):
        subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path / "store.db")], check=True)
        await write(store, 2, b"mine")
    with closing_sqlite(tmp_path) as other:
        assert [(b"theirs",), (b"mine",)] == other.execute("SELECT body FROM notes ORDER BY id").fetchall()


LEAVE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as here:
    here.execute("INSERT INTO notes VALUES (1, CAST('theirs' AS BLOB))")
here.close()
"""
"""What another process does: the last one to leave a file takes its write-ahead log away."""


@pytest.mark.sqlite
async def test_what_is_forgotten_is_in_no_file_of_the_database(store: Store, tmp_path: Path) -> None:
    secret = b"a consent key that shall be gone"
    await write(store, 1, secret)
    async with store.begin() as tx:
        await tx.execute(delete(NOTES))
    assert secret in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    await store.forget()
    assert secret not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


async def test_forgetting_waits_for_no_reader_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.store.sqlite.BUSY_SECONDS", 0)
    async with Store.open(url_of(tmp_path)) as store:
        async with store.begin() as tx:
            await tx.conn.run_sync(METADATA.create_all)
        async with store.read() as tx:
            await tx.execute(select(NOTES))
            await asyncio.create_task(write(store, 1))
            with pytest.raises(Unavailable) as raised:
                await store.forget()
        await store.forget()
    assert "store.locked" == raised.value.code


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite+aiosqlite:///file:x?uri=true",
        "sqlite:///store.db",
        "mysql+aiomysql://host/name",
        "no url at all",
    ],
)
async def test_a_database_that_we_cannot_trust_is_refused(url: str) -> None:
    with pytest.raises(Refused) as raised:
        Store.open(url)
    assert "store.url" == raised.value.code


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as raised:
        Store.open(url_of(tmp_path / "none"))
    assert "store.no-folder" == raised.value.code


async def test_a_folder_in_the_place_of_the_file_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    with pytest.raises(Unavailable) as raised:
        Store.open(url_of(tmp_path))
    assert "store.cannot-open" == raised.value.code


async def test_postgresql_without_its_driver_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # as if it were not installed
    with pytest.raises(Refused) as raised:
        Store.open("postgresql+asyncpg://host/name")
    assert ("store.no-driver", "asyncpg") == (raised.value.code, raised.value.details["driver"])


async def test_an_error_says_nothing_of_the_values_in_the_statement(store: Store) -> None:
    async def repeat(title: bytes) -> None:
        async with store.begin() as tx:
            await tx.execute(text("INSERT INTO notes (id, body) VALUES (1, :title)"), {"title": title})

    await repeat(b"first")
    with pytest.raises(IntegrityError) as raised:
        await repeat(b"CANARY-DUPONT")
    assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("INSERT INTO names (name, age) VALUES (:name, NULL)", {"name": "CANARY"}),
        ("INSERT INTO names (name, age) VALUES (:name, 1), (:name, 2)", {"name": "CANARY"}),
        ("INSERT INTO names (name, age) VALUES ('a', :age)", {"age": ["CANARY"]}),
    ],
)
async def test_neither_server_nor_driver_quotes_a_value_in_an_error(
    store: Store, statement: str, told: dict[str, object]
) -> None:
    async with store.begin() as tx:
        await tx.execute(text("CREATE TABLE names (name VARCHAR(9) PRIMARY KEY, age INTEGER NOT NULL)"))

    async def insert_row() -> None:
        async with store.begin() as tx:
            await tx.execute(text(statement), told)

    with pytest.raises(DBAPIError) as raised:
        await insert_row()
    assert "CANARY" not in f"{raised.value} {raised.value!r} {raised.value.orig!r}"


async def test_a_wrong_statement_is_the_callers_own_error(store: Store) -> None:
    with pytest.raises(DBAPIError):
        async with store.read() as tx:
            await tx.execute(text("SELECT nonsense"))


class Unreached(AsyncEngine):
    """An engine whose server is not there."""

    def __init__(self) -> None:
        """Nothing to keep."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:  # type: ignore[override]
        """The operating system's own refusal."""
        raise ConnectionRefusedError
        yield


async def test_a_server_that_is_not_reached_is_unavailable() -> None:
    away = Store(Sqlite(), Unreached(), Unreached(), WakeSignal())
    for attempt in (away.begin, away.read):
        with pytest.raises(Unavailable) as raised:
            async with attempt():
                pass
        assert ("store.away", "ConnectionRefusedError") == (raised.value.code, raised.value.details["error"])


async def test_an_error_of_the_callers_own_is_not_taken_for_the_databases(store: Store) -> None:
    with pytest.raises(ConnectionResetError):
        async with store.begin():
            raise ConnectionResetError


@pytest.mark.sqlite
async def test_a_commit_that_fails_leaves_nothing_for_the_next_who_takes_the_connection(store: Store) -> None:
    orphan = text("INSERT INTO child VALUES (1, 99)")
    async with store.begin() as tx:
        await tx.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await tx.execute(text("CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id))"))

    async def commit_fails() -> None:
        async with store.begin() as tx:
            await tx.execute(text("PRAGMA defer_foreign_keys=ON"))
            await tx.execute(orphan)

    with pytest.raises(IntegrityError):
        await commit_fails()

    async with store.begin() as tx:
        assert 0 == (await tx.execute(text("SELECT count(*) FROM child"))).scalar_one()


async def _cut(url: str) -> None:
    """End every other connection to this database, and return once the server is rid of them."""
    connection = await asyncpg.connect(plain(make_url(url)))
    others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
    assert all(row[0] for row in await connection.fetch(f"{others} AND pid <> pg_backend_pid()"))
    await connection.close()


def cut_unheard(url: str) -> None:
    """The same, while this thread's loop stands still: nothing tells it that its connections are gone."""
    cutter = Thread(target=asyncio.run, args=(_cut(url),))
    cutter.start()
    cutter.join()


async def ask(store: Store) -> int:
    async with store.read() as tx:
        return int((await tx.execute(text("SELECT 1"))).scalar_one())


async def test_a_connection_that_its_server_closed_is_not_given_out(postgres: Databases) -> None:
    async with postgres.empty() as url, Store.open(url) as store:
        await ask(store)
        await _cut(url)
        assert 1 == await ask(store)


async def test_a_connection_that_was_still_is_asked_whether_it_lives(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.store.postgres.STILL_SECONDS", 0)
    async with postgres.empty() as url, Store.open(url) as store:
        await ask(store)
        cut_unheard(url)
        assert 1 == await ask(store)


async def test_a_connection_lost_in_use_costs_one_answer(postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.store.postgres.STILL_SECONDS", 3600)
    async with postgres.empty() as url, Store.open(url) as store:
        await ask(store)
        cut_unheard(url)
        with pytest.raises(Unavailable, match=r"store\.away"):
            await ask(store)
        assert 1 == await ask(store)


async def test_a_glance_begins_nothing_and_a_reader_after_it_does(postgres: Databases) -> None:
    async with postgres.empty() as url, Store.open(url) as store:
        async with store.read_one() as tx:
            assert "autocommit" == (await tx.conn.get_raw_connection()).dbapi_connection.isolation_level
        async with store.read() as tx:
            assert "repeatable_read" == (await tx.conn.get_raw_connection()).dbapi_connection.isolation_level
