"""Checkpoints: the ledger's size and root as a signed note, and the cosignatures of witnesses who saw it only grow.

Refuses: a checkpoint of another origin, one its log did not sign, a quorum that repeats a key or cannot be reached.
Keeps: a checkpoint is believed only as `VerifiedCheckpoint`, which `verify` alone makes; a witness counts once.
Source: c2sp.org/tlog-checkpoint; c2sp.org/tlog-cosignature (0x04 Ed25519 and 0x06 ML-DSA-44); c2sp.org/tlog-policy
    for what makes two witnesses the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from schemas import merkle, note, signing
from schemas.errors import Refused
from schemas.names import Instant
from schemas.note import KeyType, Note, SignatureLine, VerifierKey
from schemas.signing import PrivateKey

SECONDS_MAX = 2**63 - 1

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x1f]")
_TIME_BYTES = 8


def from_decimal(text: str) -> int | None:
    """A number from 0 to 2**63 - 1, or None unless it is written in the one canonical way."""
    number = int(text) if _DECIMAL.fullmatch(text) else -1
    return number if 0 <= number <= merkle.SIZE_MAX else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: who it is, how many entries it has, and its 32-byte root. Not verified."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or _CONTROL.search(self.origin):
            raise Refused("checkpoint.origin")
        if not 0 <= self.size <= merkle.SIZE_MAX:
            raise Refused("checkpoint.size")
        if len(self.root) != merkle.HASH_BYTES or (self.size == 0 and self.root != merkle.EMPTY_ROOT):
            raise Refused("checkpoint.root", length=len(self.root))
        if any(not line or _CONTROL.search(line) for line in self.extensions):
            raise Refused("checkpoint.extension")

    @classmethod
    def parse(cls, body: str) -> Self:
        """From a note's text. Raises Refused: `checkpoint.lines`, `.origin`, `.size`, `.root`, `.extension`."""
        lines = body.split("\n")
        if len(lines) < 4 or lines.pop():
            raise Refused("checkpoint.lines", got=len(lines))
        size, root = from_decimal(lines[1]), note.from_base64(lines[2])
        if size is None:
            raise Refused("checkpoint.size")
        if root is None:
            raise Refused("checkpoint.root", length=len(lines[2]))
        return cls(lines[0], size, root, tuple(lines[3:]))

    @property
    def body(self) -> str:
        """The note's text: origin, size, root, extensions, each with its newline."""
        lines = (self.origin, str(self.size), note.base64_of(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A witness's statement: at this second it knew no larger tree of this log, and this one continues all it saw."""

    name: str
    seconds: int


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that its log signed, with the witnesses whose cosignatures were verified, in the caller's order."""

    checkpoint: Checkpoint
    witnesses: tuple[Cosigned, ...]


def sign(checkpoint: Checkpoint, key: PrivateKey) -> Note:
    """The checkpoint signed by its log's Ed25519 key, whose name is the origin. Raises Refused("note.*")."""
    return note.sign(checkpoint.body, checkpoint.origin, key)


def cosign(signed: Note, name: str, key: PrivateKey, type_: KeyType, at: Instant) -> SignatureLine:
    """A witness's line for a checkpoint that it has verified; the witness adds it with `Note.plus`.

    Raises Refused: `checkpoint.cosignature-type`, `checkpoint.cosignature-time`, what `Checkpoint.parse` raises.
    """
    verifier, seconds = VerifierKey.of(name, key, type_), at // 1000
    if seconds <= 0:
        raise Refused("checkpoint.cosignature-time")
    stamped = key.sign(_cosigned_message(verifier, seconds, Checkpoint.parse(signed.text)))
    return SignatureLine(name, verifier.id, seconds.to_bytes(_TIME_BYTES, "big") + stamped)


def verify(
    signed: Note, log: VerifierKey, witnesses: Sequence[VerifierKey] = (), needed: int = 0
) -> VerifiedCheckpoint:
    """Believe a checkpoint: signed by its log, and cosigned by at least `needed` of the witnesses.

    Raises Refused: `checkpoint.witness-repeated`, `checkpoint.quorum-impossible`, `checkpoint.cosignature-type`,
    `checkpoint.other-log`, `checkpoint.not-signed`, `note.bad-signature`, `checkpoint.bad-cosignature`,
    `checkpoint.quorum`, what `Checkpoint.parse` raises.
    """
    check_quorum(
        log, witnesses, needed
    )  # 1 a key under two names would be counted twice; a log is no witness of itself
    checkpoint = Checkpoint.parse(signed.text)  # 2
    if checkpoint.origin != log.name:  # 3 the true checkpoint of another log
        raise Refused("checkpoint.other-log")
    if not note.verify(signed, log):  # 4 a checkpoint that anybody wrote
        raise Refused("checkpoint.not-signed")
    seen = tuple(
        told for witness in witnesses if (told := _cosigned(signed, checkpoint, witness))
    )  # 5 forged witnesses
    if len(seen) < needed:  # 6 a log that shows each reader its own tree (split view)
        raise Refused("checkpoint.quorum", got=len(seen), needed=needed)
    # Absent on purpose: the age of a cosignature. An old tree proves inclusion as well as a new one; freshness is the
    # question of a monitor, who has a clock and finds the seconds in the answer.
    return VerifiedCheckpoint(checkpoint, seen)


def check_quorum(log: VerifierKey, witnesses: Sequence[VerifierKey], needed: int) -> None:
    """Raises Refused `checkpoint.witness-repeated`, `.quorum-impossible`, `.cosignature-type`."""
    if len({log.public, *(witness.public for witness in witnesses)}) != len(witnesses) + 1:
        raise Refused("checkpoint.witness-repeated")
    if not 0 <= needed <= len(witnesses):
        raise Refused("checkpoint.quorum-impossible", needed=needed, witnesses=len(witnesses))
    for witness in witnesses:
        _check_type(witness.type)


def _check_type(type_: KeyType) -> None:
    if type_ is KeyType.ED25519:
        raise Refused("checkpoint.cosignature-type", type=int(type_))


def _cosigned(signed: Note, checkpoint: Checkpoint, witness: VerifierKey) -> Cosigned | None:
    """What the witness says under this note, or None where it says nothing. Every line in its name must verify."""
    newest = 0
    for line in signed.signed_by(witness):
        seconds = int.from_bytes(line.signature[:_TIME_BYTES], "big")
        stamped = line.signature[_TIME_BYTES:]
        if not 0 < seconds <= SECONDS_MAX:
            raise Refused("checkpoint.bad-cosignature")
        message = _cosigned_message(witness, seconds, checkpoint)
        if not signing.verify(witness.type.algorithm, witness.public, stamped, message):
            raise Refused("checkpoint.bad-cosignature")
        newest = max(newest, seconds)
    return Cosigned(witness.name, newest) if newest else None


def _cosigned_message(witness: VerifierKey, seconds: int, checkpoint: Checkpoint) -> bytes:
    """The bytes that a cosignature signs, c2sp.org/tlog-cosignature."""
    _check_type(witness.type)
    if witness.type is KeyType.COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {seconds}\n{checkpoint.body}".encode()
    name, origin = witness.name.encode(), checkpoint.origin.encode()
    if len(origin) > note.NAME_BYTES:
        raise Refused("checkpoint.origin")
    return b"".join(
        (
            b"subtree/v1\n\x00",
            bytes((len(name),)),
            name,
            seconds.to_bytes(8, "big"),
            bytes((len(origin),)),
            origin,
            bytes(8),  # start: the whole tree
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )
