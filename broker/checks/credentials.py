"""Credential checks: the ledger tells of every API token and of every client's pinned key as it counts: whose it is,
for what, until when, and whether it was revoked. So none can be slipped in, widened, prolonged, or brought back.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from sqlalchemy import Row, select

from broker.checks.finding import Finding
from broker.credentials import token_digest
from broker.oauth import client_digest
from broker.store.engine import Transaction
from broker.store.tables import api_tokens, client_keys, spent_assertions
from schemas.entry import Entry, EntryKind
from schemas.names import PartyId


async def check(tx: Transaction, entries: list[Entry]) -> AsyncIterator[Finding]:
    """Every check of the API tokens and of the clients' pinned keys."""
    told = {(entry.kind, entry.recipient, entry.detail) for entry in entries}
    for row in await tx.execute(select(api_tokens)):
        for wrong in _wrong(row, token_digest(row._mapping), told):
            yield Finding("credentials.untold", f"api_tokens/{row.id.hex()}", wrong)
    for row in await tx.execute(select(client_keys)):
        for wrong in _wrong(row, client_digest(row._mapping), told):
            yield Finding("oauth.untold", f"client_keys/{row.kid.hex()}", wrong)
    pinned = {row.party for row in await tx.execute(select(client_keys.c.party))}
    for row in await tx.execute(select(spent_assertions)):
        if row.party not in pinned or len(row.jti) != 32:
            yield Finding("oauth.spent", f"spent_assertions/{row.party}", "no client of ours can have used it")


def _wrong(row: Row[Any], digest: bytes, told: set[tuple[EntryKind, PartyId | None, bytes | None]]) -> Iterator[str]:
    if (EntryKind.KEY_ADDED, row.party, digest) not in told:
        yield "the row is not what the ledger says was issued"
    if ((EntryKind.KEY_REVOKED, row.party, digest) in told) is not (row.revoked_at is not None):
        yield "revoked in the ledger and not here, or the other way round"
