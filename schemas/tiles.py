"""Tiles: the ledger as files that any web server can serve and any C2SP reader can read.

Refuses: a path in any spelling but the one, a tile or bundle whose length is not what the tree's size says.
Keeps: the content of a path never changes, whatever the size of the log: files can be cached for ever.
Source: c2sp.org/tlog-tiles. Hashes at `tile/<level>/<index>[.p/<width>]`, entries at `tile/entries/...` likewise, the
    index in groups of three digits, all but the last with an `x`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas import merkle
from schemas.errors import Refused

WIDTH = 256
"""Hashes in a full tile; entries in a full bundle."""
HEIGHT = 8
LEVEL_MAX = 7
"""The source allows 63; a tree of 2**63 entries needs no more than 0 to 7."""
ENTRY_MAX = 65_535
"""Bytes of one entry: what its two length bytes can tell."""
ENTRIES = -1
"""The level of entry bundles, which are below the leaf hashes."""

Read = Callable[[str], bytes]
"""path -> the file's bytes. Raises LookupError where there is no such file; any other exception passes through."""

_PATH = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A file of the log: a tile of hashes, or a bundle of entries at level `ENTRIES`."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if not (ENTRIES <= self.level <= LEVEL_MAX and 0 < self.width <= WIDTH and 0 <= self.index < 10**21):
            raise Refused("tiles.tile", level=self.level, index=self.index, width=self.width)

    @classmethod
    def parse(cls, path: str) -> "Tile":
        """From its path. Raises Refused("tiles.path")."""
        found = _PATH.fullmatch(path)
        if not found:
            raise Refused("tiles.path", length=len(path))
        level, groups, width = found.groups()
        index = int(groups.replace("x", "").replace("/", ""))
        tile = cls(ENTRIES if level == "entries" else int(level), index, min(int(width or WIDTH), WIDTH))
        if tile.path != path:  # leading groups of zeros, a `.p/256`
            raise Refused("tiles.path", length=len(path))
        return tile

    @property
    def path(self) -> str:
        """What `parse` reads."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        place = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{place}" + (f".p/{self.width}" if self.width < WIDTH else "")

    @property
    def full(self) -> "Tile":
        """The same tile when it has grown to its end."""
        return Tile(self.level, self.index)


def tile_at(level: int, index: int, size: int) -> Tile:
    """The tile with this index as a tree of `size` entries has it. Raises Refused("tiles.absent")."""
    width = min(_count(level, size) - index * WIDTH, WIDTH)
    if width <= 0:
        raise Refused("tiles.absent", level=level, index=index)
    return Tile(level, index, width)


def changed(old: int, new: int) -> tuple[Tile, ...]:
    """The files that a tree of `new` entries has and one of `old` had not: bundles first, then hashes, leaves first."""
    return tuple(tile for level in range(ENTRIES, LEVEL_MAX + 1) for tile in _changed_at(level, old, new))


def tiles_of(size: int) -> tuple[Tile, ...]:
    """Every file of a tree of `size` entries, in the order of `changed`."""
    return changed(0, size)


def grow(old: int, entries: Sequence[bytes], read: Read) -> Mapping[str, bytes]:
    """The files to write when these entries follow a log of `old` entries: path -> content, those of `changed`.

    `read` gives the old log's partial files, of which there is at most one for each level. Write all of them before
    the checkpoint: a crash in between leaves files that no checkpoint mentions, and the next try writes the same again.
    Raises Refused: `tiles.entry-too-long`, `tiles.absent`, `tiles.tile-length`, `tiles.bundle`.
    """
    new, written = old + len(entries), {}
    row = [*_last(ENTRIES, old, entries_at, read), *entries]
    for tile in _changed_at(ENTRIES, old, new):
        written[tile.path] = encode_bundle(row[_place(tile, old)])
    fresh: list[bytes] = [merkle.leaf_hash(entry) for entry in entries]
    for level in range(LEVEL_MAX + 1):
        row, fresh = [*_last(level, old, hashes_at, read), *fresh], []
        for tile in _changed_at(level, old, new):
            hashes = row[_place(tile, old)]
            written[tile.path] = b"".join(hashes)
            if tile.width == WIDTH:
                fresh.append(_root(hashes))
    return written


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """u16 length and bytes of each entry. Raises Refused("tiles.entry-too-long")."""
    for entry in entries:
        if len(entry) > ENTRY_MAX:
            raise Refused("tiles.entry-too-long", got=len(entry), limit=ENTRY_MAX)
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(content: bytes, width: int) -> tuple[bytes, ...]:
    """Exactly `width` entries. Raises Refused("tiles.bundle") for fewer, more, or a broken length."""
    ends = _ends(content)
    if len(ends) - 1 != width:
        raise Refused("tiles.bundle", got=len(ends) - 1, expected=width)
    return tuple(content[start + 2 : end] for start, end in pairwise(ends))


def entries_at(tile: Tile, read: Read) -> tuple[bytes, ...]:
    """The entries of one bundle. Raises Refused: `tiles.absent`, `tiles.bundle`."""
    content, width = _content(tile, read)
    return decode_bundle(content, width)[: tile.width]


def hashes_at(tile: Tile, read: Read) -> tuple[bytes, ...]:
    """The hashes of one tile. Raises Refused: `tiles.absent`, `tiles.tile-length`."""
    content, width = _content(tile, read)
    if len(content) != width * merkle.HASH_BYTES:
        raise Refused("tiles.tile-length", got=len(content), expected=width * merkle.HASH_BYTES)
    starts = range(0, tile.width * merkle.HASH_BYTES, merkle.HASH_BYTES)
    return tuple(content[at : at + merkle.HASH_BYTES] for at in starts)


def hash_reader(size: int, read: Read) -> merkle.HashReader:
    """The hashes of a tree of `size` entries, from its tiles: what `merkle.inclusion_proof` and its like take.

    Each tile is read once for each reader. The hashes are as true as the files: whoever gets the proof verifies it.
    Raises Refused: `tiles.absent`, `tiles.tile-length`.
    """
    known: dict[Tile, tuple[bytes, ...]] = {}

    def hash_at(level: int, index: int) -> bytes:
        rise = level % HEIGHT
        first = index << rise
        tile = tile_at(level // HEIGHT, first // WIDTH, size)
        if tile not in known:
            known[tile] = hashes_at(tile, read)
        part = known[tile][first % WIDTH : first % WIDTH + (1 << rise)]
        if len(part) != 1 << rise:
            raise Refused("tiles.absent", level=level // HEIGHT, index=tile.index)
        return _root(part)

    return hash_at


def verified_entries(size: int, root: bytes, read: Read) -> Iterator[bytes]:
    """Every entry of a whole log, in order, checked against the root of a checkpoint that the caller has verified.

    All tiles are checked before this returns, each bundle before its first entry comes out.
    Raises Refused: `tiles.hash-differs` with the file's place, `merkle.root-differs`, what reading raises.
    """
    leaves: list[bytes] = []
    below: list[bytes] = []
    for level in range(LEVEL_MAX + 1):
        row: list[bytes] = []
        for tile in _changed_at(level, 0, size):
            hashes = hashes_at(tile, read)
            if level and hashes != tuple(below[len(row) : len(row) + tile.width]):
                raise Refused("tiles.hash-differs", level=level, index=tile.index)
            row.extend(hashes)
        leaves = leaves if level else row
        below = [_root(row[at : at + WIDTH]) for at in range(0, len(row) - len(row) % WIDTH, WIDTH)]
    if merkle.root_of(leaves) != root:
        raise Refused("merkle.root-differs")
    return _matching(leaves, read)


def _matching(leaves: Sequence[bytes], read: Read) -> Iterator[bytes]:
    for tile in _changed_at(ENTRIES, 0, len(leaves)):
        entries = entries_at(tile, read)
        start = tile.index * WIDTH
        if [merkle.leaf_hash(entry) for entry in entries] != leaves[start : start + tile.width]:
            raise Refused("tiles.hash-differs", level=ENTRIES, index=tile.index)
        yield from entries


def _count(level: int, size: int) -> int:
    """How many hashes, or entries, the level has in a tree of `size` entries."""
    return size >> HEIGHT * max(level, 0)


def _changed_at(level: int, old: int, new: int) -> Iterator[Tile]:
    before, after = _count(level, old), _count(level, new)
    if before < after:
        yield from (tile_at(level, index, new) for index in range(before // WIDTH, -(-after // WIDTH)))


def _last(level: int, size: int, at: Callable[[Tile, Read], tuple[bytes, ...]], read: Read) -> tuple[bytes, ...]:
    """What the level's last file holds, nothing where that file is full."""
    count = _count(level, size)
    return at(tile_at(level, count // WIDTH, size), read) if count % WIDTH else ()


def _place(tile: Tile, old: int) -> slice:
    """Where the tile's content stands in a row that begins with the level's last partial file of the old tree."""
    first = (tile.index - _count(tile.level, old) // WIDTH) * WIDTH
    return slice(first, first + tile.width)


def _content(tile: Tile, read: Read) -> tuple[bytes, int]:
    """A file's bytes and how wide it is: a partial one may be deleted once the full one is there."""
    try:
        return read(tile.path), tile.width
    except LookupError:
        pass
    try:
        return read(tile.full.path), WIDTH
    except LookupError:
        raise Refused("tiles.absent", level=tile.level, index=tile.index) from None


def _root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    row = hashes
    while len(row) > 1:
        row = merkle.parents(row)
    return row[0]


def _ends(content: bytes) -> list[int]:
    """Where each entry of a bundle ends, 0 first."""
    ends = [0]
    while ends[-1] < len(content):
        start = ends[-1]
        end = start + 2 + int.from_bytes(content[start : start + 2], "big")
        if start + 2 > len(content) or end > len(content):
            raise Refused("tiles.bundle", got=len(content), expected=end)
        ends.append(end)
    return ends
