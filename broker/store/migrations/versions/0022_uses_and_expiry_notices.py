"""From where credentials are used; letters about keys and tokens that end

Revision 0022, after 0021.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_DUE = sa.text("next_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "credential_uses",
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("credential", "address", name=op.f("pk_credential_uses")),
    )
    op.create_table(
        "expiry_notices",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("mailed_at", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["party"], ["parties.id"], name=op.f("fk_expiry_notices_party_parties")),
        sa.PrimaryKeyConstraint("party", "what", "ends_at", "days", name=op.f("pk_expiry_notices")),
    )
    op.create_index("expiry_notices_due", "expiry_notices", ["next_at"], sqlite_where=_DUE, postgresql_where=_DUE)
