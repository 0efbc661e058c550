"""Sealing: padding in one way only, each field under its own key and place, the DEK for one declaration only."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from schemas import hpke, sealing
from schemas.hpke import Suite
from schemas.names import DeclarationId
from tests.examples import examples

DEK = bytes(range(32))
SALT = bytes(range(16))
ID = DeclarationId(bytes(16))
OTHER_ID = DeclarationId(b"\x01" + bytes(15))
PLACE: dict[str, Any] = {"declaration_id": ID, "index": 1, "commitment": b"c" * 32}
KEY = sealing.field_key(DEK, ID, 1)


@pytest.mark.parametrize(
    ("length", "padded"),
    [(0, 64), (60, 64), (61, 128), (124, 128), (252, 256), (253, 512), (4092, 4096), (4093, 8192), (8189, 12288)],
)
def test_lengths_are_padded_to_the_steps_of_the_protocol(length: int, padded: int) -> None:
    assert padded == len(sealing.pad(bytes(length)))
    assert padded == sealing.padded_size(length)


@given(st.binary(max_size=9000))
@examples(50)
def test_what_is_padded_is_unpadded(plaintext: bytes) -> None:
    assert plaintext == sealing.unpad(sealing.pad(plaintext))


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\x00\x00\x00",
        bytes(63),
        bytes(65),
        bytes(128),  # empty, and padded a step too far
        b"\x00\x00\x00\x01" + b"a" + b"\x01" + bytes(58),  # something hides behind
        b"\x00\x00\x00\x3d" + bytes(60),  # longer than there is
        b"\xff\xff\xff\xff" + bytes(60),
    ],
)
def test_padding_in_any_other_way_is_refused(padded: bytes, world: Any) -> None:
    assert "sealing.padding" == world.code_of(lambda: sealing.unpad(padded))


def test_exactly_the_padded_sizes_and_the_tag_are_sizes_of_sealed_fields() -> None:
    steps = {64, 128, 256, 512, 1024, 2048, 4096, 8192, 12288}
    assert {step + 16 for step in steps} == {size for size in range(12400) if sealing.is_sealed_size(size)}


def test_each_field_of_each_declaration_has_its_own_key() -> None:
    keys = {sealing.field_key(DEK, one, index) for one in (ID, OTHER_ID) for index in (0, 1, 256)}
    assert 6 == len(keys)
    assert {32} == {len(key) for key in keys}


def test_a_sealed_field_opens_to_salt_and_value() -> None:
    assert (SALT, b"value") == sealing.open_field(KEY, sealing.seal_field(KEY, SALT, b"value", **PLACE), **PLACE)


def test_an_empty_value_is_a_value() -> None:
    assert (SALT, b"") == sealing.open_field(KEY, sealing.seal_field(KEY, SALT, b"", **PLACE), **PLACE)


def test_a_sealed_field_does_not_show_the_length_of_its_value() -> None:
    assert (
        80 == len(sealing.seal_field(KEY, SALT, b"", **PLACE)) == len(sealing.seal_field(KEY, SALT, b"x" * 44, **PLACE))
    )


@pytest.mark.parametrize("moved", [{"declaration_id": OTHER_ID}, {"index": 2}, {"commitment": b"d" * 32}])
def test_a_sealed_field_opens_only_in_its_place(moved: dict[str, Any], world: Any) -> None:
    sealed = sealing.seal_field(KEY, SALT, b"value", **PLACE)
    assert "sealing.cannot-open-field" == world.code_of(lambda: sealing.open_field(KEY, sealed, **PLACE | moved))


def test_a_sealed_field_opens_only_with_its_key_and_unchanged(world: Any) -> None:
    sealed = sealing.seal_field(KEY, SALT, b"value", **PLACE)
    other = sealing.field_key(DEK, ID, 2)
    flipped = bytes((sealed[0] ^ 1,)) + sealed[1:]
    assert "sealing.cannot-open-field" == world.code_of(lambda: sealing.open_field(other, sealed, **PLACE))
    assert "sealing.cannot-open-field" == world.code_of(lambda: sealing.open_field(KEY, flipped, **PLACE))
    assert "sealing.cannot-open-field" == world.code_of(lambda: sealing.open_field(KEY, b"", **PLACE))


def test_a_sealed_field_without_room_for_a_salt_is_refused(world: Any) -> None:
    aad = b"unefois/sealed-field/v1\x00" + ID + b"\x00\x01" + b"c" * 32
    sealed = AESGCM(KEY).encrypt(bytes(12), sealing.pad(SALT[:15]), aad)
    assert "sealing.padding" == world.code_of(lambda: sealing.open_field(KEY, sealed, **PLACE))


@pytest.mark.parametrize("suite", list(Suite))
def test_the_dek_opens_with_the_gate_key_for_its_declaration_and_manifest(suite: Suite, world: Any) -> None:
    gate = world.sealing_key("gate", suite)
    sealed = sealing.seal_dek(suite, gate.public, DEK, ID, b"payload")
    assert sealing.sealed_dek_size(suite) == len(sealed)
    assert DEK == sealing.open_dek(gate, sealed, ID, b"payload")


@pytest.mark.parametrize("suite", list(Suite))
def test_the_dek_opens_for_nothing_else(suite: Suite, world: Any) -> None:
    gate, other = world.sealing_key("gate", suite), world.sealing_key("other", suite)
    sealed = sealing.seal_dek(suite, gate.public, DEK, ID, b"payload")
    for attempt in (
        lambda: sealing.open_dek(other, sealed, ID, b"payload"),
        lambda: sealing.open_dek(gate, sealed, OTHER_ID, b"payload"),
        lambda: sealing.open_dek(gate, sealed, ID, b"other payload"),
    ):
        assert "sealing.cannot-open-dek" == world.code_of(attempt)


def test_something_else_than_a_dek_is_refused_after_opening(world: Any) -> None:
    suite, public = world.gate.suite, world.gate.public
    info = sealing._dek_info(suite, world.gate.kid, ID, b"payload")
    sealed = hpke.seal(suite, public, b"short", info)
    assert "sealing.cannot-open-dek" == world.code_of(lambda: sealing.open_dek(world.gate, sealed, ID, b"payload"))


def test_keys_and_salts_of_another_length_are_mistakes_of_ours(world: Any) -> None:
    for attempt in (
        lambda: sealing.field_key(DEK[:31], ID, 0),
        lambda: sealing.seal_field(KEY, SALT[:15], b"", **PLACE),
        lambda: sealing.seal_dek(world.gate.suite, world.gate.public, DEK[:31], ID, b""),
    ):
        with pytest.raises(ValueError, match="bytes"):
            attempt()
