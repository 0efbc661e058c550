"""The recipient's ten steps, each with an input that only that step refuses; and what a verified delivery says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from schemas import sealing
from schemas.delivery import (
    WITHHELD,
    ReleasedDelivery,
    VerifiedDelivery,
    Withheld,
    open_release,
    verify_delivery,
)
from schemas.directory import PolicyEntry
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.locked import LockedDelivery, SealedField
from schemas.manifest import MANIFEST_TYPE
from schemas.names import DeclarationId, DeliveryId, GrantId, Instant, LeafHash, ManifestDigest, PartyId, SchemaId
from schemas.release import Release, seal_releases
from schemas.sealing import commit


def opened(world: Any, locked: LockedDelivery, release: Release) -> ReleasedDelivery:
    """Sealed to the fund and opened by it, whatever it is worth."""
    sealed = seal_releases([release], world.fund.suite, world.fund.public, [locked.delivery_id])
    return open_release([locked], sealed.encode(), world.fund)[0]


def released(world: Any, locked: LockedDelivery | None = None, **over: Any) -> ReleasedDelivery:
    """A delivery with an honest statement, some of its members replaced."""
    locked = locked or world.locked(world.signed())
    return opened(world, locked, world.release(locked, world.statement(locked, **over)))


def nobody(source: PartyId, declaration: DeclarationId) -> ManifestDigest | None:
    return None


def verify(world: Any, delivery: ReleasedDelivery, **over: Any) -> VerifiedDelivery:
    pinned: dict[str, Any] = {"recipient": world.FUND, "catalogue": world.catalogue, "at": Instant(world.NOW + 2000)}
    pinned |= {"seen": nobody} | {name: over.pop(name) for name in tuple(over) if name in {*pinned, "seen"}}
    return verify_delivery(delivery, directory=world.directory(**over), **pinned)


def refusal(world: Any, delivery: ReleasedDelivery, **over: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        verify(world, delivery, **over)
    return caught.value.code, caught.value.pointer


def test_a_verified_delivery_says_everything_a_recipient_may_act_on(world: Any) -> None:
    delivery = released(world)
    found = verify(world, delivery)
    assert {"name": "Amélie", "rooms": WITHHELD, "note": None, "garden": WITHHELD} == dict(found.record)
    assert ("name", "note") == found.disclosed
    manifest, statement = world.manifest(), world.statement(delivery.locked)
    assert (manifest.source, manifest.event_type, manifest.schema) == (found.source, found.event_type, found.schema_id)
    assert (manifest.declaration_id, manifest.issued_at) == (found.declaration_id, found.issued_at)
    assert manifest.corrects is found.corrects
    assert sha256(delivery.locked.payload).digest() == found.manifest_digest
    assert (statement.delivery_id, statement.purpose, "consent") == (found.delivery_id, found.purpose, found.basis)
    assert (statement.grant_id, statement.grant_version) == (found.grant_id, found.grant_version)
    assert (statement.pseudonym, 1) == (found.pseudonym, found.pseudonym_version)
    assert (statement.released_at, statement.ledger_entry) == (found.released_at, found.ledger_entry)


def test_a_correction_names_what_it_corrects(world: Any) -> None:
    corrected = DeclarationId(b"\x01" * 16)
    locked = world.locked(world.signed(corrects=corrected))
    assert corrected == verify(world, released(world, locked)).corrects


def test_a_recipient_without_a_pseudonym_gets_none(world: Any) -> None:
    assert verify(world, released(world, pseudonym=b"")).pseudonym is None


def test_all_fields_or_none_may_be_disclosed(world: Any) -> None:
    whole = verify(world, released(world, world.locked(world.signed(), (0, 1, 2, 3))))
    assert world.RECORD == dict(whole.record)
    empty = verify(world, released(world, world.locked(world.signed(), ())))
    assert {WITHHELD} == set(empty.record.values())
    assert () == empty.disclosed


def test_the_record_cannot_be_changed(world: Any) -> None:
    found: Any = verify(world, released(world)).record
    with pytest.raises(TypeError):
        found["name"] = "other"


def test_printing_shows_no_value_key_or_pseudonym(world: Any) -> None:
    delivery = released(world)
    shown = repr(delivery) + repr(verify(world, delivery))
    for secret in ("Amélie", "keys=", "pseudonym=", "record="):
        assert secret not in shown


def test_withheld_is_one_thing_true_and_never_none() -> None:
    assert "WITHHELD" == repr(WITHHELD)
    assert isinstance(WITHHELD, Withheld)
    assert bool(WITHHELD)
    assert WITHHELD is Withheld("withheld")
    assert [WITHHELD] == list(Withheld)


def test_nobody_makes_a_state_of_trust_by_hand(world: Any) -> None:
    delivery = released(world)
    forged: Any = object()
    with pytest.raises(TypeError, match="open_release"):
        ReleasedDelivery(delivery.locked, delivery.release, delivery.recipient_kid, forged)
    verified = verify(world, delivery)
    members = {name: getattr(verified, name) for name in verified.__slots__}
    with pytest.raises(TypeError, match="verify_delivery"):
        VerifiedDelivery(**members, made_by=forged)


@pytest.mark.parametrize("suite", list(Suite))
def test_one_key_release_opens_a_whole_pull_in_its_order(suite: Suite, world: Any) -> None:
    key = world.sealing_key("fund", suite)
    grants = [GrantId(bytes((number,)) * 16) for number in range(3)]
    from_grant = [
        world.locked(world.signed(), (number,), grant_id=grant, delivery_id=DeliveryId(grant))
        for number, grant in enumerate(grants)
    ]
    releases = [world.release(each, world.statement(each)) for each in from_grant]
    sealed = seal_releases(releases, suite, key.public, [each.delivery_id for each in from_grant]).encode()
    found = open_release(from_grant, sealed, key)
    assert from_grant == [each.locked for each in found]
    assert releases == [each.release for each in found]
    assert {key.kid} == {each.recipient_kid for each in found}
    assert "release.cannot-open" == world.code_of(lambda: open_release(from_grant[::-1], sealed, key))


def replaced_field(world: Any, index: int, value: bytes, name: str = "rooms") -> tuple[Any, LockedDelivery]:
    """A declaration whose source committed field 1 to any bytes under any name, and its delivery."""
    salt = world.salts()[index]
    digests = list(world.digests())
    digests[index] = commit(salt, index, name, value)
    signed = world.signed(digests=tuple(digests))
    manifest = world.manifest(digests=tuple(digests))
    encoded = world.encoded()
    encoded[index] = value
    signed = replace(signed, sealed_fields=world.sealed_fields(manifest, encoded))
    return signed, world.locked(signed, (index,))


def falsely_sealed(world: Any) -> ReleasedDelivery:
    """Sealed with key, place and commitment as they must be; only the value is not the one committed to."""
    signed, manifest = world.signed(), world.manifest()
    sealed = sealing.seal_field(
        sealing.field_key(world.dek, world.declaration_id, 1),
        world.salts()[1],
        b"\x08",
        declaration_id=world.declaration_id,
        index=1,
        commitment=manifest.digests[1],
    )
    return released(world, world.locked(signed, sealed=(SealedField(1, sealed),)))


def with_release(world: Any, fields: Sequence[int] = (0, 2), **over: Any) -> ReleasedDelivery:
    locked = world.locked(world.signed(), fields)
    return opened(world, locked, world.release(locked, world.statement(locked), **over))


def bent_signature(world: Any) -> ReleasedDelivery:
    locked = world.locked(world.signed())
    good = world.release(locked, world.statement(locked))
    return opened(world, locked, replace(good, signature=bytes(64)))


def changed_statement(world: Any) -> ReleasedDelivery:
    locked = world.locked(world.signed())
    good = world.release(locked, world.statement(locked))
    other = world.statement(locked, basis="law:CSS L114-8").encode()
    return opened(world, locked, replace(good, statement=other))


def wrong_order(world: Any) -> ReleasedDelivery:
    locked = world.locked(world.signed(), (2, 0))
    return released(world, locked)


def one_field_twice(world: Any) -> ReleasedDelivery:
    return released(world, world.locked(world.signed(), (0, 0)))


def moved_field(world: Any) -> ReleasedDelivery:
    """Field 0's ciphertext delivered as field 1, with its own key: everything fits but the place."""
    signed = world.signed()
    locked = world.locked(signed, sealed=(SealedField(1, signed.sealed_fields[0]),))
    key = sealing.field_key(world.dek, world.declaration_id, 0)
    return opened(world, locked, world.release(locked, world.statement(locked), keys=[key]))


def altered_field(world: Any) -> ReleasedDelivery:
    sealed = world.signed().sealed_fields[0]
    return released(
        world, world.locked(world.signed(), sealed=(SealedField(0, sealed[:-1] + bytes((sealed[-1] ^ 1,))),))
    )


def derived_from_another_grant(world: Any) -> ReleasedDelivery:
    return released(world, world.locked(world.signed(), delivery_id=DeliveryId(bytes(16))))


Bend = Callable[[Any], ReleasedDelivery]
STEPS: Mapping[str, tuple[Bend, str, str]] = {
    "1, 3 a manifest signed as a statement": (
        lambda w: released(
            w,
            w.locked(
                replace(
                    w.signed(),
                    signatures=w.sign(w.manifest().encode(), payload_type="application/vnd.unefois.statement.v1+avro"),
                )
            ),
        ),
        "manifest.signature",
        "/signatures/0",
    ),
    "1, 7 a statement signed as a manifest": (
        lambda w: with_release(w, payload_type=MANIFEST_TYPE),
        "delivery.statement-signature",
        "/statement",
    ),
    "2 a source's key that nobody listed": (
        lambda w: released(w, w.locked(w.signed(w.signing_key("stranger"), signer=w.signing_key("stranger").kid))),
        "directory.unknown-key",
        "/signatures/0/kid",
    ),
    "3 a declaration changed after signing": (
        lambda w: released(w, replace(w.locked(w.signed()), payload=w.manifest(not_after=w.NOW + 3000).encode())),
        "manifest.signature",
        "/signatures/0",
    ),
    "4 a byte behind the manifest": (
        lambda w: released(w, w.locked(w.signed(payload=w.manifest().encode() + b"\x00"))),
        "avro.trailing-bytes",
        "/payload",
    ),
    "5 one town in the name of another": (
        lambda w: released(w, w.locked(w.signed(w.other_town, signer=w.other_town.kid))),
        "directory.key-of-another-party",
        "/signatures/0/kid",
    ),
    "5 a declaration whose time is over": (
        lambda w: released(w, w.locked(w.signed(not_after=Instant(w.NOW + 1999)))),
        "manifest.too-late",
        "/payload/not_after",
    ),
    "6 a schema that the recipient does not hold": (
        lambda w: released(w, w.locked(w.signed(schema=SchemaId(bytes(32))))),
        "catalogue.unknown-schema",
        "/payload/schema",
    ),
    "7 a statement by a key that nobody listed": (
        lambda w: with_release(w, key=w.signing_key("stranger")),
        "directory.unknown-key",
        "/statement",
    ),
    "7 a statement by the source": (
        lambda w: with_release(w, key=w.town),
        "delivery.not-the-broker",
        "/statement",
    ),
    "7 no signature": (bent_signature, "delivery.statement-signature", "/statement"),
    "7 a statement changed after signing": (changed_statement, "delivery.statement-signature", "/statement"),
    "7 a byte behind the statement": (
        lambda w: opened(
            w,
            w.locked(w.signed()),
            w.release(w.locked(w.signed()), w.statement(w.locked(w.signed())).encode() + b"\x00"),
        ),
        "avro.trailing-bytes",
        "/statement",
    ),
    "7 a statement for another recipient": (
        lambda w: released(w, recipient=w.OTHER_TOWN),
        "delivery.other-recipient",
        "/statement/recipient",
    ),
    "7 a delivery for another recipient": (
        lambda w: opened(
            w,
            w.locked(w.signed(), recipient=w.OTHER_TOWN),
            w.release(w.locked(w.signed()), w.statement(w.locked(w.signed()))),
        ),
        "delivery.other-recipient",
        "/statement/recipient",
    ),
    "7 a statement about another manifest": (
        lambda w: released(w, manifest=ManifestDigest(bytes(32))),
        "delivery.other-manifest",
        "/statement/manifest",
    ),
    "7 a statement about other ciphertexts": (
        lambda w: released(w, sealed=bytes(32)),
        "delivery.other-fields",
        "/statement/sealed",
    ),
    "7 a statement about another delivery": (
        lambda w: released(w, delivery_id=DeliveryId(bytes(16))),
        "delivery.other-delivery",
        "/statement/delivery_id",
    ),
    "7 a statement for another purpose": (
        lambda w: released(w, purpose="tax"),
        "delivery.other-delivery",
        "/statement/purpose",
    ),
    "7 a statement under another consent": (
        lambda w: released(w, grant_id=GrantId(bytes(16))),
        "delivery.other-delivery",
        "/statement/grant_id",
    ),
    "7 a statement under another version": (
        lambda w: released(w, grant_version=3),
        "delivery.other-delivery",
        "/statement/grant_version",
    ),
    "7 a statement about another declaration": (
        lambda w: released(w, declaration_id=DeclarationId(bytes(16))),
        "delivery.other-delivery",
        "/statement/declaration_id",
    ),
    "8 fields in another order": (wrong_order, "delivery.not-ascending", "/fields"),
    "8 a field twice": (one_field_twice, "delivery.not-ascending", "/fields"),
    "8 a field more than released": (
        lambda w: released(w, fields=b"\x80"),
        "delivery.bitmap",
        "/statement/fields",
    ),
    "8 a field fewer than released": (
        lambda w: released(w, fields=b"\xe0"),
        "delivery.bitmap",
        "/statement/fields",
    ),
    "8 a bit beyond the fields": (lambda w: released(w, fields=b"\xa8"), "release.bitmap", "/statement/fields"),
    "8 a bitmap of another length": (
        lambda w: released(w, fields=b"\xa0\x00"),
        "release.bitmap",
        "/statement/fields",
    ),
    "8 a key too few": (
        lambda w: with_release(w, keys=[sealing.field_key(w.dek, w.declaration_id, 0)]),
        "delivery.key-count",
        "/fields",
    ),
    "8 a key too many": (lambda w: with_release(w, keys=[bytes(32)] * 3), "delivery.key-count", "/fields"),
    "8 a key of another field": (
        lambda w: with_release(w, keys=[sealing.field_key(w.dek, w.declaration_id, index) for index in (0, 1)]),
        "sealing.cannot-open-field",
        "/fields/1",
    ),
    "8 a field in another's place": (moved_field, "sealing.cannot-open-field", "/fields/0"),
    "8 a byte of a field changed": (altered_field, "sealing.cannot-open-field", "/fields/0"),
    "8 a value other than committed to": (falsely_sealed, "delivery.commitment-mismatch", "/fields/0"),
    "8 a field committed to under another name": (
        lambda w: released(w, replaced_field(w, 1, b"\x06", name="stories")[1]),
        "delivery.commitment-mismatch",
        "/fields/0",
    ),
    "9 a byte behind the value": (
        lambda w: released(w, replaced_field(w, 1, b"\x06\x00")[1]),
        "avro.trailing-bytes",
        "",
    ),
    "9 a number in a longer form": (
        lambda w: released(w, replaced_field(w, 1, b"\x86\x00")[1]),
        "avro.long-varint",
        "/rooms",
    ),
    "10 an id that does not follow": (derived_from_another_grant, "delivery.id", "/delivery_id"),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_refuses_what_no_other_would(step: str, world: Any) -> None:
    bend, code, pointer = STEPS[step]
    assert (code, pointer) == refusal(world, bend(world))


def test_a_key_that_is_not_listed_as_one_s_own_is_refused(world: Any) -> None:
    delivery = released(world)
    gate = world.sealing_entry(world.gate, world.BROKER)
    assert ("directory.unknown-sealing-key", "/recipient_kid") == refusal(world, delivery, sealing=[gate])
    theirs = world.sealing_entry(world.fund, world.OTHER_TOWN)
    assert ("delivery.key-of-another", "/recipient_kid") == refusal(world, delivery, sealing=[gate, theirs])


def test_the_directory_s_policy_of_the_day_of_issue_is_demanded(world: Any) -> None:
    policies = [PolicyEntry(world.TOWN, 4, Instant(0))]
    assert ("manifest.policy-not-met", "/signatures") == refusal(world, released(world), policies=policies)


def test_a_source_s_key_that_ended_since_is_still_good_for_that_day(world: Any) -> None:
    keys = [
        world.signing_entry(world.town, world.TOWN, revoked_at=world.NOW + 1),
        world.signing_entry(world.broker, world.BROKER),
    ]
    verify(world, released(world), signing=keys)


@pytest.mark.parametrize(("offset", "good"), [(1001, True), (1000, False)])
def test_the_broker_s_key_is_good_at_the_instant_of_release(offset: int, good: bool, world: Any) -> None:
    keys = [
        world.signing_entry(world.town, world.TOWN),
        world.signing_entry(world.broker, world.BROKER, revoked_at=world.NOW + offset),
    ]
    if good:
        verify(world, released(world), signing=keys)
    else:
        assert ("directory.key-revoked", "/statement") == refusal(world, released(world), signing=keys)


def test_one_declaration_id_for_two_manifests_is_refused(world: Any) -> None:
    other = ManifestDigest(bytes(32))
    code = ("delivery.another-manifest-before", "/payload/declaration_id")
    assert code == refusal(world, released(world), seen=lambda source, declaration: other)


def test_the_same_declaration_may_come_again_and_under_another_grant(world: Any) -> None:
    asked = []

    def seen(source: PartyId, declaration: DeclarationId) -> ManifestDigest:
        asked.append((source, declaration))
        return ManifestDigest(sha256(world.signed().payload).digest())

    verify(world, released(world), seen=seen)
    assert [(world.TOWN, world.declaration_id)] == asked


def test_the_ledger_entry_is_the_statement_s(world: Any) -> None:
    entry = LeafHash(b"\x07" * 32)
    assert entry == verify(world, released(world, ledger_entry=entry)).ledger_entry


def test_a_refusal_carries_no_value(world: Any) -> None:
    for bend, _, _ in STEPS.values():
        with pytest.raises(Refused) as caught:
            verify(world, bend(world))
        assert "Am" not in str(caught.value)
