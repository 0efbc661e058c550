"""The tables of consent: what every database must have of them."""

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from consent.tables import consent_keys, grant_versions, grants, metadata

OURS = (grants, grant_versions, consent_keys)


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()], ids=lambda dialect: dialect.name)
def test_every_table_and_index_can_be_made_on_both_databases(dialect: Dialect) -> None:
    for table in OURS:
        assert f"CREATE TABLE {table.name}" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(index.name) in str(CreateIndex(index).compile(dialect=dialect))


def test_instants_are_64_bits_wide_on_postgresql() -> None:
    statement = str(CreateTable(grants).compile(dialect=postgresql.dialect()))
    for name in ("granted_at", "starts_at", "expires_at", "changed_at"):
        assert f"{name} BIGINT" in statement


def test_the_questions_of_routing_and_expiry_have_their_index() -> None:
    indexed = {tuple(column.name for column in index.columns) for index in grants.indexes}
    routing, expiry = {("subject", "event_type"), ("recipient", "event_type")}, ("status", "expires_at")
    assert {*routing, expiry, ("rule", "subject")} == indexed
    assert [("epoch",)] == [tuple(column.name for column in index.columns) for index in consent_keys.indexes]


def test_a_version_holds_the_whole_grant() -> None:
    assert grants.columns.keys() == grant_versions.columns.keys()


def test_every_constraint_has_a_name_that_migrations_can_use() -> None:
    assert {"pk_grants", "pk_grant_versions", "fk_grant_versions_id_grants", "pk_consent_keys"} <= {
        constraint.name for table in OURS for constraint in table.constraints
    }
    assert "ix_grants_subject_event_type" in {index.name for index in grants.indexes}
    assert set(OURS) <= set(metadata.tables.values())
