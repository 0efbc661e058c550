"""Key sets of OAuth2 clients, by their address

Revision 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "client_key_sets",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["party"], ["parties.id"], name=op.f("fk_client_key_sets_party_parties")),
        sa.PrimaryKeyConstraint("party", "added_at", name=op.f("pk_client_key_sets")),
    )
    standing = sa.text("revoked_at IS NULL")
    op.create_index(
        "client_key_sets_standing",
        "client_key_sets",
        ["party"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )


