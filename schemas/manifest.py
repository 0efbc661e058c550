"""The manifest: what a source signs, and the steps that everybody takes before believing it.

Refuses: a manifest that fails one of the numbered steps of `verify_manifest`, each against the attack that it names.
Keeps: no byte of a manifest is read before every signature beside it was checked over the carried bytes; algorithm and
policy come from the directory; a manifest holds commitments only, no value and no citizen.
Source: docs/protocol.md 4 and 7.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

from schemas import avro, signing, wire
from schemas.assurance import Provenance
from schemas.directory import Directory, SigningKeyEntry
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, Instant, Kid, PartyId, SchemaId, is_instant
from schemas.sealing import COMMITMENT_SIZE
from schemas.wire import FIXED16, FIXED32, Signature

VERSION: Final = 1
STATED: Final = 2
"""The version that states how sure the declaration is. What states nothing stays version 1, byte for byte."""
MANIFEST_TYPE: Final = "application/vnd.unefois.manifest.v1+avro"
AHEAD_MS: Final = 5 * 60 * 1000
"""How far a source's clock may be ahead, milliseconds."""
MAX_SIGNATURES: Final = 4

_FIRST: Final = (
    ("version", "int"),
    ("source", "string"),
    ("event_type", "string"),
    ("schema", FIXED32),
    ("declaration_id", FIXED16),
    ("issued_at", "long"),
    ("not_after", "long"),
    ("corrects", ["null", FIXED16]),
    ("signer", FIXED32),
    ("signature_policy", "int"),
    ("routing", FIXED32),
    ("digests", "bytes"),
)
_STATED_TOO: Final = (("assurance", "string"), ("quality", "string"), ("channel", "string"))
_MANIFESTS: Final[Mapping[int, avro.Schema]] = MappingProxyType(
    {VERSION: wire.schema("Manifest", *_FIRST), STATED: wire.schema("Manifest", *_FIRST, *_STATED_TOO)}
)


class Registered(Protocol):
    """What verification needs of an event type; `catalogue.EventSchema` has it."""

    @property
    def event_type(self) -> EventType:
        """The type whose versions share this schema's line."""
        ...

    @property
    def schema(self) -> avro.Schema:
        """The parsed schema."""
        ...

    @property
    def uses_territories(self) -> bool:
        """May a declaration of this type name territories in clear?"""
        ...


class Schemas(Protocol):
    """Where schemas are found; `catalogue.Catalogue` is one."""

    def by_id(self, schema_id: SchemaId, /) -> Registered:
        """The schema with this SHA-256. Raises Refused when it is not held."""
        ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a source signs: who, what, when, and one digest for each field of the schema, in order."""

    source: PartyId
    event_type: EventType
    schema: SchemaId
    declaration_id: DeclarationId
    issued_at: Instant
    not_after: Instant
    corrects: DeclarationId | None
    signer: Kid
    signature_policy: int
    routing: bytes = field(repr=False)
    digests: tuple[bytes, ...] = field(repr=False)
    version: int = VERSION
    provenance: Provenance | None = None
    """How sure the declaration is; in version 2, and in no other."""

    def encode(self) -> bytes:
        """The exact bytes to sign."""
        raw = {name: getattr(self, name) for name in _MEMBERS} | {"digests": b"".join(self.digests)}
        if self.provenance is not None:
            raw |= {name: getattr(self.provenance, name).value for name, _ in _STATED_TOO}
        return avro.encode(_MANIFESTS[VERSION if self.provenance is None else STATED], raw)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """The manifest that these bytes are, exactly.

        Raises Refused `avro.*`, `name.*`, `manifest.version`, `.unknown-policy`, `.digests`,
        `assurance.unknown`, or like `check`.
        """
        version = STATED if encoded[:1] == _STATED_BYTE else VERSION
        raw = avro.decode(_MANIFESTS[version], encoded)
        if raw["version"] != version:
            raise Refused("manifest.version", "/version", got=raw["version"], expected=VERSION)
        if raw["signature_policy"] not in signing.POLICIES:
            raise Refused("manifest.unknown-policy", "/signature_policy", policy=raw["signature_policy"])
        joined = raw["digests"]
        if not joined or len(joined) % COMMITMENT_SIZE:
            raise Refused("manifest.digests", "/digests", length=len(joined))
        typed = {name: wire.member(raw, name, make) for name, make in _MEMBERS.items()}
        digests = tuple(joined[start : start + COMMITMENT_SIZE] for start in range(0, len(joined), COMMITMENT_SIZE))
        stated = Provenance.read(*(raw[name] for name, _ in _STATED_TOO)) if version == STATED else None
        manifest = cls(**typed, digests=digests, provenance=stated)
        manifest.check()
        return manifest

    def check(self) -> None:
        """Does it make sense by itself? Raises Refused `manifest.period`, `.corrects-itself`, `.version`."""
        if (self.version == STATED) is not (self.provenance is not None):
            raise Refused("manifest.version", "/version", got=self.version, expected=VERSION)
        if not (is_instant(self.issued_at) and is_instant(self.not_after) and self.issued_at <= self.not_after):
            raise Refused("manifest.period", "/not_after")
        if self.corrects == self.declaration_id:
            raise Refused("manifest.corrects-itself", "/corrects")


_STATED_BYTE: Final = b"\x04"
"""STATED as Avro writes it, which is the first byte."""
_MEMBERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "version": int,
        "source": PartyId,
        "event_type": EventType,
        "schema": SchemaId,
        "declaration_id": DeclarationId,
        "issued_at": Instant,
        "not_after": Instant,
        "corrects": lambda raw: None if raw is None else DeclarationId(raw),
        "signer": Kid,
        "signature_policy": int,
        "routing": bytes,
    }
)


def verify_manifest(
    payload: bytes, signatures: Sequence[Signature], directory: Directory, catalogue: Schemas, at: Instant
) -> tuple[Manifest, Registered]:
    """Steps 2 to 6 of protocol 7, for intake, router and recipient alike: the manifest and its schema.

    `at` is the verifier's instant: of receipt for the intake and the router, now for a recipient. Raises Refused with
    a pointer from the record that carries `payload` and `signatures`. Step 1 is the caller's: only it sees the type.
    """
    keys = _listed(signatures, directory)
    _check_signatures(payload, signatures, keys)
    try:
        # 4 exact decoding stops two readers from reading one signed payload in two ways
        manifest = Manifest.decode(payload)
    except Refused as fault:
        raise fault.under("/payload") from None
    _check_policy(manifest, keys, directory)
    _check_signer(manifest, keys, directory)
    _check_fresh(manifest, at)
    return manifest, _check_schema(manifest, catalogue)


def _listed(signatures: Sequence[Signature], directory: Directory) -> tuple[SigningKeyEntry, ...]:
    """2 Key and algorithm from the pinned directory: stops a message from naming its own key or a weaker algorithm.

    Every signature must be of a listed key. One that nobody checks would ride along as if it were trusted.
    """
    if not signatures:
        raise Refused("manifest.no-signature", "/signatures")
    if len(signatures) > MAX_SIGNATURES:  # each costs a verification, before anything is known of the sender
        raise Refused("manifest.too-many-signatures", "/signatures", got=len(signatures), limit=MAX_SIGNATURES)
    if len({each.kid for each in signatures}) < len(signatures):
        raise Refused("manifest.same-signer-twice", "/signatures")
    found = []
    for number, each in enumerate(signatures):
        try:
            found.append(directory.signing_key(each.kid))
        except Refused as fault:
            raise fault.under(f"/signatures/{number}/kid") from None
    return tuple(found)


def _check_signatures(payload: bytes, signatures: Sequence[Signature], keys: Sequence[SigningKeyEntry]) -> None:
    """3 Every signature, over the carried bytes: stops forgery, and a statement taken for a manifest."""
    message = signing.pae(MANIFEST_TYPE, payload)
    for number, (each, key) in enumerate(zip(signatures, keys, strict=True)):
        if not signing.verify(key.algorithm, key.public, each.signature, message):
            raise Refused("manifest.signature", f"/signatures/{number}", kid=each.kid.hex())


def _check_policy(manifest: Manifest, keys: Sequence[SigningKeyEntry], directory: Directory) -> None:
    """3 continued, now that the signed bytes have told source and time: stops stripping a signature (downgrade).

    Demanded is what the directory says for the source at `issued_at`, and what the source itself says it signed with:
    a reader whose directory is behind still notices that one of two signatures was taken away.
    """
    policy = directory.policy(manifest.source, manifest.issued_at)
    demanded = signing.POLICIES[policy] | signing.POLICIES[manifest.signature_policy]
    missing = demanded - {key.algorithm for key in keys}
    if missing:
        raise Refused("manifest.policy-not-met", "/signatures", policy=policy, missing=min(missing).name)


def _check_signer(manifest: Manifest, keys: Sequence[SigningKeyEntry], directory: Directory) -> None:
    """5 The source's own keys, good at `issued_at`, for a type that it may publish: stops speaking for another party.

    Each signature's key is asked about, not only the signer's: else a stolen, revoked half does for a policy of two.
    """
    if manifest.signer not in {key.kid for key in keys}:
        raise Refused("manifest.signer-did-not-sign", "/payload/signer")
    for number, key in enumerate(keys):
        try:
            directory.check_signer(manifest.source, key.kid, manifest.issued_at)
        except Refused as fault:
            raise fault.under(f"/signatures/{number}/kid") from None
    try:
        directory.check_publishing(manifest.source, manifest.event_type, manifest.signer, manifest.issued_at)
    except Refused as fault:
        raise fault.under("/payload/event_type") from None


def _check_fresh(manifest: Manifest, at: Instant) -> None:
    """5 continued: stops an old declaration from being served as new, and one dated ahead from outliving its key."""
    if at > manifest.not_after:
        raise Refused("manifest.too-late", "/payload/not_after", late_ms=at - manifest.not_after)
    if manifest.issued_at > at + AHEAD_MS:
        raise Refused("manifest.ahead", "/payload/issued_at", ahead_ms=manifest.issued_at - at, limit_ms=AHEAD_MS)


def _check_schema(manifest: Manifest, catalogue: Schemas) -> Registered:
    """6 A schema that the verifier itself holds: stops a value from being read as another field or another type."""
    try:
        registered = catalogue.by_id(manifest.schema)
    except Refused as fault:
        raise fault.under("/payload/schema") from None
    if registered.event_type != manifest.event_type:
        raise Refused("manifest.schema-of-another-type", "/payload/schema")
    expected = len(registered.schema.fields)
    if len(manifest.digests) != expected:
        raise Refused("manifest.digest-count", "/payload/digests", got=len(manifest.digests), expected=expected)
    return registered
