"""Who acts for whom, and the adults of a household who have still to confirm

Revision 0030, after 0028.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "representations",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("representative", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("event_types", sa.Text(), nullable=True),
        sa.Column("purposes", sa.Text(), nullable=True),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("row_version", sa.Integer(), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_representations")),
    )
    op.create_index(op.f("ix_representations_representative"), "representations", ["representative"])
    op.create_index(op.f("ix_representations_subject"), "representations", ["subject"])
    op.create_index(op.f("ix_representations_ended_at"), "representations", ["ended_at"])
    op.create_table(
        "acted_for",
        sa.Column("declaration", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("representative", sa.LargeBinary(), nullable=False),
        sa.Column("capacity", sa.Text(), nullable=False),
        sa.Column("known", sa.Text(), nullable=False),
        sa.Column("representation", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("declaration", name=op.f("pk_acted_for")),
    )
    op.create_index(op.f("ix_acted_for_subject"), "acted_for", ["subject"])
    op.create_index(op.f("ix_acted_for_representative"), "acted_for", ["representative"])
    op.create_table(
        "households",
        sa.Column("household", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("declaration", sa.LargeBinary(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("household", "number", name=op.f("pk_households")),
    )
    op.create_index(op.f("ix_households_subject"), "households", ["subject"])
    op.create_index(op.f("ix_households_expires_at"), "households", ["expires_at"])
