"""Purposes that an operator adds; territories and a least of a rule's own, and its narrowing; the law in the directory

Revision 0036, after 0034. Rules of before are bounded by their subscriptions alone, as they were.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0034"
branch_labels = None
depends_on = None

_TEXTS = (
    "families",
    "label_fr",
    "label_en",
    "sentence_fr",
    "sentence_en",
    "legal_fr",
    "legal_en",
    "retention_fr",
    "retention_en",
    "contact",
)


def upgrade() -> None:
    op.add_column("rules", sa.Column("territories", sa.Text(), nullable=True))
    op.add_column("rules", sa.Column("least_assurance", sa.Text(), nullable=True))
    op.add_column("rules", sa.Column("least_quality", sa.Text(), nullable=True))
    op.add_column("rules", sa.Column("narrowed_at", sa.BigInteger(), nullable=True))
    op.add_column("directory_notes", sa.Column("law_digest", sa.LargeBinary(), nullable=True))
    op.add_column("directory_notes", sa.Column("law_note", sa.Text(), nullable=True))
    op.create_table(
        "purposes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("row_version", sa.Integer(), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purposes")),
    )
