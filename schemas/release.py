"""Release: what the gate answers. Field keys and a signed statement for each delivery, sealed to the recipient at once.

Refuses: to sign a statement that says other than the delivery itself; to read a release for other deliveries, another
order of them, or another recipient.
Keeps: the gate derives the keys of the permitted fields and no other; statements, and the pseudonyms in them, are
readable by the recipient alone; one public-key operation serves a whole pull.
Source: docs/protocol.md 6.

Whether the consent stands is the gate's question; this module does not know what a consent is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Self

from schemas import avro, hpke, sealing, signing, wire
from schemas.errors import Corrupt, Refused
from schemas.locked import (
    LockedDelivery,
    SealedField,
    bitmap,
    check_grant,
    delivery_id_of,
    indices,
    lock,
    manifest_of,
    open_locked,
)
from schemas.names import (
    DeclarationId,
    DeliveryId,
    GrantId,
    Instant,
    Kid,
    LeafHash,
    ManifestDigest,
    PartyId,
    is_instant,
    uuid_text,
)
from schemas.pseudonym import PSEUDONYM_SIZE
from schemas.text import is_plain
from schemas.wire import FIXED16, FIXED32

__all__ = [
    "KeyRelease",
    "LockedDelivery",
    "Release",
    "SealedField",
    "Statement",
    "bitmap",
    "delivery_id_of",
    "indices",
    "lock",
    "make_release",
    "open_locked",
    "open_releases",
    "seal_releases",
]

STATEMENT_TYPE: Final = "application/vnd.unefois.statement.v1+avro"
MAX_BASIS: Final = 256
"""Bytes."""
LIMITS: Final = avro.Limits(max_bytes=16 * 1_048_576)
"""One key release serves a whole pull, so it may be larger than one declaration."""

_RELEASE_DOMAIN: Final = b"unefois/release/v1\x00"
_BASIS: Final = re.compile(r"consent|(?:choice|law):.+")

_STATEMENT: Final = wire.schema(
    "Statement",
    ("delivery_id", FIXED16),
    ("recipient", "string"),
    ("declaration_id", FIXED16),
    ("manifest", FIXED32),
    ("fields", "bytes"),
    ("sealed", FIXED32),
    ("purpose", "string"),
    ("basis", "string"),
    ("grant_id", FIXED16),
    ("grant_version", "int"),
    ("pseudonym", "bytes"),
    ("pseudonym_version", "int"),
    ("released_at", "long"),
    ("ledger_entry", FIXED32),
)
_RELEASES: Final = wire.schema(
    "Releases",
    (
        "releases",
        wire.array(
            wire.record(
                "Release",
                ("statement", "bytes"),
                ("kid", FIXED32),
                ("signature", "bytes"),
                ("keys", wire.array(FIXED32)),
            )
        ),
    ),
)
_KEY_RELEASE: Final = wire.schema("KeyRelease", ("suite", "int"), ("recipient_kid", FIXED32), ("sealed", "bytes"))


@dataclass(frozen=True, slots=True)
class Statement:
    """What the broker signs about one delivery: what is released to whom, of which manifest, and on what ground."""

    delivery_id: DeliveryId
    recipient: PartyId
    declaration_id: DeclarationId
    manifest: ManifestDigest
    fields: bytes
    """A bitmap of the schema's fields, see `locked.bitmap`."""
    sealed: bytes = field(repr=False)
    purpose: str
    basis: str
    grant_id: GrantId
    grant_version: int
    pseudonym: bytes = field(repr=False)
    """20 bytes; empty where the recipient's sector has none."""
    pseudonym_version: int
    released_at: Instant
    ledger_entry: LeafHash

    @classmethod
    def of(
        cls,
        locked: LockedDelivery,
        *,
        fields: bytes,
        basis: str,
        pseudonym: bytes,
        pseudonym_version: int,
        released_at: Instant,
        ledger_entry: LeafHash,
    ) -> Self:
        """The statement of a delivery. `fields` is what the broker means to release; `make_release` compares."""
        return cls(
            delivery_id=locked.delivery_id,
            recipient=locked.recipient,
            declaration_id=manifest_of(locked.payload).declaration_id,
            manifest=ManifestDigest(sha256(locked.payload).digest()),
            fields=fields,
            sealed=locked.sealed_set(),
            purpose=locked.purpose,
            basis=basis,
            grant_id=locked.grant_id,
            grant_version=locked.grant_version,
            pseudonym=pseudonym,
            pseudonym_version=pseudonym_version,
            released_at=released_at,
            ledger_entry=ledger_entry,
        )

    def encode(self) -> bytes:
        """The exact bytes to sign."""
        return avro.encode(_STATEMENT, {name: getattr(self, name) for name in _MEMBERS})

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """The statement that these bytes are, exactly. Raises Refused `avro.*`, `name.*`, `release.*`, with a place."""
        raw = avro.decode(_STATEMENT, encoded)
        check_grant(raw)
        if not _BASIS.fullmatch(raw["basis"]) or not is_plain(raw["basis"], MAX_BASIS):
            raise Refused("release.basis", "/basis", limit=MAX_BASIS)
        if len(raw["pseudonym"]) not in {0, PSEUDONYM_SIZE}:
            raise Refused("release.pseudonym", "/pseudonym", length=len(raw["pseudonym"]), expected=PSEUDONYM_SIZE)
        if not is_instant(raw["released_at"]):
            raise Refused("release.released-at", "/released_at")
        return cls(**{name: wire.member(raw, name, make) for name, make in _MEMBERS.items()})


_MEMBERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "delivery_id": DeliveryId,
        "recipient": PartyId,
        "declaration_id": DeclarationId,
        "manifest": ManifestDigest,
        "fields": bytes,
        "sealed": bytes,
        "purpose": str,
        "basis": str,
        "grant_id": GrantId,
        "grant_version": int,
        "pseudonym": bytes,
        "pseudonym_version": int,
        "released_at": Instant,
        "ledger_entry": LeafHash,
    }
)


@dataclass(frozen=True, slots=True)
class Release:
    """A signed statement and the keys K_i of its fields, ascending by index."""

    statement: bytes = field(repr=False)
    kid: Kid
    signature: bytes = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)


def make_release(locked: LockedDelivery, dek: bytes, statement: Statement, broker_key: signing.PrivateKey) -> Release:
    """Sign the statement and derive the keys of the delivery's own fields, no other.

    Raises Corrupt `release.statement` when the statement says other than the delivery: a broker that would sign it
    contradicts itself.
    """
    manifest = manifest_of(locked.payload)
    expected = Statement.of(
        locked,
        fields=bitmap(len(manifest.digests), (each.index for each in locked.fields)),
        basis=statement.basis,
        pseudonym=statement.pseudonym,
        pseudonym_version=statement.pseudonym_version,
        released_at=statement.released_at,
        ledger_entry=statement.ledger_entry,
    )
    if statement != expected:
        raise Corrupt("release.statement", delivery=uuid_text(locked.delivery_id))
    encoded = statement.encode()
    return Release(
        statement=encoded,
        kid=broker_key.kid,
        signature=broker_key.sign(signing.pae(STATEMENT_TYPE, encoded)),
        keys=tuple(sealing.field_key(dek, manifest.declaration_id, each.index) for each in locked.fields),
    )


@dataclass(frozen=True, slots=True)
class KeyRelease:
    """The releases of one pull, sealed to one key of the recipient."""

    suite: hpke.Suite
    recipient_kid: Kid
    sealed: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The exact bytes."""
        raw = {"suite": int(self.suite), "recipient_kid": self.recipient_kid, "sealed": self.sealed}
        return avro.encode(_KEY_RELEASE, raw, LIMITS)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """The key release that these bytes are, exactly. Raises Refused `avro.*`, `release.unknown-suite`."""
        raw = avro.decode(_KEY_RELEASE, encoded, LIMITS)
        if raw["suite"] not in hpke.PUBLIC_SIZE:
            raise Refused("release.unknown-suite", "/suite", suite=raw["suite"])
        return cls(hpke.Suite(raw["suite"]), Kid(raw["recipient_kid"]), raw["sealed"])


def seal_releases(
    releases: Sequence[Release], suite: hpke.Suite, public: bytes, delivery_ids: Sequence[DeliveryId]
) -> KeyRelease:
    """All releases of a pull to the recipient's key, in the order of its deliveries. Raises Refused `hpke.*`."""
    written = [
        {"statement": each.statement, "kid": each.kid, "signature": each.signature, "keys": each.keys}
        for each in releases
    ]
    kid = hpke.kid_of(suite, public)
    encoded = avro.encode(_RELEASES, {"releases": written}, LIMITS)
    return KeyRelease(suite, kid, hpke.seal(suite, public, encoded, _release_info(suite, kid, delivery_ids)))


def open_releases(
    released: KeyRelease, key: hpke.SealingKey, delivery_ids: Sequence[DeliveryId]
) -> tuple[Release, ...]:
    """The releases of exactly these deliveries in exactly this order.

    Raises Refused `release.other-key`, `release.cannot-open`, `avro.*`, `release.count`.
    """
    if (released.suite, released.recipient_kid) != (key.suite, key.kid):
        raise Refused("release.other-key", "/recipient_kid", kid=released.recipient_kid.hex())
    try:
        encoded = hpke.open_(key, released.sealed, _release_info(key.suite, key.kid, delivery_ids))
    except Refused:
        raise Refused("release.cannot-open", "/sealed") from None
    raw = avro.decode(_RELEASES, encoded, LIMITS)["releases"]
    if len(raw) != len(delivery_ids):
        raise Refused("release.count", "/sealed", got=len(raw), expected=len(delivery_ids))
    return tuple(Release(each["statement"], Kid(each["kid"]), each["signature"], tuple(each["keys"])) for each in raw)


def _release_info(suite: hpke.Suite, kid: Kid, delivery_ids: Sequence[DeliveryId]) -> bytes:
    return _RELEASE_DOMAIN + suite.to_bytes(2, "big") + kid + sha256(b"".join(delivery_ids)).digest()
