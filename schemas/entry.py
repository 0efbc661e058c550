"""Entries: what the ledger says, one fact each. Who did what to which declaration, delivery or grant, and when.

Refuses: an entry that lacks what its kind must name, bytes that are not exactly one entry, more than 65,535 bytes.
Keeps: no name, value, pseudonym or address of a citizen; the subject only as a commitment whose salt can be erased.
Source: docs/protocol.md, section 8.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from hashlib import sha256
from typing import Any, Final, Self

from schemas import avro, merkle
from schemas.errors import Refused
from schemas.instants import is_instant
from schemas.names import (
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    LeafHash,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SubjectRef,
)

VERSION: Final = 1
ENTRY_BYTES: Final = 65_535
COMMITMENT_BYTES: Final = 32
SALT_BYTES: Final = 16


class EntryKind(Enum):
    """What happened. The order is part of the encoding: new kinds go to the end."""

    RECEIVED = "received"
    REFUSED = "refused"
    PLANNED = "planned"
    WITHHELD = "withheld"
    RELEASED = "released"
    APPLIED = "applied"
    REJECTED = "rejected"
    GRANTED = "granted"
    CHANGED = "changed"
    REVOKED = "revoked"
    EXPIRED = "expired"
    CORRECTED = "corrected"
    KEY_ADDED = "key_added"
    KEY_REVOKED = "key_revoked"
    SUBSCRIPTION_APPROVED = "subscription_approved"
    SUBSCRIPTION_ENDED = "subscription_ended"
    EPOCH_DESTROYED = "epoch_destroyed"
    VIEWED = "viewed"
    REPLAYED = "replayed"
    PARTY_ADDED = "party_added"
    RIGHT_GRANTED = "right_granted"
    RIGHT_ENDED = "right_ended"
    POLICY_SET = "policy_set"


_DELIVERY = ("recipient", "event_type", "purpose", "declaration", "delivery", "grant", "grant_version", "fields")
_GRANT = ("grant", "grant_version")
REQUIRED: Final[Mapping[EntryKind, tuple[str, ...]]] = {
    EntryKind.RECEIVED: ("declaration",),
    EntryKind.REFUSED: ("reason",),
    EntryKind.PLANNED: _DELIVERY,
    EntryKind.WITHHELD: ("recipient", "declaration", "reason"),
    EntryKind.RELEASED: _DELIVERY,
    EntryKind.APPLIED: ("recipient", "delivery"),
    EntryKind.REJECTED: ("recipient", "delivery", "reason"),
    EntryKind.GRANTED: _GRANT,
    EntryKind.CHANGED: _GRANT,
    EntryKind.REVOKED: _GRANT,
    EntryKind.EXPIRED: _GRANT,
    EntryKind.CORRECTED: ("declaration",),
    EntryKind.SUBSCRIPTION_APPROVED: ("recipient", "event_type", "purpose"),
    EntryKind.SUBSCRIPTION_ENDED: ("recipient", "event_type", "purpose"),
    EntryKind.PARTY_ADDED: ("recipient", "detail"),
    EntryKind.RIGHT_GRANTED: ("recipient", "event_type", "detail"),
    EntryKind.RIGHT_ENDED: ("recipient", "event_type", "detail"),
    EntryKind.POLICY_SET: ("recipient", "detail"),
}
"""What a kind cannot go without: the invariants of the ledger (no release after its revocation) are read from these."""

_REASONS = {reason.value.replace("-", "_"): reason for reason in Reason}
_SYMBOLS = {reason: symbol for symbol, reason in _REASONS.items()}

SCHEMA: Final = avro.parse(
    json.dumps(
        {
            "type": "record",
            "name": "fr.unefois.ledger.Entry",
            "fields": [
                {"name": "version", "type": "int"},
                {"name": "at", "type": "long"},
                {
                    "name": "kind",
                    "type": {"type": "enum", "name": "Kind", "symbols": [kind.value for kind in EntryKind]},
                },
                {"name": "actor", "type": "string"},
                {"name": "recipient", "type": ["null", "string"]},
                {"name": "event_type", "type": ["null", "string"]},
                {"name": "purpose", "type": ["null", "string"]},
                {"name": "declaration", "type": ["null", {"type": "fixed", "name": "Hash", "size": 32}]},
                {"name": "delivery", "type": ["null", {"type": "fixed", "name": "Id", "size": 16}]},
                {"name": "grant", "type": ["null", "Id"]},
                {"name": "grant_version", "type": ["null", "int"]},
                {"name": "fields", "type": ["null", "bytes"]},
                {"name": "reason", "type": ["null", {"type": "enum", "name": "Reason", "symbols": list(_REASONS)}]},
                {"name": "subject", "type": ["null", "Hash"]},
                {"name": "detail", "type": ["null", "Hash"]},
            ],
        },
        separators=(",", ":"),
    ).encode()
)
"""The entry's Avro schema; a reason's dashes are underscores there, as Avro's enums demand."""

_LIMITS = avro.Limits(max_bytes=ENTRY_BYTES, max_depth=4, max_items=0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact of the ledger. `subject` and `detail` are 32-byte commitments, `fields` a bitmap as in a statement."""

    at: Instant
    kind: EntryKind
    actor: PartyId
    recipient: PartyId | None = None
    event_type: EventType | None = None
    purpose: Purpose | None = None
    declaration: ManifestDigest | None = None
    delivery: DeliveryId | None = None
    grant: GrantId | None = None
    grant_version: int | None = None
    fields: bytes | None = None
    reason: Reason | None = None
    subject: bytes | None = None
    detail: bytes | None = None

    def __post_init__(self) -> None:
        if not is_instant(self.at):
            raise Refused("entry.instant", "/at")
        for name in REQUIRED.get(self.kind, ()):
            if getattr(self, name) is None:
                raise Refused("entry.incomplete", f"/{name}", kind=self.kind.value)
        if self.grant_version is not None and not (0 < self.grant_version < 2**31 and self.grant):
            raise Refused("entry.grant-version", "/grant_version")
        if self.fields is not None and not any(self.fields):
            raise Refused("entry.no-fields", "/fields")
        for name, commitment in (("subject", self.subject), ("detail", self.detail)):
            if commitment is not None and len(commitment) != COMMITMENT_BYTES:
                raise Refused("entry.commitment", f"/{name}", length=len(commitment))

    def encode(self) -> bytes:
        """The bytes that the ledger holds. Raises Refused("avro.too-large") beyond 65,535."""
        told: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        reason = _SYMBOLS[self.reason] if self.reason else None
        return avro.encode(SCHEMA, {**told, "version": VERSION, "kind": self.kind.value, "reason": reason}, _LIMITS)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """From exactly the bytes that `encode` gives. Raises Refused: `entry.*`, `avro.*`, `name.*`."""
        told = avro.decode(SCHEMA, raw, _LIMITS)
        if told.pop("version") != VERSION:
            raise Refused("entry.version", "/version")
        for name, made in _TYPES.items():
            if told[name] is not None:
                told[name] = _typed(name, made, told[name])
        return cls(**told)

    def leaf_hash(self) -> LeafHash:
        """Its leaf in the tree: SHA-256(0x00 | encoded)."""
        return merkle.leaf_hash(self.encode())


_NAMES: Final = tuple(field.name for field in fields(Entry))
_TYPES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "at": Instant,
    "kind": EntryKind,
    "actor": PartyId,
    "recipient": PartyId,
    "event_type": EventType,
    "purpose": Purpose,
    "declaration": ManifestDigest,
    "delivery": DeliveryId,
    "grant": GrantId,
    "reason": _REASONS.__getitem__,
}


def _typed(name: str, made: Callable[[Any], Any], value: object) -> object:
    try:
        return made(value)
    except Refused as fault:
        raise fault.under(f"/{name}") from None


def subject_commitment(salt: bytes, subject: SubjectRef) -> bytes:
    """SHA-256("unefois/ledger-subject/v1" 0x00 | salt16 | subject reference), 32 bytes.

    The salt is random for each entry: two entries of one citizen look unrelated, and erasing the salt erases the link.
    Raises Refused("entry.salt").
    """
    if len(salt) != SALT_BYTES:
        raise Refused("entry.salt", length=len(salt))
    return sha256(b"unefois/ledger-subject/v1\x00" + salt + subject).digest()
