"""Sealed ledger entries with their openings, and consent keys bound to the version of their grant

Revision 0017, after 0016.

The entries of the first format lie in `first_ledger` from here on, in their order, with what waited for it at the end;
the ledger itself begins anew. What needs keys (`broker.setup.carrying`) is done by `unefois migrate` after this, and `meta`
says that it is due: no part of the machine opens such a home.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_RANDOM = {
    "sqlite": {16: "randomblob(16)", 32: "randomblob(32)"},
    "postgresql": {
        16: "uuid_send(gen_random_uuid())",
        32: "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())",
    },
}
_ZEROS = {"sqlite": "zeroblob(32)", "postgresql": "decode(repeat('00', 32), 'hex')"}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    _set_aside()
    op.create_table(
        "ledger_openings",
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("leaf", name=op.f("pk_ledger_openings")),
    )
    op.create_index(op.f("ix_ledger_openings_period"), "ledger_openings", ["period"])
    op.create_index(op.f("ix_ledger_openings_subject"), "ledger_openings", ["subject"])
    op.create_table(
        "ledger_erased",
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("by", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("leaf", name=op.f("pk_ledger_erased")),
    )
    op.create_table(
        "ledger_erasures",
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("blind", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("leaf", name=op.f("pk_ledger_erasures")),
    )
    op.create_index(op.f("ix_ledger_erased_by"), "ledger_erased", ["by"])
    op.drop_index(op.f("ix_ledger_salts_subject"), table_name="ledger_salts")
    op.drop_table("ledger_salts")
    with op.batch_alter_table("ledger_entries", schema=None) as batch_op:
        batch_op.add_column(sa.Column("window", sa.BigInteger(), nullable=False))
        batch_op.add_column(sa.Column("chain", sa.LargeBinary(), nullable=True))
    _add("consent_keys", "digest", _ZEROS[dialect])
    _add("deliveries", "tag", _RANDOM[dialect][16])
    _add("deliveries", "plan_blind", _RANDOM[dialect][32])


def _set_aside() -> None:
    """The old entries, numbered to the end; with them go positions, tiles, checkpoints and cosignatures."""
    op.create_table(
        "first_ledger",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_first_ledger")),
    )
    op.execute(
        "INSERT INTO first_ledger (position, entry)"
        " SELECT row_number() OVER (ORDER BY (position IS NULL), position, id) - 1, entry FROM ledger_entries"
    )
    op.execute(
        "INSERT INTO meta (name, value) SELECT 'carry', 'due' WHERE EXISTS (SELECT 1 FROM first_ledger)"
    )
    op.execute(
        "INSERT INTO meta (name, value)"
        " SELECT 'first-checkpoint', note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1"
    )
    for table in ("ledger_entries", "ledger_tiles", "ledger_checkpoints", "cosignatures"):
        op.execute(f"DELETE FROM {table}")


def _add(table: str, column: str, value: str) -> None:
    """A column of bytes that nobody leaves empty."""
    with op.batch_alter_table(table, schema=None) as batch_op:
        batch_op.add_column(sa.Column(column, sa.LargeBinary(), nullable=True))
    op.execute(f"UPDATE {table} SET {column} = {value}")
    with op.batch_alter_table(table, schema=None) as batch_op:
        batch_op.alter_column(column, existing_type=sa.LargeBinary(), nullable=False)
