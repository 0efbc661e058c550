"""Commitments: one salted digest for each field, so that a field can be proved without showing the others.

Refuses: a salt of another length, an index or a name that does not fit its length prefix.
Keeps: every part is length-prefixed or of fixed width, so no two different fields give the same bytes to hash; every
field has a commitment, null or not, so that absence does not show.
Source: docs/protocol.md 3.
"""

from hashlib import sha256
from typing import Final

SALT_SIZE: Final = 16
COMMITMENT_SIZE: Final = 32
MAX_INDEX: Final = 0xFFFF

_DOMAIN: Final = b"unefois/field/v1\x00"


def commit(salt: bytes, index: int, name: str, value: bytes) -> bytes:
    """C_i = SHA-256(domain | salt | u16 i | u16 len(name) | name | u32 len(value) | value), 32 bytes.

    `salt` is 16 fresh random bytes, `index` and `name` are the field's in the writer schema, `value` is its Avro
    encoding. Raises ValueError when a part does not fit: only our own code can cause that.
    """
    if len(salt) != SALT_SIZE:
        raise ValueError("a commitment takes a salt of 16 bytes")
    if not 0 <= index <= MAX_INDEX:
        raise ValueError("a field's index is a u16")
    named = name.encode()
    if len(named) > 0xFFFF:
        raise ValueError("a field's name has at most 65535 bytes")
    digest = sha256(_DOMAIN + salt + index.to_bytes(2, "big"))
    digest.update(len(named).to_bytes(2, "big") + named)
    digest.update(len(value).to_bytes(4, "big") + value)
    return digest.digest()
