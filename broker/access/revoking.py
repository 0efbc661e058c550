"""Revoking: the end of what lets somebody in, the same for API tokens, pinned keys and followed key sets.

Refuses: what nobody issued (a row that was slipped in is none), and what was revoked before.
Keeps: the row stays, with its end; the entry commits to the same digest as the one of its beginning. The end is in the
journal of endings, which counts whatever the row says later.
"""

from typing import Any

from sqlalchemy import ColumnElement, Row, Table, select

from broker.ended import Ending, key_of
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, PartyId


def row_key(table: Table, row: Row[Any]) -> bytes:
    """How the journal of endings names a row: by its primary key."""
    return key_of(*(row._mapping[column] for column in table.primary_key.columns))


async def revoke(
    tx: Transaction,
    recorder: Recorder,
    signer: RowSigner,
    table: Table,
    mine: ColumnElement[bool],
    *,
    at: Instant,
    unknown: Refused,
    before: Refused,
) -> Row[Any]:
    """Let in no more by this row of the table, from now on; the row as it was. Raises `unknown`, `before`."""
    row = signer.verifier.one(table.name, (await tx.execute(select(table).where(mine))).one_or_none())
    if row is None:
        raise unknown
    if row.revoked_at is not None:
        raise before
    tx.end(Ending.of(table.name, row_key(table, row), at=at, revoked_at=at))
    await signer.change(tx, table, row, {"revoked_at": at})
    mark("credentials.revoked")
    # Crash here: it still lets in, and nobody was told that it does not; it is revoked again.
    digest = row_digest(table.name, row._mapping)
    recorder.record(tx, FactKind.KEY_REVOKED, at, recipient=PartyId(row.party), detail=digest)
    return row
