"""The intake's receipt: the broker says that it keeps a manifest since an instant. What a loss would show against.

Refuses: a receipt that is not of its form, or that another than the pinned broker signed.
Keeps: DSSE in JSON with sorted keys and no spaces, so that equal receipts are equal bytes.
Source: docs/protocol.md, section 5, "What the intake answers"; DSSE v1.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas import signing
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.names import DeclarationId, Instant, Kid, ManifestDigest, PartyId
from schemas.signing import PrivateKey

RECEIPT_TYPE: Final = "application/vnd.unefois.intake-receipt.v1+json"


@dataclass(frozen=True, slots=True)
class IntakeReceipt:
    """Whose declaration is kept, under which manifest (its SHA-256), since when."""

    broker: PartyId
    source: PartyId
    declaration_id: DeclarationId
    manifest: ManifestDigest
    received_at: Instant

    def sign(self, signer: PrivateKey) -> bytes:
        """The signed receipt, JSON."""
        body = {
            "broker": self.broker,
            "declaration": self.declaration_id.hex(),
            "manifest": self.manifest.hex(),
            "received_at": self.received_at,
            "source": self.source,
        }
        payload = _written(body)
        signature = b64encode(signer.sign(signing.pae(RECEIPT_TYPE, payload))).decode()
        return _written(
            {
                "payload": b64encode(payload).decode(),
                "payloadType": RECEIPT_TYPE,
                "signatures": [{"keyid": signer.kid.hex(), "sig": signature}],
            }
        )


def verify(signed: Mapping[str, Any], directory: Directory) -> IntakeReceipt:
    """A receipt that the broker of this pinned directory signed, with a key that was good at its instant.

    Raises Refused: `intake-receipt.malformed`, `.signature`, and `directory.*`.
    """
    kid, signature, payload = _parts(signed)
    key = directory.signing_key(kid)
    if not signing.verify(key.algorithm, key.public, signature, signing.pae(RECEIPT_TYPE, payload)):
        raise Refused("intake-receipt.signature", "/signatures/0")
    receipt = _read(payload)
    if receipt.broker != directory.broker:
        raise Refused("intake-receipt.signature", "/payload/broker")
    directory.check_signer(directory.broker, kid, receipt.received_at)
    return receipt


def _parts(signed: Mapping[str, Any]) -> tuple[Kid, bytes, bytes]:
    try:
        (one,) = signed["signatures"]
        told = (
            Kid.parse(one["keyid"]),
            b64decode(one["sig"], validate=True),
            b64decode(signed["payload"], validate=True),
        )
    except (KeyError, TypeError, ValueError, AttributeError, Refused):
        raise Refused("intake-receipt.malformed") from None
    if signed.get("payloadType") != RECEIPT_TYPE:
        raise Refused("intake-receipt.malformed", "/payloadType")
    return told


def _read(payload: bytes) -> IntakeReceipt:
    try:
        told = json.loads(payload)
        receipt = IntakeReceipt(
            PartyId(told["broker"]),
            PartyId(told["source"]),
            DeclarationId.parse(told["declaration"]),
            ManifestDigest.parse(told["manifest"]),
            Instant(told["received_at"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, Refused):
        raise Refused("intake-receipt.malformed", "/payload") from None
    if type(receipt.received_at) is not int:
        raise Refused("intake-receipt.malformed", "/payload/received_at")
    return receipt


def _written(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
