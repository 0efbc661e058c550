"""A small world for the protocol's tests: four parties, their keys, one event type, and a way to bend each byte.

Nothing here calls `declare`, `verify_*` or `make_release`: what those must accept or refuse is put together by hand.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest

from schemas import avro, sealing, signing
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.envelope import RoutingSlip, SignedDeclaration
from schemas.errors import Fault, Refused
from schemas.hpke import SealingKey, Suite
from schemas.locked import LockedDelivery, SealedField, bitmap, delivery_id_of
from schemas.manifest import MANIFEST_TYPE, Manifest
from schemas.names import DeclarationId, EventType, GrantId, Instant, Kid, LeafHash, ManifestDigest, PartyId, SchemaId
from schemas.release import STATEMENT_TYPE, Release, Statement
from schemas.sealing import commit
from schemas.signing import Algorithm, PrivateKey
from schemas.wire import Signature

NOW = Instant(1_800_000_000_000)
DAY = 86_400_000
TOWN = PartyId("urn:fr:siret:21440109300015")
OTHER_TOWN = PartyId("urn:fr:siret:21350238800019")
FUND = PartyId("urn:fr:siret:77567227201232")
BROKER = PartyId("urn:unefois:broker")
MOVED = EventType("fr.unefois.test.moved.v1")
LEFT = EventType("fr.unefois.test.left.v1")

FIELDS = (
    b'{"name":"name","type":"string"},{"name":"rooms","type":"int"},'
    b'{"name":"note","type":["null","string"]},{"name":"garden","type":"boolean"}'
)
RECORD = {"name": "Amélie", "rooms": 3, "note": None, "garden": True}


@dataclass(frozen=True)
class Kind:
    """What verification asks of an event type, and no more."""

    event_type: EventType
    schema: avro.Schema
    uses_territories: bool = True


class Held:
    """A catalogue of a few kinds."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = {kind.schema.id: kind for kind in kinds}

    def by_id(self, schema_id: SchemaId) -> Kind:
        """The kind, or Refused."""
        if schema_id not in self.kinds:
            raise Refused("catalogue.unknown-schema")
        return self.kinds[schema_id]


class World:
    """Everybody's keys, what everybody pins, and the means to build a declaration and its delivery, right or bent."""

    NOW, DAY = NOW, DAY
    TOWN, OTHER_TOWN, FUND, BROKER = TOWN, OTHER_TOWN, FUND, BROKER
    MOVED, LEFT = MOVED, LEFT
    RECORD, FIELDS = RECORD, FIELDS

    def __init__(self) -> None:
        self.town = self.signing_key("town")
        self.town_quantum = self.signing_key("town quantum", Algorithm.ML_DSA_44)
        self.other_town = self.signing_key("other town")
        self.broker = self.signing_key("broker")
        self.gate = self.sealing_key("gate")
        self.fund = self.sealing_key("fund")
        self.kind = Kind(MOVED, self.schema_of(MOVED))
        self.catalogue = Held(self.kind)
        self.dek = self.fixed("dek", 32)
        self.consent_key = self.fixed("consent key", 32)
        self.grant_id = GrantId(self.fixed("grant", 16))
        self.declaration_id = DeclarationId(self.fixed("declaration", 16))
        self.slip = RoutingSlip(self.fixed("slip", 16), b"token", ("44109", "35238"))

    @staticmethod
    def fixed(label: str, size: int) -> bytes:
        """Bytes that look random and never change."""
        return b"".join(sha256(f"{label}{part}".encode()).digest() for part in range(-(-size // 32)))[:size]

    @staticmethod
    def code_of(call: Callable[[], object]) -> str:
        """The code with which a call is refused."""
        with pytest.raises(Fault) as caught:
            call()
        return caught.value.code

    @staticmethod
    def schema_of(event_type: str, fields: bytes = FIELDS) -> avro.Schema:
        """A schema named like its event type."""
        return avro.parse(b'{"type":"record","name":"' + event_type.encode() + b'","fields":[' + fields + b"]}")

    @staticmethod
    def kind_of(event_type: EventType, schema: avro.Schema, uses_territories: bool = True) -> Kind:
        """What verification asks of an event type, and no more."""
        return Kind(event_type, schema, uses_territories)

    @staticmethod
    def holding(*kinds: Kind) -> Held:
        """A catalogue of these kinds."""
        return Held(*kinds)

    def signing_key(self, label: str, algorithm: Algorithm = Algorithm.ED25519) -> PrivateKey:
        """A key that never changes."""
        return PrivateKey.from_raw(algorithm, self.fixed(f"signing {label}", 32))

    def sealing_key(self, label: str, suite: Suite = Suite.X25519) -> SealingKey:
        """A key that never changes."""
        return SealingKey.from_raw(suite, self.fixed(f"sealing {label}", 32 if suite is Suite.X25519 else 96))

    @staticmethod
    def signing_entry(key: PrivateKey, party: PartyId, **over: Any) -> SigningKeyEntry:
        """The directory's entry of a signing key, good for ten days around NOW."""
        period = {"valid_from": NOW - 10 * DAY, "valid_to": NOW + 10 * DAY}
        return SigningKeyEntry(key.kid, party, key.algorithm, key.public, **period | over)

    @staticmethod
    def sealing_entry(key: SealingKey, party: PartyId, **over: Any) -> SealingKeyEntry:
        """The directory's entry of a sealing key, good for ten days around NOW."""
        period = {"valid_from": NOW - 10 * DAY, "valid_to": NOW + 10 * DAY}
        return SealingKeyEntry(key.kid, party, key.suite, key.public, **period | over)

    def directory(self, **over: Iterable[Any]) -> Directory:
        """What everybody pins; a list is replaced by giving it."""
        lists: dict[str, Iterable[Any]] = {
            "signing": (
                self.signing_entry(self.town, TOWN),
                self.signing_entry(self.town_quantum, TOWN),
                self.signing_entry(self.other_town, OTHER_TOWN),
                self.signing_entry(self.broker, BROKER),
            ),
            "sealing": (self.sealing_entry(self.gate, BROKER), self.sealing_entry(self.fund, FUND)),
            "rights": (PublishingRight(TOWN, MOVED, Instant(0)), PublishingRight(TOWN, LEFT, Instant(0))),
            "policies": (PolicyEntry(TOWN, 1, Instant(0)), PolicyEntry(OTHER_TOWN, 1, Instant(0))),
        }
        return Directory.of(**lists | over, broker=BROKER)

    def encoded(self) -> list[bytes]:
        """Each field's value."""
        return [avro.encode_field(self.kind.schema, each.index, RECORD[each.name]) for each in self.kind.schema.fields]

    def salts(self) -> list[bytes]:
        """Each field's salt."""
        return [self.fixed(f"salt {index}", 16) for index in range(len(self.kind.schema.fields))]

    def digests(self, encoded: Sequence[bytes] | None = None) -> tuple[bytes, ...]:
        """Each field's commitment."""
        values = encoded or self.encoded()
        return tuple(
            commit(salt, each.index, each.name, value)
            for each, salt, value in zip(self.kind.schema.fields, self.salts(), values, strict=True)
        )

    def manifest(self, **over: Any) -> Manifest:
        """The manifest, with members replaced."""
        members: dict[str, Any] = {
            "source": TOWN,
            "event_type": MOVED,
            "schema": self.kind.schema.id,
            "declaration_id": self.declaration_id,
            "issued_at": NOW,
            "not_after": Instant(NOW + DAY),
            "corrects": None,
            "signer": self.town.kid,
            "signature_policy": 1,
            "routing": self.slip.commitment(),
            "digests": self.digests(),
        }
        return Manifest(**members | over)

    def sign(self, payload: bytes, *keys: PrivateKey, payload_type: str = MANIFEST_TYPE) -> tuple[Signature, ...]:
        """Signatures over the payload by these keys, or by the town's."""
        message = signing.pae(payload_type, payload)
        return tuple(Signature(key.kid, key.sign(message)) for key in keys or (self.town,))

    def sealed_fields(self, manifest: Manifest, encoded: Sequence[bytes] | None = None) -> tuple[bytes, ...]:
        """Each field sealed under its key, its place and its commitment."""
        return tuple(
            sealing.seal_field(
                sealing.field_key(self.dek, manifest.declaration_id, index),
                salt,
                value,
                declaration_id=manifest.declaration_id,
                index=index,
                commitment=digest,
            )
            for index, (salt, value, digest) in enumerate(
                zip(self.salts(), encoded or self.encoded(), manifest.digests, strict=False)
            )
        )

    def signed(self, *keys: PrivateKey, payload: bytes | None = None, **over: Any) -> SignedDeclaration:
        """The envelope of the bent manifest, or of any payload, properly signed by these keys, or by the town's."""
        manifest = self.manifest(**over)
        payload = manifest.encode() if payload is None else payload
        return SignedDeclaration(
            payload_type=MANIFEST_TYPE,
            payload=payload,
            signatures=self.sign(payload, *keys),
            slip=self.slip,
            sealed_fields=self.sealed_fields(manifest),
            sealed_dek=sealing.seal_dek(self.gate.suite, self.gate.public, self.dek, manifest.declaration_id, payload),
            gate_kid=self.gate.kid,
        )

    def locked(
        self,
        signed: SignedDeclaration,
        fields: Sequence[int] = (0, 2),
        *,
        sealed: tuple[SealedField, ...] | None = None,
        **over: Any,
    ) -> LockedDelivery:
        """A delivery to the fund, whatever the declaration is worth. Its DEK is not really locked."""
        if sealed is None:
            sealed = tuple(SealedField(index, signed.sealed_fields[index]) for index in fields)
        members: dict[str, Any] = {
            "delivery_id": delivery_id_of(self.declaration_id, FUND, self.grant_id),
            "recipient": FUND,
            "purpose": "family-benefits",
            "grant_id": self.grant_id,
            "grant_version": 2,
            "payload": signed.payload,
            "signatures": signed.signatures,
            "fields": sealed,
            "gate_kid": signed.gate_kid,
            "locked_dek": self.fixed("locked", 12 + 16 + 80),
        }
        return LockedDelivery(**members | over)

    def statement(self, locked: LockedDelivery, **over: Any) -> Statement:
        """The statement of a delivery, with members replaced."""
        members: dict[str, Any] = {
            "delivery_id": locked.delivery_id,
            "recipient": locked.recipient,
            "declaration_id": self.declaration_id,
            "manifest": ManifestDigest(sha256(locked.payload).digest()),
            "fields": bitmap(len(self.kind.schema.fields), {each.index for each in locked.fields}),
            "sealed": locked.sealed_set(),
            "purpose": locked.purpose,
            "basis": "consent",
            "grant_id": locked.grant_id,
            "grant_version": locked.grant_version,
            "pseudonym": self.fixed("pseudonym", 20),
            "pseudonym_version": 1,
            "released_at": Instant(NOW + 1000),
            "ledger_entry": LeafHash(self.fixed("entry", 32)),
        }
        return Statement(**members | over)

    def release(
        self,
        locked: LockedDelivery,
        statement: Statement | bytes,
        *,
        key: PrivateKey | None = None,
        keys: Sequence[bytes] | None = None,
        payload_type: str = STATEMENT_TYPE,
    ) -> Release:
        """Statement and field keys, properly signed by the broker or by any key."""
        key = key or self.broker
        encoded = statement if isinstance(statement, bytes) else statement.encode()
        derived = tuple(sealing.field_key(self.dek, self.declaration_id, each.index) for each in locked.fields)
        signature = key.sign(signing.pae(payload_type, encoded))
        return Release(encoded, Kid(key.kid), signature, derived if keys is None else tuple(keys))


@pytest.fixture(scope="session")
def world() -> World:
    """One world for all tests: nothing in it changes."""
    return World()
