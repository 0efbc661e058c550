"""Answers of recipients, and what a person repairs

Revision 0024, after 0023. A delivery of before has no other answer than applied or rejected.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_WAITS = sa.text("tried_at IS NULL")


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("until", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("taken", sa.LargeBinary(), nullable=True))
    op.create_table(
        "repairs",
        sa.Column("delivery", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reference", sa.LargeBinary(), nullable=False),
        sa.Column("grant_id", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name=op.f("fk_repairs_delivery_deliveries")),
        sa.PrimaryKeyConstraint("delivery", "number", name=op.f("pk_repairs")),
    )
    op.create_index("repairs_waiting", "repairs", ["asked_at"], sqlite_where=_WAITS, postgresql_where=_WAITS)
