"""Asking by a list: both databases find the same rows, and a statement's form does not depend on the list."""

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from consent import registry
from consent.asking import one_of
from consent.tables import grants
from schemas.names import EventType, GrantId, SubjectRef

MOVED = EventType("fr.unefois.address.changed.v1")
CITIZENS = [SubjectRef(bytes([number]) * 32) for number in range(3)]


def on(statement: object, dialect: object) -> str:
    """The statement's condition as a database gets it."""
    return " ".join(str(statement.compile(dialect=dialect)).split()).partition(" WHERE ")[2]  # type: ignore[attr-defined]


def test_postgresql_joins_one_array_whatever_its_length() -> None:
    told = {on(registry.routing(CITIZENS[:size], MOVED), asyncpg.dialect()) for size in (1, 2, 3)}
    (one,) = told
    assert one.startswith("grants.subject IN (SELECT unnest($1::BYTEA[])")


def test_a_grant_is_looked_for_where_its_citizen_is() -> None:
    told = on(registry.heads_of({GrantId(bytes(16)): CITIZENS[0]}), asyncpg.dialect())
    assert told.startswith("(grants.id, grants.subject) IN (SELECT")


def test_sqlite_goes_by_the_list_and_compares_nothing_with_one() -> None:
    told = on(registry.routing(CITIZENS, MOVED), sqlite.dialect())
    assert "grants.subject IN" in told
    assert "= 1" not in told


def test_two_lists_are_one_statement_for_the_cache() -> None:
    keys = [select(grants).where(one_of(grants.c.subject, CITIZENS[:size]))._generate_cache_key() for size in (2, 3)]
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0].key == keys[1].key
    assert [bytes(32), CITIZENS[1]] in [one.value for one in keys[0].bindparams]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_an_empty_list_is_a_statement_too(size: int) -> None:
    assert on(registry.routing(CITIZENS[:size], MOVED), sqlite.dialect())
