"""Lock checks: a delivery whose consent lives unlocks, with that consent's key, to what its declaration had sealed.

Refuses: to open anything: what it finds inside the lock is still sealed to the gate.
Keeps: a lock that was damaged shows before the agency asks; where the consent is over there is no key, and nothing to
check.
"""

from collections.abc import AsyncIterator, Mapping

from sqlalchemy import select

from broker.checks.finding import Finding
from broker.store.engine import Transaction
from broker.store.tables import declarations, deliveries
from consent import keyring
from consent.tables import consent_keys
from schemas.envelope import SignedDeclaration
from schemas.errors import Corrupt, Refused
from schemas.locked import LockedDelivery, unlock
from schemas.names import GrantId


async def check(tx: Transaction, epoch_keys: Mapping[int, bytes]) -> AsyncIterator[Finding]:
    """Every lock that can be tried; `epoch_keys` are the consent epoch keys that are alive."""
    keys = await _living_keys(tx, epoch_keys)
    pruned = (deliveries.c.locked == b"") & deliveries.c.done_at.is_not(None)
    rows = await tx.execute(
        select(deliveries.c.id, deliveries.c.grant_id, deliveries.c.locked, declarations.c.envelope)
        .join(declarations, declarations.c.seq == deliveries.c.declaration)
        .where(~pruned)
    )
    for row in rows:
        key = keys.get(GrantId(row.grant_id))
        if key is not None and not _unlocks(row.locked, row.envelope, key):
            place = f"deliveries/{bytes(row.id).hex()}"
            yield Finding("deliveries.lock", place, "the consent's key does not unlock what the declaration sealed")


def _unlocks(locked: bytes, envelope: bytes, key: bytes) -> bool:
    try:
        return unlock(LockedDelivery.decode(locked), key) == SignedDeclaration.decode(envelope).sealed_dek
    except Refused:
        return False


async def _living_keys(tx: Transaction, epoch_keys: Mapping[int, bytes]) -> Mapping[GrantId, bytes]:
    """Those that unwrap; the others are findings of the consents' own check."""
    found: dict[GrantId, bytes] = {}
    for row in await tx.execute(select(consent_keys)):
        grant_id = GrantId(row.grant_id)
        try:
            found[grant_id] = keyring.unwrap(
                row.wrapped, keyring.Bound(grant_id, row.digest, row.epoch), epoch_keys[row.epoch]
            )
        except (Corrupt, KeyError, ValueError):
            continue
    return found
