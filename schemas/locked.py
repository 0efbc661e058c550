"""The locked delivery: what a mailbox holds of one declaration for one recipient, useless without two keys.

Refuses: to unlock with another consent key or another gate key than the delivery was locked with.
Keeps: the router, which makes it, needs no private key and sees no value; only permitted fields are in it.
Source: docs/protocol.md 1 (delivery id) and 6.

A purpose is any plain text here: the closed list is the consent's, and what was locked today must be read tomorrow.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas import avro, hpke, sealing, wire
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Refused
from schemas.manifest import Manifest
from schemas.names import DeclarationId, DeliveryId, GrantId, Kid, PartyId
from schemas.text import is_plain
from schemas.wire import FIXED16, FIXED32, SIGNATURES, Signature

VERSION: Final = 1
NONCE_SIZE: Final = 12
MAX_PURPOSE: Final = 64
"""Bytes."""

_DELIVERY_DOMAIN: Final = b"unefois/delivery/v1\x00"
_LOCKED_DOMAIN: Final = b"unefois/locked/v1\x00"
_SEALED_SET_DOMAIN: Final = b"unefois/sealed-set/v1\x00"

_FIELDS: Final = wire.array(wire.record("SealedField", ("index", "int"), ("sealed", "bytes")))
_SEALED_SET: Final = wire.schema("SealedSet", ("fields", _FIELDS))  # a record adds no byte to its one array
_LOCKED: Final = wire.schema(
    "LockedDelivery",
    ("version", "int"),
    ("delivery_id", FIXED16),
    ("recipient", "string"),
    ("purpose", "string"),
    ("grant_id", FIXED16),
    ("grant_version", "int"),
    ("payload", "bytes"),
    ("signatures", SIGNATURES),
    ("fields", _FIELDS),
    ("gate_kid", FIXED32),
    ("locked_dek", "bytes"),
)


def delivery_id_of(declaration_id: DeclarationId, recipient: PartyId, grant_id: GrantId) -> DeliveryId:
    """First 16 bytes of SHA-256(domain | declaration id | u16 len | recipient | grant id): a retry has the same id."""
    named = recipient.encode()
    digest = sha256(_DELIVERY_DOMAIN + declaration_id + len(named).to_bytes(2, "big") + named + grant_id)
    return DeliveryId(digest.digest()[: DeliveryId.size])


def bitmap(count: int, indices: Iterable[int]) -> bytes:
    """Field i is bit 7 - (i mod 8) of byte i div 8; ceil(count / 8) bytes, unused bits zero."""
    bits = bytearray(-(-count // 8))
    for index in indices:
        if not 0 <= index < count:
            raise ValueError("a field's index is below the number of fields")
        bits[index // 8] |= 0x80 >> index % 8
    return bytes(bits)


def indices(bits: bytes, count: int) -> tuple[int, ...]:
    """The indices of `bitmap`, ascending. Raises Refused `release.bitmap` for another length or a bit beyond."""
    found = tuple(index for index in range(len(bits) * 8) if bits[index // 8] & 0x80 >> index % 8)
    if len(bits) != -(-count // 8) or (found and found[-1] >= count):
        raise Refused("release.bitmap", "/fields", length=len(bits), fields=count)
    return found


@dataclass(frozen=True, slots=True)
class SealedField:
    """One sealed field and its index in the schema."""

    index: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LockedDelivery:
    """What a mailbox holds: permitted sealed fields, and a DEK that opens only with two keys. Proves nothing yet."""

    delivery_id: DeliveryId
    recipient: PartyId
    purpose: str
    grant_id: GrantId
    grant_version: int
    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]
    fields: tuple[SealedField, ...]
    gate_kid: Kid
    locked_dek: bytes = field(repr=False)
    version: int = VERSION

    def encode(self) -> bytes:
        """The exact bytes."""
        raw = {name: getattr(self, name) for name in _MEMBERS}
        written = {"signatures": wire.written_signatures(self.signatures), "fields": _written_fields(self.fields)}
        return avro.encode(_LOCKED, raw | written)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """The delivery that these bytes are, exactly. Raises Refused `avro.*`, `name.*`, `release.*` with a pointer."""
        raw = avro.decode(_LOCKED, encoded)
        if raw["version"] != VERSION:
            raise Refused("release.version", "/version", got=raw["version"], expected=VERSION)
        check_grant(raw)
        typed = {name: wire.member(raw, name, make) for name, make in _MEMBERS.items()}
        fields = tuple(SealedField(each["index"], each["sealed"]) for each in raw["fields"])
        return cls(**typed, signatures=wire.read_signatures(raw["signatures"]), fields=fields)

    def sealed_set(self) -> bytes:
        """SHA-256(domain | Avro(fields)), 32 bytes: the statement's `sealed`."""
        encoded = avro.encode(_SEALED_SET, {"fields": _written_fields(self.fields)})
        return sha256(_SEALED_SET_DOMAIN + encoded).digest()


_MEMBERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "version": int,
        "delivery_id": DeliveryId,
        "recipient": PartyId,
        "purpose": str,
        "grant_id": GrantId,
        "grant_version": int,
        "payload": bytes,
        "gate_kid": Kid,
        "locked_dek": bytes,
    }
)


def _written_fields(fields: Iterable[SealedField]) -> list[dict[str, Any]]:
    return [{"index": each.index, "sealed": each.sealed} for each in fields]


def check_grant(raw: Mapping[str, Any]) -> None:
    """The purpose and grant version of a decoded record. Raises Refused `release.purpose`, `release.grant-version`."""
    if not is_plain(raw["purpose"], MAX_PURPOSE):
        raise Refused("release.purpose", "/purpose", limit=MAX_PURPOSE)
    if raw["grant_version"] < 1:
        raise Refused("release.grant-version", "/grant_version", got=raw["grant_version"])


def _locked_aad(delivery_id: DeliveryId, grant_id: GrantId, grant_version: int) -> bytes:
    return _LOCKED_DOMAIN + delivery_id + grant_id + grant_version.to_bytes(4, "big")


def lock(
    verified: VerifiedDeclaration,
    recipient: PartyId,
    purpose: str,
    grant_id: GrantId,
    grant_version: int,
    *,
    field_indices: Iterable[int],
    consent_key: bytes,
    nonce: bytes,
) -> LockedDelivery:
    """One delivery of a verified declaration: the permitted sealed fields, the sealed DEK locked with the consent key.

    `consent_key` has 32 bytes; `nonce` is 12 fresh random bytes: a consent key locks many deliveries.
    """
    if len(nonce) != NONCE_SIZE:
        raise ValueError("a lock takes a nonce of 12 bytes")
    signed = verified.signed
    delivery_id = delivery_id_of(verified.manifest.declaration_id, recipient, grant_id)
    aad = _locked_aad(delivery_id, grant_id, grant_version)
    return LockedDelivery(
        delivery_id=delivery_id,
        recipient=recipient,
        purpose=purpose,
        grant_id=grant_id,
        grant_version=grant_version,
        payload=signed.payload,
        signatures=signed.signatures,
        fields=tuple(SealedField(index, signed.sealed_fields[index]) for index in sorted(set(field_indices))),
        gate_kid=signed.gate_kid,
        locked_dek=nonce + AESGCM(consent_key).encrypt(nonce, signed.sealed_dek, aad),
    )


def open_locked(locked: LockedDelivery, consent_key: bytes, gate_key: hpke.SealingKey) -> bytes:
    """The DEK, with both keys, 32 bytes each. Call it after the consent was found standing, in the same transaction.

    Raises Refused: `release.other-gate-key` (addressed to another epoch), `release.cannot-unlock` (not this consent's
    key, or the delivery was altered), `sealing.cannot-open-dek` (sealed for another declaration or manifest).
    """
    if locked.gate_kid != gate_key.kid:
        raise Refused("release.other-gate-key", "/gate_kid", kid=locked.gate_kid.hex())
    sealed_dek = unlock(locked, consent_key)
    return sealing.open_dek(gate_key, sealed_dek, manifest_of(locked.payload).declaration_id, locked.payload)


def unlock(locked: LockedDelivery, consent_key: bytes) -> bytes:
    """The sealed DEK as the source made it, with the consent's key alone: still closed, to all but the gate.

    Raises Refused `release.cannot-unlock`: not this consent's key, or the delivery was altered.
    """
    nonce, sealed = locked.locked_dek[:NONCE_SIZE], locked.locked_dek[NONCE_SIZE:]
    aad = _locked_aad(locked.delivery_id, locked.grant_id, locked.grant_version)
    try:
        return AESGCM(consent_key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):  # ValueError: a nonce too short to be one
        raise Refused("release.cannot-unlock", "/locked_dek") from None


@lru_cache(maxsize=64)
def manifest_of(payload: bytes) -> Manifest:
    """The manifest of these bytes, remembered: one release asks for it several times. Raises like `Manifest.decode`."""
    return Manifest.decode(payload)
