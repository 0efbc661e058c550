"""Asking by a list: a statement is made once, and its form does not depend on how long the list is."""

from typing import Any

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from consent import registry


def on(statement: object, dialect: object) -> str:
    """The statement's condition as a database gets it."""
    return " ".join(str(statement.compile(dialect=dialect)).split()).partition(" WHERE ")[2]  # type: ignore[attr-defined]


def test_postgresql_joins_one_array_whatever_its_length() -> None:
    assert on(registry.ROUTING, asyncpg.dialect()).startswith("grants.subject IN (SELECT unnest($1::BYTEA[])")


def test_a_grant_is_looked_for_where_its_citizen_is() -> None:
    assert on(registry.HEADS, asyncpg.dialect()).startswith("(grants.id, grants.subject) IN (SELECT")


def test_sqlite_goes_by_the_list_and_compares_nothing_with_one() -> None:
    told = on(registry.ROUTING, sqlite.dialect())
    assert "grants.subject IN" in told
    assert "= 1" not in told


@pytest.mark.parametrize("statement", [registry.ROUTING, registry.HEADS])
def test_a_statement_may_be_kept_compiled(statement: Select[Any]) -> None:
    assert statement._generate_cache_key() is not None
