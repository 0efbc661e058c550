"""Ledger: what `Recorder` wrote, ordered once: positions, tiles, checkpoints, proofs.

Refuses: two sequencers at once (the second waits, and goes on from where the first ended); an entry that the recorder
did not write, or a copy of one that it did: it gets no place, is set aside, and the others go on.
Keeps: committed entries get dense positions, whole windows at a time, in an order drawn by chance that keeps the order
of each grant, which is the order of its locks (`broker.ledger.windows`); no checkpoint covers an entry that is not
stored. What was signed once is never signed otherwise, whatever database is put back (`broker.ledger.highwater`).
Source: docs/protocol.md, section 8; RFC 9162; C2SP tlog-tiles and tlog-checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from broker.ended import Mark
from broker.keys.pair import Pair
from broker.ledger import highwater, predecessors
from broker.ledger.highwater import Standing
from broker.ledger.openings import Openings
from broker.ledger.recorder import Said
from broker.ledger.windows import Waiting, arrange
from broker.observability.crashpoints import mark
from broker.observability.observe import every_detail, logger
from broker.ports import Clock, Entropy
from broker.store.engine import Store, Transaction
from broker.store.rows.macs import RowMacs, named
from broker.store.tables import ledger_checkpoints, ledger_entries, ledger_tiles
from schemas import checkpoint, following, merkle, receipt, tiles
from schemas.checkpoint import Checkpoint
from schemas.entry import Entry, window_of
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Instant, LeafHash
from schemas.note import Note, VerifierKey
from schemas.note import sign as sign_note
from schemas.proof import Proof
from schemas.tiles import Tile

BATCH = 4096
"""Entries that one turn of the sequencer orders, or one window, if that has more."""

GRACE_MS = 2_000
"""A window waits for transactions that began in it; what comes later still comes in with the next one."""

ORDER = b"ledger/order"
"""The lock of whoever orders: another reads where the ledger ends only after this one's checkpoint is there."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What was arranged for the batches to come, while the newest checkpoint covers this many entries: a long backlog
    is read once. -1: nothing was arranged yet.
    """

    size: int
    batches: Sequence[list[int]]


class Ledger:
    """The sequencer and what it made: positions, tiles, checkpoints, proofs."""

    def __init__(
        self,
        *,
        store: Store,
        openings: Openings,
        macs: RowMacs,
        said: Said,
        origin: str,
        first_origin: str | None = None,
        key: Pair,
        window_ms: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`first_origin`: the name of the ledger that this one follows, where it follows one."""
        self._store = store
        self._openings = openings
        self._macs = macs
        self._said = said
        self._origin = origin
        self._first = first_origin or origin
        self._key = key
        self._window_ms = window_ms
        self._clock = clock
        self._entropy = entropy

    @property
    def verifier_key(self) -> VerifierKey:
        """What anyone needs to check our checkpoints."""
        return self._key.verifier(self._origin)

    @property
    def attestation_key(self) -> VerifierKey:
        """What anyone needs to check what `attest` signs: the name stays when another ledger follows."""
        return self._key.verifier(self._first)

    @property
    def attests(self) -> bool:
        """Whether the role of this process has the key that `attest` signs with."""
        return self._key.signs

    def attest(self, text: str) -> Note:
        """A note of another kind with the ledger's signature, under its first name.

        Raises ValueError for what could pass as a checkpoint.
        """
        try:
            Checkpoint.parse(text)
        except Refused:
            return sign_note(text, self._first, self._key.private)
        raise ValueError("a checkpoint is signed by the sequencer alone")

    async def sequence(self) -> int:
        """Order what is committed in windows that are over, grow the tiles, sign checkpoints. Returns how many entries.

        One transaction a batch: positions, tiles and checkpoint appear together. Raises Unavailable, Corrupt.
        """
        return await self._sequence(window_of(Instant(self._clock() - GRACE_MS), self._window_ms))

    async def sequence_unfinished(self) -> int:
        """As `sequence`, with the window that is not over: whoever is watching learns more of when things happened.

        For trials, for a command whose answer is wanted now, and for the last turn of a process.
        """
        return await self._sequence(None)

    async def _sequence(self, before: int | None) -> int:
        total = 0
        ahead: _Ahead | None = _Ahead(-1, [])
        while ahead is not None:
            async with self._store.begin() as tx:
                count, ahead = await self._sequence_batch(tx, before, ahead)
            total += count
        await self._said.look(self._store, before)
        return total

    async def _sequence_batch(self, tx: Transaction, before: int | None, ahead: _Ahead) -> tuple[int, _Ahead | None]:
        """Order what comes next. Returns how many entries, and what is left; None: nothing."""
        await tx.lock_exclusive([ORDER])
        old = await size_of(tx)
        standing = await highwater.standing(tx, old, self._origin)  # of what was put back nothing is signed
        if standing.order is not None:
            return await self._sign(tx, old, standing, standing.order), _Ahead(-1, [])
        batches = ahead.batches if ahead.size == old else await self._arranged(tx, before)
        if not batches:
            return 0, None
        count = await self._sign(tx, old, standing, batches[0])
        return count, _Ahead(old + count, batches[1:]) if batches[1:] else None

    async def _arranged(self, tx: Transaction, before: int | None) -> list[list[int]]:
        rows = await tx.execute(_WAITING)
        return arrange([Waiting(row.id, row.window, row.chain) for row in rows], before, BATCH, self._entropy)

    async def _sign(self, tx: Transaction, old: int, standing: Standing, arranged: Sequence[int]) -> int:
        """Positions, tiles and a checkpoint for these entries, in this order. Returns how many have a place."""
        ordered = await self._place(tx, old, arranged)
        if not ordered:
            return 0
        new = old + len(ordered)
        root = await tx.conn.run_sync(grow, old, [row.entry for row in ordered])
        note = checkpoint.sign(Checkpoint(self._origin, new, root), self._key.private)
        values = {"size": new, "root": root, "note": note.encode().decode("utf-8"), "at": self._clock()}
        await standing.move(tx, Mark(new, root, str(values["note"]), tuple(row.id for row in ordered)))
        await tx.execute(insert(ledger_checkpoints).values(**self._macs.made(ledger_checkpoints.name, values)))
        mark("ledger.sequenced")
        # Crash here: no position, no tile, no checkpoint; the next turn orders the same entries again.
        if every_detail():
            _say_ordered(tx, [(old + number, Entry.decode(row.entry)) for number, row in enumerate(ordered)])
        return len(ordered)

    async def _place(self, tx: Transaction, old: int, arranged: Sequence[int]) -> list[Row[Any]]:
        """Give them their positions from `old` on, in this order. Returns the rows that have one.

        What the recorder did not write, or not so, or only once, is set aside below 0, where fsck finds it.
        """
        await tx.execute(_PLACE, [{"of_id": one, "at": old + number} for number, one in enumerate(arranged)])
        rows = list(await tx.execute(_PLACED, {"first": old}))
        copies = set((await tx.execute(_COPIES, {"first": old})).scalars())
        ours = [row for row in rows if row.id not in copies and self._is_ours(row)]
        if len(ours) < len(arranged):
            kept = {row.id for row in ours}
            aside = [row for row in rows if row.id not in kept]
            if aside:
                await tx.execute(_PLACE, [{"of_id": row.id, "at": -row.id} for row in aside])
            if ours:
                await tx.execute(_PLACE, [{"of_id": row.id, "at": old + number} for number, row in enumerate(ours)])
            # Crash here: they wait where they were, for all is one transaction; the next turn sets them aside.
            for row in aside:
                logger().error("ledger.not-ours", row=named(ledger_entries.name, row))
        return ours

    def _is_ours(self, row: Row[Any]) -> bool:
        told = merkle.leaf_hash(row.entry) == row.leaf
        return told and self._macs.holds(ledger_entries.name, row._mapping)

    async def prove(self, leaf: LeafHash, language: Language = "fr", cosigned: Sequence[tuple[int, Note]] = ()) -> str:
        """A receipt for the entry with this leaf hash; offline, for anyone. `cosigned`: checkpoints by their size, of
        which the first that reaches the entry is in it; else the newest is.

        Raises Refused: `ledger.unknown-entry`, `ledger.not-sequenced-yet`, `ledger.erased`.
        """
        async with self._store.read() as tx:
            row = (
                await tx.execute(
                    select(ledger_entries.c.entry, ledger_entries.c.position)
                    .where(ledger_entries.c.leaf == leaf)
                    .order_by(ledger_entries.c.position.desc().nulls_last())
                    .limit(1)
                )
            ).one_or_none()
            if row is None:
                raise Refused("ledger.unknown-entry", "/entry")
            newest, note = await newest_checkpoint(tx)
            if row.position is None or not 0 <= row.position < newest:
                raise Refused("ledger.not-sequenced-yet", "/entry")
            reach = (each for each in cosigned if each[0] > row.position)
            size, signed = next(reach, None) or (newest, Note.parse(note.encode()))
            hashes = await tx.conn.run_sync(
                lambda conn: merkle.inclusion_proof(row.position, size, tiles.hash_reader(size, files_of(conn)))
            )
            opened = await self._openings.of_leaf(tx, leaf)
        entry = Entry.decode(row.entry)
        if opened is None and entry.open is None:
            raise Refused("ledger.erased", "/entry")
        opening = None if opened is None else opened.opening
        return receipt.make(entry, opening, Proof(row.position, hashes, signed), language)

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
    """The log's files by path, as its tables hold them: tiles as they are now, bundles made from the entries, and how
    the ledgers ended that this one follows.
    """

    def read(path: str) -> bytes:
        if path.startswith(f"{following.FOLDER}/"):
            return predecessors.file_of(conn, path)
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


def grow(conn: Connection, old: int, entries: list[bytes]) -> bytes:
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


def _say_ordered(tx: Transaction, ordered: Sequence[tuple[int, Entry]]) -> None:
    """For whoever looks for one, as it is a line an entry."""

    def say() -> None:
        for position, entry in ordered:
            logger().debug("ledger.ordered", position=position, kind=entry.kind)

    tx.after(say)


_UNPLACED = ledger_entries.c.position.is_(None)
_WAITING = (
    select(ledger_entries.c.id, ledger_entries.c.window, ledger_entries.c.chain)
    .where(_UNPLACED)
    .order_by(ledger_entries.c.id)
)
_PLACE = update(ledger_entries).where(ledger_entries.c.id == bindparam("of_id")).values(position=bindparam("at"))
_PLACED: Final = (
    select(ledger_entries).where(ledger_entries.c.position >= bindparam("first")).order_by(ledger_entries.c.position)
)
_EARLIER = ledger_entries.alias("earlier")
_COPIES: Final = (
    select(ledger_entries.c.id)
    .join(_EARLIER, _EARLIER.c.leaf == ledger_entries.c.leaf)
    .where(
        ledger_entries.c.position >= bindparam("first"),
        _EARLIER.c.position < ledger_entries.c.position,
        _EARLIER.c.mac == ledger_entries.c.mac,
    )
)
"""A row that was copied has the MAC of what it was copied from: two that the recorder wrote never have the same."""
