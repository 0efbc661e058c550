"""Merkle: the ledger's tree. Hashes, an append-only frontier, proofs of inclusion and of consistency.

Refuses: a proof longer or shorter than the sizes demand, an index outside the tree, a hash that is not 32 bytes.
Keeps: leaves and nodes are hashed under different prefixes, so that no node passes for an entry (second preimage).
Source: RFC 9162, sections 2.1.1 (tree), 2.1.3 (inclusion) and 2.1.4 (consistency).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from schemas.errors import Refused
from schemas.names import LeafHash

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1
"""Entries in a tree: what every reader, in any language, can hold."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without entries."""

HashReader = Callable[[int, int], bytes]
"""(level, index) -> the 32-byte hash of the full subtree over the 2**level leaves from `index * 2**level` on."""


def leaf_hash(entry: bytes) -> LeafHash:
    """SHA-256(0x00 | entry)."""
    return LeafHash(sha256(b"\x00" + entry).digest())


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 | left | right), of two 32-byte hashes."""
    return sha256(b"\x01" + left + right).digest()


def parents(row: Sequence[bytes]) -> list[bytes]:
    """The level above a row of an even number of sibling hashes, the first of them a left one."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree as its size and the roots of its full subtrees, largest first: enough to append and to know the root."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= SIZE_MAX or len(self.hashes) != self.size.bit_count():
            raise Refused("merkle.frontier", size=self.size, hashes=len(self.hashes))
        _check_hashes(*self.hashes)

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The tree with these 32-byte leaf hashes appended; cost is one hash for each, whatever the size.

        Raises Refused("merkle.hash-length") before anything is hashed.
        """
        row = list(leaves)
        _check_hashes(*row)
        size, position = self.size + len(row), self.size
        kept, fresh = list(self.hashes), []
        while row or position:
            if position & 1:
                row.insert(0, kept.pop())
            if len(row) & 1:
                fresh.append(row.pop())
            row = parents(row)
            position >>= 1
        return Frontier(size, tuple(reversed(fresh)))

    def append(self, leaf: bytes) -> "Frontier":
        """The tree with one more leaf hash."""
        return self.extend((leaf,))

    def root(self) -> bytes:
        """The root hash, 32 bytes."""
        return _joined(self.hashes) if self.hashes else EMPTY_ROOT


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return Frontier().extend(leaves).root()


def root_at(size: int, read: HashReader) -> bytes:
    """The root of the tree's first `size` leaves, from stored hashes."""
    _check_sizes(size, size)
    return _subtree(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: HashReader) -> tuple[bytes, ...]:
    """The siblings from the leaf `index` up to the root of a tree of `size` leaves, the leaf's own sibling first.

    Raises Refused("merkle.index") where the tree has no such leaf; whatever `read` raises passes through.
    """
    _check_index(index, size)
    path, low, high = [], 0, size
    while high - low > 1:
        middle = _split(low, high)
        if index < middle:
            path.append(_subtree(middle, high, read))
            high = middle
        else:
            path.append(_subtree(low, middle, read))
            low = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, read: HashReader) -> tuple[bytes, ...]:
    """The hashes that show a tree of `old` leaves to be the beginning of one of `new` leaves.

    Empty where there is nothing to show: from the empty tree, and to the same size.
    Raises Refused("merkle.size-order").
    """
    _check_sizes(old, new)
    if old in {0, new}:
        return ()
    path, low, high = [], 0, new
    while high != old:
        middle = _split(low, high)
        if old <= middle:
            path.append(_subtree(middle, high, read))
            high = middle
        else:
            path.append(_subtree(low, middle, read))
            low = middle
    if low:  # a subtree that starts at 0 is the old tree itself, whose root the verifier has
        path.append(_subtree(low, high, read))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash is leaf `index` of the tree of `size` leaves with this root. RFC 9162, section 2.1.3.2.

    Raises Refused: `merkle.hash-length`, `merkle.index`, `merkle.proof-length`, `merkle.root-differs`.
    """
    _check_hashes(leaf, root, *proof)
    _check_index(index, size)  # 1 a leaf beyond the end proves nothing
    here, last, seen = index, size - 1, leaf  # 2, 3
    for sibling in proof:  # 4
        if last == 0:  # 4 above the root there is nothing (a proof stretched to another root)
            raise Refused("merkle.proof-length", got=len(proof))
        if here & 1 or here == last:
            seen = node_hash(sibling, seen)
            here, last = _climb(here, last)
        else:
            seen = node_hash(seen, sibling)
        here, last = here >> 1, last >> 1
    if last:  # 5 an inner node is not the root (a proof cut short)
        raise Refused("merkle.proof-length", got=len(proof))
    if seen != root:  # 5 another leaf, another place or another tree
        raise Refused("merkle.root-differs")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves begins with the whole tree of `old` leaves. RFC 9162, section 2.1.4.2.

    Everything begins with the empty tree, and a tree with itself: both take an empty proof.
    Raises Refused: `merkle.hash-length`, `merkle.size-order`, `merkle.proof-length`, `merkle.old-root-differs`,
    `merkle.root-differs`.
    """
    _check_hashes(old_root, new_root, *proof)
    _check_sizes(old, new)
    if old in {0, new}:
        _verify_trivial(old, new, old_root, new_root, proof)
        return
    if not proof:  # 1
        raise Refused("merkle.proof-length", got=0)
    path = proof if old & (old - 1) else (old_root, *proof)  # 2 a full old tree is itself the first node
    here, last = old - 1, new - 1  # 3
    while here & 1:  # 4
        here, last = here >> 1, last >> 1
    seen_old = seen_new = path[0]  # 5
    for sibling in path[1:]:  # 6
        if last == 0:
            raise Refused("merkle.proof-length", got=len(proof))
        if here & 1 or here == last:
            seen_old, seen_new = node_hash(sibling, seen_old), node_hash(sibling, seen_new)
            here, last = _climb(here, last)
        else:
            seen_new = node_hash(seen_new, sibling)
        here, last = here >> 1, last >> 1
    if last:  # 7
        raise Refused("merkle.proof-length", got=len(proof))
    if seen_old != old_root:  # 7 history was rewritten
        raise Refused("merkle.old-root-differs")
    if seen_new != new_root:  # 7 the new tree is another one
        raise Refused("merkle.root-differs")


def _verify_trivial(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise Refused("merkle.proof-length", got=len(proof))
    if old == 0 and old_root != EMPTY_ROOT:
        raise Refused("merkle.old-root-differs")
    if old == new and old_root != new_root:
        raise Refused("merkle.root-differs")


def _climb(here: int, last: int) -> tuple[int, int]:
    """At the right edge a node without a sibling is its own parent: go up until it is a right child, or the root."""
    while here and not here & 1:
        here, last = here >> 1, last >> 1
    return here, last


def _split(low: int, high: int) -> int:
    """Where the tree over leaves low to high - 1 divides: its left part is the largest power of two below the whole."""
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _subtree(low: int, high: int, read: HashReader) -> bytes:
    """The root over the leaves low to high - 1, where low is a place that `_split` gives."""
    full = []
    while low < high:
        level = (high - low).bit_length() - 1
        full.append(read(level, low >> level))
        low += 1 << level
    return _joined(full)


def _joined(full: Sequence[bytes]) -> bytes:
    """The root over full subtrees, largest first."""
    root = full[-1]
    for left in reversed(full[:-1]):
        root = node_hash(left, root)
    return root


def _check_hashes(*hashes: bytes) -> None:
    for found in hashes:
        if len(found) != HASH_BYTES:
            raise Refused("merkle.hash-length", length=len(found))


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size <= SIZE_MAX:
        raise Refused("merkle.index", index=index, size=size)


def _check_sizes(old: int, new: int) -> None:
    if not 0 <= old <= new <= SIZE_MAX:
        raise Refused("merkle.size-order", old=old, new=new)
