"""Declarations that are taken back, and deliveries that are held

Revision 0025, after 0024. What was planned before is not held.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retractions",
        sa.Column("declaration", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("retracted_at", sa.BigInteger(), nullable=False),
        sa.Column("notice", sa.LargeBinary(), nullable=True),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("declaration", name=op.f("pk_retractions")),
        sa.UniqueConstraint("notice", name=op.f("uq_retractions_notice")),
    )
    op.create_index(op.f("ix_retractions_subject"), "retractions", ["subject"])
    op.add_column("deliveries", sa.Column("held_until", sa.BigInteger(), nullable=True))
