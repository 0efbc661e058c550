"""The story: one declaration, two deliveries and their release, made by an independent reader of docs/protocol.md.

Every byte that is not random is made again here; every ciphertext is read; every bad input is refused, by the first
party that can see what is wrong with it, with the code that says so. The story's schema has no labels, so the
catalogue would not register it; what verification asks of an event type is given by hand.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from schemas import avro, sealing, signing
from schemas.delivery import WITHHELD, VerifiedDelivery, open_release, verify_delivery
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.envelope import RoutingSlip, SignedDeclaration, VerifiedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.locked import LockedDelivery, delivery_id_of, lock, open_locked
from schemas.manifest import MANIFEST_TYPE, Manifest
from schemas.names import (
    DeclarationId,
    EventType,
    GrantId,
    Instant,
    LeafHash,
    ManifestDigest,
    PartyId,
    SchemaId,
    SubjectRef,
)
from schemas.pseudonym import pseudonym, sector_key
from schemas.release import KeyRelease, Release, Statement, make_release, open_releases, seal_releases
from schemas.sealing import commit
from schemas.signing import Algorithm, PrivateKey

FOLDER = Path(__file__).parent / "protocol"
STORY: dict[str, Any] = json.loads((FOLDER / "story.json").read_text("utf-8"))
BAD_ENVELOPES: dict[str, str] = json.loads((FOLDER / "bad-envelopes.json").read_text("utf-8"))["must_be_refused"]
BAD_RELEASES: dict[str, Any] = json.loads((FOLDER / "bad-releases.json").read_text("utf-8"))["must_be_refused"]

NOW = Instant(STORY["now"])
BROKER = PartyId("urn:unefois:broker")
RECIPIENT = PartyId(STORY["recipient"])
SCHEMA = avro.parse(STORY["schema"].encode())
EVENT_TYPE = EventType("fr.unefois.address.changed.v1")
DECLARATION = DeclarationId.parse(STORY["declaration_id"])
DEK = bytes.fromhex(STORY["dek"])
PAYLOAD = bytes.fromhex(STORY["payload"])
ENVELOPE = bytes.fromhex(STORY["envelope"])

each_field = pytest.mark.parametrize("told", STORY["fields"], ids=lambda told: told["name"])
each_delivery = pytest.mark.parametrize("told", STORY["deliveries"], ids=["register", "contact"])


def signing_key(told: dict[str, Any]) -> PrivateKey:
    return PrivateKey.from_raw(Algorithm(told["algorithm"]), bytes.fromhex(told["seed"]))


def sealing_key(told: dict[str, Any]) -> SealingKey:
    return SealingKey.from_raw(Suite(told["suite"]), bytes.fromhex(told["mlkem768_seed"] + told["x25519_private"]))


SOURCE_KEY, BROKER_KEY = signing_key(STORY["source_key"]), signing_key(STORY["broker_key"])
GATE_KEY, RECIPIENT_KEY = sealing_key(STORY["gate_key"]), sealing_key(STORY["recipient_key"])
MANIFEST = Manifest.decode(PAYLOAD)


@dataclass(frozen=True)
class Registered:
    """What verification asks of an event type."""

    event_type: EventType = EVENT_TYPE
    schema: avro.Schema = SCHEMA
    uses_territories: bool = True


class Held:
    """A catalogue of the story's one schema."""

    def by_id(self, schema_id: SchemaId) -> Registered:
        """The schema, or Refused."""
        if schema_id != SCHEMA.id:
            raise Refused("catalogue.unknown-schema")
        return Registered()


def pinned() -> Directory:
    """What everybody in the story pins."""
    start = Instant(0)
    return Directory.of(
        signing=[
            SigningKeyEntry(key.kid, party, key.algorithm, key.public, start)
            for key, party in ((SOURCE_KEY, MANIFEST.source), (BROKER_KEY, BROKER))
        ],
        sealing=[
            SealingKeyEntry(key.kid, party, key.suite, key.public, start)
            for key, party in ((GATE_KEY, BROKER), (RECIPIENT_KEY, RECIPIENT))
        ],
        rights=[PublishingRight(MANIFEST.source, EVENT_TYPE, start)],
        policies=[PolicyEntry(MANIFEST.source, 1, start)],
        broker=BROKER,
    )


DIRECTORY = pinned()


def verified(envelope: bytes = ENVELOPE) -> VerifiedDeclaration:
    return verify_declaration(SignedDeclaration.decode(envelope), DIRECTORY, Held(), NOW)


def check(locked: Sequence[LockedDelivery], key_release: bytes) -> list[VerifiedDelivery]:
    return [
        verify_delivery(
            each,
            recipient=RECIPIENT,
            directory=DIRECTORY,
            catalogue=Held(),
            at=Instant(NOW + 2000),
            seen=lambda source, declaration: None,
        )
        for each in open_release(locked, key_release, RECIPIENT_KEY)
    ]


def locked_of(told: dict[str, Any]) -> LockedDelivery:
    return LockedDelivery.decode(bytes.fromhex(told["locked"]))


@pytest.mark.parametrize("name", ["source_key", "broker_key", "gate_key", "recipient_key"])
def test_keys_and_their_ids_are_the_story_s(name: str) -> None:
    told = STORY[name]
    key = signing_key(told) if "algorithm" in told else sealing_key(told)
    assert (told["raw_public"], told["kid"]) == (key.public.hex(), key.kid.hex())


@each_field
def test_each_field_s_value_is_what_its_schema_encodes(told: dict[str, Any]) -> None:
    value = bytes.fromhex(told["value"])
    assert value == avro.encode_field(SCHEMA, told["index"], avro.decode_field(SCHEMA, told["index"], value))
    assert told["name"] == SCHEMA.fields[told["index"]].name


@each_field
def test_each_commitment_key_and_sealed_field_is_the_story_s(told: dict[str, Any]) -> None:
    index, salt, value = told["index"], bytes.fromhex(told["salt"]), bytes.fromhex(told["value"])
    digest = commit(salt, index, told["name"], value)
    key = sealing.field_key(DEK, DECLARATION, index)
    sealed = sealing.seal_field(key, salt, value, declaration_id=DECLARATION, index=index, commitment=digest)
    assert told["commitment"] == digest.hex() == MANIFEST.digests[index].hex()
    assert told["field_key"] == key.hex()
    assert told["sealed"] == sealed.hex()


@pytest.mark.parametrize("told", STORY["padding"], ids=lambda told: str(told["length"]))
def test_each_length_is_padded_as_in_the_story(told: dict[str, int]) -> None:
    assert told["padded"] == len(sealing.pad(bytes(told["length"])))


@pytest.mark.parametrize("told", STORY["pseudonyms"], ids=lambda told: told["sector"])
def test_each_pseudonym_is_the_story_s(told: dict[str, str]) -> None:
    key = sector_key(bytes.fromhex(told["master"]), told["sector"])
    assert told["pseudonym"] == pseudonym(key, SubjectRef.parse(told["subject_reference"])).hex()


def test_the_manifest_is_built_again_from_what_is_told_elsewhere() -> None:
    slip = RoutingSlip(
        bytes.fromhex(STORY["routing_salt"]), bytes.fromhex(STORY["subject_token"]), tuple(STORY["territories"])
    )
    rebuilt = Manifest(
        source=MANIFEST.source,
        event_type=EVENT_TYPE,
        schema=SCHEMA.id,
        declaration_id=DECLARATION,
        issued_at=NOW,
        not_after=Instant(NOW + 86_400_000),
        corrects=None,
        signer=SOURCE_KEY.kid,
        signature_policy=1,
        routing=slip.commitment(),
        digests=tuple(bytes.fromhex(told["commitment"]) for told in STORY["fields"]),
    )
    assert STORY["payload"] == rebuilt.encode().hex()


def test_what_is_signed_and_its_signature_are_the_story_s() -> None:
    message = signing.pae(MANIFEST_TYPE, PAYLOAD)
    assert STORY["pae"] == message.hex()
    (signature,) = SignedDeclaration.decode(ENVELOPE).signatures
    assert signature.signature == SOURCE_KEY.sign(message)
    assert signature.kid == SOURCE_KEY.kid


def test_the_envelope_is_read_and_written_back() -> None:
    assert STORY["envelope"] == SignedDeclaration.decode(ENVELOPE).encode().hex()


def test_the_declaration_is_verified_and_its_dek_opens_at_the_gate() -> None:
    declaration = verified()
    assert MANIFEST == declaration.manifest
    assert DEK == sealing.open_dek(GATE_KEY, declaration.signed.sealed_dek, DECLARATION, PAYLOAD)
    assert [told["sealed"] for told in STORY["fields"]] == [each.hex() for each in declaration.signed.sealed_fields]


@each_delivery
def test_each_delivery_is_locked_as_in_the_story(told: dict[str, Any]) -> None:
    grant, consent_key = GrantId.parse(told["grant_id"]), bytes.fromhex(told["consent_key"])
    there = locked_of(told)
    nonce = there.locked_dek[:12]
    here = lock(
        verified(),
        RECIPIENT,
        there.purpose,
        grant,
        told["grant_version"],
        field_indices=told["allowed"],
        consent_key=consent_key,
        nonce=nonce,
    )
    assert told["locked"] == here.encode().hex()
    assert told["delivery_id"] == delivery_id_of(DECLARATION, RECIPIENT, grant).hex()
    assert DEK == open_locked(here, consent_key, GATE_KEY)


@each_delivery
def test_each_statement_says_what_the_delivery_says(told: dict[str, Any]) -> None:
    there = Statement.decode(bytes.fromhex(told["statement"]))
    here = Statement.of(
        locked_of(told),
        fields=there.fields,
        basis="consent",
        pseudonym=there.pseudonym,
        pseudonym_version=there.pseudonym_version,
        released_at=there.released_at,
        ledger_entry=LeafHash(there.ledger_entry),
    )
    assert told["statement"] == here.encode().hex()


def story_releases() -> tuple[tuple[LockedDelivery, ...], tuple[Release, ...]]:
    locked = tuple(locked_of(told) for told in STORY["deliveries"])
    release = KeyRelease.decode(bytes.fromhex(STORY["key_release"]))
    return locked, open_releases(release, RECIPIENT_KEY, [each.delivery_id for each in locked])


def test_the_key_release_is_read_and_its_releases_are_made_again() -> None:
    locked, releases = story_releases()
    for told, delivery, there in zip(STORY["deliveries"], locked, releases, strict=True):
        statement = Statement.decode(bytes.fromhex(told["statement"]))
        assert there == make_release(delivery, DEK, statement, BROKER_KEY)


def test_a_key_release_of_ours_is_read_by_the_same_steps() -> None:
    locked, releases = story_releases()
    ids = [each.delivery_id for each in locked]
    ours = seal_releases(releases, RECIPIENT_KEY.suite, RECIPIENT_KEY.public, ids).encode()
    assert len(STORY["key_release"]) // 2 == len(ours)
    assert 2 == len(check(locked, ours))


def test_the_recipient_reads_its_fields_and_no_other() -> None:
    locked, _ = story_releases()
    register, contact = check(locked, bytes.fromhex(STORY["key_release"]))
    values = {
        told["name"]: avro.decode_field(SCHEMA, told["index"], bytes.fromhex(told["value"])) for told in STORY["fields"]
    }
    for found, told in ((register, STORY["deliveries"][0]), (contact, STORY["deliveries"][1])):
        names = {SCHEMA.fields[index].name for index in told["allowed"]}
        expected = {name: value if name in names else WITHHELD for name, value in values.items()}
        assert expected == dict(found.record)
    assert ("population register", "contact") == (register.purpose, contact.purpose)
    assert ManifestDigest(sha256(PAYLOAD).digest()) == register.manifest_digest == contact.manifest_digest


# What the intake can see, it refuses; what only a holder of a key can see is refused by the gate or the recipient.
ENVELOPE_CODES = {
    "trailing-byte-after-envelope": ("intake", "avro.trailing-bytes"),
    "truncated-envelope": ("intake", "avro.truncated"),
    "trailing-byte-after-manifest": ("intake", "avro.trailing-bytes"),
    "no-signature": ("intake", "manifest.no-signature"),
    "signature-of-another-key": ("intake", "manifest.signature"),
    "unknown-signer": ("intake", "directory.unknown-key"),
    "signed-without-pae": ("intake", "manifest.signature"),
    "statement-type-instead-of-manifest": ("intake", "envelope.payload-type"),
    "territory-changed": ("intake", "envelope.slip"),
    "subject-token-changed": ("intake", "envelope.slip"),
    "field-missing": ("intake", "envelope.field-count"),
    "fields-swapped": ("recipient", "sealing.cannot-open-field"),
    "digest-of-another-value": ("gate", "sealing.cannot-open-dek"),
    "version-2": ("intake", "avro.truncated"),  # version 2 has three words more, which are not there
    "signer-not-the-one-who-signed": ("intake", "manifest.signer-did-not-sign"),
    "dek-for-another-declaration": ("gate", "sealing.cannot-open-dek"),
}


def refused_by(*steps: tuple[str, Callable[[Any], Any]]) -> tuple[str, str]:
    """The first step that refuses what the steps before it made, and its code."""
    made: Any = None
    for party, step in steps:
        try:
            made = step(made)
        except Refused as fault:
            return party, fault.code
    return "nobody", ""


def at_the_gate(delivery: LockedDelivery, consent_key: bytes) -> tuple[LockedDelivery, bytes]:
    dek = open_locked(delivery, consent_key, GATE_KEY)
    statement = Statement.of(
        delivery,
        fields=b"\xff\x80",
        basis="consent",
        pseudonym=b"",
        pseudonym_version=1,
        released_at=NOW,
        ledger_entry=LeafHash(bytes(32)),
    )
    release = make_release(delivery, dek, statement, BROKER_KEY)
    key = RECIPIENT_KEY
    return delivery, seal_releases([release], key.suite, key.public, [delivery.delivery_id]).encode()


def the_whole_way(envelope: bytes) -> tuple[str, str]:
    consent_key, grant = bytes(32), GrantId(bytes(16))
    keys: dict[str, Any] = {"field_indices": range(9), "consent_key": consent_key, "nonce": bytes(12)}
    return refused_by(
        ("intake", lambda _: verified(envelope)),
        ("router", lambda declaration: lock(declaration, RECIPIENT, "all", grant, 1, **keys)),
        ("gate", lambda delivery: at_the_gate(delivery, consent_key)),
        ("recipient", lambda answer: check([answer[0]], answer[1])),
    )


def test_the_story_s_own_envelope_is_refused_by_nobody() -> None:
    assert ("nobody", "") == the_whole_way(ENVELOPE)


@pytest.mark.parametrize("name", BAD_ENVELOPES)
def test_each_bad_envelope_is_refused_by_the_first_who_can_see_why(name: str) -> None:
    assert ENVELOPE_CODES[name] == the_whole_way(bytes.fromhex(BAD_ENVELOPES[name]))


RELEASE_CODES = {
    "order-of-deliveries-changed": "release.cannot-open",
    "one-delivery-left-out": "release.cannot-open",
    "sealed-to-another-recipient": "release.cannot-open",
    "statement-signed-by-the-source": "delivery.not-the-broker",
    "statement-signed-as-a-manifest": "delivery.statement-signature",
    "statements-swapped": "delivery.other-fields",
    "key-of-another-field": "sealing.cannot-open-field",
}


@pytest.mark.parametrize("name", BAD_RELEASES)
def test_each_bad_release_is_refused(name: str) -> None:
    told = BAD_RELEASES[name]
    locked = [locked_of(STORY["deliveries"][number]) for number in told["deliveries_in_this_order"]]
    attempt = partial(check, locked, bytes.fromhex(told["key_release"]))
    assert ("recipient", RELEASE_CODES[name]) == refused_by(("recipient", lambda _: attempt()))


def test_every_bad_input_has_its_code() -> None:
    assert set(BAD_ENVELOPES) == set(ENVELOPE_CODES)
    assert set(BAD_RELEASES) == set(RELEASE_CODES)
