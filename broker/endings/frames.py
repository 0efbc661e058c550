"""Frames: one record of the journal as it lies on a disk or in a row: encrypted, numbered, chained.

    header  "unefois-endings/1 " | journal 16 | salt 8
    frame   u32 bytes that follow | u64 number | nonce 12 | AES-256-GCM(key, record, aad = place)
    place   "unefois/endings/v1" 0x00 | journal 16 | u64 number | SHA-256 of the frame before, or of the header

Refuses: a frame that is not the next of its chain: edited, moved, or after one that was cut out.
Keeps: who reads the file knows how many endings there were and how long, and nothing else of them.
Source: NIST SP 800-38D (AES-GCM); the nonces are random, and one key serves fewer than 2^32 records.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.ended import ENDING_BYTES, Ending, Mark, decode_mark
from broker.ports import Entropy, KeyKind, KeyStore
from schemas.errors import Corrupt

MAGIC: Final = b"unefois-endings/1 "
JOURNAL_BYTES: Final = 16
SALT_BYTES: Final = 8
HEADER_BYTES: Final = len(MAGIC) + JOURNAL_BYTES + SALT_BYTES
LENGTH_BYTES: Final = 4
KEY: Final = "journal"
"""The name of the journal's key in the key store."""
_BEFORE: Final = 8 + 12
_TAG: Final = 16
MOST_BYTES: Final = _BEFORE + ENDING_BYTES + _TAG
_PLACE: Final = b"unefois/endings/v1\x00"
_MARK: Final = b"unefois/endings-mark/v1\x00"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chain is: the number of its last record, and the digest that the next one commits to."""

    number: int
    digest: bytes


class Frames:
    """Seals and opens, with the journal's key."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def header(self, journal: bytes) -> bytes:
        """Of a new file, or of one that is written anew."""
        return MAGIC + journal + self._entropy(SALT_BYTES)

    def seal(self, journal: bytes, number: int, after: Place, record: bytes) -> bytes:
        """The frame of a record."""
        nonce = self._entropy(12)
        sealed = self._cipher.encrypt(nonce, record, _place(journal, number, after.digest))
        body = number.to_bytes(8, "big") + nonce + sealed
        return len(body).to_bytes(LENGTH_BYTES, "big") + body

    def open(self, journal: bytes, after: Place, frame: bytes) -> tuple[Place, Ending]:
        """The record of the frame after this place. Raises Corrupt `endings.damaged`."""
        body = frame[LENGTH_BYTES:]
        number = int.from_bytes(body[:8], "big")
        try:
            if number <= after.number:
                raise ValueError
            record = self._cipher.decrypt(body[8:_BEFORE], body[_BEFORE:], _place(journal, number, after.digest))
            return Place(number, sha256(frame).digest()), Ending.decode(record)
        except (InvalidTag, ValueError, IndexError):
            raise Corrupt("endings.damaged", number=after.number + 1) from None

    def seal_mark(self, journal: bytes, count: int, mark: bytes) -> bytes:
        """The ledger's mark, the `count`-th."""
        nonce, head = self._entropy(12), count.to_bytes(8, "big")
        return head + nonce + self._cipher.encrypt(nonce, mark, _MARK + journal + head)

    def open_mark(self, journal: bytes, sealed: bytes) -> tuple[int, Mark]:
        """Its count, and the mark. Raises Corrupt `endings.damaged`."""
        try:
            raw = self._cipher.decrypt(sealed[8:_BEFORE], sealed[_BEFORE:], _MARK + journal + sealed[:8])
            return int.from_bytes(sealed[:8], "big"), decode_mark(raw)
        except (InvalidTag, ValueError, KeyError):
            raise Corrupt("endings.damaged", number=0) from None


def start(header: bytes) -> tuple[bytes, Place]:
    """The journal's identity and the place before its first record. Raises Corrupt `endings.damaged`."""
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        raise Corrupt("endings.damaged", number=0)
    return header[len(MAGIC) : len(MAGIC) + JOURNAL_BYTES], Place(0, sha256(header).digest())


def torn(frame: bytes) -> bool:
    """Whether a whole last frame may be one that a power cut interrupted: where its tag should be is nothing."""
    return not any(frame[-_TAG:])


def key_of(keys: KeyStore) -> bytes | None:
    """The journal's key, 32 bytes; None where there never was a journal."""
    return keys.read(KeyKind.ENDINGS, KEY) if KEY in keys.names(KeyKind.ENDINGS) else None


def _place(journal: bytes, number: int, digest: bytes) -> bytes:
    return _PLACE + journal + number.to_bytes(8, "big") + digest
