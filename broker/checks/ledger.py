"""Ledger checks: entries, openings, positions, tiles and checkpoints agree with each other and keep the rules."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select

from broker.checks.finding import Finding
from broker.openings import NOBODY, Opened, Openings
from broker.store.engine import Transaction
from broker.store.tables import (
    cosignatures,
    ledger_checkpoints,
    ledger_entries,
    ledger_erased,
    ledger_erasures,
    ledger_openings,
    ledger_tiles,
)
from schemas import audit, checkpoint, merkle, tiles
from schemas.audit_full import FullAuditor
from schemas.entry import Entry, commit_erased
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.names import Instant, LeafHash, SubjectRef
from schemas.note import Note, SignatureLine, VerifierKey

LONGEST_WINDOW_MS: Final = 86_400_000
"""What `ledger_window_seconds` may be at most."""


@dataclass(frozen=True, slots=True)
class Told:
    """One row of the ledger as it was read: None where it is no entry, or where nothing opens it."""

    id: int
    leaf: bytes
    raw: bytes
    position: int | None
    entry: Entry | None
    facts: Facts | None
    erased: bytes | None = None
    """The leaf of the entry that says that nobody can open this one any more."""
    wrong: tuple[Finding, ...] = ()
    """What is wrong with the row itself."""


async def read(tx: Transaction, openings: Openings) -> list[Told]:
    """Every entry in the order of writing, with the facts that its opening gives."""
    kept = ledger_openings.c
    opening = (kept.subject, kept.period, kept.kind, kept.reason, kept.sealed)
    rows = await tx.execute(
        select(ledger_entries, *opening, ledger_erased.c.by)
        .outerjoin(ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf)
        .outerjoin(ledger_erased, ledger_erased.c.leaf == ledger_entries.c.leaf)
        .order_by(ledger_entries.c.id)
    )
    return [_told(row, openings) for row in rows]


def erased_until(told: Sequence[Told]) -> Instant:
    """Of what was said up to this instant, the ledger's openings may say no more; before 1970: of nothing."""
    windows = [one.entry.window for one in told if one.entry is not None and one.erased is not None]
    return Instant(max(windows) + LONGEST_WINDOW_MS) if windows else Instant(-1)


def _told(row: Row[Any], openings: Openings) -> Told:
    place = f"ledger_entries/{row.id}"
    wrong = []
    if row.position is not None and row.position < 0:
        aside = Finding("ledger.not-ours", place, "the broker did not write it, and has not signed it")
        return Told(row.id, row.leaf, row.entry, row.position, None, None, wrong=(aside,))
    if merkle.leaf_hash(row.entry) != row.leaf:
        wrong.append(Finding("ledger.leaf", place, "the leaf hash is not that of the entry"))
    entry = facts = None
    try:
        entry = Entry.decode(row.entry)
    except Refused as fault:
        wrong.append(Finding("ledger.entry", place, f"not an entry: {fault.code}"))
    if entry is not None and entry.open is not None:
        facts = entry.open
    elif entry is not None:
        facts, unopened = _opened(row, entry, openings)
        wrong += [] if wrong or unopened is None else [unopened]
    erased = row.by if entry is not None and row.sealed is None else None
    return Told(row.id, row.leaf, row.entry, row.position, entry, facts, erased, tuple(wrong))


def _opened(row: Row[Any], entry: Entry, openings: Openings) -> tuple[Facts | None, Finding | None]:
    """What opens a sealed entry says, and what is wrong with that."""
    place = f"ledger_entries/{row.id}"
    if row.sealed is None and row.by is not None:
        return None, None
    if row.sealed is None:
        return None, Finding("ledger.opening", place, "nothing opens this entry any more")
    try:
        opened = openings.open(row.leaf, entry, row)
    except (Corrupt, Refused) as fault:
        return None, Finding("ledger.opening", place, f"what should open this entry does not: {fault.code}")
    return opened.facts, _differs(row, opened, openings)


def _differs(row: Row[Any], opened: Opened, openings: Openings) -> Finding | None:
    """What the row says beside what it opens."""
    place, told = f"ledger_entries/{row.id}", opened.facts
    if row.by is not None:
        return Finding("ledger.erasure", place, "its opening was erased, and lies there")
    if (row.kind, row.reason) != (told.kind.value, None if told.reason is None else told.reason.value):
        return Finding("ledger.opening", place, "the row says another kind or reason than it opens")
    if not _about(opened, row.subject, openings):
        return Finding("ledger.subject", place, "the entry is about somebody else")
    return None


def _about(opened: Opened, subject: bytes, openings: Openings) -> bool:
    facts = opened.facts
    if subject == NOBODY:
        return facts.subject is None
    scope = facts.grant or facts.declaration or opened.opening.blind
    return facts.subject == openings.commitment(SubjectRef(subject), scope)


async def check(tx: Transaction, key: VerifierKey, told: Sequence[Told]) -> AsyncIterator[Finding]:
    """Every check of the ledger. `key` is the log's own, from the key store, not from the database."""
    for one in told:
        for finding in one.wrong:
            yield finding
    told = [one for one in told if one.position is None or one.position >= 0]
    placed = sorted((one for one in told if one.position is not None), key=lambda one: one.position or 0)
    for finding in _positions(placed):
        yield finding
    leaves = [merkle.leaf_hash(one.raw) for one in placed]
    async for finding in _tiles(tx, leaves):
        yield finding
    async for finding in _checkpoints(tx, leaves, key):
        yield finding
    async for finding in _cosignatures(tx, key):
        yield finding
    async for finding in _orphans(tx, told):
        yield finding
    blinds = {bytes(row.leaf): bytes(row.blind) for row in await tx.execute(select(ledger_erasures))}
    for finding in _erasures(told, blinds):
        yield finding
    for finding in _rules([*placed, *(one for one in told if one.position is None)]):
        yield finding


def _positions(placed: Sequence[Told]) -> list[Finding]:
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


async def _orphans(tx: Transaction, told: Sequence[Told]) -> AsyncIterator[Finding]:
    there = {bytes(one.leaf) for one in told}
    for leaf in (await tx.execute(select(ledger_openings.c.leaf))).scalars():
        if bytes(leaf) not in there:
            yield Finding("ledger.opening", f"ledger_openings/{leaf.hex()}", "an opening without its entry")


def _erasures(told: Sequence[Told], blinds: Mapping[bytes, bytes]) -> Iterator[Finding]:
    """Each erasure is of just the entries that it says; what nothing opens was erased by an entry that is there."""
    lists: dict[bytes, list[bytes]] = {}
    for one in told:
        if one.erased is not None:
            lists.setdefault(bytes(one.erased), []).append(bytes(one.leaf))
    for one in told:
        if one.facts is not None and one.facts.kind is FactKind.ERASED:
            leaves = lists.pop(bytes(one.leaf), [])
            blind = blinds.get(bytes(one.leaf))
            if blind is None or one.facts.detail != commit_erased(blind, map(LeafHash, leaves)):
                yield Finding(
                    "ledger.erasure", f"ledger_entries/{one.id}", "it is not of the entries that lie under it"
                )
    for by in lists:
        yield Finding("ledger.erasure", f"ledger_erased/{by.hex()}", "no entry of the ledger says so")


def _rules(told: Sequence[Told]) -> Iterator[Finding]:
    """The rules that anyone can check, and those that need what opens the entries."""
    if any(one.entry is None for one in told):  # said already, as ledger.entry; what follows cannot be judged
        return
    public, full = audit.Auditor(), FullAuditor()
    for one in told:
        if one.entry is None:
            continue
        place = f"ledger_entries/{one.id}"
        for broken in public.take(one.entry):
            yield Finding("ledger.invariant", place, broken.invariant)
        for broken in full.take(one.entry, one.facts, erased=True):  # what is missing was said by `read`
            yield Finding("ledger.invariant", place, broken.invariant)
