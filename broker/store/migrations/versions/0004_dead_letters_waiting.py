"""Dead letters that wait are counted by an index

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WAITING = sa.text("replayed_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "dead_letters_waiting", "dead_letters", ["id"], sqlite_where=_WAITING, postgresql_where=_WAITING
    )
