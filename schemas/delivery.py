"""Delivery: a recipient's side. LockedDelivery and key release -> ReleasedDelivery -> VerifiedDelivery.

Refuses: a delivery that fails one of the ten numbered steps of protocol 7, each against the attack that it names.
Keeps: a VerifiedDelivery exists only because `verify_delivery` made it; every value in it was signed by its source and
released to this recipient under a named grant; a field that was not disclosed is `WITHHELD`, never None.
Source: docs/protocol.md 6 and 7.

Not checked on purpose: whether the declaration reached the intake before a revocation of its signing key (the time of
receipt is in the ledger, see directory.py), and whether values make sense (`schemas.values`): the source answers for
them with its signature, and a recipient must be able to read what was accepted by the rules of another day.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from enum import Enum
from hashlib import sha256
from hmac import compare_digest
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, final

from schemas import avro, hpke, sealing, signing
from schemas.assurance import Provenance
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.manifest import Manifest, Schemas, verify_manifest
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    LeafHash,
    ManifestDigest,
    PartyId,
    SchemaId,
)
from schemas.release import (
    STATEMENT_TYPE,
    KeyRelease,
    LockedDelivery,
    Release,
    Statement,
    delivery_id_of,
    indices,
    open_releases,
)
from schemas.sealing import commit

Seen = Callable[[PartyId, DeclarationId], ManifestDigest | None]
"""(source, declaration id) -> the manifest digest under which the recipient knows it, or None."""


@final
class Withheld(Enum):
    """The value of a field that was not disclosed. True like any value, so that it never passes for an absent one."""

    WITHHELD = "withheld"

    def __repr__(self) -> str:
        return "WITHHELD"

    __str__ = __repr__


WITHHELD: Final = Withheld.WITHHELD


@final
class _Seal:
    """Whoever holds it has done the step; it never leaves this module."""


_SEAL: Final = _Seal()


@dataclass(frozen=True, slots=True)
class ReleasedDelivery:
    """A delivery with its keys, as they were sealed to this recipient. Made by `open_release` only; proves nothing."""

    locked: LockedDelivery
    release: Release
    recipient_kid: Kid
    made_by: InitVar[_Seal]

    def __post_init__(self, made_by: _Seal) -> None:
        if made_by is not _SEAL:
            raise TypeError("only open_release makes a ReleasedDelivery")


@dataclass(frozen=True, slots=True)
class VerifiedDelivery:
    """What a recipient may act on. Made by `verify_delivery` only.

    `record` has every field of the schema in order, the undisclosed ones as WITHHELD; `disclosed` names the others.
    """

    delivery_id: DeliveryId
    declaration_id: DeclarationId
    source: PartyId
    event_type: EventType
    schema_id: SchemaId
    issued_at: Instant
    corrects: DeclarationId | None
    purpose: str
    basis: str
    grant_id: GrantId
    grant_version: int
    pseudonym: bytes | None = field(repr=False)
    pseudonym_version: int
    released_at: Instant
    ledger_entry: LeafHash
    manifest_digest: ManifestDigest
    provenance: Provenance | None
    """How sure it is, as its source states, signed; None: nothing was stated."""
    record: Mapping[str, Any | Withheld] = field(repr=False)
    disclosed: tuple[str, ...]
    made_by: InitVar[_Seal]

    def __post_init__(self, made_by: _Seal) -> None:
        if made_by is not _SEAL:
            raise TypeError("only verify_delivery makes a VerifiedDelivery")


def open_release(
    locked: Sequence[LockedDelivery], key_release: bytes, key: hpke.SealingKey
) -> tuple[ReleasedDelivery, ...]:
    """The deliveries of one pull with their keys, in the order in which the pull gave them.

    A recipient whose keys overlap picks `key` by `KeyRelease.decode(key_release).recipient_kid`.
    Raises Refused `avro.*`, `release.unknown-suite`, `.other-key`, `.cannot-open` (another recipient, another order, a
    delivery too many or too few), `.count`.
    """
    opened = KeyRelease.decode(key_release)
    releases = open_releases(opened, key, [each.delivery_id for each in locked])
    return tuple(
        ReleasedDelivery(delivery, release, opened.recipient_kid, _SEAL)
        for delivery, release in zip(locked, releases, strict=True)
    )


def verify_delivery(
    released: ReleasedDelivery,
    *,
    recipient: PartyId,
    directory: Directory,
    catalogue: Schemas,
    at: Instant,
    seen: Seen,
) -> VerifiedDelivery:
    """The ten steps of protocol 7, in their order, by what the recipient pinned and nothing that the broker says.

    `at` is now. Raises Refused with a pointer into the locked delivery or, from `/statement`, into the statement.
    """
    locked = released.locked
    # 1 neither type is carried: 3 and 7 put the expected one into what they verify, so that a signature made for
    #   another kind of document is none here
    manifest, registered = verify_manifest(locked.payload, locked.signatures, directory, catalogue, at)  # 2 to 6
    _check_own_key(released, recipient, directory)
    statement = _check_statement(released, manifest, recipient, directory)
    values = _open_fields(released, statement, manifest, registered.schema)
    # 9 strict decoding: stops a value that two agencies would read in two ways, or one that hides more behind it
    opened = {index: avro.decode_field(registered.schema, index, value) for index, value in values.items()}
    _check_new(released.locked, manifest, seen)
    return _verified(statement, manifest, registered.schema, opened)


def _check_own_key(released: ReleasedDelivery, recipient: PartyId, directory: Directory) -> None:
    """2 continued: the key that was sealed to is listed as this recipient's. Stops a suite that it never offered.

    A kid is the hash of suite and key, so a listed kid is a listed suite.
    """
    try:
        listed = directory.sealing_key(released.recipient_kid)
    except Refused as fault:
        raise fault.under("/recipient_kid") from None
    if listed.party != recipient:
        raise Refused("delivery.key-of-another", "/recipient_kid", kid=released.recipient_kid.hex())


def _check_statement(
    released: ReleasedDelivery, manifest: Manifest, recipient: PartyId, directory: Directory
) -> Statement:
    """7 The broker's signature on this very delivery: stops keys without a ledger entry, and mixing two releases."""
    locked = released.locked
    try:
        statement = _signed_statement(released.release, directory)
    except Refused as fault:
        raise fault.under("/statement") from None
    if not recipient == statement.recipient == locked.recipient:
        raise Refused("delivery.other-recipient", "/statement/recipient")
    if not compare_digest(statement.manifest, sha256(locked.payload).digest()):
        raise Refused("delivery.other-manifest", "/statement/manifest")
    if not compare_digest(statement.sealed, locked.sealed_set()):
        raise Refused("delivery.other-fields", "/statement/sealed")
    for name in ("delivery_id", "purpose", "grant_id", "grant_version"):
        if getattr(statement, name) != getattr(locked, name):
            raise Refused("delivery.other-delivery", f"/statement/{name}")
    if statement.declaration_id != manifest.declaration_id:
        raise Refused("delivery.other-delivery", "/statement/declaration_id")
    return statement


def _signed_statement(release: Release, directory: Directory) -> Statement:
    key = directory.signing_key(release.kid)
    if key.party != directory.broker:
        raise Refused("delivery.not-the-broker", kid=release.kid.hex())
    message = signing.pae(STATEMENT_TYPE, release.statement)
    if not signing.verify(key.algorithm, key.public, release.signature, message):
        raise Refused("delivery.statement-signature", kid=release.kid.hex())
    statement = Statement.decode(release.statement)
    directory.check_signer(directory.broker, release.kid, statement.released_at)
    return statement


def _open_fields(
    released: ReleasedDelivery, statement: Statement, manifest: Manifest, schema: avro.Schema
) -> dict[int, bytes]:
    """8 What the source committed to, field by field: stops a value that it never signed, or under a false name.

    Index -> encoded value. The name comes from the recipient's own schema, so nobody can call a field something else.
    """
    sealed, keys = released.locked.fields, released.release.keys
    places = tuple(each.index for each in sealed)
    if any(later <= earlier for earlier, later in pairwise(places)):
        raise Refused("delivery.not-ascending", "/fields")
    try:
        released_places = indices(statement.fields, len(manifest.digests))
    except Refused as fault:
        raise fault.under("/statement") from None
    if places != released_places:
        raise Refused("delivery.bitmap", "/statement/fields")
    if len(keys) != len(sealed):
        raise Refused("delivery.key-count", "/fields", got=len(keys), expected=len(sealed))
    values = {}
    for number, (each, key) in enumerate(zip(sealed, keys, strict=True)):
        digest = manifest.digests[each.index]
        try:
            salt, value = sealing.open_field(
                key, each.sealed, declaration_id=manifest.declaration_id, index=each.index, commitment=digest
            )
        except Refused as fault:
            raise fault.under(f"/fields/{number}") from None
        if not compare_digest(commit(salt, each.index, schema.fields[each.index].name, value), digest):
            raise Refused("delivery.commitment-mismatch", f"/fields/{number}", index=each.index)
        values[each.index] = value
    return values


def _check_new(locked: LockedDelivery, manifest: Manifest, seen: Seen) -> None:
    """10 The id is the derived one, and one declaration id means one manifest: stops acting twice, or on two stories.

    The same delivery may come again, and the same declaration under another grant; both carry the same manifest.
    """
    if locked.delivery_id != delivery_id_of(manifest.declaration_id, locked.recipient, locked.grant_id):
        raise Refused("delivery.id", "/delivery_id")
    known = seen(manifest.source, manifest.declaration_id)
    if known is not None and not compare_digest(known, sha256(locked.payload).digest()):
        raise Refused("delivery.another-manifest-before", "/payload/declaration_id")


def _verified(
    statement: Statement, manifest: Manifest, schema: avro.Schema, opened: Mapping[int, Any]
) -> VerifiedDelivery:
    record = {each.name: opened.get(each.index, WITHHELD) for each in schema.fields}
    return VerifiedDelivery(
        delivery_id=statement.delivery_id,
        declaration_id=manifest.declaration_id,
        source=manifest.source,
        event_type=manifest.event_type,
        schema_id=manifest.schema,
        issued_at=manifest.issued_at,
        corrects=manifest.corrects,
        purpose=statement.purpose,
        basis=statement.basis,
        grant_id=statement.grant_id,
        grant_version=statement.grant_version,
        pseudonym=statement.pseudonym or None,
        pseudonym_version=statement.pseudonym_version,
        released_at=statement.released_at,
        ledger_entry=statement.ledger_entry,
        manifest_digest=statement.manifest,
        provenance=manifest.provenance,
        record=MappingProxyType(record),
        disclosed=tuple(each.name for each in schema.fields if each.index in opened),
        made_by=_SEAL,
    )
