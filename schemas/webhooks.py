"""Webhooks: Standard Webhooks messages, as bytes: how one is signed, and how whoever gets one believes it.

    webhook-id         the same at every attempt: the receiver's idempotency key
    webhook-timestamp  seconds, of this attempt
    webhook-signature  one for each key, new and old while keys rotate: `v1a,` Ed25519 or `v1,` HMAC-SHA-256,
                       over `id.timestamp.body`
    keys               whsk_ seed or seed and public key · whpk_ public key · whsec_ shared secret, each in base64

Refuses: a key that is none; a message that no known key signed, or that is older or newer than the tolerance.
Keeps: no clock and no randomness; keys are compared in constant time.
Source: Standard Webhooks 1.0.0, "Signature scheme" and "Verifying webhook authenticity".
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from schemas.errors import Refused
from schemas.names import Instant

TOLERANCE_SECONDS: Final = 300
SIGNATURES: Final = 16
"""Entries of `webhook-signature` that a receiver looks at."""

Signer = Callable[[bytes], str]
"""Bytes to one entry of `webhook-signature`."""


def signer_of(key: str, pointer: str = "") -> Signer:
    """How a key signs: `whsk_` and base64 of 32 bytes (seed) or 64 (seed and public key), `whsec_` and 24 to 64 bytes.

    Raises Refused("webhook.key").
    """
    prefix, raw = _raw(key)
    if prefix == "whsk" and len(raw) in {32, 64}:
        return _ed25519(raw, pointer)
    if prefix == "whsec" and 24 <= len(raw) <= 64:
        return lambda signed: f"v1,{_base64(hmac.digest(raw, signed, hashlib.sha256))}"
    raise Refused("webhook.key", pointer)


def public_key_of(key: str) -> str:
    """What the agency gets to verify with: `whpk_` and base64 of the public key. Raises Refused("webhook.key")."""
    signer_of(key)
    if not key.startswith("whsk_"):
        raise Refused("webhook.key")
    private = Ed25519PrivateKey.from_private_bytes(_raw(key)[1][:32])
    return f"whpk_{_base64(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))}"


def headers(message_id: str, at: Instant, body: bytes, signers: Iterable[Signer]) -> dict[str, str]:
    """The three headers of one attempt."""
    seconds = str(at // 1000)
    signed = _signed(message_id, seconds, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(sign(signed) for sign in signers),
    }


def verify(told: Mapping[str, str], body: bytes, keys: Iterable[str], at: Instant) -> str:
    """The message's id, if one of these keys (`whpk_` or `whsec_`) signed these bytes within five minutes of `at`.

    `told`: the headers, by lower-case name. Raises Refused: `webhook.headers`, `webhook.time`, `webhook.signature`,
    `webhook.key`.
    """
    message_id, seconds = told.get("webhook-id", ""), told.get("webhook-timestamp", "")
    entries = told.get("webhook-signature", "").split(" ")[:SIGNATURES]
    if not message_id or "." in message_id or not (seconds.isascii() and seconds.isdigit() and len(seconds) < 13):
        raise Refused("webhook.headers")
    if abs(at // 1000 - int(seconds)) > TOLERANCE_SECONDS:  # a message that was recorded and is played again
        raise Refused("webhook.time")
    signed = _signed(message_id, seconds, body)
    # Every key is looked at, whatever the one before said: how long it takes tells nothing of which one it was.
    found = [_verifies(key, entry, signed) for key in keys for entry in entries]
    if True not in found:
        raise Refused("webhook.signature")
    return message_id


def _verifies(key: str, entry: str, signed: bytes) -> bool:
    prefix, raw = _raw(key)
    if prefix == "whsec":
        return hmac.compare_digest(signer_of(key)(signed).encode(), entry.encode())
    if prefix != "whpk" or len(raw) != 32:
        raise Refused("webhook.key")
    version, _, signature = entry.partition(",")
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature, validate=True), signed)
    except (InvalidSignature, ValueError):  # binascii.Error is one too
        return False
    return version == "v1a"


def _signed(message_id: str, seconds: str, body: bytes) -> bytes:
    return f"{message_id}.{seconds}.".encode() + body


def _raw(key: str) -> tuple[str, bytes]:
    """Prefix and bytes of a key; no bytes where it is none."""
    prefix, _, encoded = key.partition("_")
    try:
        return prefix, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return prefix, b""


def _ed25519(raw: bytes, pointer: str) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(raw[:32])
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if raw[32:] not in {b"", public}:
        # Signing under another public key than the seed's own gives the seed away.
        raise Refused("webhook.key", pointer)
    return lambda signed: f"v1a,{_base64(private.sign(signed))}"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
