"""How sure a declaration has to be for a subscription

Revision 0026, after 0025. Subscriptions of before accept every declaration, as they did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("least_assurance", sa.Text(), nullable=True))
    op.add_column("subscriptions", sa.Column("least_quality", sa.Text(), nullable=True))
