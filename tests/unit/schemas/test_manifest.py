"""The manifest: exact bytes, and steps 2 to 6 of protocol 7, each with an input that only that step refuses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from schemas import manifest
from schemas.directory import PolicyEntry, PublishingRight
from schemas.errors import Refused
from schemas.manifest import AHEAD_MS, MANIFEST_TYPE, Manifest, verify_manifest
from schemas.names import DeclarationId, Instant, Kid, SchemaId
from schemas.signing import Algorithm
from schemas.wire import Signature


def verify(world: Any, signed: Any, *, at: int = 0, catalogue: Any = None, **over: Any) -> tuple[Manifest, Any]:
    """Steps 2 to 6 on an envelope's payload and signatures."""
    return verify_manifest(
        signed.payload,
        signed.signatures,
        world.directory(**over),
        catalogue or world.catalogue,
        Instant(at or world.NOW),
    )


def refusal(world: Any, signed: Any, **over: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        verify(world, signed, **over)
    return caught.value.code, caught.value.pointer


def test_a_manifest_survives_being_written_down(world: Any) -> None:
    for one in (world.manifest(), world.manifest(corrects=DeclarationId(b"\x01" * 16))):
        assert one == Manifest.decode(one.encode())


def test_its_bytes_are_those_of_the_protocol(world: Any) -> None:
    one = world.manifest()
    source, kind = one.source.encode(), one.event_type.encode()
    assert one.encode().startswith(b"\x02" + bytes([2 * len(source)]) + source + bytes([2 * len(kind)]) + kind)
    assert one.encode().endswith(one.signer + b"\x02" + one.routing + b"\x80\x02" + b"".join(one.digests))


def test_nothing_in_it_shows_a_value(world: Any) -> None:
    assert "Amélie".encode() not in world.manifest().encode()


@pytest.mark.parametrize(
    ("over", "code", "pointer"),
    [
        ({"version": 3}, "manifest.version", "/version"),
        ({"version": 0}, "manifest.version", "/version"),
        ({"signature_policy": 0}, "manifest.unknown-policy", "/signature_policy"),
        ({"signature_policy": 6}, "manifest.unknown-policy", "/signature_policy"),
        ({"digests": ()}, "manifest.digests", "/digests"),
        ({"digests": (b"x" * 33,)}, "manifest.digests", "/digests"),
        ({"not_after": 1}, "manifest.period", "/not_after"),
        ({"issued_at": -1}, "manifest.period", "/not_after"),
        ({"not_after": 253_402_300_800_000}, "manifest.period", "/not_after"),
        ({"source": "urn:fr:siret:1"}, "name.party", "/source"),
        ({"event_type": "moved"}, "name.event-type", "/event_type"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(over: dict[str, Any], code: str, pointer: str, world: Any) -> None:
    with pytest.raises(Refused) as caught:
        Manifest.decode(world.manifest(**over).encode())
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


def test_a_declaration_may_last_for_one_instant(world: Any) -> None:
    one = world.manifest(not_after=world.NOW)
    assert one == Manifest.decode(one.encode())


def test_a_manifest_does_not_correct_itself(world: Any) -> None:
    one = world.manifest(corrects=world.declaration_id)
    assert "manifest.corrects-itself" == world.code_of(lambda: Manifest.decode(one.encode()))


def test_what_its_source_signed_is_believed(world: Any) -> None:
    found, registered = verify(world, world.signed())
    assert world.manifest() == found
    assert world.kind == registered


def test_four_signatures_are_read(world: Any) -> None:
    keys = [world.town, *(world.signing_key(f"town {number}") for number in range(3))]
    verify(world, world.signed(*keys), signing=[world.signing_entry(key, world.TOWN) for key in keys])


def with_signatures(*signatures: Callable[[Any, bytes], Signature]) -> Callable[[Any], Any]:
    return lambda world: replace(
        world.signed(), signatures=tuple(each(world, world.signed().payload) for each in signatures)
    )


def by(name: str, payload_type: str = MANIFEST_TYPE) -> Callable[[Any, bytes], Signature]:
    return lambda world, payload: world.sign(payload, getattr(world, name), payload_type=payload_type)[0]


def as_if_by(kid_of: str, name: str) -> Callable[[Any, bytes], Signature]:
    return lambda world, payload: replace(world.sign(payload, getattr(world, name))[0], kid=getattr(world, kid_of).kid)


STEPS = {
    "2 nobody signed": (with_signatures(), "manifest.no-signature", "/signatures"),
    "2 more signatures than are read": (
        with_signatures(*[by("town")] * 5),
        "manifest.too-many-signatures",
        "/signatures",
    ),
    "2 one key signs twice": (with_signatures(by("town"), by("town")), "manifest.same-signer-twice", "/signatures"),
    "2 a key that nobody listed": (
        lambda w: w.signed(w.signing_key("stranger"), signer=w.signing_key("stranger").kid),
        "directory.unknown-key",
        "/signatures/0/kid",
    ),
    "2 a signature more that nobody could check": (
        lambda w: w.signed(w.town, w.signing_key("stranger")),
        "directory.unknown-key",
        "/signatures/1/kid",
    ),
    "3 another key's signature under this key's id": (
        with_signatures(as_if_by("town", "other_town")),
        "manifest.signature",
        "/signatures/0",
    ),
    "3 the signature of another kind of document": (
        with_signatures(by("town", "application/vnd.unefois.statement.v1+avro")),
        "manifest.signature",
        "/signatures/0",
    ),
    "3 the bare payload signed": (
        with_signatures(lambda w, payload: Signature(w.town.kid, w.town.sign(payload))),
        "manifest.signature",
        "/signatures/0",
    ),
    "3 a payload changed after signing": (
        lambda w: replace(w.signed(), payload=w.manifest(not_after=Instant(w.NOW + 2 * w.DAY)).encode()),
        "manifest.signature",
        "/signatures/0",
    ),
    "3 a second signature that is wrong": (
        with_signatures(by("town"), as_if_by("town_quantum", "town")),
        "manifest.signature",
        "/signatures/1",
    ),
    "3 the second of two promised signatures taken away": (
        lambda w: w.signed(signature_policy=4),
        "manifest.policy-not-met",
        "/signatures",
    ),
    "4 a byte behind the manifest": (
        lambda w: w.signed(payload=w.manifest().encode() + b"\x00"),
        "avro.trailing-bytes",
        "/payload",
    ),
    "4 a manifest of another version": (lambda w: w.signed(version=3), "manifest.version", "/payload/version"),
    "5 a signer who did not sign": (
        lambda w: w.signed(signer=w.other_town.kid),
        "manifest.signer-did-not-sign",
        "/payload/signer",
    ),
    "5 one town in the name of another": (
        lambda w: w.signed(w.other_town, signer=w.other_town.kid),
        "directory.key-of-another-party",
        "/signatures/0/kid",
    ),
    "5 another town's signature beside the source's": (
        lambda w: w.signed(w.town, w.other_town),
        "directory.key-of-another-party",
        "/signatures/1/kid",
    ),
    "5 a type that the source may not publish": (
        lambda w: w.signed(w.other_town, source=w.OTHER_TOWN, signer=w.other_town.kid),
        "directory.not-entitled",
        "/payload/event_type",
    ),
    "6 a schema that nobody registered": (
        lambda w: w.signed(schema=SchemaId(bytes(32))),
        "catalogue.unknown-schema",
        "/payload/schema",
    ),
    "6 a schema of another type": (
        lambda w: w.signed(event_type=w.LEFT),
        "manifest.schema-of-another-type",
        "/payload/schema",
    ),
    "6 a digest too few": (
        lambda w: w.signed(digests=w.digests()[:-1]),
        "manifest.digest-count",
        "/payload/digests",
    ),
    "6 a digest too many": (
        lambda w: w.signed(digests=(*w.digests(), bytes(32))),
        "manifest.digest-count",
        "/payload/digests",
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_refuses_what_no_other_would(step: str, world: Any) -> None:
    bend, code, pointer = STEPS[step]
    assert (code, pointer) == refusal(world, bend(world))


def test_a_signature_is_checked_before_a_byte_of_the_payload_is_read(world: Any) -> None:
    rubbish = replace(world.signed(), payload=b"\xff" * 40)
    assert ("manifest.signature", "/signatures/0") == refusal(world, rubbish)


@pytest.mark.parametrize(
    ("policy", "algorithms"),
    [
        (1, [Algorithm.ED25519]),
        (2, [Algorithm.ML_DSA_44]),
        (3, [Algorithm.ECDSA_P256]),
        (4, [Algorithm.ED25519, Algorithm.ML_DSA_44]),
        (5, [Algorithm.ECDSA_P256, Algorithm.ML_DSA_44]),
    ],
)
def test_a_policy_is_met_by_all_of_its_algorithms_and_by_no_fewer(
    policy: int, algorithms: list[Algorithm], world: Any
) -> None:
    keys = [world.signing_key("town", algorithm) for algorithm in algorithms]
    pinned = {
        "signing": [world.signing_entry(key, world.TOWN) for key in keys],
        "policies": [PolicyEntry(world.TOWN, policy, Instant(0))],
    }
    signed = world.signed(*keys, signer=keys[0].kid, signature_policy=policy)
    verify(world, signed, **pinned)
    for kept in keys if len(keys) > 1 else ():
        stripped = world.signed(kept, signer=kept.kid, signature_policy=policy)
        assert ("manifest.policy-not-met", "/signatures") == refusal(world, stripped, **pinned)


def test_the_directory_s_policy_counts_when_the_manifest_claims_less(world: Any) -> None:
    pinned = [PolicyEntry(world.TOWN, 4, Instant(0))]
    assert ("manifest.policy-not-met", "/signatures") == refusal(world, world.signed(), policies=pinned)
    verify(world, world.signed(world.town, world.town_quantum), policies=pinned)


def test_the_policy_is_that_of_the_day_of_issue(world: Any) -> None:
    later = [PolicyEntry(world.TOWN, 1, Instant(0)), PolicyEntry(world.TOWN, 4, Instant(world.NOW + 1))]
    verify(world, world.signed(), policies=later, at=world.NOW + 5)
    due = world.signed(issued_at=Instant(world.NOW + 1))
    assert ("manifest.policy-not-met", "/signatures") == refusal(world, due, policies=later, at=world.NOW + 5)


def test_a_source_without_a_policy_is_refused(world: Any) -> None:
    assert "directory.no-policy" == refusal(world, world.signed(), policies=[])[0]


def test_a_declaration_is_judged_by_the_keys_of_its_own_day(world: Any) -> None:
    ended = [world.signing_entry(world.town, world.TOWN, valid_to=world.NOW, revoked_at=world.NOW + 1)]
    verify(world, world.signed(), signing=ended, at=world.NOW + 1000)


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"valid_from": 1_800_000_000_001}, "directory.key-not-yet-valid"),
        ({"valid_to": 1_799_999_999_999}, "directory.key-expired"),
        ({"revoked_at": 1_800_000_000_000}, "directory.key-revoked"),
    ],
)
def test_a_key_that_was_not_good_on_that_day_is_refused(over: dict[str, int], code: str, world: Any) -> None:
    bad = [world.signing_entry(world.town, world.TOWN, **over)]
    assert (code, "/signatures/0/kid") == refusal(world, world.signed(), signing=bad)


def test_a_revoked_half_does_not_meet_a_policy_of_two(world: Any) -> None:
    keys = [
        world.signing_entry(world.town, world.TOWN),
        world.signing_entry(world.town_quantum, world.TOWN, revoked_at=world.NOW),
    ]
    signed = world.signed(world.town, world.town_quantum, signature_policy=4)
    assert ("directory.key-revoked", "/signatures/1/kid") == refusal(world, signed, signing=keys)


def test_a_right_that_had_ended_on_that_day_is_refused(world: Any) -> None:
    ended = [PublishingRight(world.TOWN, world.MOVED, Instant(0), Instant(world.NOW - 1))]
    assert ("directory.not-entitled", "/payload/event_type") == refusal(world, world.signed(), rights=ended)


@pytest.mark.parametrize(("late", "refused"), [(0, False), (1, True)])
def test_nobody_believes_it_after_its_end(late: int, refused: bool, world: Any) -> None:
    at = world.NOW + world.DAY + late
    if refused:
        assert ("manifest.too-late", "/payload/not_after") == refusal(world, world.signed(), at=at)
    else:
        verify(world, world.signed(), at=at)


@pytest.mark.parametrize(("early", "refused"), [(0, False), (1, True)])
def test_a_source_s_clock_may_be_five_minutes_ahead_and_no_more(early: int, refused: bool, world: Any) -> None:
    assert 300_000 == AHEAD_MS
    at = world.NOW - 300_000 - early
    if refused:
        assert ("manifest.ahead", "/payload/issued_at") == refusal(world, world.signed(), at=at)
    else:
        verify(world, world.signed(), at=at)


def test_a_refusal_carries_no_content_of_the_manifest(world: Any) -> None:
    for bend, _, _ in STEPS.values():
        with pytest.raises(Refused) as caught:
            verify(world, bend(world))
        assert str(world.declaration_id.hex()) not in str(caught.value)


def test_an_unknown_key_id_in_the_manifest_decodes(world: Any) -> None:
    assert Kid(bytes(32)) == Manifest.decode(world.manifest(signer=Kid(bytes(32))).encode()).signer


def test_the_manifest_s_schema_has_the_members_of_the_protocol() -> None:
    expected = (
        "version source event_type schema declaration_id issued_at not_after corrects signer signature_policy "
        "routing digests"
    )
    first, stated = manifest._MANIFESTS[manifest.VERSION], manifest._MANIFESTS[manifest.STATED]

    assert expected.split() == [each.name for each in first.fields]
    assert f"{expected} assurance quality channel".split() == [each.name for each in stated.fields]
