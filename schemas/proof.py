"""Proofs: one text file that shows, offline, that an entry stands in a log.

Refuses: lines in any order or spelling but the one, more hashes than a tree can be high, a file over a megabyte.
Keeps: what is read is what is written again, byte for byte; the `extra` line is carried, and believed by nobody.
Source: c2sp.org/tlog-proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from schemas import checkpoint, merkle, note
from schemas.checkpoint import VerifiedCheckpoint, from_decimal
from schemas.errors import Refused
from schemas.names import LeafHash
from schemas.note import Note, VerifierKey

HEADER = "c2sp.org/tlog-proof@v1"
HASHES = 63
"""A proof's hashes: the height of the largest tree."""
PROOF_BYTES = 1_200_000
"""A note of the largest size, an entry of the largest size, and the hashes."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The place of an entry, the hashes from there to the root, and the signed checkpoint. Not verified.

    `extra` is opaque and not authenticated; a receipt carries the entry's bytes in it, which the leaf hash then binds.
    """

    index: int
    hashes: tuple[bytes, ...]
    signed: Note
    extra: bytes = b""

    def __post_init__(self) -> None:
        if not 0 <= self.index < merkle.SIZE_MAX:
            raise Refused("proof.index")
        if len(self.hashes) > HASHES:
            raise Refused("proof.too-many-hashes", got=len(self.hashes), limit=HASHES)
        if any(len(line) != merkle.HASH_BYTES for line in self.hashes):
            raise Refused("proof.hash")

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """From the file's bytes. Raises Refused: `proof.*`, and `note.*` for the checkpoint below."""
        if len(raw) > PROOF_BYTES:
            raise Refused("proof.too-long", got=len(raw), limit=PROOF_BYTES)
        above, blank, below = raw.partition(b"\n\n")
        if not blank or not above.isascii():
            raise Refused("proof.malformed")
        lines = above.decode("ascii").split("\n", HASHES + 4)
        if lines.pop(0) != HEADER:
            raise Refused("proof.header")
        extra = _extra(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else b""
        if not lines or not lines[0].startswith("index "):
            raise Refused("proof.malformed")
        index = from_decimal(lines.pop(0).removeprefix("index "))
        if index is None:
            raise Refused("proof.index")
        path = tuple(map(_hash, lines[: HASHES + 1]))  # one too many is enough to be refused
        return cls(index, path, Note.parse(below), extra)

    def encode(self) -> bytes:
        """What `parse` reads: the content of a `.tlog-proof` file."""
        extra = f"extra {note.base64_of(self.extra)}\n" if self.extra else ""
        path = "".join(f"{note.base64_of(line)}\n" for line in self.hashes)
        return f"{HEADER}\n{extra}index {self.index}\n{path}\n".encode() + self.signed.encode()


@dataclass(frozen=True, slots=True)
class VerifiedInclusion:
    """This leaf is entry `index` of the log at this checkpoint; only `verify` makes it."""

    leaf: LeafHash
    index: int
    at: VerifiedCheckpoint


def verify(
    proof: Proof, leaf: LeafHash, log: VerifierKey, witnesses: Sequence[VerifierKey] = (), needed: int = 0
) -> VerifiedInclusion:
    """Believe a proof for the leaf hash that the caller computed (step 1) from an entry of its own.

    Raises Refused: what `checkpoint.verify` and `merkle.verify_inclusion` raise.
    """
    seen = checkpoint.verify(
        proof.signed, log, witnesses, needed
    )  # 2 and 3: another log, no log, a tree shown to us alone
    tree = seen.checkpoint
    merkle.verify_inclusion(
        leaf, proof.index, tree.size, proof.hashes, tree.root
    )  # 4 an entry that the log does not hold
    return VerifiedInclusion(leaf, proof.index, seen)


def _extra(text: str) -> bytes:
    raw = note.from_base64(text)
    if not raw:
        raise Refused("proof.extra")
    return raw


def _hash(line: str) -> bytes:
    raw = note.from_base64(line)
    if raw is None:
        raise Refused("proof.hash")
    return raw
