"""Declaration: a source's side. A record goes in; a signed, sealed envelope comes out.

Refuses: a record that its schema or `schemas.values` refuses, a correction of itself, a period that ends before it
begins, territories other than the record's own, a gate key not good at that instant, signing keys other than the
policy's.
Keeps: a field is sealed where it is signed, so no later hand holds a value; salts and DEK are fresh for each call.
Source: docs/protocol.md 3 to 5.

`entropy(n)` gives n random bytes. It is asked, in this order, for the DEK (32), one salt for each field (16 each) and
the slip's salt (16). Tests pass a fixed sequence and get the same manifest, commitments and sealed fields each time;
anywhere else pass `secrets.token_bytes`. Two declarations from one sequence would share field keys and salts, which
gives away their contents. HPKE takes its ephemeral key from the library's own randomness, so `sealed_dek` and ML-DSA
signatures always differ.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import avro, sealing, signing, values
from schemas.assurance import Provenance
from schemas.catalogue import EventSchema, territories_of, with_defaults
from schemas.directory import SealingKeyEntry, check_valid
from schemas.envelope import RoutingSlip, SignedDeclaration
from schemas.errors import Refused
from schemas.manifest import MANIFEST_TYPE, STATED, VERSION, Manifest
from schemas.names import DeclarationId, Instant, PartyId
from schemas.sealing import SALT_SIZE, commit
from schemas.signing import PrivateKey
from schemas.wire import Signature

Entropy = Callable[[int], bytes]
"""n -> n random bytes."""


@dataclass(frozen=True, slots=True)
class Source:
    """A party that declares: who it is, its signing keys (the first is the signer), and its signature policy."""

    party: PartyId
    keys: Sequence[PrivateKey]
    policy: int

    def __post_init__(self) -> None:
        if self.policy not in signing.POLICIES:
            raise Refused("declaration.unknown-policy", policy=self.policy)
        demanded = signing.POLICIES[self.policy]
        if sorted(key.algorithm for key in self.keys) != sorted(demanded):
            raise Refused("declaration.keys", policy=self.policy, got=len(self.keys), expected=len(demanded))


def declare(
    source: Source,
    event: EventSchema,
    record: Mapping[str, Any],
    *,
    subject_token: bytes,
    gate: SealingKeyEntry,
    at: Instant,
    lifetime_ms: int,
    declaration_id: DeclarationId,
    entropy: Entropy,
    corrects: DeclarationId | None = None,
    territories: Iterable[str] | None = None,
    provenance: Provenance | None = None,
) -> SignedDeclaration:
    """A declaration, signed by all of the source's keys and sealed to the gate's key.

    `at` becomes `issued_at`; nobody accepts the declaration later than `lifetime_ms` milliseconds after it, so choose
    it as long as the news is worth having: a late subscriber and a parked delivery need it too.
    `provenance` says how sure it is; None says nothing, which is the least sure, and is what verifiers of before read.
    `declaration_id` is a UUIDv7 of the source, never used before. `territories` are the record's own, and whoever gives
    them gives the same. Fields that a later schema of the type added may be left out. Warnings of `values.check` are
    the caller's to show, before.
    Raises Refused `avro.*`, `values.*`, `declaration.territories`, `manifest.*`, `envelope.*`, `directory.*`, with a
    pointer.
    """
    record = with_defaults(event, record)
    values.check(event, record, at)
    encoded = [avro.encode_field(event.schema, each.index, record[each.name]) for each in event.schema.fields]
    check_valid(gate, at)
    dek, salts = entropy(sealing.DEK_SIZE), [entropy(SALT_SIZE) for _ in encoded]
    slip = _slip(entropy(SALT_SIZE), subject_token, _territories(event, record, territories))
    manifest = Manifest(
        source=source.party,
        event_type=event.event_type,
        schema=event.schema.id,
        declaration_id=declaration_id,
        issued_at=at,
        not_after=Instant(at + lifetime_ms),
        corrects=corrects,
        signer=source.keys[0].kid,
        signature_policy=source.policy,
        routing=slip.commitment(),
        digests=tuple(
            commit(salt, each.index, each.name, value)
            for each, salt, value in zip(event.schema.fields, salts, encoded, strict=True)
        ),
        version=VERSION if provenance is None else STATED,
        provenance=provenance,
    )
    manifest.check()
    payload = manifest.encode()
    return SignedDeclaration(
        payload_type=MANIFEST_TYPE,
        payload=payload,
        signatures=_signed(source, payload),
        slip=slip,
        sealed_fields=_sealed(dek, salts, encoded, manifest),
        sealed_dek=sealing.seal_dek(gate.suite, gate.public, dek, declaration_id, payload),
        gate_kid=gate.kid,
    )


def _territories(event: EventSchema, record: Mapping[str, Any], given: Iterable[str] | None) -> tuple[str, ...]:
    """The record's own. Nobody but who opens the fields could see that others were told, and who hears of the
    declaration is decided by them: a wrong one gets its receipt, and reaches nobody.
    """
    own = territories_of(event, record)
    told = own if given is None else tuple(sorted(set(given)))
    if told and not event.uses_territories:
        raise Refused("envelope.territories-unused", "/territories")
    if told != own:
        raise Refused("declaration.territories", "/territories", got=len(told), expected=len(own))
    return own


def _slip(salt: bytes, subject_token: bytes, territories: tuple[str, ...]) -> RoutingSlip:
    slip = RoutingSlip(salt, subject_token, territories)
    slip.check()
    return slip


def _signed(source: Source, payload: bytes) -> tuple[Signature, ...]:
    message = signing.pae(MANIFEST_TYPE, payload)
    return tuple(Signature(key.kid, key.sign(message)) for key in source.keys)


def _sealed(dek: bytes, salts: Sequence[bytes], encoded: Sequence[bytes], manifest: Manifest) -> tuple[bytes, ...]:
    """Each field under its own key. The one place that seals, so that no K_i is ever used twice."""
    return tuple(
        sealing.seal_field(
            sealing.field_key(dek, manifest.declaration_id, index),
            salts[index],
            encoded[index],
            declaration_id=manifest.declaration_id,
            index=index,
            commitment=digest,
        )
        for index, digest in enumerate(manifest.digests)
    )
