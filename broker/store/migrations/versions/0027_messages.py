"""Where citizens are told, and what is to be told there

Revision 0027, after 0026.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_DUE = sa.text("next_at IS NOT NULL")
_OVER = sa.text("next_at IS NULL AND sent_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "channels",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("held_since", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
    )
    op.create_index(op.f("ix_channels_subject"), "channels", ["subject"])
    op.create_index(op.f("ix_channels_ended_at"), "channels", ["ended_at"])
    op.create_table(
        "messages",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("channel", sa.LargeBinary(), nullable=False),
        sa.Column("news", sa.Text(), nullable=False),
        sa.Column("declaration", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["channel"], ["channels.id"], name=op.f("fk_messages_channel_channels")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_channel"), "messages", ["channel"])
    op.create_index(op.f("ix_messages_at"), "messages", ["at"])
    op.create_index("messages_due", "messages", ["next_at"], sqlite_where=_DUE, postgresql_where=_DUE)
    op.create_index("messages_given_up", "messages", ["code"], sqlite_where=_OVER, postgresql_where=_OVER)
