"""Directory checks: every key and every subscription that counts has its ledger entry, so none can be slipped in."""

from collections.abc import AsyncIterator

from broker import directory as tables
from broker.checks.finding import Finding
from broker.store.engine import Transaction
from broker.subscribing import subscription_digest
from consent.policy import SubscriptionStatus
from schemas.entry import Entry, EntryKind
from schemas.errors import Corrupt


async def check(tx: Transaction, entries: list[Entry]) -> AsyncIterator[Finding]:
    """Every check of keys and subscriptions."""
    told = {(entry.kind, entry.detail) for entry in entries}
    try:
        directory = await tables.snapshot(tx)
        subscriptions = await tables.subscriptions(tx)
    except Corrupt as fault:
        yield Finding("directory.unreadable", fault.pointer or "directory", fault.code)
        return
    listed = [(one.kid, one.revoked_at) for one in directory.signing]
    listed += [(one.kid, one.revoked_at) for one in directory.sealing]
    for kid, revoked_at in listed:
        if (EntryKind.KEY_ADDED, bytes(kid)) not in told:
            yield Finding("directory.untold", f"keys/{kid.hex()}", "a key that the ledger does not know")
        if revoked_at is not None and (EntryKind.KEY_REVOKED, bytes(kid)) not in told:
            yield Finding("directory.untold", f"keys/{kid.hex()}", "revoked without an entry")
    for one in subscriptions:
        place = f"subscriptions/{one.id.hex()}"
        if (
            one.status is SubscriptionStatus.APPROVED
            and (
                EntryKind.SUBSCRIPTION_APPROVED,
                subscription_digest(one),
            )
            not in told
        ):
            yield Finding("subscriptions.edited", place, "the row is not what the ledger says was approved")
