"""What a citizen has begun to type, and by what the same declaration is known again

Revision 0046, after 0040. Nothing of before has either.
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "citizen_drafts",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=True),
        sa.Column("origin", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("written_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_citizen_drafts")),
    )
    for column in ("owner", "origin", "expires_at"):
        op.create_index(op.f(f"ix_citizen_drafts_{column}"), "citizen_drafts", [column])
    op.create_table(
        "told_already",
        sa.Column("declaration", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("declaration", name=op.f("pk_told_already")),
    )
    op.create_index(op.f("ix_told_already_fingerprint"), "told_already", ["fingerprint"])
