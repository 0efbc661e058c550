"""What pruning takes is found by an index

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LOCKED = sa.text("length(locked) > 0")
_REPLAYED = sa.text("replayed_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "deliveries_locked", "deliveries", ["done_at"], sqlite_where=_LOCKED, postgresql_where=_LOCKED
    )
    op.create_index(
        "dead_letters_replayed", "dead_letters", ["replayed_at"], sqlite_where=_REPLAYED, postgresql_where=_REPLAYED
    )
