"""A commitment binds salt, place, name and value, and no two fields share the bytes that are hashed."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sealing import commit
from tests.examples import examples

SALT = bytes(range(16))
parts = st.tuples(
    st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFF), st.text(max_size=4), st.binary(max_size=6)
)


def test_the_bytes_are_those_of_the_protocol() -> None:
    hashed = b"unefois/field/v1\x00" + SALT + b"\x01\x02" + b"\x00\x02\xc3\xa9" + b"\x00\x00\x00\x03abc"
    assert sha256(hashed).digest() == commit(SALT, 0x0102, "é", b"abc")


@given(parts, parts)
@examples(200)
def test_another_part_gives_another_commitment(
    one: tuple[bytes, int, str, bytes], two: tuple[bytes, int, str, bytes]
) -> None:
    assert (one == two) == (commit(*one) == commit(*two))


def test_a_byte_moved_from_the_name_to_the_value_changes_it() -> None:
    assert commit(SALT, 0, "ab", b"c") != commit(SALT, 0, "a", b"bc")


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_salt_of_another_length_is_a_mistake_of_ours(size: int) -> None:
    with pytest.raises(ValueError, match="salt"):
        commit(bytes(size), 0, "a", b"")


@pytest.mark.parametrize("index", [-1, 0x10000])
def test_an_index_beyond_16_bits_is_a_mistake_of_ours(index: int) -> None:
    with pytest.raises(ValueError, match="index"):
        commit(SALT, index, "a", b"")


def test_index_and_name_may_fill_their_16_bits() -> None:
    hashed = b"unefois/field/v1\x00" + SALT + b"\xff\xff" + b"\xff\xff" + b"a" * 0xFFFF + bytes(4)
    assert sha256(hashed).digest() == commit(SALT, 0xFFFF, "a" * 0xFFFF, b"")


def test_a_name_beyond_16_bits_of_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="name"):
        commit(SALT, 0, "a" * 0x10000, b"")
