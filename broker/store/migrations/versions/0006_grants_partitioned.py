"""On PostgreSQL, grants lie in sixteen partitions by their citizen

Revision 0006, after 0005. SQLite has no partitions and stays as it is.

The key of a partitioned table holds what partitions it, so it is (id, subject) here. That an id is one grant's is what
`grant_versions` keeps, whose key begins with the id and of which every grant has version 1. Its reference goes by both
columns now; `consent_keys` knows no citizen, and its reference is fsck's to check (docs/adr/0018).
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PARTITIONS = 16
_COLUMNS = (
    "id, version, subject, recipient, event_type, schema, fields, purpose, basis, granted_at, starts_at, expires_at, "
    "scope, once_for, status, given_by, capacity, channel, language, text_hash, changed_at"
)
_INDEXES = {
    "ix_grants_recipient_event_type": "recipient, event_type",
    "ix_grants_status_expires_at": "status, expires_at",
    "ix_grants_subject_event_type": "subject, event_type",
}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    _leave()
    op.execute("ALTER TABLE grants RENAME TO grants_before")
    op.execute("ALTER TABLE grants_before DROP CONSTRAINT pk_grants")
    op.execute("CREATE TABLE grants (LIKE grants_before) PARTITION BY HASH (subject)")
    for number in range(PARTITIONS):
        part = f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        op.execute(f"CREATE TABLE grants_p{number:02} PARTITION OF grants {part}")
    op.execute(f"INSERT INTO grants ({_COLUMNS}) SELECT {_COLUMNS} FROM grants_before")
    op.execute("DROP TABLE grants_before")
    op.execute("ALTER TABLE grants ADD CONSTRAINT pk_grants PRIMARY KEY (id, subject)")
    _index()
    op.execute(
        "ALTER TABLE grant_versions ADD CONSTRAINT fk_grant_versions_id_grants"
        " FOREIGN KEY (id, subject) REFERENCES grants (id, subject)"
    )


def _leave() -> None:
    """Nothing refers to the table, and the names of its indexes are free."""
    op.execute("ALTER TABLE grant_versions DROP CONSTRAINT fk_grant_versions_id_grants")
    op.execute("ALTER TABLE consent_keys DROP CONSTRAINT fk_consent_keys_grant_id_grants")
    for name in _INDEXES:
        op.execute(f"DROP INDEX {name}")


def _index() -> None:
    for name, columns in _INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON grants ({columns})")
    op.execute("ANALYZE grants")
