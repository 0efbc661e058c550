"""Credential checks: the ledger tells of every API token as it counts: whose it is, for what, until when, and whether
it was revoked. So none can be slipped in, widened, prolonged, or brought back.
"""

from collections.abc import AsyncIterator

from sqlalchemy import select

from broker.checks.finding import Finding
from broker.credentials import token_digest
from broker.store.engine import Transaction
from broker.store.tables import api_tokens
from schemas.entry import Entry, EntryKind


async def check(tx: Transaction, entries: list[Entry]) -> AsyncIterator[Finding]:
    """Every check of the API tokens."""
    told = {(entry.kind, entry.recipient, entry.detail) for entry in entries}
    for row in await tx.execute(select(api_tokens)):
        place, digest = f"api_tokens/{row.id.hex()}", token_digest(row._mapping)
        if (EntryKind.KEY_ADDED, row.party, digest) not in told:
            yield Finding("credentials.untold", place, "the row is not what the ledger says was issued")
        revoked = (EntryKind.KEY_REVOKED, row.party, digest) in told
        if revoked is not (row.revoked_at is not None):
            yield Finding("credentials.untold", place, "revoked in the ledger and not here, or the other way round")
