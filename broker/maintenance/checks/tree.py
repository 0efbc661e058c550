"""Tree: positions, tiles and checkpoints are those that the ledger's entries give, leaf after leaf.

Refuses: nothing; it takes leaves in the order of positions, a page at a time.
Keeps: memory is that of a page and of one tile for each level.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from sqlalchemy import Row, func, select

from broker.maintenance.checks.finding import Finding
from broker.store.engine import Transaction
from broker.store.tables import cosignatures, ledger_checkpoints, ledger_tiles
from schemas import checkpoint, merkle, tiles
from schemas.errors import Refused
from schemas.note import Note, SignatureLine, VerifierKey


class Tree:
    """The tree as far as it was taken. `key` is the log's own, from the key store, not from the database."""

    def __init__(self, tx: Transaction, key: VerifierKey, known: int = 0) -> None:
        """`known`: a size of which the root is wanted."""
        self.size = 0
        self.known_root: bytes | None = None
        self._tx = tx
        self._key = key
        self._known = known
        self._tile = merkle.Frontier()
        """The leaves after the last full tile."""
        self._roots = merkle.Frontier()
        """The roots of full tiles, as if those were leaves."""
        self._full_since: list[bytes] = []
        """Roots of the tiles that became full with what is being taken."""
        self._levels: list[list[bytes]] = [[] for _ in range(tiles.LEVEL_MAX + 1)]
        self._full = [0] * (tiles.LEVEL_MAX + 1)
        self._newest = 0
        self._tiles = 0

    @property
    def root(self) -> bytes:
        """Of all that was taken."""
        return merkle.Frontier(self.size, self._roots.hashes + self._tile.hashes).root()

    async def take(self, leaves: Sequence[bytes]) -> AsyncIterator[Finding]:
        """The next leaves, 32 bytes each."""
        first, end = self.size, self.size + len(leaves)
        mine = select(ledger_checkpoints).where(
            ledger_checkpoints.c.size > (first if first else -1), ledger_checkpoints.c.size <= end
        )
        rows = (await self._tx.execute(mine.order_by(ledger_checkpoints.c.size))).all()
        for row in rows:
            self._extend(leaves[self.size - first : row.size - first])
            for finding in self._signed(row):
                yield finding
        self._extend(leaves[self.size - first :])
        async for finding in self._tiles_of(leaves):
            yield finding

    async def end(self) -> AsyncIterator[Finding]:
        """What there is of tiles beside full ones, and what is there beyond the end."""
        for level, row in enumerate(self._levels):
            if row:
                async for finding in self._compared(level, [(self._full[level], b"".join(row))]):
                    yield finding
        stored = (await self._tx.execute(select(func.count()).select_from(ledger_tiles))).scalar_one()
        if stored != self._tiles:
            async for finding in self._beyond():
                yield finding
        later = select(ledger_checkpoints.c.size).where(ledger_checkpoints.c.size > self.size)
        for size in (await self._tx.execute(later.order_by(ledger_checkpoints.c.size))).scalars():
            self._newest = size
            wrong = f"covers {size} entries, {self.size} are there"
            yield Finding("ledger.checkpoint", f"ledger_checkpoints/{size}", wrong)
        if self._newest != self.size:
            wrong = f"{self.size} entries have positions"
            yield Finding("ledger.checkpoint", f"ledger_checkpoints/{self._newest}", wrong)

    def _extend(self, leaves: Sequence[bytes]) -> None:
        until = self._known - self.size
        if 0 < until <= len(leaves):
            self._append(leaves[:until])
            self.known_root, leaves = self.root, leaves[until:]
        self._append(leaves)

    def _append(self, leaves: Sequence[bytes]) -> None:
        """Each hash of a full tile is made here, once: for its root and for all that stand above it."""
        at = 0
        while at < len(leaves):
            some = leaves[at : at + tiles.WIDTH - self._tile.size]
            self._tile, at, self.size = self._tile.extend(some), at + len(some), self.size + len(some)
            if self._tile.size == tiles.WIDTH:
                self._full_since += self._tile.hashes
                self._roots, self._tile = self._roots.extend(self._tile.hashes), merkle.Frontier()

    async def _tiles_of(self, leaves: Sequence[bytes]) -> AsyncIterator[Finding]:
        new, self._full_since, above = list(leaves), [], self._full_since
        for level, row in enumerate(self._levels):
            row.extend(new)
            count = len(row) // tiles.WIDTH
            full = [row[at * tiles.WIDTH : (at + 1) * tiles.WIDTH] for at in range(count)]
            del row[: count * tiles.WIDTH]
            first, self._full[level] = self._full[level], self._full[level] + count
            async for finding in self._compared(level, [(first + at, b"".join(one)) for at, one in enumerate(full)]):
                yield finding
            new = [merkle.root_of(one) for one in full] if level else above
            if not new:
                return

    async def _compared(self, level: int, expected: Sequence[tuple[int, bytes]]) -> AsyncIterator[Finding]:
        if not expected:
            return
        mine = select(ledger_tiles).where(
            ledger_tiles.c.level == level, ledger_tiles.c.number.between(expected[0][0], expected[-1][0])
        )
        stored = {row.number: row.hashes for row in await self._tx.execute(mine)}
        self._tiles += len(expected)
        for number, hashes in expected:
            if stored.get(number) != hashes:
                place = f"ledger_tiles/{level}/{number}"
                yield Finding("ledger.tile", place, "the tile is not what the entries give")

    async def _beyond(self) -> AsyncIterator[Finding]:
        for row in await self._tx.execute(select(ledger_tiles.c.level, ledger_tiles.c.number)):
            known = 0 <= row.level <= tiles.LEVEL_MAX
            ends = self._full[row.level] + bool(self._levels[row.level]) if known else 0
            if not 0 <= row.number < ends:
                place = f"ledger_tiles/{row.level}/{row.number}"
                yield Finding("ledger.tile", place, "a tile beyond the end of the log")

    def _signed(self, row: Row[Any]) -> Iterator[Finding]:
        place, self._newest = f"ledger_checkpoints/{row.size}", row.size
        try:
            signed = checkpoint.verify(Note.parse(row.note.encode()), self._key).checkpoint
        except Refused as fault:
            yield Finding("ledger.checkpoint", place, f"the signed note does not verify: {fault.code}")
            return
        if (signed.size, signed.root) != (row.size, row.root) or row.root != self.root:
            yield Finding("ledger.checkpoint", place, "the root signed is not the root of the entries")


async def check_cosignatures(tx: Transaction, key: VerifierKey) -> AsyncIterator[Finding]:
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
