"""Ledger: every fact that can be proven, written in the transaction that makes it a fact, then ordered once.

Refuses: an entry outside a transaction; two sequencers at once (the second waits, and goes on from where the first
ended).
Keeps: an entry is committed with its effect or not at all; committed entries get dense positions in the order of
their ids, which for one grant is the order of its locks; no checkpoint covers an entry that is not stored.
Source: docs/protocol.md, section 8; RFC 9162; C2SP tlog-tiles and tlog-checkpoint.
"""

import json
from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import Connection, bindparam, func, insert, select, update

from broker.crashpoints import mark
from broker.observe import every_detail, logger
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.tables import declarations, ledger_checkpoints, ledger_entries, ledger_salts, ledger_tiles
from broker.tracing import stored
from consent.grant import Grant
from consent.rows import row_of
from schemas import checkpoint, merkle, receipt, tiles
from schemas.checkpoint import Checkpoint
from schemas.entry import Entry, EntryKind, subject_commitment
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    LeafHash,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SubjectRef,
)
from schemas.note import Note, VerifierKey
from schemas.note import sign as sign_note
from schemas.proof import Proof
from schemas.signing import PrivateKey
from schemas.tiles import Tile

BATCH = 4096
"""Entries that one turn of the sequencer orders."""

ORDER = b"ledger/order"
"""The lock of whoever orders: another reads where the ledger ends only after this one's checkpoint is there."""


def record(tx: Transaction, entry: Entry) -> LeafHash:
    """Add one entry to the ledger; it is there when the caller's transaction is. Returns its leaf hash."""
    encoded = entry.encode()
    leaf = merkle.leaf_hash(encoded)
    tx.add(ledger_entries, {"leaf": leaf, "entry": encoded})
    # Crash here: the entry is gone together with what it tells of, for both are one transaction.
    return leaf


class Recorder:
    """Writes entries in the broker's name, and those about a citizen under a fresh salt that can be erased."""

    def __init__(self, party: PartyId, entropy: Entropy) -> None:
        self._party = party
        self._entropy = entropy

    def record(
        self,
        tx: Transaction,
        kind: EntryKind,
        at: Instant,
        *,
        about: SubjectRef | None = None,
        actor: PartyId | None = None,
        recipient: PartyId | None = None,
        event_type: EventType | None = None,
        purpose: Purpose | None = None,
        declaration: ManifestDigest | None = None,
        delivery: DeliveryId | None = None,
        grant: GrantId | None = None,
        grant_version: int | None = None,
        fields: bytes | None = None,
        reason: Reason | None = None,
        detail: bytes | None = None,
    ) -> LeafHash:
        """One entry in the caller's transaction; `about` is committed to under a salt. Returns the leaf hash."""
        salt = self._entropy(16) if about is not None else None
        entry = Entry(
            at=at,
            kind=kind,
            actor=actor or self._party,
            recipient=recipient,
            event_type=event_type,
            purpose=purpose,
            declaration=declaration,
            delivery=delivery,
            grant=grant,
            grant_version=grant_version,
            fields=fields,
            reason=reason,
            subject=subject_commitment(salt, about) if salt is not None and about is not None else None,
            detail=detail,
        )
        leaf = record(tx, entry)
        if salt is not None and about is not None:
            tx.add(ledger_salts, {"leaf": leaf, "subject": about, "salt": salt})
        return leaf

    def grant(
        self, tx: Transaction, kind: EntryKind, grant: Grant, at: Instant, reason: Reason | None = None
    ) -> LeafHash:
        """The entry of one version of a grant; `detail` commits to the whole version, so that no row can be edited."""
        return self.record(
            tx,
            kind,
            at,
            about=grant.subject,
            recipient=grant.recipient,
            event_type=grant.event_type,
            purpose=grant.purpose,
            grant=grant.id,
            grant_version=grant.version,
            reason=reason,
            detail=grant_digest(grant),
        )


def grant_digest(grant: Grant) -> bytes:
    """SHA-256 of one whole version of a grant, 32 bytes; it holds the secret subject reference, so it tells nothing."""
    row = {name: value.hex() if isinstance(value, bytes) else value for name, value in row_of(grant).items()}
    return sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).digest()


class Ledger:
    """The sequencer and what it made: positions, tiles, checkpoints, proofs."""

    def __init__(self, store: Store, origin: str, key: PrivateKey, clock: Clock) -> None:
        self._store = store
        self._origin = origin
        self._key = key
        self._clock = clock

    @property
    def verifier_key(self) -> VerifierKey:
        """What anyone needs to check our checkpoints."""
        return VerifierKey.of(self._origin, self._key)

    def attest(self, text: str) -> Note:
        """A note of another kind with the ledger's signature. Raises ValueError for what could pass as a checkpoint."""
        try:
            Checkpoint.parse(text)
        except Refused:
            return sign_note(text, self._origin, self._key)
        raise ValueError("a checkpoint is signed by the sequencer alone")

    async def sequence(self) -> int:
        """Order what is committed and not yet ordered, grow the tiles, sign a checkpoint. Returns how many entries.

        One transaction a batch: positions, tiles and checkpoint appear together. Raises Unavailable, Corrupt.
        """
        total, count = 0, BATCH
        while count == BATCH:
            async with self._store.begin() as tx:
                count = await self._sequence_batch(tx)
            total += count
        return total

    async def _sequence_batch(self, tx: Transaction) -> int:
        await tx.lock_exclusive([ORDER])
        old = await size_of(tx)
        rank = func.row_number().over(order_by=ledger_entries.c.id) - 1
        ranked = (
            select(ledger_entries.c.id, rank.label("rank"))
            .where(ledger_entries.c.position.is_(None))
            .order_by(ledger_entries.c.id)
            .limit(BATCH)
            .subquery()
        )
        placed = await tx.execute(
            update(ledger_entries)
            .where(ledger_entries.c.id == ranked.c.id)
            .values(position=ranked.c.rank + old)
            .returning(ledger_entries.c.position, ledger_entries.c.entry)
        )
        waiting = sorted(placed.all())
        if not waiting:
            return 0
        new = old + len(waiting)
        root = await tx.conn.run_sync(_grow, old, [row.entry for row in waiting])
        note = checkpoint.sign(Checkpoint(self._origin, new, root), self._key)
        values = {"size": new, "root": root, "note": note.encode().decode("utf-8"), "at": self._clock()}
        await tx.execute(insert(ledger_checkpoints).values(**values))
        mark("ledger.sequenced")
        # Crash here: no position, no tile, no checkpoint; the next turn orders the same entries again.
        if every_detail():
            await _say_ordered(tx, [(row.position, Entry.decode(row.entry)) for row in waiting])
        return len(waiting)

    async def prove(self, leaf: LeafHash, language: Language = "fr", cosigned: Sequence[tuple[int, Note]] = ()) -> str:
        """A receipt for the entry with this leaf hash; offline, for anyone. `cosigned`: checkpoints by their size, of
        which the first that reaches the entry is in it; else the newest is.

        Raises Refused: `ledger.unknown-entry`, `ledger.not-sequenced-yet`.
        """
        async with self._store.read() as tx:
            row = (
                await tx.execute(
                    select(ledger_entries.c.entry, ledger_entries.c.position)
                    .where(ledger_entries.c.leaf == leaf)
                    .order_by(ledger_entries.c.id)
                    .limit(1)
                )
            ).one_or_none()
            if row is None:
                raise Refused("ledger.unknown-entry", "/entry")
            newest, note = await newest_checkpoint(tx)
            if row.position is None or row.position >= newest:
                raise Refused("ledger.not-sequenced-yet", "/entry")
            reach = (each for each in cosigned if each[0] > row.position)
            size, signed = next(reach, None) or (newest, Note.parse(note.encode()))
            hashes = await tx.conn.run_sync(
                lambda conn: merkle.inclusion_proof(row.position, size, tiles.hash_reader(size, files_of(conn)))
            )
        return receipt.make(Entry.decode(row.entry), Proof(row.position, hashes, signed), language)

    async def consistency(self, old: int) -> tuple[int, tuple[bytes, ...]]:
        """The newest size, and the proof that its tree begins with that of the first `old` entries."""
        async with self._store.read() as tx:
            new = await size_of(tx)
            proof = await tx.conn.run_sync(
                lambda conn: merkle.consistency_proof(old, new, tiles.hash_reader(new, files_of(conn)))
            )
        return new, proof


async def size_of(tx: Transaction) -> int:
    """How many entries the newest checkpoint covers."""
    return (await tx.execute(select(func.max(ledger_checkpoints.c.size)))).scalar() or 0


async def newest_checkpoint(tx: Transaction) -> tuple[int, str]:
    """Size and signed note of the newest checkpoint. Raises Refused `ledger.empty`."""
    row = (
        await tx.execute(
            select(ledger_checkpoints.c.size, ledger_checkpoints.c.note)
            .order_by(ledger_checkpoints.c.size.desc())
            .limit(1)
        )
    ).one_or_none()
    if row is None:
        raise Refused("ledger.empty")
    return row.size, row.note


def files_of(conn: Connection) -> tiles.Read:
    """The log's files by path, as its tables hold them: tiles as they are now, bundles made from the entries."""

    def read(path: str) -> bytes:
        tile = Tile.parse(path)
        return _bundle(conn, tile) if tile.level == tiles.ENTRIES else _tile(conn, tile)

    return read


_HASHES = select(ledger_tiles.c.hashes).where(
    ledger_tiles.c.level == bindparam("of_level"), ledger_tiles.c.number == bindparam("of_number")
)
"""Made once: a proof reads a handful of tiles, and making the statement takes longer than reading one."""


def _tile(conn: Connection, tile: Tile) -> bytes:
    """The tile's hashes; a tile that grew since is cut, for hashes never change."""
    content = conn.execute(_HASHES, {"of_level": tile.level, "of_number": tile.index}).scalar()
    if content is None or len(content) < tile.width * merkle.HASH_BYTES:
        raise LookupError(tile.path)
    return bytes(content[: tile.width * merkle.HASH_BYTES])


def _bundle(conn: Connection, tile: Tile) -> bytes:
    first = tile.index * tiles.WIDTH
    rows = conn.execute(
        select(ledger_entries.c.entry)
        .where(ledger_entries.c.position >= first, ledger_entries.c.position < first + tile.width)
        .order_by(ledger_entries.c.position)
    ).all()
    if len(rows) < tile.width:
        raise LookupError(tile.path)
    return tiles.encode_bundle([row.entry for row in rows])


def _grow(conn: Connection, old: int, entries: list[bytes]) -> bytes:
    """Write the tiles that these entries change, and return the root of the tree with them."""
    for path, content in tiles.grow(old, entries, files_of(conn)).items():
        tile = Tile.parse(path)
        if tile.level == tiles.ENTRIES:  # the entries are in their own table
            continue
        place = (ledger_tiles.c.level == tile.level, ledger_tiles.c.number == tile.index)
        if conn.execute(update(ledger_tiles).where(*place).values(hashes=content)).rowcount == 0:
            conn.execute(insert(ledger_tiles).values(level=tile.level, number=tile.index, hashes=content))
        # Crash here: tiles, positions and checkpoint are one transaction.
    size = old + len(entries)
    return merkle.root_at(size, tiles.hash_reader(size, files_of(conn)))


async def _say_ordered(tx: Transaction, ordered: Sequence[tuple[int, Entry]]) -> None:
    """Each entry that names a declaration, with its trace id; for whoever looks for one, as it is a line an entry."""
    named = {entry.declaration for _, entry in ordered if entry.declaration is not None}
    query = select(declarations.c.manifest_digest, declarations.c.declaration_id, declarations.c.trace)
    rows = await tx.execute(query.where(declarations.c.manifest_digest.in_(named)))
    traces = {row.manifest_digest: stored(row.trace, DeclarationId(row.declaration_id)) for row in rows}

    def say() -> None:
        for position, entry in ordered:
            if entry.declaration in traces:
                of, trace = entry.declaration, traces[entry.declaration]
                logger().debug("ledger.ordered", position=position, kind=entry.kind, declaration=of, trace_id=trace)

    tx.after(say)
