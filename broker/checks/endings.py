"""Endings checks: no row contradicts the journal of endings, and the ledger is the one that was signed last.

A row that says less than the journal was put back: by whoever can write into the database, by a restore, by a replica
that had not seen everything. It opens nothing, for the journal is obeyed, and it is told here.
"""

from collections.abc import AsyncIterator

from sqlalchemy import Row, Table, select

from broker import ended_grants
from broker.access.revoking import row_key
from broker.backfill import DESTROYED, REVOKED
from broker.checks.finding import Finding
from broker.directory import reading
from broker.ended import Ended, Ending, key_of
from broker.store.engine import Transaction
from broker.store.tables import (
    paused_subscriptions,
    publishing_rights,
    signature_policies,
    subscriptions,
)
from consent import registry
from consent.grant import Grant
from consent.policy import SubscriptionStatus
from schemas.errors import Fault


async def check(tx: Transaction, standing: Fault | None) -> AsyncIterator[Finding]:
    """Every check of the rows against the journal. `standing`: what is wrong with the ledger's mark, if anything."""
    ended = await tx.endings()
    if standing is not None:
        yield Finding("ledger.stands-still", "ledger_checkpoints", f"nothing is signed or released: {standing.code}")
    async for finding in _grants(tx, ended):
        yield finding
    for table in REVOKED:
        for row in await tx.execute(select(table)):
            told = ended.newest(table.name, row_key(table, row))
            if told is not None and not _since(row.revoked_at, told, "revoked_at"):
                yield Finding("endings.contradicted", _place(table, row), "the journal says since when it is revoked")
    async for finding in _directory(tx, ended):
        yield finding
    for table in DESTROYED:
        for row in await tx.execute(select(table).where(table.c.destroyed_at.is_(None))):
            if ended.ended(table.name, row_key(table, row)):
                yield Finding("endings.contradicted", _place(table, row), "the journal says that it was destroyed")


async def _grants(tx: Transaction, ended: Ended) -> AsyncIterator[Finding]:
    async for batch in registry.heads(tx.conn):
        for grant in batch:
            if isinstance(grant, Grant) and ended_grants.last_word(ended, grant) is not None:
                wrong = "the journal knows a later version, or another one"
                yield Finding("endings.contradicted", f"grants/{grant.id.hex()}", wrong)


async def _directory(tx: Transaction, ended: Ended) -> AsyncIterator[Finding]:
    for row in await tx.execute(select(publishing_rights)):
        told = ended.newest(publishing_rights.name, key_of(row.party, row.event_type, row.valid_from))
        if told is not None and not _since(row.valid_to, told, "valid_to"):
            yield Finding("endings.contradicted", _place(publishing_rights, row), "the journal says when it ended")
    policies = {(row.party, row.valid_from): row.policy for row in await tx.execute(select(signature_policies))}
    for told in ended.of(signature_policies.name):
        act = told.told
        if policies.get((act["party"], act["valid_from"])) != act["policy"]:
            yield Finding(
                "endings.contradicted", f"signature_policies/{act['party']}", "the journal knows a later policy"
            )
    paused = {bytes(row.subscription) for row in await tx.execute(select(paused_subscriptions))}
    for row in await tx.execute(select(subscriptions)):
        one = reading.subscription_of(row)
        approved = one.status is SubscriptionStatus.APPROVED
        if approved and ended.ended(subscriptions.name, one.id, reading.approved_since(one)):
            yield Finding(
                "endings.contradicted", _place(subscriptions, row), "the journal says that this approval has ended"
            )
        pause = ended.newest(paused_subscriptions.name, one.id)
        if pause is not None and approved and (pause.least > 0) is not (one.id in paused):
            yield Finding("endings.contradicted", f"paused_subscriptions/{one.id.hex()}", "the journal says otherwise")


def _since(there: int | None, told: Ending, name: str) -> bool:
    return there is not None and there <= told.told[name]


def _place(table: Table, row: Row[tuple[object, ...]]) -> str:
    key = row_key(table, row)
    return f"{table.name}/{key.decode() if key.isascii() and key.decode().isprintable() else key.hex()}"
