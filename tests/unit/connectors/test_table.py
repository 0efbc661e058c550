"""The table connector: inbox row and business row together, once for ever, in the agency's own town."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.contract import Answered, Applied, Ground, Otherwise, Reject, Retry, Unknown
from connectors.table import TableConnector
from connectors.table_shape import engine_of, inbox_ddl
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused
from schemas.names import Reason

RESIDENTS = """
CREATE TABLE residents (
  id INTEGER PRIMARY KEY, ref VARCHAR(12) NOT NULL UNIQUE, name TEXT NOT NULL, moved DATE, people INTEGER, phone TEXT,
  CHECK (people > 0));
"""
PRAGMA = "PRAGMA foreign_keys = ON"
TARGETS = ("ref", "name", "moved", "people", "phone")
ROW = {"ref": "A1", "name": "Aubépin", "moved": "2026-11-02", "people": 3, "phone": "+33600000000"}


class Database:
    """The agency's database, looked at from outside."""

    def __init__(self, path: Path, ground: Ground) -> None:
        self.path, self.ground = path, ground
        self.execute(RESIDENTS + inbox_ddl(self.url))

    @property
    def url(self) -> str:
        return f"sqlite+aiosqlite:///{self.path}"

    def execute(self, script: str) -> None:
        connection = sqlite3.connect(self.path)
        connection.executescript(script)
        connection.close()

    def rows(self, query: str = "SELECT ref, name, moved, people, phone FROM residents ORDER BY id") -> list[Any]:
        connection = sqlite3.connect(self.path)
        found = connection.execute(query).fetchall()
        connection.close()
        return found

    async def open(self, *targets: str, **settings: Any) -> TableConnector:
        whole = {"url": self.url, "table": "residents"} | settings
        return await TableConnector.open(whole, targets or TARGETS, self.ground)

    async def write(self, delivery: VerifiedDelivery, row: dict[str, object], **settings: Any) -> str | None:
        connector = await self.open(**settings)
        try:
            return await connector.write(delivery, row)
        finally:
            await connector.close()


@pytest.fixture
def town(tmp_path: Path, ground: Ground) -> Database:
    return Database(tmp_path / "town.db", ground)


async def fault_of(awaitable: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        await awaitable
    return caught.value


@pytest.mark.asyncio
async def test_a_delivery_is_a_row_and_its_inbox_row(town: Database, declared: Callable[..., VerifiedDelivery]) -> None:
    delivery = declared()
    assert "1" == await town.write(delivery, ROW, reference="id")
    assert [("A1", "Aubépin", "2026-11-02", 3, "+33600000000")] == town.rows()
    (inbox,) = town.rows("SELECT * FROM unefois_inbox")
    assert (
        delivery.delivery_id.hex(),
        "urn:unefois:rehearsal-source",
        delivery.declaration_id.hex(),
        delivery.manifest_digest.hex(),
        "1",
        "2026-11-02T09:00:00.000Z",
    ) == (inbox[0].replace("-", ""), inbox[1], inbox[2].replace("-", ""), *inbox[3:])


@pytest.mark.asyncio
async def test_a_delivery_that_comes_again_changes_nothing_and_gets_the_same_reference(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    delivery = declared()
    first = await town.write(delivery, ROW, reference="id")
    again = await town.write(delivery, ROW | {"ref": "B2", "name": None}, reference="id")
    assert (first, 1) == (again, len(town.rows()))
    connector = await town.open()
    assert Applied(first) == await connector.find(delivery.delivery_id)
    assert delivery.manifest_digest == await connector.seen(delivery.source, delivery.declaration_id)
    await connector.close()


@pytest.mark.asyncio
async def test_what_was_never_written_is_not_found(town: Database, declared: Callable[..., VerifiedDelivery]) -> None:
    delivery, connector = declared(), await town.open()
    assert (None, None) == (
        await connector.find(delivery.delivery_id),
        await connector.seen(delivery.source, delivery.declaration_id),
    )
    await connector.flush()
    await connector.close()


@pytest.mark.asyncio
async def test_no_reference_is_told_unless_the_agency_names_its_column(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    assert None is await town.write(declared(), ROW)


@pytest.mark.asyncio
async def test_the_same_delivery_from_two_sides_at_once_is_one_row(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    delivery = declared()
    references = await asyncio.gather(*(town.write(delivery, ROW, reference="id") for _ in range(4)))
    assert (["1"] * 4, 1) == (references, len(town.rows()))


@pytest.mark.asyncio
async def test_an_upsert_changes_the_row_with_its_key_or_adds_it(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    settings = {"mode": "upsert", "key": ["ref"], "reference": "id"}
    await town.write(declared(), ROW, **settings)
    assert "2" == await town.write(declared(), ROW | {"ref": "B2", "name": "Brocélys"}, **settings)
    assert "1" == await town.write(declared(), {"ref": "A1", "name": "Orsenne", "people": 1}, **settings)
    assert [
        ("A1", "Orsenne", "2026-11-02", 1, "+33600000000"),
        ("B2", "Brocélys", "2026-11-02", 3, "+33600000000"),
    ] == (town.rows())
    assert [(3,)] == town.rows("SELECT count(*) FROM unefois_inbox")


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "reason"), [("Nobody", Reason.UNKNOWN_PERSON), ("Aubépin", Reason.SEVERAL_PERSONS)])
async def test_an_update_answers_where_nobody_or_several_are_found_and_writes_nothing(
    name: str, reason: Reason, town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    town.execute("INSERT INTO residents (ref, name) VALUES ('A1', 'Aubépin'), ('A2', 'Aubépin')")
    before, row = town.rows(), {"name": name, "phone": "+33600000009"}
    with pytest.raises(Otherwise) as caught:
        await town.write(declared(), row, mode="update", key=["name"])
    assert (Answered(reason), before) == (caught.value.outcome, town.rows())
    assert [(0,)] == town.rows("SELECT count(*) FROM unefois_inbox")


@pytest.mark.asyncio
async def test_an_update_changes_the_one_that_is_found_and_needs_no_other_column(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    town.execute("INSERT INTO residents (ref, name, people) VALUES ('A1', 'Aubépin', 2)")
    connector = await town.open("name", "phone", mode="update", key=["name"], reference="ref")
    delivery = declared()
    assert "A1" == await connector.write(delivery, {"name": "Aubépin", "phone": "+33600000009"})
    assert "A1" == await connector.write(delivery, {"name": "Nobody", "phone": ""})
    await connector.close()
    assert [("A1", "Aubépin", None, 2, "+33600000009")] == town.rows()


@pytest.mark.asyncio
async def test_an_upsert_of_a_key_alone_keeps_the_row(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    settings = {"mode": "upsert", "key": ["ref"]}
    await town.write(declared(), ROW, **settings)
    await town.write(declared(), {"ref": "A1"}, **settings)
    assert 1 == len(town.rows())


@pytest.mark.asyncio
async def test_a_key_without_value_or_with_several_rows_is_rejected_and_nothing_changes(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    settings = {"mode": "upsert", "key": ["name"]}
    await town.write(declared(), ROW)
    await town.write(declared(), ROW | {"ref": "B2"})
    before = town.rows()
    null = await fault_of(town.write(declared(), ROW | {"name": None}, **settings))
    several = await fault_of(town.write(declared(), {"name": "Aubépin", "people": 9}, **settings))
    assert [("table.key-null", "/name"), ("table.key-ambiguous", "")] == [(f.code, f.pointer) for f in (null, several)]
    assert (before, [(2,)]) == (town.rows(), town.rows("SELECT count(*) FROM unefois_inbox"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "pointer", "over"),
    [
        ("table.constraint", "", {"people": 0}),
        ("table.constraint", "", {"name": None}),
        ("table.constraint", "", {"ref": "TAKEN"}),
        ("table.too-long", "/ref", {"ref": "A" * 13}),
        ("connector.cell", "/moved", {"moved": "02/11/2026"}),
        ("connector.cell", "/people", {"people": "three"}),
        ("connector.cell", "/phone", {"phone": ["a"]}),
    ],
)
async def test_a_row_against_the_agencys_rules_is_rejected_and_leaves_nothing(
    code: str, pointer: str, over: dict[str, object], town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    await town.write(declared(), ROW | {"ref": "TAKEN"})
    delivery = declared()
    fault = await fault_of(town.write(delivery, ROW | over))
    assert (Reject, code, pointer) == (type(fault), fault.code, fault.pointer)
    assert [(1,), (1,)] == [
        *town.rows("SELECT count(*) FROM residents"),
        *town.rows("SELECT count(*) FROM unefois_inbox"),
    ]
    await town.write(delivery, ROW)


@pytest.mark.asyncio
async def test_an_error_repeats_no_value_of_a_citizen(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    fault = await fault_of(town.write(declared(), ROW | {"people": 0}))
    assert "Aub" not in repr(fault) + str(fault)
    assert fault.__suppress_context__ or fault.__context__ is None


def settle() -> None:
    """Wait for the driver's threads: after a failed connection it speaks to the loop once more."""
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            thread.join(5)


@pytest.mark.asyncio
async def test_the_engines_own_errors_hide_the_values_too(town: Database) -> None:
    engine = engine_of(town.url)
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError) as caught:
            await connection.execute(text("INSERT INTO nowhere VALUES (:name)"), {"name": "Aubépin"})
    await engine.dispose()
    assert "Aub" not in str(caught.value)


@pytest.mark.asyncio
async def test_a_database_that_does_not_answer_is_a_retry(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    connector = await town.open()
    town.path.unlink()
    town.path.mkdir()
    await connector.close()
    delivery = declared()
    faults = [
        await fault_of(connector.write(delivery, ROW)),
        await fault_of(connector.find(delivery.delivery_id)),
        await fault_of(connector.seen(delivery.source, delivery.declaration_id)),
        await fault_of(town.open()),
    ]
    settle()
    assert [(Retry, "table.away")] * 4 == [(type(fault), fault.code) for fault in faults]


@pytest.mark.asyncio
async def test_a_table_that_is_gone_is_a_retry_and_not_the_deliverys_fault(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    connector = await town.open()
    town.execute("DROP TABLE residents")
    fault = await fault_of(connector.write(declared(), ROW))
    await connector.close()
    assert (Retry, "table.failed", "OperationalError") == (type(fault), fault.code, fault.details["kind"])


class Coded(Exception):
    """A driver's error with its SQLSTATE."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [
        (Reject, "table.constraint", IntegrityError("INSERT", {}, Exception())),
        (Reject, "table.constraint", DBAPIError("INSERT", {}, Coded("23505"))),
        (Reject, "table.value", DataError("INSERT", {}, Exception())),
        (Reject, "table.value", DBAPIError("INSERT", {}, Coded("22001"))),
        (Retry, "table.away", DBAPIError("INSERT", {}, Coded("57P01"))),
        (Retry, "table.away", DBAPIError("INSERT", {}, Coded("08006"))),
        (Retry, "table.away", DBAPIError("INSERT", {}, Coded("53300"))),
        (Retry, "table.away", OperationalError("INSERT", {}, Exception(), connection_invalidated=True)),
        (Retry, "table.failed", ProgrammingError("INSERT", {}, Coded("42501"))),
        (Retry, "table.failed", InvalidRequestError("closed")),
        (Retry, "table.away", ConnectionRefusedError()),
        (Retry, "table.away", TimeoutError()),
    ],
)
async def test_a_drivers_error_is_the_rows_or_the_databases_fault(
    kind: type[Fault],
    code: str,
    error: Exception,
    town: Database,
    declared: Callable[..., VerifiedDelivery],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def both_rows(*_: object) -> str | None:
        raise error

    connector = await town.open()
    monkeypatch.setattr(TableConnector, "_both_rows", both_rows)
    fault = await fault_of(connector.write(declared(), ROW))
    await connector.close()
    assert (kind, code) == (type(fault), fault.code)


def broken(monkeypatch: pytest.MonkeyPatch, *, done: bool, error: DBAPIError) -> None:
    """The connection breaks during the commit: before the database did it, or after."""
    real = AsyncConnection.commit

    async def commit(self: AsyncConnection) -> None:
        if done:
            await real(self)
        raise error

    monkeypatch.setattr(AsyncConnection, "commit", commit)


@pytest.mark.asyncio
@pytest.mark.parametrize("done", [False, True])
async def test_a_commit_that_nobody_answered_is_unknown_and_asking_again_tells(
    done: bool, town: Database, declared: Callable[..., VerifiedDelivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery, connector = declared(), await town.open()
    with monkeypatch.context() as patch:
        broken(patch, done=done, error=OperationalError("COMMIT", {}, Exception("gone")))
        fault = await fault_of(connector.write(delivery, ROW))
    assert (Unknown, "table.commit") == (type(fault), fault.code)
    await connector.write(delivery, ROW)
    await connector.close()
    assert 1 == len(town.rows())


@pytest.mark.asyncio
async def test_a_constraint_that_is_checked_at_the_commit_is_a_rejection(
    tmp_path: Path, ground: Ground, declared: Callable[..., VerifiedDelivery]
) -> None:
    town = Database(tmp_path / "late.db", ground)
    town.execute(
        "CREATE TABLE late (name TEXT REFERENCES names (name) DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE names (name TEXT PRIMARY KEY);"
    )
    connector = await town.open("name", table="late")
    await connector._engine.dispose()
    event.listen(connector._engine.sync_engine, "connect", lambda raw, _: raw.cursor().execute(PRAGMA))
    fault = await fault_of(connector.write(declared(), {"name": "a"}))
    await connector.close()
    assert (Reject, "table.constraint") == (type(fault), fault.code)
    assert [] == town.rows("SELECT * FROM late")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "pointer", "near", "targets", "settings"),
    [
        ("table.unknown-column", "/fields/nom", "id, moved", ("ref", "name", "nom"), {}),
        ("table.unknown-column", "/fields/nane", "name", ("ref", "name", "nane"), {}),
        ("table.unknown-column", "/reference", "ref", TARGETS, {"reference": "refs"}),
        ("table.required-column", "/fields", None, ("ref",), {}),
        ("table.missing", "/table", "residents", TARGETS, {"table": "resident"}),
        ("table.no-key", "/key", None, TARGETS, {"mode": "upsert"}),
        ("table.key-unmapped", "/key/1", None, TARGETS, {"mode": "upsert", "key": ["ref", "id"]}),
        ("table.url", "/url", None, TARGETS, {"url": "nothing"}),
        ("table.url", "/url", None, TARGETS, {"url": "nosuch+driver://x"}),
        ("table.url", "/url", None, TARGETS, {"url": "sqlite:///sync.db"}),
        ("connector.settings", "/mode", None, TARGETS, {"mode": "delete"}),
        ("connector.settings", "/table", None, TARGETS, {"table": ""}),
        ("connector.settings", "/types/a", None, TARGETS, {"types": {"a": "blob"}}),
    ],
)
async def test_a_mapping_that_does_not_fit_the_table_is_refused_before_the_first_row(
    code: str, pointer: str, near: str | None, targets: tuple[str, ...], settings: dict[str, Any], town: Database
) -> None:
    fault = await fault_of(town.open(*targets, **settings))
    assert (Refused, code, pointer) == (type(fault), fault.code, fault.pointer)
    assert near is None or str(fault.details["near"]).startswith(near)


@pytest.mark.asyncio
async def test_a_column_with_a_default_needs_no_target(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    town.execute("CREATE TABLE d (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'x', b TEXT)")
    connector = await town.open("b", table="d")
    await connector.write(declared(), {"b": "y"})
    await connector.close()
    assert [(1, "x", "y")] == town.rows("SELECT * FROM d")


@pytest.mark.asyncio
async def test_a_password_in_the_address_is_never_told(ground: Ground) -> None:
    for url in ("nosuch+driver://user:hunter2@host/db", "nothing hunter2"):
        fault = await fault_of(TableConnector.open({"url": url, "table": "t"}, TARGETS, ground))
        assert "hunter2" not in repr(fault) + str(fault)


@pytest.mark.asyncio
async def test_nothing_is_created_unless_the_settings_say_so(tmp_path: Path, ground: Ground) -> None:
    path = tmp_path / "new.db"
    settings = {"url": f"sqlite+aiosqlite:///{path}", "table": "t"}
    fault = await fault_of(TableConnector.open(settings, ("a",), ground))
    assert ("table.no-inbox", "/create") == (fault.code, fault.pointer)
    connection = sqlite3.connect(path)
    assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()


@pytest.mark.asyncio
async def test_what_is_missing_is_created_with_the_types_that_the_settings_say(
    tmp_path: Path, ground: Ground, declared: Callable[..., VerifiedDelivery]
) -> None:
    path = tmp_path / "new.db"
    settings = {
        "url": f"sqlite+aiosqlite:///{path}",
        "table": "t",
        "create": True,
        "mode": "upsert",
        "key": ["ref"],
        "types": {"at": "datetime", "day": "date", "n": "integer", "ok": "boolean"},
    }
    row = {"ref": "A", "at": "2026-11-02T09:30:00+01:00", "day": "2026-11-02", "n": "5", "ok": True}
    for delivery in (declared(), declared()):
        connector = await TableConnector.open(settings, tuple(row), ground)
        await connector.write(delivery, row)
        await connector.close()
    connection = sqlite3.connect(path)
    assert [("A", "2026-11-02 08:30:00.000000", "2026-11-02", 5, 1)] == connection.execute("SELECT * FROM t").fetchall()
    connection.close()


def test_an_administrator_can_create_the_inbox_by_hand() -> None:
    text = inbox_ddl("sqlite+aiosqlite://", "agency")
    assert text.startswith("CREATE TABLE agency.unefois_inbox")
    assert "PRIMARY KEY (delivery_id)" in text


@pytest.mark.asyncio
async def test_several_rows_of_a_delivery_are_there_together_or_not_at_all(
    town: Database, declared: Callable[..., VerifiedDelivery]
) -> None:
    connector, delivery, refused = await town.open(), declared(), declared()
    two = [ROW, ROW | {"ref": "A2", "name": "Orsenne"}]
    try:
        assert None is await connector.write_rows(delivery, two)
        assert None is await connector.write_rows(delivery, two)
        wrong = [ROW | {"ref": "B1"}, ROW | {"ref": "B2", "people": 0}]
        assert "table.constraint" == (await fault_of(connector.write_rows(refused, wrong))).code
        assert None is await connector.find(refused.delivery_id)
    finally:
        await connector.close()
    assert ["A1", "A2"] == [ref for ref, *_ in town.rows()]
