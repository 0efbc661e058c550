"""Lock checks: a delivery whose consent lives unlocks, with that consent's key, to what its declaration had sealed.

Refuses: to open anything: what it finds inside the lock is still sealed to the gate.
Keeps: a lock that was damaged shows before the agency asks; where the consent is over there is no key, and nothing to
check.
"""

from collections.abc import Iterator, Mapping

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from consent import keyring
from schemas.envelope import SignedDeclaration
from schemas.errors import Corrupt, Refused
from schemas.locked import LockedDelivery, unlock
from schemas.names import GrantId


def check(part: Part, epoch_keys: Mapping[int, bytes]) -> Iterator[Finding]:
    """Every lock of a part that can be tried; `epoch_keys` are the consent epoch keys that are alive."""
    keys = _living_keys(part, epoch_keys)
    envelopes = {row.seq: row.envelope for row in (*part.of("declarations"), *part.of("beside"))}
    for row in part.of("deliveries"):
        pruned = not row.locked and row.done_at is not None
        key = None if pruned else keys.get(GrantId(row.grant_id))
        if key is not None and not _unlocks(row.locked, envelopes[row.declaration], key):
            place = f"deliveries/{bytes(row.id).hex()}"
            yield Finding("deliveries.lock", place, "the consent's key does not unlock what the declaration sealed")


def _unlocks(locked: bytes, envelope: bytes, key: bytes) -> bool:
    try:
        return unlock(LockedDelivery.decode(locked), key) == SignedDeclaration.decode(envelope).sealed_dek
    except Refused:
        return False


def _living_keys(part: Part, epoch_keys: Mapping[int, bytes]) -> Mapping[GrantId, bytes]:
    """Those that unwrap; the others are findings of the consents' own check."""
    found: dict[GrantId, bytes] = {}
    for row in part.of("keys"):
        grant_id = GrantId(row.grant_id)
        try:
            bound = keyring.Bound(grant_id, row.digest, row.epoch)
            found[grant_id] = keyring.unwrap(row.wrapped, bound, epoch_keys[row.epoch]).key
        except (Corrupt, KeyError, ValueError):
            continue
    return found
