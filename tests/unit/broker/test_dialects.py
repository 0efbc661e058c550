"""Driver errors become our own, by the database's own numbers."""

import sqlite3

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError

from broker.store.dialects import Dialect
from broker.store.engine import dialect_of
from broker.store.postgres import Postgres
from broker.store.sqlite import Sqlite
from schemas.errors import Corrupt, Fault, Refused, Unavailable


class DriverError(Exception):
    """What a driver raises, with its own attributes."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("CANARY")
        self.__dict__.update(attributes)


def told(dialect: Dialect, invalidated: bool = False, **attributes: object) -> tuple[type[Fault], str] | None:
    error = DBAPIError("SELECT", {}, DriverError(**attributes), connection_invalidated=invalidated)
    fault = dialect.fault_of(error)
    return None if fault is None else (type(fault), fault.code)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (sqlite3.SQLITE_BUSY, (Unavailable, "store.locked")),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, (Unavailable, "store.locked")),
        (sqlite3.SQLITE_LOCKED, (Unavailable, "store.locked")),
        (sqlite3.SQLITE_FULL, (Unavailable, "store.disk-full")),
        (sqlite3.SQLITE_READONLY, (Unavailable, "store.read-only")),
        (sqlite3.SQLITE_READONLY_DBMOVED, (Unavailable, "store.read-only")),
        (sqlite3.SQLITE_PERM, (Unavailable, "store.read-only")),
        (sqlite3.SQLITE_CANTOPEN, (Unavailable, "store.cannot-open")),
        (sqlite3.SQLITE_IOERR_FSYNC, (Unavailable, "store.away")),
        (sqlite3.SQLITE_NOMEM, (Unavailable, "store.away")),
        (sqlite3.SQLITE_CORRUPT, (Corrupt, "store.corrupt")),
        (sqlite3.SQLITE_NOTADB, (Corrupt, "store.corrupt")),
        (sqlite3.SQLITE_CONSTRAINT, None),
        (sqlite3.SQLITE_ERROR, None),
    ],
)
def test_a_result_code_of_sqlite_is_translated(number: int, expected: object) -> None:
    assert expected == told(Sqlite(), sqlite_errorcode=number, sqlite_errorname="NAME")


def test_a_closed_connection_to_sqlite_is_unavailable() -> None:
    assert (Unavailable, "store.away") == told(Sqlite(), invalidated=True)
    assert told(Sqlite()) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40001", (Unavailable, "store.locked")),
        ("40P01", (Unavailable, "store.locked")),
        ("55P03", (Unavailable, "store.locked")),
        ("53100", (Unavailable, "store.disk-full")),
        ("53300", (Unavailable, "store.away")),
        ("25006", (Unavailable, "store.read-only")),
        ("57P01", (Unavailable, "store.away")),
        ("58030", (Unavailable, "store.away")),
        ("08006", (Unavailable, "store.away")),
        ("XX001", (Corrupt, "store.corrupt")),
        ("23505", None),
        ("42P01", None),
    ],
)
def test_an_sqlstate_of_postgresql_is_translated(state: str, expected: object) -> None:
    assert expected == told(Postgres(), sqlstate=state)


def test_a_lost_connection_to_postgresql_is_unavailable() -> None:
    assert (Unavailable, "store.away") == told(Postgres(), invalidated=True)
    fault = Postgres().fault_of(InterfaceError("SELECT", {}, DriverError()))
    assert fault is not None
    assert (Unavailable, "store.away") == (type(fault), fault.code)


def test_a_translated_error_carries_nothing_of_the_drivers_text() -> None:
    fault = Postgres().fault_of(DBAPIError("SELECT", {}, DriverError(sqlstate="57P01")))
    assert "CANARY" not in f"{fault} {fault!r}"


def test_the_dialect_comes_from_the_urls_driver() -> None:
    assert isinstance(dialect_of(make_url("sqlite+aiosqlite:///store.db")), Sqlite)
    assert isinstance(dialect_of(make_url("postgresql+asyncpg://host/name")), Postgres)
    with pytest.raises(Refused) as raised:
        dialect_of(make_url("postgresql://host/name"))
    assert "store.url" == raised.value.code
