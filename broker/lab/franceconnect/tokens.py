"""Tokens: what the provider signs, with `cryptography` alone: whoever verifies has another library."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


def text(raw: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(raw).decode().rstrip("=")


def signed(claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey, kid: str) -> str:
    """A JWS, ES256."""
    head = {"alg": "ES256", "typ": "JWT", "kid": kid}
    told = ".".join(text(json.dumps(part, ensure_ascii=False).encode()) for part in (head, claims))
    r, s = decode_dss_signature(key.sign(told.encode(), ec.ECDSA(SHA256())))
    return f"{told}.{text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def public(key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, str]:
    """The public half as a JWK."""
    numbers = key.public_key().public_numbers()
    x, y = (text(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256"}
