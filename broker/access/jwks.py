"""JWKs: the public keys of OAuth2 clients, one alone or a set that a client publishes.

Refuses: a private or shared key, any curve but Ed25519 and P-256, more than a key's or a set's size.
Keeps: what a set holds besides such keys is passed over, as RFC 7517 has it; two keys of one name name nobody.
Source: RFC 7517, section 5 (sets), RFC 7638 (thumbprints), RFC 9864 (Ed25519).
"""

import json
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from schemas.errors import Refused
from schemas.names import Kid

KEY_BYTES: Final = 4096
SET_KEYS: Final = 32
NAME_CHARACTERS: Final = 128

ALGORITHMS: Final = {"Ed25519": ("Ed25519", "EdDSA"), "P-256": ("ES256",)}
"""Curve -> the names of the one algorithm that its keys sign with: what a header says about it is compared, never
followed. RFC 9864 deprecates the name EdDSA, which leaves the curve open; clients still send it, and a trusted key has
its curve.
"""

Key = OKPKey | ECKey


def public_key(jwk: bytes | str) -> Key:
    """One public key of a JWK's text. Raises Refused `oauth.key`."""
    try:
        return _public(json.loads(jwk) if len(jwk) <= KEY_BYTES else None)
    except (ValueError, RecursionError):
        raise Refused("oauth.key", "/key") from None


def key_set(content: bytes) -> Mapping[str, Key]:
    """The keys of a JWK Set that sign: by their own name, and by their thumbprint.

    Raises Refused `oauth.key-set` for what is no set, or has more than SET_KEYS keys.
    """
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    listed = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list) or len(listed) > SET_KEYS:
        raise Refused("oauth.key-set")
    names = [(name, key) for jwk in listed if (key := _signing(jwk)) is not None for name in _names(jwk, key)]
    often = Counter(name for name, _ in names)
    return {name: key for name, key in names if often[name] == 1}


def curve(key: Key) -> str:
    """`Ed25519` or `P-256`."""
    return str(key.as_dict(private=False)["crv"])


def thumbprint(key: Key) -> Kid:
    """Its RFC 7638 thumbprint, 32 bytes."""
    return Kid(urlsafe_b64decode(f"{key.thumbprint()}="))


def _signing(jwk: Any) -> Key | None:
    """A key of a set, when it is one of ours and meant for signatures."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or len(json.dumps(jwk)) > KEY_BYTES:
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = _public(jwk)
    except Refused:
        return None
    return key if jwk.get("alg", ALGORITHMS[curve(key)][0]) in ALGORITHMS[curve(key)] else None


def _names(jwk: Mapping[str, Any], key: Key) -> set[str]:
    told = jwk.get("kid")
    own = {told} if isinstance(told, str) and 0 < len(told) <= NAME_CHARACTERS else set()
    return own | {key.thumbprint()}


def _public(told: Any) -> Key:
    """Raises Refused `oauth.key`."""
    try:
        if not isinstance(told, dict) or "d" in told or told.get("crv") not in ALGORITHMS:
            raise Refused("oauth.key", "/key")
        kept = {name: told[name] for name in ("kty", "crv", "x", "y") if name in told}
        return OKPKey.import_key(kept) if told["crv"] == "Ed25519" else ECKey.import_key(kept)
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise Refused("oauth.key", "/key") from None
