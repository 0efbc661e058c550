"""What a person handed in is found by an index, for their export and their erasure

Revision 0034, after 0030.
"""

from alembic import op

revision = "0034"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_submissions_subject", "submissions", ["subject"])
