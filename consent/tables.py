"""Tables: grants, every version they ever had, and the wrapped keys of the living. `metadata` is the whole project's.

Refuses: a second head for a grant, a second row for a version, a key without its grant.
Keeps: `grant_versions` is only ever added to; `consent_keys` has a row exactly while its grant is active or paused.

Instants are milliseconds since the epoch; enumerations are their text values; `fields` is a JSON list of names, sorted.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData(
    naming_convention={  # Alembic can only change a constraint that has a name, and the same one on every database
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _version_columns() -> tuple[Column[bytes] | Column[int] | Column[str], ...]:
    """What a version holds besides its key. A head repeats its last version whole, so that routing reads one table."""
    return (
        Column("subject", LargeBinary, nullable=False),
        Column("recipient", Text, nullable=False),
        Column("event_type", Text, nullable=False),
        Column("schema", LargeBinary, nullable=False),
        Column("fields", Text, nullable=False),
        Column("purpose", Text, nullable=False),
        Column("basis", Text, nullable=False),
        Column("granted_at", BigInteger, nullable=False),
        Column("starts_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Column("scope", Text, nullable=False),
        Column("once_for", LargeBinary),
        Column("status", Text, nullable=False),
        Column("given_by", Text, nullable=False),
        Column("capacity", Text, nullable=False),
        Column("channel", Text, nullable=False),
        Column("language", Text, nullable=False),
        Column("text_hash", LargeBinary, nullable=False),
        Column("changed_at", BigInteger, nullable=False),
        Column("rule", LargeBinary),  # null: no rule for everybody, but this one citizen's own
    )


grants = Table(
    "grants",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("version", Integer, nullable=False),
    *_version_columns(),
)
Index(None, grants.c.subject, grants.c.event_type)  # routing a declaration, a citizen's page
Index(None, grants.c.recipient, grants.c.event_type)  # what an administration is allowed
Index(None, grants.c.status, grants.c.expires_at)  # what has come to its end date
_UNDER_A_RULE = text("rule IS NOT NULL AND status = 'active'")
Index(  # a rule becomes a citizen's own grant once; also: what ends with its rule
    "one_grant_under_a_rule",
    grants.c.rule,
    grants.c.subject,
    unique=True,
    sqlite_where=_UNDER_A_RULE,
    postgresql_where=_UNDER_A_RULE,
)

grant_versions = Table(
    "grant_versions",
    metadata,
    Column("id", LargeBinary, ForeignKey("grants.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    *_version_columns(),
)

consent_keys = Table(
    "consent_keys",
    metadata,
    Column("grant_id", LargeBinary, ForeignKey("grants.id"), primary_key=True),
    Column("epoch", BigInteger, nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),  # of the grant's version that the key is bound to
    Column("wrapped", LargeBinary, nullable=False),
)
