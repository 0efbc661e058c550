"""Backfill: a journal that begins beside an older database is told what has ended so far.

Refuses: nothing; what the rows say is what there is to tell. Who doubts them asks `unefois fsck` before the upgrade.
Keeps: done again after a crash it tells the same things once more, which changes nothing.
"""

from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

from sqlalchemy import Row, Table, select

from broker.access.revoking import row_key
from broker.directory import reading
from broker.ended import AT_ONCE, Ending, key_of
from broker.flow import ended_grants
from broker.flow.erased import EMPTY
from broker.messages.channels import channel_of
from broker.store.access_tables import api_tokens, client_key_sets, client_keys
from broker.store.engine import Store, Transaction
from broker.store.message_tables import channels
from broker.store.rows.seals import Unchecked
from broker.store.tables import (
    consent_epochs,
    declarations,
    gate_epochs,
    paused_subscriptions,
    publishing_rights,
    sealing_keys,
    signature_policies,
    signing_keys,
    subscriptions,
)
from consent import registry
from consent.grant import Grant

REVOKED = (api_tokens, client_keys, client_key_sets, signing_keys, sealing_keys)
DESTROYED = (gate_epochs, consent_epochs)


async def tell(store: Store) -> None:
    """Write what has ended in the rows into the journal. Raises Unavailable, Corrupt `registry.unreadable`."""
    async with store.read(patient=True) as tx:
        found = iter([ending async for ending in endings(tx)])
    while part := list(islice(found, AT_ONCE)):
        async with store.begin() as tx:
            for ending in part:
                tx.end(ending)


async def endings(tx: Transaction) -> AsyncIterator[Ending]:
    """What the rows say has ended."""
    async for batch in registry.heads(tx.conn):
        for grant in batch:
            if isinstance(grant, Grant) and grant.version > 1:
                yield ended_grants.ending_of(grant)
    for table in REVOKED:
        for row in await _rows(tx, table, table.c.revoked_at.is_not(None)):
            yield Ending.of(table.name, row_key(table, row), at=row.revoked_at, revoked_at=row.revoked_at)
    async for ending in _of_citizens(tx):
        yield ending
    for table in DESTROYED:
        for row in await _rows(tx, table, table.c.destroyed_at.is_not(None)):
            yield Ending.of(table.name, row_key(table, row), at=row.destroyed_at, destroyed_at=row.destroyed_at)
    async for ending in _of_directory(tx):
        yield ending


async def _of_citizens(tx: Transaction) -> AsyncIterator[Ending]:
    for row in await _rows(tx, channels, channels.c.ended_at.is_not(None)):
        yield channel_of(row).ending()
    for row in await _rows(tx, declarations, declarations.c.envelope == EMPTY):
        yield Ending.of(declarations.name, row.declaration_id, at=row.routed_at)


async def _of_directory(tx: Transaction) -> AsyncIterator[Ending]:
    for row in await _rows(tx, publishing_rights, publishing_rights.c.valid_to.is_not(None)):
        told = {name: row._mapping[name] for name in ("party", "event_type", "valid_from", "valid_to")}
        place = key_of(row.party, row.event_type, row.valid_from)
        yield Ending.of(publishing_rights.name, place, at=row.valid_to, **told)
    first: set[str] = set()
    for row in await _rows(tx, signature_policies):
        if row.party in first:
            told = {"party": row.party, "policy": row.policy, "valid_from": row.valid_from}
            yield Ending.of(signature_policies.name, key_of(row.party, row.valid_from), at=row.valid_from, **told)
        first.add(row.party)
    for one in await reading.subscriptions(tx, Unchecked()):
        if one.ended_at is not None and one.approved_at is not None:
            least = one.approved_at + 1
            yield Ending.of(subscriptions.name, one.id, at=one.ended_at, least=least, ended_at=one.ended_at)
    for row in await _rows(tx, paused_subscriptions):
        yield Ending.of(paused_subscriptions.name, bytes(row.subscription), at=row.paused_at, paused_at=row.paused_at)


async def _rows(tx: Transaction, table: Table, *where: Any) -> list[Row[Any]]:
    ordered = select(table).where(*where).order_by(*table.primary_key.columns)
    return list((await tx.execute(ordered)).all())
