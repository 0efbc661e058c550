"""Statements of tests are compiled once in a process, not once for each database that a test opens.

A test opens a database of its own, so SQLAlchemy would compile every statement anew: half the time of most tests. What
is compiled depends on the statement and the kind of database alone, and all engines of a kind share it here.
"""

from typing import Any

from sqlalchemy import util
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from broker.store import postgres, sqlite

STATEMENTS: Any = util.LRUCache(5000)


def share() -> None:
    """From now on, in this process."""
    for kind in (SQLiteDialect_aiosqlite, PGDialect_asyncpg):  # they are a part of what a statement is found by
        kind.__eq__ = _same  # type: ignore[method-assign, assignment]
        kind.__hash__ = _alike  # type: ignore[method-assign, assignment]
    for database in (sqlite, postgres):
        database.create_async_engine = _made  # type: ignore[attr-defined]


def _made(url: Any, **more: Any) -> AsyncEngine:
    engine = create_async_engine(url, **more)
    engine.sync_engine._compiled_cache = STATEMENTS
    return engine


def _same(one: Dialect, other: object) -> bool:
    return type(one) is type(other)


def _alike(one: Dialect) -> int:
    return hash(type(one))
