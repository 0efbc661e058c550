"""The envelope: a signed manifest and what travels around it. SignedDeclaration -> VerifiedDeclaration.

Refuses: an envelope that fails step 1 to 6 of protocol 7 or one of A to E below, each against the attack that it names.
Keeps: a VerifiedDeclaration exists only because `verify_declaration` made it, or the broker read back what it had
verified and stored; apart from official codes of territories, nothing of a citizen is in clear.
Source: docs/protocol.md 4, 5 and 7.

A to E are the intake's and the router's own, about things that a recipient never sees. What neither of them can see is
left to those who hold a key: a DEK sealed for something else stops at the gate, a field swapped or committed to falsely
stops at the recipient (delivery.py, step 8).
"""

import re
from dataclasses import InitVar, dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import Final, Self, final

from schemas import avro, sealing, signing, sizes, wire
from schemas.directory import Directory
from schemas.errors import Corrupt, Refused
from schemas.manifest import MANIFEST_TYPE, Manifest, Registered, Schemas, verify_manifest
from schemas.names import Instant, Kid, ManifestDigest
from schemas.wire import FIXED16, FIXED32, SIGNATURES, Signature

__all__ = ["Manifest", "RoutingSlip", "Signature", "SignedDeclaration", "VerifiedDeclaration", "verify_declaration"]

MAX_TERRITORIES: Final = 32
POLICY_OVERLAP_MS: Final = 86_400_000
"""How long after a change of its signature policy a source's earlier declarations are taken under the one before: a
day, milliseconds. It is what a source needs whose declarations wait, and all that the thief of a key that does not
suffice any more has.
"""
MAX_SUBJECT_TOKEN: Final = 1024
"""Bytes."""

_ROUTING_DOMAIN: Final = b"unefois/routing/v1\x00"
# COG communes and countries (five characters, 2A and 2B in Corsica) or ISO 3166 countries: no room for anything else.
_TERRITORY: Final = re.compile(r"[0-9]{5}|2[AB][0-9]{3}|[A-Z]{2}")
_ROUTING: Final = (("subject_token", "bytes"), ("territories", wire.array("string")))
_ROUTING_SLIP: Final = wire.schema("RoutingSlip", *_ROUTING)
_ENVELOPE: Final = wire.schema(
    "Envelope",
    ("payload_type", "string"),
    ("payload", "bytes"),
    ("signatures", SIGNATURES),
    ("slip", wire.record("Slip", ("salt", FIXED16), *_ROUTING)),
    ("sealed_fields", wire.array("bytes")),
    ("sealed_dek", "bytes"),
    ("gate_kid", FIXED32),
)


@dataclass(frozen=True, slots=True)
class RoutingSlip:
    """What the router needs and no recipient sees: whose declaration it is, and which territories may decide."""

    salt: bytes = field(repr=False)
    subject_token: bytes = field(repr=False)
    territories: tuple[str, ...]

    def commitment(self) -> bytes:
        """SHA-256(domain | salt16 | Avro(RoutingSlip)), 32 bytes: the manifest's `routing`."""
        slip = {"subject_token": self.subject_token, "territories": self.territories}
        return sha256(_ROUTING_DOMAIN + self.salt + avro.encode(_ROUTING_SLIP, slip)).digest()

    def check(self) -> None:
        """Are token and territories within their form? Raises Refused `envelope.*` with a pointer from the slip."""
        if not 1 <= len(self.subject_token) <= MAX_SUBJECT_TOKEN:
            raise Refused(
                "envelope.subject-token", "/subject_token", length=len(self.subject_token), limit=MAX_SUBJECT_TOKEN
            )
        if len(self.territories) > MAX_TERRITORIES:
            raise Refused(
                "envelope.too-many-territories", "/territories", got=len(self.territories), limit=MAX_TERRITORIES
            )
        for number, territory in enumerate(self.territories):
            if not _TERRITORY.fullmatch(territory):
                raise Refused("envelope.territory", f"/territories/{number}")


@dataclass(frozen=True, slots=True)
class SignedDeclaration:
    """An envelope as it came: it has the right form, and nothing in it is proved yet."""

    payload_type: str
    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]
    slip: RoutingSlip
    sealed_fields: tuple[bytes, ...] = field(repr=False)
    sealed_dek: bytes = field(repr=False)
    gate_kid: Kid

    def encode(self) -> bytes:
        """The envelope's bytes; when it came from `decode`, those that it took."""
        return avro.encode(
            _ENVELOPE,
            {
                "payload_type": self.payload_type,
                "payload": self.payload,
                "signatures": wire.written_signatures(self.signatures),
                "slip": {
                    "salt": self.slip.salt,
                    "subject_token": self.slip.subject_token,
                    "territories": self.slip.territories,
                },
                "sealed_fields": self.sealed_fields,
                "sealed_dek": self.sealed_dek,
                "gate_kid": self.gate_kid,
            },
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """The envelope that these bytes are, exactly. Raises Refused `avro.*` with a pointer."""
        raw = avro.decode(_ENVELOPE, encoded)
        slip = raw["slip"]
        return cls(
            payload_type=raw["payload_type"],
            payload=raw["payload"],
            signatures=wire.read_signatures(raw["signatures"]),
            slip=RoutingSlip(slip["salt"], slip["subject_token"], tuple(slip["territories"])),
            sealed_fields=tuple(raw["sealed_fields"]),
            sealed_dek=raw["sealed_dek"],
            gate_kid=Kid(raw["gate_kid"]),
        )


@final
class _Seal:
    """Whoever holds it has verified; it never leaves this module."""


_SEAL: Final = _Seal()


@dataclass(frozen=True, slots=True)
class VerifiedDeclaration:
    """A declaration that passed every step. Made by `verify_declaration` only; `digest` is SHA-256 of the payload."""

    manifest: Manifest
    digest: ManifestDigest
    signed: SignedDeclaration
    made_by: InitVar[_Seal]

    def __post_init__(self, made_by: _Seal) -> None:
        if made_by is not _SEAL:
            raise TypeError("only verify_declaration makes a VerifiedDeclaration")

    @classmethod
    def stored(cls, encoded: bytes) -> "VerifiedDeclaration":
        """Read back what the broker itself verified and stored. Never give it bytes that came from outside.

        Nothing is verified again but what ties the parts together: keys and rights may have ended meanwhile, and the
        recipient verifies the source's signature in any case. Raises Corrupt when the parts do not belong together.
        """
        try:
            signed = SignedDeclaration.decode(encoded)
            manifest = Manifest.decode(signed.payload)
            _check_slip(signed, manifest)
        except Refused as fault:
            raise Corrupt("envelope.stored", fault.pointer, found=fault.code) from None
        return cls(manifest, _digest(signed), signed, _SEAL)


def verify_declaration(
    signed: SignedDeclaration, directory: Directory, catalogue: Schemas, at: Instant
) -> VerifiedDeclaration:
    """Every step of the intake, and of the router again: protocol 7, 1 to 6, then A to E.

    `at` is the instant of receipt; the router passes the one that the intake recorded, so that a queue which was long
    does not make a declaration late. Raises Refused with a pointer into the envelope.
    """
    # 1 the payload's type: stops a signed statement from being sent in as a manifest
    if signed.payload_type != MANIFEST_TYPE:
        raise Refused("envelope.payload-type", "/payload_type")
    manifest, registered = verify_manifest(signed.payload, signed.signatures, directory, catalogue, at)
    _check_receipt(signed, manifest, directory, at)
    _check_slip(signed, manifest)
    _check_territories(signed, registered)
    _check_sealed(signed, registered)
    _check_gate(signed, directory, at)
    return VerifiedDeclaration(manifest, _digest(signed), signed, _SEAL)


def _digest(signed: SignedDeclaration) -> ManifestDigest:
    return ManifestDigest(sha256(signed.payload).digest())


def _check_receipt(signed: SignedDeclaration, manifest: Manifest, directory: Directory, at: Instant) -> None:
    """A Keys, right and policy stand at receipt as well: stops the thief of a key that was revoked, or does not suffice
    any more, who dates himself back. Of a policy that changed, what came before has POLICY_OVERLAP_MS to arrive.
    """
    for number, each in enumerate(signed.signatures):
        try:
            directory.check_signer(manifest.source, each.kid, at)
        except Refused as fault:
            raise fault.under(f"/signatures/{number}/kid") from None
    try:
        directory.check_publishing(manifest.source, manifest.event_type, manifest.signer, at)
    except Refused as fault:
        raise fault.under("/payload/event_type") from None
    policy = directory.policy(manifest.source, max(manifest.issued_at, Instant(at - POLICY_OVERLAP_MS)))
    missing = signing.POLICIES[policy] - {directory.signing_key(each.kid).algorithm for each in signed.signatures}
    if missing:
        raise Refused("manifest.policy-not-met", "/signatures", policy=policy, missing=min(missing).name)


def _check_slip(signed: SignedDeclaration, manifest: Manifest) -> None:
    """B The slip is the one that the source committed to: stops rerouting, to another citizen or another commune."""
    try:
        signed.slip.check()
    except Refused as fault:
        raise fault.under("/slip") from None
    if not compare_digest(signed.slip.commitment(), manifest.routing):
        raise Refused("envelope.slip", "/slip")


def _check_territories(signed: SignedDeclaration, registered: Registered) -> None:
    """C Territories only where the type uses them: stops telling in clear where a citizen is when nobody needs it."""
    if signed.slip.territories and not registered.uses_territories:
        raise Refused("envelope.territories-unused", "/slip/territories")


def _check_sealed(signed: SignedDeclaration, registered: Registered) -> None:
    """D One sealed field for each of the schema's, padded, none larger than a value of it can be: stops a field from
    being dropped, or betrayed by its length, and ballast that nobody may look into from filling every mailbox.
    """
    sealed, most = signed.sealed_fields, sizes.most_sealed(registered.schema)
    if len(sealed) != len(most):  # as many digests as fields: step 2 of the manifest
        raise Refused("envelope.field-count", "/sealed_fields", got=len(sealed), expected=len(most))
    for number, (each, limit) in enumerate(zip(sealed, most, strict=True)):
        if not sealing.is_sealed_size(len(each)):
            raise Refused("envelope.sealed-size", f"/sealed_fields/{number}", length=len(each))
        if len(each) > limit:
            raise Refused("envelope.sealed-too-large", f"/sealed_fields/{number}", length=len(each), limit=limit)


def _check_gate(signed: SignedDeclaration, directory: Directory, at: Instant) -> None:
    """E Sealed to a key that the broker's gate holds today, in that key's suite: stops what could never be opened."""
    try:
        gate = directory.check_sealing(directory.broker, signed.gate_kid, at)
    except Refused as fault:
        raise fault.under("/gate_kid") from None
    expected = sealing.sealed_dek_size(gate.suite)
    if len(signed.sealed_dek) != expected:
        raise Refused("envelope.sealed-dek-size", "/sealed_dek", length=len(signed.sealed_dek), expected=expected)
