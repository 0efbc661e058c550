"""Operator tables: who of the broker's own has an account, what each of them did, and what waits for a second person.

Refuses: a private key; a value of a citizen. Columns hold names of accounts, public keys, digests.
Keeps: an account and a request that was approved are signed rows (`broker.store.rows`); what was done is committed to
by an entry of the ledger.

Instants are milliseconds since the epoch.
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from broker.store.columns import seal
from consent.tables import metadata

operators = Table(
    "operators",
    metadata,
    Column("id", Text, primary_key=True),  # the name, used once for ever
    Column("roles", Text, nullable=False),
    Column("public", LargeBinary),  # Ed25519; null: signs in with OpenID Connect
    Column("issuer", Text),
    Column("subject", Text),  # the `sub` of the issuer's ID tokens
    Column("version", Integer, nullable=False),  # of the account; the journal of endings names the least that counts
    Column("added_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    *seal(),
)

operator_acts = Table(
    "operator_acts",
    metadata,
    Column("leaf", LargeBinary, primary_key=True),  # of the entry that commits to it
    Column("at", BigInteger, nullable=False, index=True),
    Column("act", Text, nullable=False),  # the document (`broker.ledger.acting`)
    Column("signature", LargeBinary),  # by the account's key; null: nobody signed
)

approval_requests = Table(
    "approval_requests",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("act", Text, nullable=False),  # what is asked for, word for word (`broker.access.requests`)
    Column("asked_by", Text, nullable=False),
    Column("asked_at", BigInteger, nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", BigInteger),
    Column("signature", LargeBinary),  # by the key of whoever approved
    *seal(),
)

TABLES = (operators, operator_acts, approval_requests)
