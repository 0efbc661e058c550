"""A grant as a row and back; a row that is no grant."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import Row, Table, create_engine, insert, select, update

from consent import rows
from consent.grant import Grant, Scope, law
from consent.rows import KeyRow, Unreadable, read, row_of
from consent.tables import grant_versions, grants, metadata
from schemas.errors import Corrupt
from schemas.names import DeclarationId, Purpose

GrantOf = Callable[..., Grant]


def stored(grant: Grant, **changes: Any) -> Row[Any]:
    """The row as a database gives it back, after somebody changed columns of it."""
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        metadata.create_all(conn, tables=[grants])
        conn.execute(insert(grants).values(row_of(grant)))
        if changes:
            conn.execute(update(grants).values(changes))
        row = conn.execute(select(grants)).one()
    engine.dispose()
    return row


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no end": {"expires_at": None},
    "law": {"basis": law("CGI, art. 1649 A ter"), "purpose": Purpose("income-tax")},
    "once": {"scope": Scope.ONCE, "once_for": DeclarationId(b"d" * 16)},
}


@pytest.mark.parametrize("case", CASES)
def test_a_grant_comes_back_exactly(grant_of: GrantOf, case: str) -> None:
    grant = grant_of(**CASES[case])
    assert grant == rows.grant_of(stored(grant))


@pytest.mark.parametrize("table", [grants, grant_versions])
def test_columns_stand_in_the_order_in_which_they_are_read(table: Table) -> None:
    assert [field.name for field in fields(Grant)] == [column.name for column in table.columns]


def test_equal_grants_have_equal_rows(grant_of: GrantOf) -> None:
    one, other = grant_of(fields=frozenset(["b", "a", "c"])), grant_of(fields=frozenset(["c", "b", "a"]))
    assert '["a", "b", "c"]' == row_of(one)["fields"]
    assert row_of(one) == row_of(other)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("registry.unreadable", {"status": "asleep"}),
        ("registry.unreadable", {"scope": "for ever"}),
        ("registry.unreadable", {"channel": "pigeon"}),
        ("registry.unreadable", {"fields": "new_address"}),
        ("registry.unreadable", {"fields": '{"new_address": true}'}),
        ("registry.unreadable", {"fields": '[["new_address"]]'}),
        ("registry.unreadable", {"fields": "[1]"}),
        ("grant.no-fields", {"fields": "[]"}),
        ("grant.field-name", {"fields": '["all"]'}),
        ("grant.basis", {"basis": "habit"}),
        ("name.party", {"recipient": "somebody"}),
        ("name.subject-ref", {"subject": b"short"}),
        ("purposes.unknown", {"purpose": "direct-marketing"}),
        ("grant.version", {"version": 0}),
    ],
)
def test_a_row_that_is_no_grant_is_told_with_its_place(grant_of: GrantOf, code: str, changes: dict[str, Any]) -> None:
    row = stored(grant_of(), **changes)
    assert Unreadable(grant_of().id, row.version, code) == read(row)
    with pytest.raises(Corrupt) as corrupt:
        rows.grant_of(row)
    assert "registry.unreadable" == corrupt.value.code
    assert {"grant": grant_of().id.hex(), "version": row.version, "wrong": code} == corrupt.value.details


def test_a_wrapped_key_is_not_shown() -> None:
    assert "KeyRow(grant_id=6767, epoch=7)" == repr(KeyRow(b"gg", 7, b"secret"))
