"""Adopting: the rows of a home from before are compared with the ledger, each by itself; those that agree are signed.

Refuses: to sign a row that does not agree: it stays without a seal, is named, and counts for nothing.
Keeps: all of it is one transaction, done once in a home's life: when it is committed the public key is published
(`seals.publish`), and from then on nothing is ever signed because the ledger says so. Killed before, it is done again.
Whoever calls it has checked the ledger itself, and nobody else works on the home meanwhile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Row, select, update

from broker.observability.crashpoints import mark
from broker.people.identity import Identity
from broker.ports import Entropy, KeyKind, KeyStore
from broker.store.engine import Store, Transaction
from broker.store.rows import macs
from broker.store.rows.agreeing import agrees, told
from broker.store.rows.layouts import LAYOUTS, covered, written_key
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import NAME, RowSigner, RowVerifier, make_private, publish
from broker.store.tables import declarations, ledger_checkpoints, ledger_entries, submissions
from consent.tables import metadata
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.names import Instant, ManifestDigest, SubjectRef

_BATCH: Final = 500
"""Declarations in memory at once."""
_RECEIVED: Final = frozenset({FactKind.RECEIVED, FactKind.CORRECTED})


@dataclass(frozen=True, slots=True)
class Adopted:
    """How many rows were signed, and why each of the others was not; a fault's details name its `table` and `row`."""

    signed: int
    unsigned: tuple[Refused, ...]


NOTHING: Final = Adopted(0, ())
"""Of a home whose rows were signed before."""


def pending(keys: KeyStore) -> bool:
    """Whether a home's rows were never adopted, or a crash came between."""
    return NAME not in keys.names(KeyKind.ROWS_PUBLIC)


async def adopt(store: Store, keys: KeyStore, entries: Iterable[Facts]) -> Adopted:
    """Sign what agrees with these entries, all of the ledger's in their order. Nothing to do where it was done.

    Raises Unavailable; Refused, Corrupt `keys.*`.
    """
    if not pending(keys):
        return Adopted(0, ())
    private = make_private(keys)
    signer = RowSigner(lambda: private, RowVerifier(None))
    mark("rows.key-made")
    # Crash here: a key that nothing is signed with yet; the next call uses it.
    said = told(entries, keys.names(KeyKind.CONSENT_EPOCH))
    signed, unsigned = 0, []
    async with store.begin(patient=True) as tx:
        for name in LAYOUTS:
            table = metadata.tables[name]
            for row in (await tx.execute(select(table))).all():
                if name == "webhooks" and row.status == "ended":
                    continue  # it has no seal once it is over
                if agrees(name, row._mapping, said):
                    await signer.renew(tx, table, row, covered(name, row._mapping))
                    signed += 1
                else:
                    unsigned.append(Refused("rows.not-told", table=name, row=written_key(name, row._mapping)))
        mark("rows.adopted")
        # Crash here: the transaction is gone; the next call compares and signs again.
    mark("rows.committed")
    # Crash here: they are signed, and no row counts yet; the next call signs them again, and publishes.
    publish(keys)
    return Adopted(signed, tuple(unsigned))


async def adopt_macs(
    store: Store, keys: KeyStore, entries: Iterable[Facts], identity: Identity, entropy: Entropy
) -> Adopted:
    """Give each declaration that agrees with these entries its MAC, each submission that agrees with its declaration or
    has none, and what waits for its place in the ledger. Nothing to do where it was done. Raises as `adopt`.

    The secret comes last: what a crash left without it is done again under another.
    """
    if macs.ready(keys):
        return NOTHING
    secret = entropy(macs.SECRET_BYTES)
    made = macs.RowMacs(secret)
    received = {one.declaration: one for one in entries if one.kind in _RECEIVED}
    async with store.begin(patient=True) as tx:
        agreed, signed, unsigned = await _declarations(tx, made, received, identity)
        for row in (await tx.execute(select(submissions))).all():
            whose = agreed.get((row.source, row.declaration_id), row.subject)
            if whose == row.subject:
                await _give(tx, submissions.c.declaration_id, row, made)
                signed += 1
            else:
                unsigned.append(Refused("rows.not-told", table=submissions.name, row=row.declaration_id.hex()))
        waiting = select(ledger_entries).where(ledger_entries.c.position.is_(None))
        for row in (await tx.execute(waiting)).all():
            await _give(tx, ledger_entries.c.id, row, made, entropy(macs.NONCE_BYTES))
        for row in (await tx.execute(select(ledger_checkpoints))).all():
            await _give(tx, ledger_checkpoints.c.size, row, made)
        mark("rows.vouched")
        # Crash here: the transaction is gone; the next call does it again.
    mark("rows.vouched-committed")
    # Crash here: MACs that nobody can check, for their secret is gone; the next call makes others.
    keys.write(KeyKind.ROWS, macs.NAME, secret)
    return Adopted(signed, tuple(unsigned))


async def _declarations(
    tx: Transaction, made: RowMacs, received: Mapping[ManifestDigest | None, Facts], identity: Identity
) -> tuple[dict[tuple[str, bytes], bytes | None], int, list[Refused]]:
    """Whose each is, None where its row does not agree; how many agree; and the others."""
    agreed: dict[tuple[str, bytes], bytes | None] = {}
    unsigned: list[Refused] = []
    last = 0
    ordered = select(declarations).order_by(declarations.c.seq).limit(_BATCH)
    while rows := (await tx.execute(ordered.where(declarations.c.seq > last))).all():
        for row in rows:
            if _as_received(row, received.get(row.manifest_digest), identity):
                await _give(tx, declarations.c.seq, row, made)
                agreed[row.source, row.declaration_id] = row.subject
            else:
                agreed[row.source, row.declaration_id] = None
                unsigned.append(Refused("rows.not-told", table=declarations.name, row=row.declaration_id.hex()))
        last = rows[-1].seq
    return agreed, len(agreed) - len(unsigned), unsigned


def _as_received(row: Row[Any], told: Facts | None, identity: Identity) -> bool:
    """Whether a declaration's row is what the ledger's entry says, and its envelope. Whose it is says the token in it;
    where the key of tokens was replaced since, the row is believed.
    """
    if told is None or (told.at, told.actor, told.event_type) != (row.routed_at, row.source, row.event_type):
        return False
    try:
        verified = VerifiedDeclaration.stored(row.envelope)
    except Corrupt:
        return False
    manifest = verified.manifest
    said = (manifest.source, manifest.declaration_id, manifest.corrects, verified.digest)
    if said != (row.source, row.declaration_id, row.corrects, row.manifest_digest):
        return False
    try:
        whose = identity.resolve(verified.signed.slip.subject_token, manifest.source, Instant(row.received_at))
        return whose == SubjectRef(row.subject)
    except Refused:
        return True


async def _give(tx: Transaction, key: Column[Any], row: Row[Any], made: RowMacs, nonce: bytes = b"") -> None:
    """`key`: the column of its table that names it."""
    mac = made.of(key.table.name, row._mapping, nonce)
    await tx.execute(update(key.table).where(key == row._mapping[key.name]).values(mac=mac))
