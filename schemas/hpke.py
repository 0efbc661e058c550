"""HPKE (RFC 9180, base mode): seal bytes to a public key, in two suites, with key ids.

Refuses: an X25519 key of small order or in a non-canonical encoding, a malformed ML-KEM key, a wrong length; and says
only that it cannot open, never why (a wrong key, another `info` and a changed byte look alike).
Keeps: the suite is an argument that the caller took from the directory or from its own key, never from a message; both
suites use HKDF-SHA256 and AES-256-GCM. Randomness is the library's own: an ephemeral key must never be chosen.
Source: docs/protocol.md 1 and 5; RFC 9180; RFC 7748; FIPS 203; draft-connolly-cfrg-xwing-kem for the hybrid (0x647A).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from schemas.errors import Refused
from schemas.names import Kid


class Suite(IntEnum):
    """HPKE key encapsulations by their number; the rest of the suite is fixed."""

    X25519 = 0x0020
    MLKEM768_X25519 = 0x647A


_MLKEM_PUBLIC: Final = 1184
_MLKEM_SEED: Final = 64
_X25519_SIZE: Final = 32
_TAG: Final = 16

PUBLIC_SIZE: Final[Mapping[Suite, int]] = MappingProxyType(
    {Suite.X25519: _X25519_SIZE, Suite.MLKEM768_X25519: _MLKEM_PUBLIC + _X25519_SIZE}
)
"""Bytes of a raw public key; the hybrid's is ML-KEM-768 (1184) | X25519 (32)."""

OVERHEAD: Final[Mapping[Suite, int]] = MappingProxyType(
    {Suite.X25519: _X25519_SIZE + _TAG, Suite.MLKEM768_X25519: 1088 + _X25519_SIZE + _TAG}
)
"""Bytes that sealing adds: the encapsulated key, in front, and the tag."""

_ENGINE: Final[Mapping[Suite, hpke.Suite]] = MappingProxyType(
    {
        Suite.X25519: hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
        Suite.MLKEM768_X25519: hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    }
)

_P: Final = 2**255 - 19
_ORDER_8_U: Final = (
    int.from_bytes(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"),
    int.from_bytes(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"),
)
# u of the points of order 1, 2, 4 and 8 on the curve and its twist: any secret times one of them is zero.
_SMALL_ORDER_U: Final = frozenset({0, 1, _P - 1, *_ORDER_8_U})

_Public = x25519.X25519PublicKey | hpke.MLKEM768X25519PublicKey
_Secret = x25519.X25519PrivateKey | hpke.MLKEM768X25519PrivateKey


def kid_of(suite: Suite, raw_public: bytes) -> Kid:
    """Key id: SHA-256(u16 suite | raw public key), protocol 1."""
    return Kid(sha256(suite.to_bytes(2, "big") + raw_public).digest())


def check_public(suite: Suite, raw: bytes) -> None:
    """Is this a public key that may stand in a directory? Raises Refused `hpke.*` with what is wrong."""
    if len(raw) != PUBLIC_SIZE[suite]:
        raise Refused("hpke.public-key-length", length=len(raw), expected=PUBLIC_SIZE[suite])
    u = int.from_bytes(raw[-_X25519_SIZE:], "little")
    if u >= _P:
        raise Refused("hpke.non-canonical-key")
    if u in _SMALL_ORDER_U:
        raise Refused("hpke.small-order-key")
    _public(suite, raw)


def _public(suite: Suite, raw: bytes) -> _Public:
    classical = x25519.X25519PublicKey.from_public_bytes(raw[-_X25519_SIZE:])
    if suite is Suite.X25519:
        return classical
    try:  # FIPS 203, 7.2: every coefficient below q, or the encapsulation is undefined
        lattice = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC])
    except ValueError:
        raise Refused("hpke.malformed-key") from None
    return hpke.MLKEM768X25519PublicKey(lattice, classical)


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """A private HPKE key with its public half; never shows its secret."""

    suite: Suite
    public: bytes
    kid: Kid
    _raw: bytes
    _secret: _Secret

    @classmethod
    def generate(cls, suite: Suite) -> Self:
        """A fresh key from the operating system's randomness."""
        classical = x25519.X25519PrivateKey.generate().private_bytes_raw()
        if suite is Suite.X25519:
            return cls.from_raw(suite, classical)
        return cls.from_raw(suite, mlkem.MLKEM768PrivateKey.generate().private_bytes_raw() + classical)

    @classmethod
    def from_raw(cls, suite: Suite, raw: bytes) -> Self:
        """From X25519's 32 bytes, or the ML-KEM-768 seed (64) | X25519 (32). Raises Refused `hpke.private-key`."""
        expected = _X25519_SIZE if suite is Suite.X25519 else _MLKEM_SEED + _X25519_SIZE
        if len(raw) != expected:
            raise Refused("hpke.private-key", length=len(raw), expected=expected)
        classical = x25519.X25519PrivateKey.from_private_bytes(raw[-_X25519_SIZE:])
        public = classical.public_key().public_bytes_raw()
        if suite is Suite.X25519:
            return cls(suite, public, kid_of(suite, public), raw, classical)
        lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED])
        public = lattice.public_key().public_bytes_raw() + public
        return cls(suite, public, kid_of(suite, public), raw, hpke.MLKEM768X25519PrivateKey(lattice, classical))

    def to_raw(self) -> bytes:
        """The secret bytes that `from_raw` takes."""
        return self._raw

    def __repr__(self) -> str:
        return f"SealingKey({self.suite.name}, kid={self.kid.hex()[:16]})"


def seal(suite: Suite, raw_public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Encapsulated key | ciphertext | tag, `OVERHEAD[suite]` bytes longer than the plaintext.

    Raises Refused `hpke.*` when the public key is not one that `check_public` accepts.
    """
    check_public(suite, raw_public)
    return _ENGINE[suite].encrypt(plaintext, _public(suite, raw_public), info)


def open_(key: SealingKey, ciphertext: bytes, info: bytes) -> bytes:
    """The plaintext that was sealed to this key under this `info`. Raises Refused `hpke.cannot-open`.

    An encapsulated X25519 key of small order ends here too: the library refuses an all-zero shared secret.
    """
    try:
        return _ENGINE[key.suite].decrypt(ciphertext, key._secret, info)
    except (InvalidTag, ValueError):
        raise Refused("hpke.cannot-open") from None
