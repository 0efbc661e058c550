"""Signed notes: a text, and below it the lines of those who signed it. What checkpoints are written in.

Refuses: control characters, text that is not UTF-8, a note without a signature line, base64 in two ways of writing.
Keeps: a signature of a known key that does not verify condemns the whole note; signatures of unknown keys say nothing.
Source: c2sp.org/signed-note (signature type 0x01); the cosignatures 0x04 and 0x06 are named here, made in `checkpoint`.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256
from typing import Self

from schemas import signing
from schemas.errors import Refused
from schemas.signing import Algorithm, PrivateKey

NOTE_BYTES = 1_000_000
SIGNATURES = 100
"""Signature lines in a note; the source asks for 16 at least. The same limits as golang.org/x/mod/sumdb/note."""
NAME_BYTES = 255
"""Of a key that is known here: what a cosignature's one length byte can tell. Lines of others may have longer names."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_BAD_NAME = re.compile(r"[\s+\x00-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_ID_BYTES = 4


class KeyType(IntEnum):
    """The signature type byte: what is signed, and how."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_ML_DSA_44 = 0x06

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm of the key underneath."""
        return Algorithm.ML_DSA_44 if self is KeyType.COSIGNATURE_ML_DSA_44 else Algorithm.ED25519


def base64_of(raw: bytes) -> str:
    """RFC 4648, section 4, with padding."""
    return base64.b64encode(raw).decode("ascii")


def from_base64(text: str) -> bytes | None:
    """The bytes, or None unless the text is exactly what `base64_of` writes (no space, no loose last bits)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64_of(raw) == text else None


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Who may sign and with which key: `<name>+<key id>+<base64 of type and public key>`, a vkey."""

    name: str
    type: KeyType
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        signing.check_public(self.type.algorithm, self.public)

    @classmethod
    def of(cls, name: str, key: PrivateKey, type_: KeyType = KeyType.ED25519) -> Self:
        """The verifier key of a private key. Raises Refused("note.key-type") where the key is of another algorithm."""
        if key.algorithm is not type_.algorithm:
            raise Refused("note.key-type", type=int(type_))
        return cls(name, type_, key.public)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text.

        Raises Refused: `note.key-malformed`, `note.key-type`, `note.key-id-differs`, `note.name`, `signing.*`.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = from_base64(encoded)
        if not raw or not _KEY_ID.fullmatch(key_id):
            raise Refused("note.key-malformed", length=len(text))
        if raw[0] not in KeyType.__members__.values():
            raise Refused("note.key-type", type=raw[0])
        key = cls(name, KeyType(raw[0]), raw[1:])
        if key.id.hex() != key_id:
            raise Refused("note.key-id-differs", expected=key.id.hex())
        return key

    @property
    def id(self) -> bytes:
        """The key id, 4 bytes: not a hash to trust, a name to find the key by."""
        return sha256(self.name.encode() + b"\n" + bytes((self.type,)) + self.public).digest()[:_ID_BYTES]

    @property
    def text(self) -> str:
        """What `parse` reads."""
        return f"{self.name}+{self.id.hex()}+{base64_of(bytes((self.type,)) + self.public)}"


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line below a note: `— <name> <base64 of key id and signature>`."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_name(self.name, limit=NOTE_BYTES)  # a stranger's: the source sets no limit
        if len(self.key_id) != _ID_BYTES or not self.signature:
            raise Refused("note.signature-line")

    @classmethod
    def parse(cls, line: str) -> Self:
        """From a line without its newline. Raises Refused("note.signature-line") or Refused("note.name")."""
        name, space, encoded = line.removeprefix("— ").partition(" ")
        raw = from_base64(encoded)
        if not line.startswith("— ") or not space or raw is None:
            raise Refused("note.signature-line")
        return cls(name, raw[:_ID_BYTES], raw[_ID_BYTES:])

    @property
    def text(self) -> str:
        """What `parse` reads, with its newline."""
        return f"— {self.name} {base64_of(self.key_id + self.signature)}\n"

    def names(self, key: VerifierKey) -> bool:
        """Whether the line says that this key made it. Says nothing about the signature."""
        return self.name == key.name and self.key_id == key.id


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and the lines below it. Nothing in it was verified."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith("\n"):
            raise Refused("note.text")
        if _CONTROL.search(self.text):
            raise Refused("note.control-character")
        if not self.signatures:
            raise Refused("note.no-signature")
        if len(self.signatures) > SIGNATURES:
            raise Refused("note.too-many-signatures", got=len(self.signatures), limit=SIGNATURES)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """A note from its bytes: the text goes to the last empty line. Raises Refused("note.*")."""
        if len(raw) > NOTE_BYTES:
            raise Refused("note.too-long", got=len(raw), limit=NOTE_BYTES)
        try:
            whole = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("note.not-utf8") from None
        if _CONTROL.search(whole):
            raise Refused("note.control-character")
        text, blank, below = whole.rpartition("\n\n")
        if not blank or not below:
            raise Refused("note.no-signature")
        if not below.endswith("\n"):
            raise Refused("note.signature-line")
        lines = below[:-1].split("\n", SIGNATURES)
        if len(lines) > SIGNATURES:
            raise Refused("note.too-many-signatures", got=len(lines), limit=SIGNATURES)
        return cls(text + "\n", tuple(map(SignatureLine.parse, lines)))

    def encode(self) -> bytes:
        """What `parse` reads."""
        return f"{self.text}\n{''.join(line.text for line in self.signatures)}".encode()

    def signed_by(self, key: VerifierKey) -> tuple[SignatureLine, ...]:
        """The lines that say they are this key's: their signatures are still to be verified."""
        return tuple(line for line in self.signatures if line.names(key))

    def plus(self, lines: Sequence[SignatureLine]) -> "Note":
        """The same note with more lines below."""
        return replace(self, signatures=(*self.signatures, *lines))


def sign(text: str, name: str, key: PrivateKey) -> Note:
    """A note of this text with the signature of one Ed25519 key. Raises Refused("note.*")."""
    line = SignatureLine(name, VerifierKey.of(name, key).id, key.sign(text.encode()))
    return Note(text, (line,))


def verify(note: Note, key: VerifierKey) -> bool:
    """Whether the note carries this key's Ed25519 signature (type 0x01).

    Raises Refused: `note.bad-signature` where a line of the key does not verify, `note.key-type` for another type.
    """
    if key.type is not KeyType.ED25519:
        raise Refused("note.key-type", type=int(key.type))
    lines = note.signed_by(key)
    for line in lines:
        if not signing.verify(Algorithm.ED25519, key.public, line.signature, note.text.encode()):
            raise Refused("note.bad-signature")
    return bool(lines)


def _check_name(name: str, limit: int = NAME_BYTES) -> None:
    if not name or len(name.encode()) > limit or _BAD_NAME.search(name):
        raise Refused("note.name", length=len(name))
