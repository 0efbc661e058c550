"""Rules by law, for everybody, and objections to them

Revision 0023, after 0022. A grant under a rule names it; those of before are under none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_UNDER_A_RULE = sa.text("rule IS NOT NULL AND status = 'active'")


def upgrade() -> None:
    op.create_table(
        "rules",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("article", sa.Text(), nullable=False),
        sa.Column("objection", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("acts_from", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("row_version", sa.Integer(), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["recipient"], ["parties.id"], name=op.f("fk_rules_recipient_parties")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rules")),
    )
    op.create_table(
        "objections",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("rule", sa.LargeBinary(), nullable=False),
        sa.Column("objected_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["rule"], ["rules.id"], name=op.f("fk_objections_rule_rules")),
        sa.PrimaryKeyConstraint("subject", "rule", name=op.f("pk_objections")),
    )
    for table in ("grants", "grant_versions"):
        op.add_column(table, sa.Column("rule", sa.LargeBinary(), nullable=True))
    op.create_index(
        "one_grant_under_a_rule",
        "grants",
        ["rule", "subject"],
        unique=True,
        sqlite_where=_UNDER_A_RULE,
        postgresql_where=_UNDER_A_RULE,
    )
