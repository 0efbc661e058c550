"""Submissions, declarations, ledger entries and checkpoints carry the MAC of whoever wrote them

Revision 0019, after 0018. Rows of before have none; `unefois migrate` compares them with the ledger, and makes it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("submissions", "declarations", "ledger_entries", "ledger_checkpoints"):
        op.add_column(table, sa.Column("mac", sa.LargeBinary(), nullable=True))
