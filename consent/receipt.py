"""Receipt: what a citizen keeps of a consent, or of a mandate by law: JSON, signed by the broker, checked without it.

The file is a DSSE envelope around one canonical JSON document (sorted keys, UTF-8, no spaces, no floats), so the same
grant and ledger entry always give the same bytes to sign. Field names are those of ISO/IEC TS 27560:2023, clause 6.3
(header, PII processing, PII information, parties, events) and 6.4.5 (receipt metadata); the values are ours.

Refuses: to name the citizen: the principal is an opaque id that the citizen was given, never the broker's reference.
A receipt whose signature, type, version, content or spelling is not exactly as made here.
Keeps: a receipt stays readable when the catalogue of purposes changes, since it carries the words that were shown.
Source: ISO/IEC TS 27560:2023; Kantara Consent Receipt 1.1; DSSE v1; docs/protocol.md, section 9.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from consent import purposes
from consent.basis import BasisKind
from consent.grant import Grant
from consent.receipt_content import FIRST_VERSION, SCHEMA_VERSION, ReceiptContent, Terms, content_of, document_of
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.names import Kid, LeafHash
from schemas.signing import Algorithm, PrivateKey, kid_of, pae, verify

PAYLOAD_TYPE: Final = "application/vnd.unefois.consent-receipt.v1+json"
MAX_BYTES: Final = 262_144

_FAMILIES: Final = {
    BasisKind.CONSENT: frozenset({purposes.LegalFamily.CONSENT}),
    BasisKind.CHOICE: frozenset({purposes.LegalFamily.PUBLIC_TASK}),
    BasisKind.LAW: purposes.LAW,
}
_PRINCIPAL = re.compile(r"[A-Za-z0-9_-]{16,64}")


def make_receipt(
    grant: Grant,
    terms: Terms,
    *,
    principal: str,
    ledger_entry: LeafHash,
    signer: PrivateKey,
    among: purposes.Catalogue = purposes.CATALOGUE,
) -> bytes:
    """The signed receipt of one version of a grant: UTF-8 JSON. `among`: every purpose that there is.

    `principal` is 16 to 64 letters, digits, `-` and `_`, which the citizen was given; `terms` must say how to withdraw
    a consent, and must not for a mandate by law.
    Raises Refused `consent-receipt.*`: `principal`, `controller` (another administration's terms), `withdrawal`,
    `instant` (a date after the year 9999).
    """
    if not _PRINCIPAL.fullmatch(principal) or _reveals(principal, grant):
        raise Refused("consent-receipt.principal", "/pii_principal_id", length=len(principal))
    if terms.controller.party_id != grant.recipient:
        raise Refused("consent-receipt.controller", "/party_identification")
    if grant.by_law != (terms.withdrawal_method is None):
        raise Refused("consent-receipt.withdrawal", "/pii_processing/purposes/0/withdrawal_method")
    purpose = purposes.named(grant.purpose, among)
    payload = canonical(document_of(_content(grant, purpose, terms, principal, ledger_entry)))
    signature = {"keyid": signer.kid.hex(), "sig": _base64(signer.sign(pae(PAYLOAD_TYPE, payload)))}
    return canonical({"payloadType": PAYLOAD_TYPE, "payload": _base64(payload), "signatures": [signature]})


def verify_receipt(receipt: bytes, algorithm: Algorithm, public: bytes) -> ReceiptContent:
    """What the holder of this key has certified. Algorithm and raw public key come from a directory, never from here.

    Raises Refused `consent-receipt.*`, in this order: `too-large`, `not-json`, `envelope`, `payload-type`, `other-key`,
    `signature`, `not-json`, `schema-version`, `content`, `not-canonical`.
    """
    if len(receipt) > MAX_BYTES:
        raise Refused("consent-receipt.too-large", limit=MAX_BYTES, size=len(receipt))
    payload_type, payload, keyid, signature = _opened(_parsed(receipt))
    # 1 The type is inside what is signed, so a signature on a manifest or a statement never passes for one on this.
    if payload_type != PAYLOAD_TYPE:
        raise Refused("consent-receipt.payload-type", "/payloadType")
    # 2 Told apart from a bad signature, so that after a rotation the reader looks for the right key.
    if keyid != kid_of(algorithm, public).hex():
        raise Refused("consent-receipt.other-key", "/signatures")
    # 3 Nothing of the payload is parsed before this holds.
    if not verify(algorithm, public, signature, pae(PAYLOAD_TYPE, payload)):
        raise Refused("consent-receipt.signature", "/signatures")
    document = _parsed(payload)
    if not isinstance(document, dict) or document.get("schema_version") not in (SCHEMA_VERSION, FIRST_VERSION):
        raise Refused("consent-receipt.schema-version", "/schema_version")
    content = content_of(document)
    # 4 One content, one spelling: a key twice, an unknown key, a float or a derived id that does not fit ends here.
    if canonical(document_of(content)) != payload:
        raise Refused("consent-receipt.not-canonical")
    return content


def verify_by_directory(receipt: bytes, directory: Directory) -> ReceiptContent:
    """What the broker of this directory has certified with a key that was its own, and good, at that instant.

    The directory is believed: verify it first (`schemas.directory_note`), or have it pinned.
    Raises Refused `consent-receipt.*` as `verify_receipt`, `directory.*` as `Directory.check_signer`.
    """
    if len(receipt) > MAX_BYTES:
        raise Refused("consent-receipt.too-large", limit=MAX_BYTES, size=len(receipt))
    keyid = _opened(_parsed(receipt))[2]
    try:
        kid = Kid(bytes.fromhex(keyid))
    except ValueError:
        raise Refused("consent-receipt.other-key", "/signatures") from None
    key = directory.signing_key(kid)
    content = verify_receipt(receipt, key.algorithm, key.public)
    # A key signs for its party alone, and while it is good: otherwise an administration could certify in our name, and
    # whoever stole a key that was revoked could go on.
    directory.check_signer(directory.broker, kid, content.event_time)
    return content


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON document: sorted keys, no spaces, UTF-8 unescaped, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _content(
    grant: Grant, purpose: purposes.PurposeEntry, terms: Terms, principal: str, ledger_entry: LeafHash
) -> ReceiptContent:
    lawful = purpose.families & _FAMILIES[grant.basis.kind]
    return ReceiptContent(
        grant_id=grant.id,
        version=grant.version,
        principal=principal,
        recipient=grant.recipient,
        event_type=grant.event_type,
        schema=grant.schema,
        fields=tuple(sorted(grant.fields)),
        purpose=grant.purpose,
        purpose_label=purpose.label[grant.language],
        purpose_sentence=purpose.sentence[grant.language],
        basis=grant.basis,
        gdpr_articles=tuple(sorted(family.gdpr for family in lawful)),
        granted_at=grant.granted_at,
        starts_at=grant.starts_at,
        expires_at=grant.expires_at,
        scope=grant.scope,
        once_for=grant.once_for,
        status=grant.status,
        given_by=grant.given_by,
        capacity=grant.capacity,
        channel=grant.channel,
        language=grant.language,
        text_hash=grant.text_hash,
        event_time=grant.changed_at,
        terms=terms,
        ledger_entry=ledger_entry,
    )


def _reveals(principal: str, grant: Grant) -> bool:
    """Whether an "opaque" id is the broker's reference, or its plain hash, in a usual spelling."""
    secrets = (bytes(grant.subject), sha256(grant.subject).digest())
    spelled = {secret.hex() for secret in secrets} | {_base64(secret).rstrip("=").lower() for secret in secrets}
    return principal.lower().replace("-", "+").replace("_", "/") in spelled


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or nested beyond all reason
        raise Refused("consent-receipt.not-json") from None


def _opened(envelope: Any) -> tuple[str, bytes, str, bytes]:
    """Payload type, payload, key id, signature. A receipt has one signature: the broker's."""
    try:
        (signature,) = envelope["signatures"]
        payload, sig = _unbase64(envelope["payload"]), _unbase64(signature["sig"])
        return str(envelope["payloadType"]), payload, str(signature["keyid"]), sig
    except (KeyError, TypeError, ValueError):
        raise Refused("consent-receipt.envelope") from None


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


def _unbase64(text: str) -> bytes:
    """The bytes that are spelled so and not otherwise: base64 leaves bits unused at the end, which nobody signed."""
    raw = b64decode(text, validate=True)
    if _base64(raw) != text:
        raise ValueError
    return raw
