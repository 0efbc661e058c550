"""An administration pauses what it receives

Revision 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "paused_subscriptions",
        sa.Column("subscription", sa.LargeBinary(), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription"], ["subscriptions.id"], name=op.f("fk_paused_subscriptions_subscription_subscriptions")
        ),
        sa.PrimaryKeyConstraint("subscription", name=op.f("pk_paused_subscriptions")),
    )
