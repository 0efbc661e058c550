"""Signing: three algorithms, key ids, the DSSE pre-authentication encoding, and policies that demand several at once.

Refuses: an Ed25519 key of small order or in a non-canonical encoding (under such a key one signature fits every
message), a P-256 point off the curve or compressed, a key of the wrong length; an ECDSA signature that is not 64 bytes.
Keeps: the algorithm is an argument that the caller took from the directory, never read from a message; what is signed
is always `pae(type, body)`, so a signature on one kind of document is none on another.
Source: docs/protocol.md 1 and 4; RFC 8032, FIPS 204, FIPS 186-5; DSSE v1 (github.com/secure-systems-lab/dsse).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from schemas.errors import Refused
from schemas.names import Kid


class Algorithm(IntEnum):
    """Signature algorithms by their number in protocol 1."""

    ED25519 = 1
    ML_DSA_44 = 2
    ECDSA_P256 = 3


POLICIES: Final[Mapping[int, frozenset[Algorithm]]] = MappingProxyType(
    {
        1: frozenset({Algorithm.ED25519}),
        2: frozenset({Algorithm.ML_DSA_44}),
        3: frozenset({Algorithm.ECDSA_P256}),
        4: frozenset({Algorithm.ED25519, Algorithm.ML_DSA_44}),
        5: frozenset({Algorithm.ECDSA_P256, Algorithm.ML_DSA_44}),
    }
)
"""Policy number -> the algorithms of which each must have a valid signature."""

PUBLIC_SIZE: Final[Mapping[Algorithm, int]] = MappingProxyType(
    {Algorithm.ED25519: 32, Algorithm.ML_DSA_44: 1312, Algorithm.ECDSA_P256: 65}
)
"""Bytes of a raw public key; P-256 is the uncompressed point 04 | x | y."""

SIGNATURE_SIZE: Final[Mapping[Algorithm, int]] = MappingProxyType(
    {Algorithm.ED25519: 64, Algorithm.ML_DSA_44: 2420, Algorithm.ECDSA_P256: 64}
)
"""Bytes of a signature; P-256 is r | s, 32 bytes each."""

_PRIVATE_SIZE: Final = 32
_CURVE25519_P: Final = 2**255 - 19
_CURVE25519_D: Final = -121665 * pow(121666, -1, _CURVE25519_P) % _CURVE25519_P
_ORDER_8_Y: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
# y of the eight points whose order divides 8: order 4, neutral, order 2, and the two of order 8 (each with two x).
_SMALL_ORDER_Y: Final = frozenset({0, 1, _CURVE25519_P - 1, _ORDER_8_Y, _CURVE25519_P - _ORDER_8_Y})

_Secret = ed25519.Ed25519PrivateKey | mldsa.MLDSA44PrivateKey | ec.EllipticCurvePrivateKey


def kid_of(algorithm: Algorithm, raw_public: bytes) -> Kid:
    """Key id: SHA-256(u8 algorithm | raw public key), protocol 1."""
    return Kid(sha256(bytes((algorithm,)) + raw_public).digest())


def check_public(algorithm: Algorithm, raw: bytes) -> None:
    """Is this a public key that may stand in a directory? Raises Refused `signing.*` with what is wrong.

    Not checked on purpose: whether an Ed25519 point has a component of small order beside its large one. Only the key's
    owner can make such a point, and verification here is cofactorless, so all verifiers give the same answer.
    """
    if len(raw) != PUBLIC_SIZE[algorithm]:
        raise Refused("signing.public-key-length", length=len(raw), expected=PUBLIC_SIZE[algorithm])
    if algorithm is Algorithm.ED25519:
        _check_ed25519(raw)
    elif algorithm is Algorithm.ECDSA_P256:
        _p256_point(raw)


@lru_cache(maxsize=4096)
def _check_ed25519(raw: bytes) -> None:
    """Remembered, for a directory is drawn again and again: two powers of numbers of 255 bits, 0.1 ms for each key."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _CURVE25519_P:
        raise Refused("signing.non-canonical-key")
    if y in _SMALL_ORDER_Y:
        raise Refused("signing.small-order-key")
    # RFC 8032, 5.1.3: x^2 = (y^2 - 1) / (d y^2 + 1) must be a square (Euler's criterion). x = 0 has small order: gone.
    square = (y * y - 1) * pow(_CURVE25519_D * y * y + 1, -1, _CURVE25519_P)
    if pow(square, (_CURVE25519_P - 1) // 2, _CURVE25519_P) != 1:
        raise Refused("signing.off-curve-key")


def _p256_point(raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except ValueError:
        raise Refused("signing.off-curve-key") from None


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A signing key with its public half; never shows its secret."""

    algorithm: Algorithm
    public: bytes
    kid: Kid
    _secret: _Secret

    @classmethod
    def generate(cls, algorithm: Algorithm) -> Self:
        """A fresh key from the operating system's randomness."""
        if algorithm is Algorithm.ED25519:
            return cls._of(algorithm, ed25519.Ed25519PrivateKey.generate())
        if algorithm is Algorithm.ML_DSA_44:
            return cls._of(algorithm, mldsa.MLDSA44PrivateKey.generate())
        return cls._of(algorithm, ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_raw(cls, algorithm: Algorithm, raw: bytes) -> Self:
        """From 32 bytes: the seed of Ed25519 or ML-DSA-44, the big-endian scalar of P-256. Raises Refused."""
        if len(raw) != _PRIVATE_SIZE:
            raise Refused("signing.private-key", length=len(raw), expected=_PRIVATE_SIZE)
        if algorithm is Algorithm.ED25519:
            return cls._of(algorithm, ed25519.Ed25519PrivateKey.from_private_bytes(raw))
        if algorithm is Algorithm.ML_DSA_44:
            return cls._of(algorithm, mldsa.MLDSA44PrivateKey.from_seed_bytes(raw))
        try:
            return cls._of(algorithm, ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1()))
        except ValueError:  # zero, or not below the group's order
            raise Refused("signing.private-key", length=len(raw), expected=_PRIVATE_SIZE) from None

    @classmethod
    def _of(cls, algorithm: Algorithm, secret: _Secret) -> Self:
        public = secret.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            raw = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        else:
            raw = public.public_bytes_raw()
        return cls(algorithm, raw, kid_of(algorithm, raw), secret)

    def to_raw(self) -> bytes:
        """The 32 secret bytes that `from_raw` takes."""
        if isinstance(self._secret, ec.EllipticCurvePrivateKey):
            return self._secret.private_numbers().private_value.to_bytes(_PRIVATE_SIZE, "big")
        return self._secret.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Signature of the exact bytes, in the sizes of `SIGNATURE_SIZE`; sign `pae(...)`, never a bare body."""
        if isinstance(self._secret, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self._secret.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self._secret.sign(message)

    def __repr__(self) -> str:
        return f"PrivateKey({self.algorithm.name}, kid={self.kid.hex()[:16]})"


def verify(algorithm: Algorithm, raw_public: bytes, signature: bytes, message: bytes) -> bool:
    """Is this the key's signature of the message? `raw_public` has passed `check_public`, as every directory key has.

    ECDSA accepts both s and n - s: nothing here is named or deduplicated by its signature, so that a stranger can
    write a second valid one gains nothing. Ed25519 refuses S >= L (RFC 8032, 5.1.7).
    """
    if len(signature) != SIGNATURE_SIZE[algorithm] or len(raw_public) != PUBLIC_SIZE[algorithm]:
        return False
    try:
        if algorithm is Algorithm.ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(raw_public).verify(signature, message)
        elif algorithm is Algorithm.ML_DSA_44:
            mldsa.MLDSA44PublicKey.from_public_bytes(raw_public).verify(signature, message)
        else:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            _p256_point(raw_public).verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def pae(payload_type: str, body: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: "DSSEv1" SP len(type) SP type SP len(body) SP body, lengths in bytes."""
    named = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(body), body)
