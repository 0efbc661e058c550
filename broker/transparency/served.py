"""Served: whether the hash tiles that a log serves are those of its entries, and who is to blame where they are not.

    our hashes of its entries ──► every tile that they fill or change ──► the same as served?
    the entries do not give the signed root ──► its tiles do, and a proof says that an older tree is no part: it forked
                                           └──► else something between the log and us has changed a file

Refuses: to accuse a log of what its key has not signed.
Keeps: a few hundred hashes for each level; each tile is read once.
Source: c2sp.org/tlog-tiles; RFC 9162, section 2.1.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from schemas import merkle, tiles
from schemas.checkpoint import Checkpoint
from schemas.errors import Fault, Refused
from schemas.tiles import Tile


class Served:
    """The tiles of a log, beside those that we make of its entries, from the first on."""

    def __init__(self, read: tiles.Read) -> None:
        self._read = read
        self._rows: list[list[bytes]] = []
        self._full: list[int] = []
        self._due: deque[tuple[Tile, tuple[bytes, ...]]] = deque()
        self._differs: Refused | None = None

    def add(self, leaves: Sequence[bytes]) -> None:
        """The next entries' hashes. Raises what reading raises; what could not be compared then is, the next time."""
        self._due.extend(self._grown(leaves))
        self._compare()

    def end(self, size: int, before: int) -> Refused | None:
        """After the entries of a tree of this size, of which `before` were there the last time: what differs, if any.

        Raises what reading raises.
        """
        changed = set(tiles.changed(before, size))
        self._due.extend(each for each in self._last() if each[0] in changed)
        self._compare()
        return self._differs

    def _grown(self, leaves: Sequence[bytes]) -> Iterator[tuple[Tile, tuple[bytes, ...]]]:
        level, fresh = 0, list(leaves)
        while fresh:
            if level == len(self._rows):
                self._rows.append([])
                self._full.append(0)
            row = self._rows[level]
            row += fresh
            fresh = []
            while len(row) >= tiles.WIDTH:
                full = tuple(row[: tiles.WIDTH])
                yield Tile(level, self._full[level]), full
                fresh.append(merkle.root_of(full))
                self._full[level] += 1
                del row[: tiles.WIDTH]
            level += 1

    def _last(self) -> Iterator[tuple[Tile, tuple[bytes, ...]]]:
        for level, row in enumerate(self._rows):
            if row:
                yield Tile(level, self._full[level], len(row)), tuple(row)

    def _compare(self) -> None:
        while self._due:
            tile, ours = self._due[0]
            try:
                same = tiles.hashes_at(tile, self._read) == ours
            except Refused:  # absent, or no tile
                same = False
            if not same and self._differs is None:
                self._differs = Refused("tiles.hash-differs", level=tile.level, index=tile.index)
            self._due.popleft()


def blame(read: tiles.Read, tree: Checkpoint, seen: Checkpoint) -> Fault:
    """Why entries do not give a root that the log signed. `tree`: what it signs now; `seen`: what it signed before.

    `monitor.forked` where two of its own signatures prove it; else `monitor.not-as-signed`.
    """
    forked = Refused("monitor.forked", seen=seen.size, size=tree.size)
    altered = Refused("monitor.not-as-signed", size=tree.size)
    if tree.size == seen.size and tree.root != seen.root:
        return forked
    whole, old = merkle.Frontier(), b""
    try:
        for tile in tiles.tiles_of(tree.size):
            if tile.level != 0:
                continue
            hashes, left = tiles.hashes_at(tile, read), seen.size - whole.size
            if 0 <= left < tile.width:
                whole, hashes = whole.extend(hashes[:left]), hashes[left:]
                old = whole.root()
            whole = whole.extend(hashes)
    except Refused:
        return altered
    if whole.root() != tree.root:
        return altered
    return forked if tree.size > seen.size and old != seen.root else altered
