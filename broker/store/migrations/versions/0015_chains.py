"""The corrections of a declaration are found by an index

Revision 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    corrects = sa.text("root IS NOT NULL")
    op.create_index(
        "declarations_by_root", "declarations", ["root"], unique=False, sqlite_where=corrects, postgresql_where=corrects
    )
