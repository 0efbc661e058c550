"""A locked delivery: permitted fields only, exact bytes, and a DEK that opens with both keys and in no other way."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from schemas import locked as module
from schemas.envelope import VerifiedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.locked import LockedDelivery, SealedField, bitmap, delivery_id_of, indices, lock, open_locked, unlock
from schemas.names import DeclarationId, DeliveryId, GrantId, Kid, PartyId
from tests.examples import examples

NONCE = bytes(range(12))


@pytest.fixture(scope="module")
def verified(world: Any) -> VerifiedDeclaration:
    """A declaration that passed every step."""
    return verify_declaration(world.signed(), world.directory(), world.catalogue, world.NOW)


def locked_by(world: Any, verified: VerifiedDeclaration, fields: Any = (2, 0)) -> LockedDelivery:
    keys = {"consent_key": world.consent_key, "nonce": NONCE}
    return lock(verified, world.FUND, "family-benefits", world.grant_id, 2, field_indices=fields, **keys)


def test_a_delivery_s_id_is_derived_as_the_protocol_says() -> None:
    hashed = b"unefois/delivery/v1\x00" + bytes(16) + b"\x00\x0d" + b"urn:unefois:x" + b"\x01" * 16
    found = delivery_id_of(DeclarationId(bytes(16)), PartyId("urn:unefois:x"), GrantId(b"\x01" * 16))
    assert sha256(hashed).digest()[:16] == found


@pytest.mark.parametrize(
    ("count", "places", "bits"),
    [
        (1, [0], b"\x80"),
        (8, [0, 7], b"\x81"),
        (9, [0, 1, 2, 4], b"\xe8\x00"),
        (9, [8], b"\x00\x80"),
        (9, [], b"\x00\x00"),
        (0, [], b""),
    ],
)
def test_field_i_is_bit_7_minus_i_mod_8_of_byte_i_div_8(count: int, places: list[int], bits: bytes) -> None:
    assert bits == bitmap(count, places)
    assert tuple(places) == indices(bits, count)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
@examples(60)
def test_a_bitmap_gives_back_its_fields(chosen: tuple[int, set[int]]) -> None:
    count, places = chosen
    assert tuple(sorted(places)) == indices(bitmap(count, places), count)


@pytest.mark.parametrize(("bits", "count"), [(b"", 1), (b"\x80\x00", 8), (b"\x80", 9), (b"\x00\x40", 9), (b"\x01", 7)])
def test_a_bitmap_of_another_length_or_with_bits_beyond_is_refused(bits: bytes, count: int, world: Any) -> None:
    assert "release.bitmap" == world.code_of(lambda: indices(bits, count))


@pytest.mark.parametrize("index", [-1, 9])
def test_a_field_that_does_not_exist_has_no_bit(index: int) -> None:
    with pytest.raises(ValueError, match="index"):
        bitmap(9, [index])


def test_only_the_permitted_fields_are_in_it_ascending_and_once(verified: VerifiedDeclaration, world: Any) -> None:
    sealed = verified.signed.sealed_fields
    found = locked_by(world, verified, (2, 0, 2))
    assert (SealedField(0, sealed[0]), SealedField(2, sealed[2])) == found.fields
    assert sealed[1] not in found.encode()
    assert sealed[3] not in found.encode()


def test_it_carries_the_manifest_as_its_source_signed_it(verified: VerifiedDeclaration, world: Any) -> None:
    found = locked_by(world, verified)
    assert (verified.signed.payload, verified.signed.signatures) == (found.payload, found.signatures)
    assert delivery_id_of(world.declaration_id, world.FUND, world.grant_id) == found.delivery_id


def test_the_slip_stays_behind(verified: VerifiedDeclaration, world: Any) -> None:
    assert b"token" not in locked_by(world, verified).encode()
    assert b"44109" not in locked_by(world, verified).encode().replace(world.TOWN.encode(), b"")


def test_a_delivery_survives_being_written_down(verified: VerifiedDeclaration, world: Any) -> None:
    found = locked_by(world, verified)
    assert found == LockedDelivery.decode(found.encode())


def test_printing_it_shows_no_ciphertext(verified: VerifiedDeclaration, world: Any) -> None:
    assert "sealed=" not in repr(locked_by(world, verified))
    assert "locked_dek" not in repr(locked_by(world, verified))


@pytest.mark.parametrize(
    ("over", "code", "pointer"),
    [
        ({"version": 2}, "release.version", "/version"),
        ({"purpose": ""}, "release.purpose", "/purpose"),
        ({"purpose": "two\nlines"}, "release.purpose", "/purpose"),
        ({"purpose": "x" * 65}, "release.purpose", "/purpose"),
        ({"grant_version": 0}, "release.grant-version", "/grant_version"),
        ({"recipient": "nobody"}, "name.party", "/recipient"),
    ],
)
def test_a_delivery_that_makes_no_sense_is_refused(over: Any, code: str, pointer: str, world: Any) -> None:
    with pytest.raises(Refused) as caught:
        LockedDelivery.decode(replace(world.locked(world.signed()), **over).encode())
    assert (code, pointer) == (caught.value.code, caught.value.pointer)


@pytest.mark.parametrize(
    ("bend", "code"), [(lambda raw: raw + b"\x00", "avro.trailing-bytes"), (lambda raw: raw[:-1], "avro.truncated")]
)
def test_a_delivery_in_other_bytes_is_refused(bend: Any, code: str, world: Any) -> None:
    raw = world.locked(world.signed()).encode()
    assert code == world.code_of(lambda: LockedDelivery.decode(bend(raw)))


def test_the_lock_is_the_one_of_the_protocol(verified: VerifiedDeclaration, world: Any) -> None:
    found = locked_by(world, verified)
    aad = b"unefois/locked/v1\x00" + found.delivery_id + world.grant_id + b"\x00\x00\x00\x02"
    assert NONCE == found.locked_dek[:12]
    assert verified.signed.sealed_dek == AESGCM(world.consent_key).decrypt(NONCE, found.locked_dek[12:], aad)


def test_the_sealed_set_is_hashed_as_the_protocol_says(world: Any) -> None:
    found = replace(world.locked(world.signed()), fields=(SealedField(1, b"ab"), SealedField(3, b"")))
    hashed = b"unefois/sealed-set/v1\x00" + b"\x04" + b"\x02\x04ab" + b"\x06\x00" + b"\x00"
    assert sha256(hashed).digest() == found.sealed_set()


def test_both_keys_open_the_dek(verified: VerifiedDeclaration, world: Any) -> None:
    assert world.dek == open_locked(locked_by(world, verified), world.consent_key, world.gate)


def test_the_consent_s_key_alone_gives_the_dek_as_the_source_sealed_it(
    verified: VerifiedDeclaration, world: Any
) -> None:
    assert verified.signed.sealed_dek == unlock(locked_by(world, verified), world.consent_key)


def test_another_consent_s_key_does_not_unlock(verified: VerifiedDeclaration, world: Any) -> None:
    found = locked_by(world, verified)
    for key in (world.fixed("another consent", 32), bytes(32), b""):
        with pytest.raises(Refused) as caught:
            open_locked(found, key, world.gate)
        assert ("release.cannot-unlock", "/locked_dek") == (caught.value.code, caught.value.pointer)


def test_another_epoch_s_key_is_not_even_tried(verified: VerifiedDeclaration, world: Any) -> None:
    found = locked_by(world, verified)
    code = world.code_of(lambda: open_locked(found, world.consent_key, world.sealing_key("another epoch")))
    assert "release.other-gate-key" == code


@pytest.mark.parametrize(
    "over",
    [
        {"delivery_id": DeliveryId(bytes(16))},
        {"grant_id": GrantId(bytes(16))},
        {"grant_version": 3},
        {"locked_dek": bytes(108)},
        {"locked_dek": b"short"},
        {"locked_dek": b""},
    ],
)
def test_a_delivery_that_was_altered_does_not_unlock(over: Any, verified: VerifiedDeclaration, world: Any) -> None:
    found = replace(locked_by(world, verified), **over)
    assert "release.cannot-unlock" == world.code_of(lambda: open_locked(found, world.consent_key, world.gate))


def test_a_dek_sealed_for_another_manifest_does_not_open(verified: VerifiedDeclaration, world: Any) -> None:
    other = world.manifest(not_after=world.NOW + 5).encode()
    found = replace(locked_by(world, verified), payload=other)
    assert "sealing.cannot-open-dek" == world.code_of(lambda: open_locked(found, world.consent_key, world.gate))


def test_a_delivery_addressed_to_another_key_than_its_kid_says_does_not_open(world: Any) -> None:
    directory = world.directory(
        sealing=[world.sealing_entry(world.gate, world.BROKER), world.sealing_entry(world.fund, world.BROKER)]
    )
    signed = replace(world.signed(), gate_kid=Kid(world.fund.kid))
    found = locked_by(world, verify_declaration(signed, directory, world.catalogue, world.NOW))
    assert "sealing.cannot-open-dek" == world.code_of(lambda: open_locked(found, world.consent_key, world.fund))


@pytest.mark.parametrize("size", [0, 11, 13])
def test_a_nonce_of_another_length_is_a_mistake_of_ours(size: int, verified: VerifiedDeclaration, world: Any) -> None:
    keys = {"consent_key": world.consent_key, "nonce": bytes(size)}
    with pytest.raises(ValueError, match="nonce"):
        lock(verified, world.FUND, "p", world.grant_id, 1, field_indices=(0,), **keys)


def test_a_locked_delivery_has_the_members_of_the_protocol() -> None:
    expected = (
        "version delivery_id recipient purpose grant_id grant_version payload signatures fields gate_kid locked_dek"
    )
    assert expected.split() == [each.name for each in module._LOCKED.fields]
