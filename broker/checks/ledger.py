"""Ledger checks: entries, positions, tiles and checkpoints agree with each other and keep the invariants of the
house.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import Row, select

from broker.checks.finding import Finding
from broker.store.engine import Transaction
from broker.store.tables import cosignatures, ledger_checkpoints, ledger_entries, ledger_salts, ledger_tiles
from schemas import audit, checkpoint, merkle, tiles
from schemas.entry import Entry, subject_commitment
from schemas.errors import Refused
from schemas.names import SubjectRef
from schemas.note import Note, SignatureLine, VerifierKey


async def check(tx: Transaction, key: VerifierKey) -> AsyncIterator[Finding]:
    """Every check of the ledger. `key` is the log's own, from the key store, not from the database."""
    rows = (await tx.execute(select(ledger_entries).order_by(ledger_entries.c.id))).all()
    placed = sorted((row for row in rows if row.position is not None), key=lambda row: row.position)
    for finding in _entries(rows):
        yield finding
    for finding in _positions(placed):
        yield finding
    leaves = [merkle.leaf_hash(row.entry) for row in placed]
    async for finding in _tiles(tx, leaves):
        yield finding
    async for finding in _checkpoints(tx, leaves, key):
        yield finding
    async for finding in _cosignatures(tx, key):
        yield finding
    async for finding in _salts(tx, {row.leaf: row.entry for row in rows}):
        yield finding
    for finding in _invariants([*placed, *(row for row in rows if row.position is None)]):
        yield finding


def _entries(rows: Sequence[Row[Any]]) -> list[Finding]:
    found = []
    for row in rows:
        if merkle.leaf_hash(row.entry) != row.leaf:
            found.append(Finding("ledger.leaf", f"ledger_entries/{row.id}", "the leaf hash is not that of the entry"))
        try:
            Entry.decode(row.entry)
        except Refused as fault:
            found.append(Finding("ledger.entry", f"ledger_entries/{row.id}", f"not an entry: {fault.code}"))
    return found


def _positions(placed: Sequence[Row[Any]]) -> list[Finding]:
    found = []
    for expected, row in enumerate(placed):
        if row.position != expected:
            found.append(
                Finding("ledger.gap", f"ledger_entries/{row.id}", f"position {row.position}, {expected} is missing")
            )
            break
    # Ids and positions need not rise together: a later id may have been committed first. For one grant they do.
    return found


async def _tiles(tx: Transaction, leaves: Sequence[bytes]) -> AsyncIterator[Finding]:
    stored = {(row.level, row.number): row.hashes for row in await tx.execute(select(ledger_tiles))}
    row: list[bytes] = list(leaves)
    for level in range(tiles.LEVEL_MAX + 1):
        for number in range(-(-len(row) // tiles.WIDTH)):
            expected = b"".join(row[number * tiles.WIDTH : (number + 1) * tiles.WIDTH])
            if stored.pop((level, number), None) != expected:
                yield Finding("ledger.tile", f"ledger_tiles/{level}/{number}", "the tile is not what the entries give")
        full = len(row) - len(row) % tiles.WIDTH
        row = [merkle.root_of(row[at : at + tiles.WIDTH]) for at in range(0, full, tiles.WIDTH)]
    for level, number in stored:
        yield Finding("ledger.tile", f"ledger_tiles/{level}/{number}", "a tile beyond the end of the log")


async def _checkpoints(tx: Transaction, leaves: Sequence[bytes], key: VerifierKey) -> AsyncIterator[Finding]:
    frontier, size = merkle.Frontier(), 0
    newest = 0
    for row in await tx.execute(select(ledger_checkpoints).order_by(ledger_checkpoints.c.size)):
        place = f"ledger_checkpoints/{row.size}"
        newest = row.size
        if row.size > len(leaves):
            yield Finding("ledger.checkpoint", place, f"covers {row.size} entries, {len(leaves)} are there")
            continue
        frontier, size = frontier.extend(leaves[size : row.size]), row.size
        try:
            verified = checkpoint.verify(Note.parse(row.note.encode()), key)
        except Refused as fault:
            yield Finding("ledger.checkpoint", place, f"the signed note does not verify: {fault.code}")
            continue
        signed = verified.checkpoint
        if (signed.size, signed.root) != (row.size, row.root) or row.root != frontier.root():
            yield Finding("ledger.checkpoint", place, "the root signed is not the root of the entries")
    if newest != len(leaves):
        yield Finding("ledger.checkpoint", f"ledger_checkpoints/{newest}", f"{len(leaves)} entries have positions")


async def _cosignatures(tx: Transaction, key: VerifierKey) -> AsyncIterator[Finding]:
    """What witnesses signed is what the ledger signed; of a checkpoint that was pruned since, nothing can be said."""
    notes = select(cosignatures, ledger_checkpoints.c.note).join(
        ledger_checkpoints, ledger_checkpoints.c.size == cosignatures.c.size
    )
    for row in await tx.execute(notes):
        try:
            signed = Note.parse(row.note.encode()).plus([SignatureLine.parse(row.line)])
            checkpoint.verify(signed, key, (VerifierKey.parse(row.witness),), 1)
        except Refused as fault:
            place = f"cosignatures/{row.size}"
            yield Finding("ledger.cosignature", place, f"the cosignature does not verify: {fault.code}")


async def _salts(tx: Transaction, entries: dict[bytes, bytes]) -> AsyncIterator[Finding]:
    for row in await tx.execute(select(ledger_salts)):
        place = f"ledger_salts/{row.leaf.hex()}"
        try:
            entry = Entry.decode(entries[row.leaf])
        except KeyError:
            yield Finding("ledger.salt", place, "a salt without its entry")
            continue
        except Refused:  # said already, as ledger.entry
            continue
        if entry.subject != subject_commitment(row.salt, SubjectRef(row.subject)):
            yield Finding("ledger.salt", place, "the entry is about somebody else")


def _invariants(rows: Sequence[Row[Any]]) -> list[Finding]:
    entries = []
    for row in rows:
        try:
            entries.append(Entry.decode(row.entry))
        except Refused:  # said already, as ledger.entry; what follows from it cannot be judged
            return []
    return [
        Finding("ledger.invariant", f"ledger_entries/{rows[broken.index].id}", broken.invariant)
        for broken in audit.violations(entries)
    ]
