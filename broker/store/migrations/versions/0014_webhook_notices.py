"""Letters about webhooks that were given up

Revision 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_DUE = sa.text("next_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "webhook_notices",
        sa.Column("webhook", sa.LargeBinary(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("mailed_at", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["webhook"], ["webhooks.id"], name=op.f("fk_webhook_notices_webhook_webhooks")),
        sa.PrimaryKeyConstraint("webhook", name=op.f("pk_webhook_notices")),
    )
    op.create_index("webhook_notices_due", "webhook_notices", ["next_at"], sqlite_where=_DUE, postgresql_where=_DUE)
