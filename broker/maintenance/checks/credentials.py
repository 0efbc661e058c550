"""Credential checks: the ledger tells of every API token, of every client's pinned key and followed key set, of every
webhook's address and of everybody who is served by topics as it counts: whose it is, for what, until when, and whether
it was revoked. So none can be slipped in, widened, prolonged, or brought back.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from sqlalchemy import Row, or_, select, union_all

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.access_tables import (
    api_tokens,
    client_key_sets,
    client_keys,
    credential_uses,
    expiry_notices,
    kept_answers,
    topic_users,
    webhook_attempts,
    webhook_notices,
    webhooks,
)
from broker.store.rows.digests import row_digest
from broker.webhooks.endpoints import Status
from schemas.facts import FactKind, Facts
from schemas.names import PartyId

_MESSAGES = {
    Status.PROVING: {True},
    Status.ACTIVE: {True, False},
    Status.DISABLED: {False},
    Status.ENDED: {False},
}
"""Whether a message is on its way to a webhook of this status."""

Told = set[tuple[FactKind, PartyId | None, bytes | None]]


async def check(tx: Snapshot, entries: list[Facts]) -> AsyncIterator[Finding]:
    """Every check of the API tokens, of the clients' pinned keys, and of the webhooks."""
    told = {(entry.kind, entry.recipient, entry.detail) for entry in entries}
    for row in await tx.rows(api_tokens):
        for wrong in _wrong(row, row_digest("api_tokens", row._mapping), told):
            yield Finding("credentials.untold", f"api_tokens/{row.id.hex()}", wrong)
    async for finding in _clients(tx, told):
        yield finding
    async for finding in _users(tx, told):
        yield finding
    async for finding in _answers(tx):
        yield finding
    async for finding in _webhooks(tx, told):
        yield finding
    async for finding in _uses(tx):
        yield finding


async def _uses(tx: Snapshot) -> AsyncIterator[Finding]:
    """Each is of a credential that is there; a letter is due or sent, and about an end."""
    if not tx.empty(credential_uses):
        async for finding in _used(tx):
            yield finding
    for row in await tx.rows(expiry_notices):
        if (row.mailed_at is not None and row.next_at is not None) or row.days < 1 or row.attempts < 0:
            yield Finding("expiry.notice", f"expiry_notices/{row.party}", "due though it was sent, or before no end")


async def _used(tx: Snapshot) -> AsyncIterator[Finding]:
    known = union_all(select(api_tokens.c.id), select(client_keys.c.kid)).subquery()
    there = credential_uses.c.credential.in_(select(known))
    odd = or_(~there, credential_uses.c.first_at > credential_uses.c.last_at)
    for row in await tx.execute(select(credential_uses).where(odd)):
        wrong = "of no credential that is there, or last before it was first"
        yield Finding("credentials.use", f"credential_uses/{row.credential.hex()}", wrong)


async def _clients(tx: Snapshot, told: Told) -> AsyncIterator[Finding]:
    """The keys that clients sign with, pinned or by their address."""
    for row in await tx.rows(client_keys):
        for wrong in _wrong(row, row_digest("client_keys", row._mapping), told):
            yield Finding("oauth.untold", f"client_keys/{row.kid.hex()}", wrong)
    for row in await tx.rows(client_key_sets):
        for wrong in _wrong(row, row_digest("client_key_sets", row._mapping), told):
            yield Finding("oauth.untold", f"client_key_sets/{row.party}/{row.added_at}", wrong)


async def _webhooks(tx: Snapshot, told: Told) -> AsyncIterator[Finding]:
    """No address that nobody registered, and none that lives on after its end; a message only where one may be due."""
    for row in await tx.rows(webhooks):
        place, ended = f"webhooks/{row.id.hex()}", row.status == Status.ENDED.value
        for wrong in _untold(row.party, row_digest("webhooks", row._mapping), told, revoked=ended):
            yield Finding("webhooks.untold", place, wrong)
        there = {row.message is not None, row.message_at is not None, row.next_at is not None}
        if len(there) > 1 or not there <= _MESSAGES[Status(row.status)]:
            yield Finding("webhooks.message", place, "a message that is half there, or there where none may be")
    if tx.empty(webhook_notices) and tx.empty(webhook_attempts):
        return
    notices = select(webhook_notices, webhooks.c.status, webhooks.c.changed_at, webhooks.c.reason.label("because"))
    for row in await tx.execute(notices.outerjoin_from(webhook_notices, webhooks)):
        same = (Status.DISABLED.value, row.disabled_at, row.reason) == (row.status, row.changed_at, row.because)
        if not same or (row.mailed_at is not None and row.next_at is not None):
            wrong = "of a webhook that is not disabled so, or due though it was sent"
            yield Finding("webhooks.notice", f"webhook_notices/{row.webhook.hex()}", wrong)
    orphan = select(webhook_attempts.c.seq).join(webhooks, webhooks.c.id == webhook_attempts.c.webhook, isouter=True)
    for row in await tx.execute(orphan.where(webhooks.c.id.is_(None))):
        yield Finding("webhooks.attempt", f"webhook_attempts/{row.seq}", "of a webhook that is not there")


def _wrong(row: Row[Any], digest: bytes, told: Told) -> Iterator[str]:
    return _untold(row.party, digest, told, revoked=row.revoked_at is not None)


def _untold(party: str, digest: bytes, told: Told, *, revoked: bool) -> Iterator[str]:
    if (FactKind.KEY_ADDED, party, digest) not in told:
        yield "the row is not what the ledger says was issued"
    if ((FactKind.KEY_REVOKED, party, digest) in told) is not revoked:
        yield "revoked in the ledger and not here, or the other way round"


async def _answers(tx: Snapshot) -> AsyncIterator[Finding]:
    """Each is given, or somebody is at it."""
    for row in await tx.rows(kept_answers):
        given = {row.status is not None, row.headers is not None, row.answer is not None, row.lease_until is None}
        if len(given) > 1 or (len(row.key), len(row.request)) != (32, 32):
            yield Finding("answers.half", f"kept_answers/{row.party}", "an answer that is half there, or of no request")


async def _users(tx: Snapshot, told: Told) -> AsyncIterator[Finding]:
    """Who is served by topics, as which user of Kafka."""
    for row in await tx.rows(topic_users):
        digest, place = row_digest("topic_users", row._mapping), f"topic_users/{row.party}/{row.since}"
        if (FactKind.KEY_ADDED, row.party, digest) not in told:
            yield Finding("topics.untold", place, "the row is not what the ledger says was allowed")
        if ((FactKind.KEY_REVOKED, row.party, digest) in told) is not (row.ended_at is not None):
            yield Finding("topics.untold", place, "ended in the ledger and not here, or the other way round")
