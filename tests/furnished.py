"""Homes before their first day, made once in a process and copied for each test that wants one.

Keeps: what was made is only read; a test changes its own copy.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url

from broker.ports import KeyKind
from broker.store.tables import metadata
from consent.policy import Subscription
from schemas.names import EventType, PartyId
from tests.services.databases import Content, content_of, fill

Kind = tuple[str, bool, str]
"""On which database, whether its first step is done, and with which settings."""


@dataclass(frozen=True)
class Furnished:
    """What its database holds, the secrets, and how often chance was asked."""

    content: bytes | Content
    secrets: dict[tuple[KeyKind, str], bytes]
    drawn: int
    subscriptions: dict[tuple[PartyId, EventType], Subscription]


MADE: dict[Kind | None, Furnished] = {}


def kind_of(url: str, *, stepped: bool, **more: Any) -> Kind | None:
    """What is the same in all homes that may be copies of one; None where none may: its log is elsewhere, or its
    database is reached in a way of its own.
    """
    parsed = make_url(url)
    if "log" in more or parsed.query:
        return None
    return parsed.drivername, stepped, repr({name: told for name, told in more.items() if name != "database_url"})


@cache
def tables() -> bytes:
    """SQLite's file with this code's tables and no row: for 60 tables to be described takes longer than most tests."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        made = connection.connection.dbapi_connection.serialize()  # type: ignore[union-attr]
    engine.dispose()
    return bytes(made)


def write_tables(file: Path) -> None:
    """Make a SQLite file with the tables."""
    _write(file, tables())


async def taken(url: str) -> bytes | Content:
    """What a database holds: SQLite's file, or the rows of PostgreSQL's tables."""
    parsed = make_url(url)
    return Path(parsed.database or "").read_bytes() if parsed.drivername.startswith("sqlite") else await content_of(url)


async def put(content: bytes | Content, url: str) -> None:
    """Let a new database hold it: no file yet, or tables without a row."""
    if isinstance(content, Content):
        await fill(url, content)
        return
    _write(Path(make_url(url).database or ""), content)


def _write(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)
