"""Witnessing: what a log sends to a witness, and what a witness has to find before it signs.

Refuses: a request in any spelling but the one, more hashes than a tree can be high, more than 64 KiB.
Keeps: a witness cosigns a tree only when it continues the last one that it cosigned; what was last is an argument, so
that reading it, judging and writing it down can be one transaction of the caller.
Source: c2sp.org/tlog-witness, `add-checkpoint`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from schemas import checkpoint, merkle, note
from schemas.checkpoint import Checkpoint, from_decimal
from schemas.errors import Refused
from schemas.note import KeyType, Note, SignatureLine, VerifierKey

HASHES: Final = 63
BODY_BYTES: Final = 65_536
"""A checkpoint with a hundred signatures and a proof of 63 hashes stay far below."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint, and the proof that its tree begins with the one of `old` entries. Not verified."""

    old: int
    proof: tuple[bytes, ...]
    signed: Note

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """From a request's body. Raises Refused: `witnessing.too-long`, `witnessing.malformed`, and `note.*`."""
        if len(body) > BODY_BYTES:
            raise Refused("witnessing.too-long", got=len(body), limit=BODY_BYTES)
        above, blank, below = body.partition(b"\n\n")
        if not blank or not above.isascii():
            raise Refused("witnessing.malformed")
        first, *lines = above.decode("ascii").split("\n")
        old = from_decimal(first.removeprefix("old ")) if first.startswith("old ") else None
        hashes = tuple(note.from_base64(line) for line in lines)
        if (
            old is None
            or len(hashes) > HASHES
            or any(each is None or len(each) != merkle.HASH_BYTES for each in hashes)
        ):
            raise Refused("witnessing.malformed")
        return cls(old, tuple(each for each in hashes if each is not None), Note.parse(below))

    def encode(self) -> bytes:
        """What `parse` reads."""
        proof = "".join(f"{note.base64_of(each)}\n" for each in self.proof)
        return f"old {self.old}\n{proof}\n".encode() + self.signed.encode()


@dataclass(frozen=True, slots=True)
class Known:
    """A witness of the settings."""

    key: VerifierKey
    url: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`<vkey> <address>`. Raises Refused `note.*`, `checkpoint.cosignature-type`, `cosigning.address`."""
        told, _, url = text.strip().partition(" ")
        key = VerifierKey.parse(told)
        if key.type is KeyType.ED25519:
            raise Refused("checkpoint.cosignature-type", type=int(key.type))
        if not url.startswith(("https://", "http://")):
            raise Refused("cosigning.address")
        return cls(key, url.strip().rstrip("/"))


def origin_of(submission: Submission) -> str:
    """The log that the checkpoint says it is of. Raises Refused("checkpoint.*")."""
    return Checkpoint.parse(submission.signed.text).origin


def judge(submission: Submission, log: VerifierKey, last: Checkpoint | None) -> Checkpoint:
    """The tree to cosign, where it continues the last one that was cosigned for this log.

    Raises Refused: `checkpoint.not-signed` and `note.bad-signature` (step 1), `witnessing.old-size` (2),
    `witnessing.other-size` (3), `witnessing.fork` (4), `witnessing.not-consistent` (5), what `Checkpoint.parse` raises.
    """
    tree = checkpoint.verify(submission.signed, log).checkpoint  # 1 a tree that the log never signed
    if submission.old > tree.size:  # 2 a proof from the future
        raise Refused("witnessing.old-size", old=submission.old, size=tree.size)
    known = last or Checkpoint(tree.origin, 0, merkle.EMPTY_ROOT)
    if submission.old != known.size:  # 3 a log that goes back to before what it showed us (roll-back)
        raise Refused("witnessing.other-size", size=known.size)
    if known.size == tree.size and known.root != tree.root:  # 4 two trees of one size (split view)
        raise Refused("witnessing.fork", size=known.size)
    try:  # 5 another past under a larger tree (rewritten history)
        merkle.verify_consistency(known.size, tree.size, known.root, tree.root, submission.proof)
    except Refused:
        raise Refused("witnessing.not-consistent", old=known.size, size=tree.size) from None
    return tree


def cosignatures(answer: bytes) -> tuple[SignatureLine, ...]:
    """The lines of a witness's answer. Raises Refused: `witnessing.answer`, `note.*`."""
    try:
        text = answer.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("witnessing.answer") from None
    lines: Sequence[str] = text.split("\n")
    if len(answer) > BODY_BYTES or lines[-1] or not 1 < len(lines) <= note.SIGNATURES:
        raise Refused("witnessing.answer")
    return tuple(map(SignatureLine.parse, lines[:-1]))
