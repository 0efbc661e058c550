"""Key checks: the key store and the tables name the same epochs; what was destroyed is gone; what is needed is
there.
"""

from collections.abc import AsyncIterator

from broker.epochs import books
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.snapshot import Snapshot
from broker.ports import KeyKind, KeyStore
from broker.store.tables import consent_epochs, gate_epochs
from schemas.errors import Fault
from schemas.names import Kid


async def check(tx: Snapshot, keys: KeyStore) -> AsyncIterator[Finding]:
    """Every check of the private keys that the tables speak of."""
    gates = {Kid(row.kid).hex(): row.destroyed_at for row in await tx.rows(gate_epochs)}
    epochs = {str(row.epoch): row.destroyed_at for row in await tx.rows(consent_epochs)}
    begun = {kind: {name for each, name in await books.begun(tx) if each is kind} for kind in books.KINDS}
    for kind, known in ((KeyKind.GATE, gates), (KeyKind.CONSENT_EPOCH, epochs)):
        held = set(keys.names(kind))
        for name, destroyed_at in known.items():
            if destroyed_at is not None and name in held:
                yield Finding("keys.outlived", f"{kind.value}/{name}", "destroyed by the books, but still there")
            if destroyed_at is None and name not in held:
                yield Finding("keys.lost", f"{kind.value}/{name}", "the books say it lives, but it is not there")
        for name in sorted(held - set(known) - begun[kind]):  # one that is begun is opened, or taken away, by a turn
            yield Finding("keys.orphan", f"{kind.value}/{name}", "no book knows of it")
    for kind in KeyKind:
        for name in keys.names(kind):
            try:
                keys.read(kind, name)
            except Fault as fault:
                yield Finding("keys.unreadable", f"{kind.value}/{name}", fault.code)
