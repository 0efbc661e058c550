"""Succeeding: a ledger whose end was lost with its database goes on as another one, which says so in its first entry.

    1 alone    no other process of this machine has the key store open
    2 judged   the ledger stands still for want of a successor; the name is new; what the database has was signed
    3 named    the key store keeps how the old ledger ended, and has the new name
    4 entered  one transaction: first the entry that names the end, then every entry that the database knows, as it was;
               tiles and a checkpoint under the new name; the mark moves to it before the commit
    5 lifted   the journal says that the ledger goes on

Refuses: a name that a ledger of this home has signed under; a database whose entries are not those that it signed; to
go on from anything but a restore that was told that the ledger's end is lost (`unefois restore --ledger-lost`).
Keeps: under the old name nothing is signed any more, and its last checkpoint is named for ever. Killed anywhere, the
same call goes on from there, and signs the same bytes: the instant of the entry is that of the journal's record.
Source: docs/adr/0036; docs/protocol.md, section 8, "A ledger that follows another".
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select, update

from broker.ended import LEDGER, Ending, Mark
from broker.keys.pair import Pair
from broker.keys.presence import Presence
from broker.ledger import first_ledger, highwater, origins, predecessors
from broker.ledger.sequencer import BATCH, ORDER, grow, newest_checkpoint
from broker.observability.crashpoints import mark
from broker.ports import Clock, Entropy, KeyStore
from broker.settings.choices import Settings
from broker.setup import belonging, preflight
from broker.setup.opening import open_unchecked, system_clock
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.rows.macs import check_ready
from broker.store.tables import cosignatures, ledger_checkpoints, ledger_entries, ledger_tiles, meta
from schemas import checkpoint, following, merkle
from schemas.checkpoint import Checkpoint
from schemas.entry import window_of
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.following import Predecessor
from schemas.names import Instant
from schemas.note import Note, VerifierKey
from schemas.signing import PrivateKey

_FAR: Final = 2**40
"""Beyond every position: two entries never have one place, not even for a moment."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The ledger that goes on, and those that it follows, the newest first. `fresh`: whether anything was to do."""

    key: VerifierKey
    tree: Checkpoint
    follows: tuple[Predecessor, ...]
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Held:
    """What the database has of a ledger, as that was signed; and what its first entries say of ledgers before it."""

    tree: Checkpoint
    named: Sequence[Facts]


async def succeed(
    settings: Settings, *, clock: Clock = system_clock, entropy: Entropy = secrets.token_bytes
) -> Succeeded:
    """Open the successor of this home's ledger, called `settings.ledger_origin`. Every process of the home is stopped.

    Done again it changes nothing. Raises Refused: `keys.in-use`, `home.*`, `ledger.no-successor-needed`,
    `ledger.name-used`; Corrupt `ledger.rolled-back`, `ledger.not-as-signed`, `ledger.name-unknown`, `endings.*`;
    Unavailable.
    """
    Presence(settings.keys_folder, alone=True).end()
    async with open_unchecked(settings, clock, entropy) as home:
        await belonging.check_same(home.store, home.keys)
        check_ready(home.keys)
        await preflight.check_name(home)
        ended, seen = await home.endings.look(), await home.endings.marked()
        stopped = ended.newest(*LEDGER)
        if seen is None or stopped is None or not ended.ended(*LEDGER):
            if not origins.ended(home.keys) or origins.pinned_origin(home.keys) != settings.ledger_origin:
                raise Refused("ledger.no-successor-needed")
            return await _told(home, fresh=False)
        if stopped.told.get("why") != highwater.NEEDS_SUCCESSOR:
            highwater.check_signing(ended)
        await _name(home, seen)
        await _enter(home, seen, stopped.at)
        origins.forget_origins(home.keys)
        mark("succeeding.entered")
        # Crash here: the successor is there, and stands still like the one before; called again, it goes on.
        await home.endings.write([Ending.of(*LEDGER, at=clock(), least=0)])
        mark("succeeding.lifted")
        # Crash here: it is done.
        return await _told(home, fresh=True)


async def _name(home: Home, seen: Mark) -> None:
    """The name is one that nothing was signed under, and the key store has it; once the database was judged."""
    keys, origin, key = home.keys, home.settings.ledger_origin, Pair.ledger(home.keys).private
    pinned, ends = origins.pinned_origin(keys), [_end(note, key).origin for note in origins.ended(keys).values()]
    if seen.origin not in {pinned, *ends[-1:]}:  # keys of before a succession: how its ledger ended is not known here
        raise Corrupt("ledger.name-unknown", found=seen.origin)
    if origin == pinned:  # named before, or in use: `_enter` tells them apart by what was signed
        return
    if origin in {seen.origin, origins.first_origin(keys), *ends}:
        raise Refused("ledger.name-used", "/ledger_origin", found=origin)
    async with home.store.read(patient=True) as tx:
        await _held(tx, key)
        first = await first_ledger.last_note(tx) if _began_elsewhere(keys) else None
    origins.name_successor(keys, origin, seen.note if seen.origin == pinned else None, first)


def _began_elsewhere(keys: KeyStore) -> bool:
    """Whether the ledger follows one of the first format, of whose end the key store has no copy yet."""
    return origins.first_origin(keys) not in {None, origins.pinned_origin(keys)} and not origins.ended(keys)


async def _enter(home: Home, seen: Mark, at: Instant) -> None:
    """The successor in the place of what the database has: all of it is one transaction.

    `at`: since when the old ledger stands still, which its successor's first entry says.
    """
    origin, key, notes = home.settings.ledger_origin, Pair.ledger(home.keys).private, origins.ended(home.keys)
    async with home.store.begin(patient=True) as tx:
        await tx.lock_exclusive([ORDER])
        held = await _held(tx, key)
        fresh = _unnamed(held, [_end(notes[number], key) for number in sorted(notes, reverse=True)])
        if not fresh:
            if (origin, seen.origin, seen.size, seen.root) != (
                held.tree.origin,
                origin,
                held.tree.size,
                held.tree.root,
            ):
                raise Refused("ledger.name-used", "/ledger_origin", found=origin)
            return  # a crash came after the commit
        await _make_room(tx, len(fresh))
        await _open(home, tx, fresh, held, at)
        tree = await _grown(tx, origin)
        note = checkpoint.sign(tree, key).encode().decode("utf-8")
        if seen.origin != origin:
            await home.endings.move_mark(Mark(tree.size, tree.root, note), seen)
        elif (tree.size, tree.root) != (seen.size, seen.root):  # something else was signed under this name
            raise Refused("ledger.name-used", "/ledger_origin", found=origin)
        mark("succeeding.signed")
        # Crash here: the mark is the successor's, the database as it was; called again, it signs the same once more.
        values = {"size": tree.size, "root": tree.root, "note": note, "at": home.clock()}
        await tx.execute(insert(ledger_checkpoints).values(**home.macs.made(ledger_checkpoints.name, values)))
        await predecessors.write(tx, notes)
        await origins.tell_origin(tx, origin)
        # Crash here: as above, for the transaction is gone.


async def _held(tx: Transaction, key: PrivateKey) -> _Held:
    """Every entry that has its place, which has to be what the newest checkpoint here was signed for.

    Raises Corrupt `ledger.not-as-signed`: somebody has written into the database.
    """
    named = (await tx.execute(select(meta.c.value).where(meta.c.name == origins.ORIGIN))).scalar_one()
    frontier = merkle.Frontier()
    first: Sequence[Facts] = ()
    async for entries in _batches(tx):
        first = following.named_in(entries) if frontier.size == 0 else first
        frontier = frontier.extend(map(merkle.leaf_hash, entries))
    try:
        _, signed = await newest_checkpoint(tx)
        tree = checkpoint.verify(Note.parse(signed.encode()), VerifierKey.of(named, key)).checkpoint
    except Refused as fault:
        raise Corrupt("ledger.not-as-signed", wrong=fault.code) from None
    if (tree.size, tree.root) != (frontier.size, frontier.root()):
        raise Corrupt("ledger.not-as-signed", wrong="root")
    return _Held(tree, first)


def _unnamed(held: _Held, ends: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
    """The ends that no entry here names yet, the newest first; the oldest of them is that of the ledger that is here.

    Raises Corrupt `ledger.not-as-signed`.
    """
    fresh = ends[: max(0, len(ends) - len(held.named))]
    if [one.detail for one in held.named] != [following.commit(end) for end in ends[len(fresh) :]]:
        raise Corrupt("ledger.not-as-signed", wrong="predecessors")
    if fresh and fresh[-1].origin != held.tree.origin:
        raise Corrupt("ledger.not-as-signed", wrong="origin")
    return fresh


async def _make_room(tx: Transaction, count: int) -> None:
    """Everything that is here moves up by so many places; what was made of the old places goes."""
    place = ledger_entries.c.position
    await tx.execute(update(ledger_entries).where(place >= 0).values(position=place + _FAR))
    await tx.execute(update(ledger_entries).where(place >= _FAR).values(position=place - (_FAR - count)))
    for table in (ledger_tiles, ledger_checkpoints, cosignatures):
        await tx.execute(delete(table))


async def _open(home: Home, tx: Transaction, fresh: Sequence[Checkpoint], held: _Held, at: Instant) -> None:
    """The first entries: how each ledger before ended, the newest first, written from the oldest on."""
    window = window_of(at, home.settings.ledger_window_seconds * 1_000)
    for place, end in reversed(list(enumerate(fresh))):
        kept = held.tree.size if end.origin == held.tree.origin else None
        told = Facts(at, FactKind.LEDGER_OPENED, home.party, detail=following.commit(end), count=kept)
        leaf = home.recorder.tell(tx, window, told)
        await tx.flush()
        mine = (ledger_entries.c.leaf == leaf, ledger_entries.c.position.is_(None))
        written = (
            await tx.execute(select(ledger_entries.c.id).where(*mine).order_by(ledger_entries.c.id.desc()))
        ).scalars()
        await tx.execute(update(ledger_entries).where(ledger_entries.c.id == written.first()).values(position=place))


async def _grown(tx: Transaction, origin: str) -> Checkpoint:
    """The tiles of every entry that has its place now, and their tree."""
    size, root = 0, merkle.EMPTY_ROOT
    async for entries in _batches(tx):
        root = await tx.conn.run_sync(grow, size, entries)
        size += len(entries)
    return Checkpoint(origin, size, root)


async def _batches(tx: Transaction) -> AsyncIterator[list[bytes]]:
    """Every entry that has its place, in order, some at once."""
    size = 0
    while True:
        mine = (ledger_entries.c.position >= size, ledger_entries.c.position < size + BATCH)
        rows = await tx.execute(select(ledger_entries.c.entry).where(*mine).order_by(ledger_entries.c.position))
        entries = [bytes(one) for one in rows.scalars()]
        if not entries:
            return
        yield entries
        size += BATCH


def _end(note: str, key: PrivateKey) -> Checkpoint:
    return following.signed_end(note.encode(), VerifierKey.of("any", key))


async def _told(home: Home, *, fresh: bool) -> Succeeded:
    key = VerifierKey.of(home.settings.ledger_origin, Pair.ledger(home.keys).private)
    async with home.store.read() as tx:
        _, signed = await newest_checkpoint(tx)
        tree = checkpoint.verify(Note.parse(signed.encode()), key).checkpoint
        return Succeeded(key, tree, tuple(await tx.conn.run_sync(predecessors.chain_of, key)), fresh)
