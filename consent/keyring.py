"""Keyring: a consent key at rest, wrapped under the consent epoch key that lives outside the database.

Refuses: to open what was wrapped for another grant, another version of it or another epoch; it never says why it failed
beyond that.
Keeps: a key is bound to the digest of the grant's version that stands (`rows.digest_of`): whoever edits the grant's row
has no key for what it says then, and cannot make one. With it is wrapped when the consent ends, which no row can put
off. Whoever reads the database or a backup of it has no consent key
without the epoch key; once an epoch key is destroyed, no copy of what was wrapped under it opens again.
Source: docs/architecture.md, "State, and who is trusted"; AES-256-GCM is NIST SP 800-38D.
"""

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import Corrupt
from schemas.names import GrantId, Instant

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
DIGEST_BYTES: Final = 32
WRAPPED_BYTES: Final = NONCE_BYTES + KEY_BYTES + 8 + 16

_UNDATED_BYTES: Final = WRAPPED_BYTES - 8
_LABEL: Final = b"unefois/consent-key/v3\x00"
_UNDATED: Final = b"unefois/consent-key/v2\x00"
_NEVER: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Bound:
    """What a wrapped key is bound to: its grant, the digest of the version that stands (32 bytes), the epoch (u32)."""

    grant_id: GrantId
    digest: bytes
    epoch: int

    def associated(self, label: bytes = _LABEL) -> bytes:
        """The associated data. Raises ValueError for a digest or an epoch that is none."""
        if not 0 <= self.epoch < 2**32 or len(self.digest) != DIGEST_BYTES:
            raise ValueError("an epoch is a u32, a digest has 32 bytes")
        return label + self.grant_id + self.digest + self.epoch.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is wrapped: the consent key, 32 bytes, and the consent's end date; None where it has none.

    `dated` is False for a key that was wrapped before keys had their dates: then nothing is known of it.
    """

    key: bytes = field(repr=False)
    until: Instant | None
    dated: bool = True


def wrap(kept: Kept, bound: Bound, epoch_key: bytes, nonce: bytes) -> bytes:
    """Both under the epoch key (32 bytes): nonce12 | ciphertext(key32 | u64 end) | tag16, 68 bytes; 60 without the end.

    `nonce` is 12 fresh random bytes: under one epoch key, fewer than 2^32 wraps keep a repetition unthinkable.
    Raises ValueError on a wrong length or an epoch outside u32: a fault of the program, never of its input.
    """
    if len(kept.key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("wrap takes a consent key of 32 bytes and a nonce of 12")
    until = (_NEVER if kept.until is None else kept.until).to_bytes(8, "big") if kept.dated else b""
    associated = bound.associated(_LABEL if kept.dated else _UNDATED)
    return nonce + _cipher(epoch_key).encrypt(nonce, kept.key + until, associated)


def unwrap(wrapped: bytes, bound: Bound, epoch_key: bytes) -> Kept:
    """What was wrapped.

    Raises Corrupt `keyring.cannot-unwrap`: the row was changed or moved, or is of another epoch.
    """
    label = {WRAPPED_BYTES: _LABEL, _UNDATED_BYTES: _UNDATED}.get(len(wrapped))
    if label is None:
        raise Corrupt("keyring.cannot-unwrap", grant=bound.grant_id.hex(), epoch=bound.epoch)
    nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    try:
        opened = _cipher(epoch_key).decrypt(nonce, sealed, bound.associated(label))
    except InvalidTag:
        raise Corrupt("keyring.cannot-unwrap", grant=bound.grant_id.hex(), epoch=bound.epoch) from None
    until = int.from_bytes(opened[KEY_BYTES:], "big")
    dated = label is _LABEL
    return Kept(opened[:KEY_BYTES], Instant(until) if dated and until != _NEVER else None, dated)


def unwrap_v1(wrapped: bytes, grant_id: GrantId, epoch: int, epoch_key: bytes) -> bytes:
    """The key, 32 bytes, as it was wrapped before keys were bound to a version; only the migration does it.

    Raises Corrupt `keyring.cannot-unwrap`.
    """
    nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    associated = b"unefois/consent-key/v1\x00" + grant_id + epoch.to_bytes(4, "big")
    try:
        return _cipher(epoch_key).decrypt(nonce, sealed, associated)
    except (InvalidTag, ValueError):
        raise Corrupt("keyring.cannot-unwrap", grant=grant_id.hex(), epoch=epoch) from None


def _cipher(epoch_key: bytes) -> AESGCM:
    if len(epoch_key) != KEY_BYTES:
        raise ValueError("an epoch key has 32 bytes")
    return AESGCM(epoch_key)
