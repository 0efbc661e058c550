"""Rows that grant power carry their version and their seal

Revision 0018, after 0017. Rows of before have none; `unefois migrate` compares each with the ledger, and signs it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SIGNED = (
    "parties",
    "signing_keys",
    "sealing_keys",
    "publishing_rights",
    "signature_policies",
    "subscriptions",
    "gate_epochs",
    "consent_epochs",
    "api_tokens",
    "topic_users",
    "client_keys",
    "client_key_sets",
    "webhooks",
)


def upgrade() -> None:
    for table in SIGNED:
        op.add_column(table, sa.Column("row_version", sa.Integer(), nullable=True))
        op.add_column(table, sa.Column("seal", sa.LargeBinary(), nullable=True))
