"""A grant as a row and back; a row that is no grant."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from sqlalchemy import Row, Table, create_engine, insert, select, update

from consent import rows
from consent.basis import choice, law
from consent.grant import Grant, Scope, Status
from consent.rows import KeyRow, Unreadable, read, row_of
from consent.tables import grant_versions, grants, metadata
from schemas.errors import Corrupt
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    EventType,
    Instant,
    PartyId,
    Purpose,
    RuleId,
    SchemaId,
    SubjectRef,
)

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
    "choice": {"basis": choice("ordonnance 2005-395")},
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
        ("name.purpose", {"purpose": "Direct marketing"}),
        ("grant.version", {"version": 0}),
    ],
)
def test_a_row_that_is_no_grant_is_told_with_its_place(grant_of: GrantOf, code: str, changes: dict[str, Any]) -> None:
    row = stored(grant_of(), **changes)
    assert Unreadable(grant_of().id, row.subject, row.version, code) == read(row)
    with pytest.raises(Corrupt) as corrupt:
        rows.grant_of(row)
    assert "registry.unreadable" == corrupt.value.code
    assert {"grant": grant_of().id.hex(), "version": row.version, "wrong": code} == corrupt.value.details


def test_a_wrapped_key_is_not_shown() -> None:
    assert "KeyRow(grant_id=6767, epoch=7)" == repr(KeyRow(b"gg", 7, b"digest", b"secret"))


def test_the_digest_is_over_every_column_of_a_grant_and_tells_nothing_by_its_length(grant_of: GrantOf) -> None:
    assert sorted(row_of(grant_of())) == sorted(rows.RULE_DIGESTED)
    assert (*rows.DIGESTED, "rule") == rows.RULE_DIGESTED
    assert 32 == len(rows.digest_of(grant_of()))


def test_the_digest_of_one_grant_is_this_for_ever(grant_of: GrantOf) -> None:
    expected = "d495c91e8a74257029ed0aa99e5e9b53c5842b5cee52b4bab483b97bfe6c297c"
    assert expected == rows.digest_of(grant_of(once_for=DeclarationId(b"d" * 16), scope=Scope.ONCE)).hex()


def test_the_digest_of_one_grant_under_a_rule_is_this_for_ever_and_covers_the_rule(grant_of: GrantOf) -> None:
    lawful = {"basis": law("CGI, art. 1649 A ter"), "purpose": Purpose("income-tax")}
    under = grant_of(**lawful, rule=RuleId(b"r" * 16))

    assert "bffc6146d0112c4ae47078a20f7072a46cce874cb9a8ee42407d6affd0fb6b98" == rows.digest_of(under).hex()
    assert 3 == len(
        {rows.digest_of(each) for each in (under, grant_of(**lawful), replace(under, rule=RuleId(bytes(16))))}
    )


CHANGED: dict[str, dict[str, Any]] = {
    "version": {"version": 2},
    "subject": {"subject": SubjectRef(b"z" * 32)},
    "recipient": {"recipient": PartyId("urn:fr:siret:21350238800019")},
    "event_type": {"event_type": EventType("fr.unefois.name.changed.v1")},
    "schema": {"schema": SchemaId(b"b" * 32)},
    "fields": {"fields": frozenset({"new_address"})},
    "purpose and basis": {"basis": law("CGI, art. 1649 A ter"), "purpose": Purpose("income-tax")},
    "granted_at": {"granted_at": Instant(1)},
    "starts_at": {"starts_at": Instant(1)},
    "expires_at": {"expires_at": None},
    "scope": {"scope": Scope.ONCE},
    "once_for": {"scope": Scope.ONCE, "once_for": DeclarationId(b"e" * 16)},
    "status": {"status": Status.PAUSED},
    "given_by": {"given_by": "mother"},
    "capacity": {"capacity": Capacity.GUARDIAN},
    "channel": {"channel": Channel.COUNTER},
    "language": {"language": "en"},
    "text_hash": {"text_hash": b"u" * 32},
    "changed_at": {"changed_at": Instant(1_795_521_493_000)},
}


@pytest.mark.parametrize("changed", CHANGED)
def test_one_column_changed_and_the_digest_is_another(grant_of: GrantOf, changed: str) -> None:
    before = grant_of(scope=Scope.ONCE) if changed == "once_for" else grant_of()
    assert rows.digest_of(before) != rows.digest_of(grant_of(**CHANGED[changed]))
