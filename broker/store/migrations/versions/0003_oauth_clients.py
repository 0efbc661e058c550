"""OAuth clients

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "client_keys",
        sa.Column("kid", sa.LargeBinary(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["party"], ["parties.id"], name=op.f("fk_client_keys_party_parties")),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_client_keys")),
    )
    with op.batch_alter_table("client_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_client_keys_party"), ["party"], unique=False)

    op.create_table(
        "spent_assertions",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("jti", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("party", "jti", name=op.f("pk_spent_assertions")),
    )
    with op.batch_alter_table("spent_assertions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_spent_assertions_expires_at"), ["expires_at"], unique=False)
