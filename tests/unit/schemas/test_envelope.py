"""The envelope: exact bytes, the intake's own steps A to E, each with an input that only that step refuses."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from schemas.directory import PolicyEntry, PublishingRight
from schemas.envelope import (
    POLICY_OVERLAP_MS,
    RoutingSlip,
    SignedDeclaration,
    VerifiedDeclaration,
    verify_declaration,
)
from schemas.errors import Corrupt, Refused
from schemas.hpke import Suite
from schemas.names import Instant
from schemas.release import STATEMENT_TYPE


def verify(world: Any, signed: SignedDeclaration, *, at: int = 0, **over: Any) -> VerifiedDeclaration:
    catalogue = over.pop("catalogue", world.catalogue)
    return verify_declaration(signed, world.directory(**over), catalogue, Instant(at or world.NOW + 1000))


def refusal(world: Any, signed: SignedDeclaration, **over: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        verify(world, signed, **over)
    return caught.value.code, caught.value.pointer


def with_slip(world: Any, **over: Any) -> SignedDeclaration:
    """A declaration whose source committed to another slip."""
    slip = replace(world.slip, **over)
    signed: SignedDeclaration = replace(world.signed(routing=slip.commitment()), slip=slip)
    return signed


def test_what_its_source_signed_and_sealed_is_verified(world: Any) -> None:
    signed = world.signed()
    verified = verify(world, signed)
    assert world.manifest() == verified.manifest
    assert signed == verified.signed
    assert sha256(signed.payload).digest() == verified.digest


def test_an_envelope_survives_being_written_down(world: Any) -> None:
    signed = world.signed(world.town, world.town_quantum)
    assert signed == SignedDeclaration.decode(signed.encode())


def test_neither_form_shows_ciphertext_or_token_when_printed(world: Any) -> None:
    verified = verify(world, world.signed())
    assert "token'" not in repr(verified)
    assert "payload=" not in repr(verified)
    assert "sealed" not in repr(verified)


@pytest.mark.parametrize("bend", [lambda raw: raw + b"\x00", lambda raw: raw[:-1], lambda raw: b""])
def test_an_envelope_in_other_bytes_is_refused(bend: Any, world: Any) -> None:
    raw = world.signed().encode()
    code = "avro.trailing-bytes" if len(bend(raw)) > len(raw) else "avro.truncated"
    assert code == world.code_of(lambda: SignedDeclaration.decode(bend(raw)))


def test_the_slip_s_commitment_is_the_one_of_the_protocol(world: Any) -> None:
    hashed = b"unefois/routing/v1\x00" + world.slip.salt + b"\x0atoken" + b"\x04\x0a44109\x0a35238\x00"
    assert sha256(hashed).digest() == world.slip.commitment()


def test_nobody_makes_a_verified_declaration_without_verifying(world: Any) -> None:
    verified = verify(world, world.signed())
    forged: Any = object()
    with pytest.raises(TypeError, match="verify_declaration"):
        VerifiedDeclaration(verified.manifest, verified.digest, verified.signed, forged)
    with pytest.raises((TypeError, ValueError), match="made_by"):
        replace(verified, manifest=world.manifest(issued_at=Instant(0)))


STEPS: dict[str, tuple[Any, str, str]] = {
    "1 a statement's type": (
        lambda w: replace(w.signed(), payload_type=STATEMENT_TYPE),
        "envelope.payload-type",
        "/payload_type",
    ),
    "B another citizen": (
        lambda w: replace(w.signed(), slip=replace(w.slip, subject_token=b"other")),
        "envelope.slip",
        "/slip",
    ),
    "B another commune": (
        lambda w: replace(w.signed(), slip=replace(w.slip, territories=("44109", "75056"))),
        "envelope.slip",
        "/slip",
    ),
    "B a commune taken away": (
        lambda w: replace(w.signed(), slip=replace(w.slip, territories=("44109",))),
        "envelope.slip",
        "/slip",
    ),
    "B no subject token": (
        lambda w: with_slip(w, subject_token=b""),
        "envelope.subject-token",
        "/slip/subject_token",
    ),
    "B a subject token too long": (
        lambda w: with_slip(w, subject_token=bytes(1025)),
        "envelope.subject-token",
        "/slip/subject_token",
    ),
    "B too many territories": (
        lambda w: with_slip(w, territories=("44109",) * 33),
        "envelope.too-many-territories",
        "/slip/territories",
    ),
    "B a name among the territories": (
        lambda w: with_slip(w, territories=("44109", "Dupont")),
        "envelope.territory",
        "/slip/territories/1",
    ),
    "D a sealed field dropped": (
        lambda w: replace(w.signed(), sealed_fields=w.signed().sealed_fields[:-1]),
        "envelope.field-count",
        "/sealed_fields",
    ),
    "D a sealed field too many": (
        lambda w: replace(w.signed(), sealed_fields=(*w.signed().sealed_fields, bytes(80))),
        "envelope.field-count",
        "/sealed_fields",
    ),
    "D a sealed field that shows its length": (
        lambda w: replace(w.signed(), sealed_fields=(*w.signed().sealed_fields[:-1], bytes(81))),
        "envelope.sealed-size",
        "/sealed_fields/3",
    ),
    "D a sealed field larger than its schema's longest value": (
        lambda w: replace(w.signed(), sealed_fields=(*w.signed().sealed_fields[:-1], bytes(230 * 4096 + 16))),
        "envelope.sealed-too-large",
        "/sealed_fields/3",
    ),
    "E a gate key that nobody holds": (
        lambda w: replace(w.signed(), gate_kid=w.town.kid),
        "directory.unknown-sealing-key",
        "/gate_kid",
    ),
    "E a recipient's key for the gate's": (
        lambda w: replace(w.signed(), gate_kid=w.fund.kid),
        "directory.key-of-another-party",
        "/gate_kid",
    ),
    "E a sealed DEK of no possible length": (
        lambda w: replace(w.signed(), sealed_dek=w.signed().sealed_dek + b"\x00"),
        "envelope.sealed-dek-size",
        "/sealed_dek",
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_refuses_what_no_other_would(step: str, world: Any) -> None:
    bend, code, pointer = STEPS[step]
    assert (code, pointer) == refusal(world, bend(world))


@pytest.mark.parametrize("territory", ["44109", "2A004", "2B033", "97105", "99109", "BE"])
def test_official_codes_are_territories(territory: str, world: Any) -> None:
    verify(world, with_slip(world, territories=(territory,)))


@pytest.mark.parametrize("territory", ["", "4410", "441090", "2C004", "Paris", "fr", "F", "４４１０９", "44109\n"])
def test_anything_else_is_none(territory: str, world: Any) -> None:
    assert "envelope.territory" == refusal(world, with_slip(world, territories=(territory,)))[0]


def test_a_slip_may_be_as_full_as_its_limits(world: Any) -> None:
    verify(world, with_slip(world, territories=("44109",) * 32, subject_token=bytes(1024)))


def test_a_type_without_territories_accepts_none(world: Any) -> None:
    quiet = world.holding(world.kind_of(world.MOVED, world.kind.schema, False))
    assert ("envelope.territories-unused", "/slip/territories") == refusal(world, world.signed(), catalogue=quiet)
    verify(world, with_slip(world, territories=()), catalogue=quiet)


def test_a_type_with_territories_does_not_demand_any(world: Any) -> None:
    verify(world, with_slip(world, territories=()))


@pytest.mark.parametrize(
    ("over", "code"),
    [({"revoked_at": 500}, "directory.key-revoked"), ({"valid_to": 500}, "directory.key-expired")],
)
def test_a_key_that_was_good_when_signing_and_is_not_at_receipt_is_refused(
    over: dict[str, int], code: str, world: Any
) -> None:
    # A: the thief of a key dates himself back to before its revocation
    ended = {name: world.NOW + offset for name, offset in over.items()}
    keys = [world.signing_entry(world.town, world.TOWN, **ended)]
    assert (code, "/signatures/0/kid") == refusal(world, world.signed(), signing=keys)
    verify(world, world.signed(), signing=keys, at=world.NOW + 499)


def test_each_signature_s_key_is_good_at_receipt(world: Any) -> None:
    keys = [
        world.signing_entry(world.town, world.TOWN),
        world.signing_entry(world.town_quantum, world.TOWN, revoked_at=world.NOW + 500),
    ]
    signed = world.signed(world.town, world.town_quantum)
    assert ("directory.key-revoked", "/signatures/1/kid") == refusal(world, signed, signing=keys)


def policies(world: Any, *then: tuple[int, int]) -> dict[str, tuple[PolicyEntry, ...]]:
    """Policy 1 from the beginning, then each of these so many milliseconds from NOW."""
    entries = [PolicyEntry(world.TOWN, 1, Instant(0))]
    entries += [PolicyEntry(world.TOWN, number, Instant(world.NOW + start)) for start, number in then]
    return {"policies": tuple(entries)}


def test_what_was_issued_before_a_raise_is_good_for_the_overlap_and_no_longer(world: Any) -> None:
    """The thief of the old key dates his declaration back before the raise."""
    signed = world.signed(not_after=Instant(world.NOW + 9 * world.DAY))
    raised = policies(world, (1000, 4))
    last = world.NOW + 1000 + POLICY_OVERLAP_MS
    assert world.NOW == verify(world, signed, at=last - 1, **raised).manifest.issued_at
    assert ("manifest.policy-not-met", "/signatures") == refusal(world, signed, at=last, **raised)
    both = world.signed(world.town, world.town_quantum, not_after=Instant(world.NOW + 9 * world.DAY))
    assert world.NOW == verify(world, both, at=last, **raised).manifest.issued_at


def test_a_policy_that_was_lowered_is_no_demand_on_what_was_issued_since(world: Any) -> None:
    lowered = policies(world, (-2000, 4), (-1000, 1))
    assert 1 == verify(world, world.signed(), **lowered).manifest.signature_policy
    before = world.signed(issued_at=Instant(world.NOW - 1500), not_after=Instant(world.NOW + 9 * world.DAY))
    late = world.NOW + 2 * POLICY_OVERLAP_MS
    assert ("manifest.policy-not-met", "/signatures") == refusal(world, before, at=late, **lowered)


def test_a_right_that_ended_before_receipt_is_refused(world: Any) -> None:
    rights = [PublishingRight(world.TOWN, world.MOVED, Instant(0), Instant(world.NOW + 500))]
    assert ("directory.not-entitled", "/payload/event_type") == refusal(world, world.signed(), rights=rights)


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"revoked_at": 500}, "directory.key-revoked"),
        ({"valid_to": 500}, "directory.key-expired"),
        ({"valid_from": 1500}, "directory.key-not-yet-valid"),
    ],
)
def test_an_epoch_that_is_over_at_receipt_is_refused(over: dict[str, int], code: str, world: Any) -> None:
    ended = {name: world.NOW + offset for name, offset in over.items()}
    gate = [world.sealing_entry(world.gate, world.BROKER, **ended)]
    assert (code, "/gate_kid") == refusal(world, world.signed(), sealing=gate)


def test_the_dek_s_length_is_that_of_the_listed_suite(world: Any) -> None:
    hybrid = world.sealing_key("gate", Suite.MLKEM768_X25519)
    gates = [world.sealing_entry(world.gate, world.BROKER), world.sealing_entry(hybrid, world.BROKER)]
    crossed = replace(world.signed(), gate_kid=hybrid.kid)
    assert ("envelope.sealed-dek-size", "/sealed_dek") == refusal(world, crossed, sealing=gates)
    verify(world, replace(crossed, sealed_dek=bytes(1168)), sealing=gates)


def test_what_was_stored_is_read_back_as_verified(world: Any) -> None:
    verified = verify(world, world.signed())
    assert verified == VerifiedDeclaration.stored(verified.signed.encode())


@pytest.mark.parametrize(
    ("bend", "found"),
    [
        (lambda w: w.signed().encode()[:-1], "avro.truncated"),
        (lambda w: replace(w.signed(), payload=b"\x00").encode(), "avro.truncated"),
        (lambda w: replace(w.signed(), slip=RoutingSlip(bytes(16), b"x", ())).encode(), "envelope.slip"),
    ],
)
def test_what_was_stored_and_does_not_belong_together_is_corrupt(bend: Any, found: str, world: Any) -> None:
    with pytest.raises(Corrupt) as caught:
        VerifiedDeclaration.stored(bend(world))
    assert "envelope.stored" == caught.value.code
    assert found == caught.value.details["found"]


def test_a_refusal_carries_nothing_of_the_citizen(world: Any) -> None:
    for bend, _, _ in STEPS.values():
        with pytest.raises(Refused) as caught:
            verify(world, bend(world))
        assert "Dupont" not in str(caught.value)
        assert "token'" not in str(caught.value)
