"""The directory's keys as a JWK Set, for readers that know no other form.

Refuses: nothing.
Keeps: what is in it is good at that instant: an ended, revoked or future key is left out, for a JWK has no time. The
hybrid sealing keys are left out as well: no JWK of theirs is registered.
Source: RFC 7517; RFC 8037 (OKP: Ed25519, X25519); RFC 7518, section 6.2 (P-256); draft-ietf-cose-dilithium (AKP).
"""

from base64 import urlsafe_b64encode
from typing import Any, assert_never

from schemas.directory import Directory, SealingKeyEntry, SigningKeyEntry
from schemas.hpke import Suite
from schemas.names import Instant
from schemas.signing import Algorithm


def jwk_set(directory: Directory, at: Instant) -> dict[str, Any]:
    """`{"keys": [...]}`; `kid` is the protocol's, in hexadecimal, `party` whose key it is."""
    signing = [_signing(one) for one in directory.signing if _good(one, at)]
    sealing = [_sealing(one) for one in directory.sealing if _good(one, at) and one.suite is Suite.X25519]
    return {"keys": signing + sealing}


def _good(one: SigningKeyEntry | SealingKeyEntry, at: Instant) -> bool:
    ended = one.valid_to is not None and one.valid_to < at
    revoked = one.revoked_at is not None and one.revoked_at <= at
    return one.valid_from <= at and not ended and not revoked


def _signing(one: SigningKeyEntry) -> dict[str, Any]:
    about = {"kid": one.kid.hex(), "use": "sig", "party": one.party}
    if one.algorithm is Algorithm.ED25519:
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(one.public), "alg": "Ed25519", **about}
    if one.algorithm is Algorithm.ECDSA_P256:
        point = {"x": _text(one.public[1:33]), "y": _text(one.public[33:])}
        return {"kty": "EC", "crv": "P-256", **point, "alg": "ES256", **about}
    if one.algorithm is Algorithm.ML_DSA_44:
        return {"kty": "AKP", "alg": "ML-DSA-44", "pub": _text(one.public), **about}
    assert_never(one.algorithm)


def _sealing(one: SealingKeyEntry) -> dict[str, Any]:
    return {
        "kty": "OKP",
        "crv": "X25519",
        "x": _text(one.public),
        "kid": one.kid.hex(),
        "use": "enc",
        "party": one.party,
    }


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
