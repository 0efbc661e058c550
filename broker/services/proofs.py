"""Proofs: the receipt that a citizen, a source or an agency asks for, found by the id that they know.

Refuses: an id that nobody has; a fact that the ledger does not tell of that id.
Keeps: a receipt was checked, as its holder will check it, before it is handed out.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Table, select

from broker.ledger.sequencer import files_of, newest_checkpoint
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.tables import declarations, deliveries, ledger_checkpoints
from broker.transparency.audits import Audited, Grown, audit_log, grown
from consent.tables import grants
from schemas import checkpoint, merkle, receipt, tiles
from schemas.checkpoint import Checkpoint
from schemas.disclosure import Disclosure
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.messages import Language
from schemas.names import DeliveryId, GrantId, LeafHash, ManifestDigest, SubjectRef
from schemas.note import Note

_OF_A_GRANT = frozenset({FactKind.GRANTED, FactKind.CARRIED, FactKind.CHANGED, FactKind.REVOKED, FactKind.EXPIRED})
"""What a grant's id asks for: its own history, not that of the deliveries under it."""

Wanted = GrantId | DeliveryId | ManifestDigest
"""What an entry names: the id of a grant or a delivery, or the digest of a declaration's manifest."""


async def prove(home: Home, id_: bytes, kind: FactKind | None, language: Language) -> str:
    """The receipt of the newest entry, of this kind if one is named, about a declaration, delivery or grant.

    `id_` is 16 bytes. Entries that wait are ordered first. Raises Refused: `proofs.unknown-id`, `proofs.no-such-fact`.
    """
    async with home.store.read() as tx:
        leaf = await _newest(home, tx, id_, kind)
    await home.ledger.sequence_unfinished()
    return await _receipt(home, leaf, language)


async def show(
    home: Home, id_: bytes, kind: FactKind | None, language: Language, *, whose: SubjectRef | None = None
) -> str:
    """As `prove`, but nothing is written: what waits to be ordered is refused with `ledger.not-sequenced-yet`.
    `whose`: the citizen who asks; another's is as unknown as what never was.
    """
    async with home.store.read() as tx:
        if whose is not None:
            subject, _ = await _known(tx, id_)
            if subject not in (await home.lookup.kin(tx, [whose], home.clock())).of(whose):
                raise Refused("proofs.unknown-id", "/id")
        leaf = await _newest(home, tx, id_, kind)
    return await _receipt(home, leaf, language)


async def _receipt(home: Home, leaf: LeafHash, language: Language) -> str:
    """Against the newest witnessed checkpoint where that reaches it, else the newest with what cosignatures it has."""
    async with home.store.read() as tx:
        try:
            cosigned = [await home.cosigning.witnessed(tx)]
        except Refused:  # none yet
            cosigned = []
        size, newest = await newest_checkpoint(tx)
        cosigned.append((size, await home.cosigning.cosigned(tx, size, newest)))
    text = await home.ledger.prove(leaf, language, cosigned)
    receipt.check(text, home.ledger.verifier_key)
    return text


async def audit_home(home: Home, opened: Disclosure | None = None) -> Audited:
    """The home's own ledger, as `audits.audit_log`, with the key of the key store. Entries that wait are ordered first.

    Raises Refused `ledger.empty`.
    """
    await home.ledger.sequence_unfinished()
    async with home.store.read() as tx:
        _, signed = await newest_checkpoint(tx)
        return await tx.conn.run_sync(
            lambda conn: audit_log(
                signed.encode(), home.ledger.verifier_key, files_of(conn), pinned=True, opened=opened
            )
        )


async def grown_since(home: Home, old: int | Note | None) -> Grown:
    """That the ledger only grew since an old size, an old checkpoint, or the checkpoint before the newest.

    A checkpoint is first verified: it must be this ledger's. Raises Refused: `merkle.*`, `checkpoint.*`, `proofs.size`.
    """
    key = home.ledger.verifier_key
    await home.ledger.sequence_unfinished()
    async with home.store.read() as tx:
        _, signed = await newest_checkpoint(tx)
        new = checkpoint.verify(Note.parse(signed.encode()), key).checkpoint
        if isinstance(old, Note):
            before = checkpoint.verify(old, key).checkpoint
        else:
            before = await _tree(tx, await _size_before(tx, new.size) if old is None else old, new)
        return await tx.conn.run_sync(lambda conn: grown(before, new, files_of(conn)))


async def _size_before(tx: Transaction, size: int) -> int:
    sizes = select(ledger_checkpoints.c.size).where(ledger_checkpoints.c.size < size)
    return (await tx.execute(sizes.order_by(ledger_checkpoints.c.size.desc()).limit(1))).scalar() or 0


async def _tree(tx: Transaction, size: int, new: Checkpoint) -> Checkpoint:
    """The tree of this size: as it was signed where it was, else as today's tiles have it."""
    if not 0 <= size <= new.size:
        raise Refused("proofs.size", "/size", size=size, limit=new.size)
    query = select(ledger_checkpoints.c.root).where(ledger_checkpoints.c.size == size)
    root: bytes | None = (await tx.execute(query)).scalar()
    if root is None:
        root = await tx.conn.run_sync(lambda conn: merkle.root_at(size, tiles.hash_reader(new.size, files_of(conn))))
    return Checkpoint(new.origin, size, root)


async def _newest(home: Home, tx: Transaction, id_: bytes, kind: FactKind | None) -> LeafHash:
    """The leaf hash of the newest entry that names the id; found among the entries about the same citizen."""
    subject, wanted = await _known(tx, id_)
    told = set()
    for one in await home.openings.of_subject(tx, SubjectRef(subject)):
        facts = one.facts
        if not _names(facts, wanted):
            continue
        if facts.kind is kind or (kind is None and (facts.kind in _OF_A_GRANT or not isinstance(wanted, GrantId))):
            return one.leaf
        told.add(facts.kind.value)
    raise Refused("proofs.no-such-fact", "/kind", kinds=", ".join(sorted(told)) or "-")


async def _known(tx: Transaction, id_: bytes) -> tuple[bytes, Wanted]:
    """The subject of what the id names, and what entries about it name."""
    lookups: tuple[tuple[Table, Column[Any], Column[Any], Callable[[bytes], Wanted]], ...] = (
        (grants, grants.c.id, grants.c.id, GrantId),
        (deliveries, deliveries.c.id, deliveries.c.id, DeliveryId),
        (declarations, declarations.c.declaration_id, declarations.c.manifest_digest, ManifestDigest),
    )
    for table, id_column, named, made in lookups:
        query = select(table.c.subject, named.label("named")).where(id_column == id_)
        row = (await tx.execute(query.limit(1))).one_or_none()
        if row is not None:
            return row.subject, made(row.named)
    raise Refused("proofs.unknown-id", "/id")


def _names(entry: Facts, wanted: Wanted) -> bool:
    match wanted:
        case GrantId():
            return entry.grant == wanted
        case DeliveryId():
            return entry.delivery == wanted
        case _:
            return entry.declaration == wanted
