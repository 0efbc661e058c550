"""Pseudonyms: one stable number per citizen and sector, which two sectors cannot link.

Refuses: a master key of another length, an empty or unprintable sector.
Keeps: without the master key nobody turns a pseudonym into a subject reference, or one sector's into another's; a
pseudonym travels only inside a `Statement`, sealed to its recipient.
Source: docs/protocol.md 10; RFC 5869 (HKDF with an empty salt), RFC 4648 (base32).
"""

import hmac
from base64 import b32encode
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import Refused
from schemas.names import SubjectRef
from schemas.text import is_plain

PSEUDONYM_SIZE: Final = 20
MASTER_SIZE: Final = 32

_DOMAIN: Final = b"unefois/pseudonym/v1\x00"
_MAX_SECTOR: Final = 64


def sector_key(master: bytes, sector: str) -> bytes:
    """K_s = HKDF(master, info = domain | u16 len | sector), 32 bytes; the one key from which a sector's numbers come.

    `master` is the 32-byte master key of one pseudonym version; `sector` is NFC text of at most 64 bytes.
    Raises Refused `pseudonym.sector`, ValueError for a master key of another length.
    """
    if len(master) != MASTER_SIZE:
        raise ValueError("a pseudonym's master key has 32 bytes")
    if not is_plain(sector, _MAX_SECTOR):
        raise Refused("pseudonym.sector", length=len(sector), limit=_MAX_SECTOR)
    named = sector.encode()
    info = _DOMAIN + len(named).to_bytes(2, "big") + named
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master)


def pseudonym(key: bytes, subject: SubjectRef) -> bytes:
    """P = HMAC-SHA-256(K_s, subject reference)[0:20]."""
    return hmac.digest(key, subject, sha256)[:PSEUDONYM_SIZE]


def shown(raw: bytes) -> str:
    """A pseudonym as people see it: 32 characters of base32, upper case, no padding."""
    if len(raw) != PSEUDONYM_SIZE:
        raise ValueError("a pseudonym has 20 bytes")
    return b32encode(raw).decode()
