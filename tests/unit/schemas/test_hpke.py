"""Sealing to a public key: two suites, strict keys, and a refusal that says nothing."""

from hashlib import sha256
from typing import Any

import pytest

from schemas import hpke
from schemas.hpke import OVERHEAD, PUBLIC_SIZE, SealingKey, Suite

P = 2**255 - 19
EVERY = pytest.mark.parametrize("suite", list(Suite))


def bent_x25519(key: SealingKey, u: int) -> bytes:
    return key.public[:-32] + u.to_bytes(32, "little")


@EVERY
def test_what_is_sealed_to_a_key_opens_with_it(suite: Suite) -> None:
    key = SealingKey.generate(suite)
    sealed = hpke.seal(suite, key.public, b"plaintext", b"info")
    assert OVERHEAD[suite] + 9 == len(sealed)
    assert b"plaintext" == hpke.open_(key, sealed, b"info")


@EVERY
def test_sealing_twice_gives_different_bytes(suite: Suite, world: Any) -> None:
    key = world.sealing_key("one", suite)
    assert hpke.seal(suite, key.public, b"x", b"") != hpke.seal(suite, key.public, b"x", b"")


@EVERY
def test_another_key_info_or_byte_does_not_open(suite: Suite, world: Any) -> None:
    key, other = world.sealing_key("one", suite), world.sealing_key("two", suite)
    sealed = hpke.seal(suite, key.public, b"plaintext", b"info")
    flipped = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    for attempt in (
        lambda: hpke.open_(other, sealed, b"info"),
        lambda: hpke.open_(key, sealed, b"other info"),
        lambda: hpke.open_(key, flipped, b"info"),
        lambda: hpke.open_(key, bytes((sealed[0] ^ 1,)) + sealed[1:], b"info"),
        lambda: hpke.open_(key, sealed[:-1], b"info"),
        lambda: hpke.open_(key, b"", b"info"),
    ):
        assert "hpke.cannot-open" == world.code_of(attempt)


@EVERY
def test_an_encapsulated_key_of_small_order_does_not_open(suite: Suite, world: Any) -> None:
    key = world.sealing_key("one", suite)
    sealed = hpke.seal(suite, key.public, b"plaintext", b"info")
    place = 0 if suite is Suite.X25519 else 1088
    bent = sealed[:place] + bytes(32) + sealed[place + 32 :]
    assert "hpke.cannot-open" == world.code_of(lambda: hpke.open_(key, bent, b"info"))


@EVERY
def test_a_key_survives_being_written_down(suite: Suite) -> None:
    key = SealingKey.generate(suite)
    again = SealingKey.from_raw(suite, key.to_raw())
    assert (key.public, key.kid) == (again.public, again.kid)
    assert b"x" == hpke.open_(again, hpke.seal(suite, key.public, b"x", b""), b"")


@EVERY
def test_a_key_never_shows_its_secret(suite: Suite, world: Any) -> None:
    key = world.sealing_key("one", suite)
    assert f"SealingKey({suite.name}, kid={key.kid.hex()[:16]})" == repr(key)


@pytest.mark.parametrize(("suite", "size"), [(Suite.X25519, 31), (Suite.X25519, 96), (Suite.MLKEM768_X25519, 32)])
def test_a_private_key_of_another_length_is_refused(suite: Suite, size: int, world: Any) -> None:
    assert "hpke.private-key" == world.code_of(lambda: SealingKey.from_raw(suite, bytes(size)))


@EVERY
def test_a_generated_key_may_stand_in_a_directory(suite: Suite) -> None:
    key = SealingKey.generate(suite)
    hpke.check_public(suite, key.public)
    assert PUBLIC_SIZE[suite] == len(key.public)


@EVERY
@pytest.mark.parametrize("change", [lambda k: k[:-1], lambda k: k + b"\x00", lambda k: b""])
def test_a_public_key_of_another_length_is_refused(suite: Suite, change: Any, world: Any) -> None:
    raw = change(world.sealing_key("one", suite).public)
    assert "hpke.public-key-length" == world.code_of(lambda: hpke.check_public(suite, raw))


@EVERY
@pytest.mark.parametrize("u", [P, P + 1, 2**255 - 1, 2**255 + 9])
def test_a_non_canonical_x25519_key_is_refused(suite: Suite, u: int, world: Any) -> None:
    raw = bent_x25519(world.sealing_key("one", suite), u)
    assert "hpke.non-canonical-key" == world.code_of(lambda: hpke.check_public(suite, raw))


@EVERY
@pytest.mark.parametrize("u", sorted(hpke._SMALL_ORDER_U))
def test_an_x25519_key_of_small_order_is_refused(suite: Suite, u: int, world: Any) -> None:
    raw = bent_x25519(world.sealing_key("one", suite), u)
    assert "hpke.small-order-key" == world.code_of(lambda: hpke.check_public(suite, raw))
    assert "hpke.small-order-key" == world.code_of(lambda: hpke.seal(suite, raw, b"x", b""))


def test_the_refused_keys_are_closed_under_doubling_and_reach_the_neutral_point() -> None:
    """x-only doubling, RFC 7748: orders 8 -> 4 -> 2; a denominator of zero is the neutral point itself."""
    assert 5 == len(hpke._SMALL_ORDER_U)
    for start in hpke._SMALL_ORDER_U:
        u, doublings = start, 0
        while (below := 4 * u * (u * u + 486662 * u + 1) % P) and doublings < 3:
            u, doublings = (u * u - 1) ** 2 * pow(below, -1, P) % P, doublings + 1
            assert u in hpke._SMALL_ORDER_U
        assert doublings < 3


def test_an_ml_kem_key_with_a_coefficient_beyond_q_is_refused(world: Any) -> None:
    key = world.sealing_key("one", Suite.MLKEM768_X25519)
    raw = b"\xff\xff\xff" + key.public[3:]
    assert "hpke.malformed-key" == world.code_of(lambda: hpke.check_public(Suite.MLKEM768_X25519, raw))


def test_a_key_id_is_the_hash_of_suite_and_key(world: Any) -> None:
    for suite, number in ((Suite.X25519, b"\x00\x20"), (Suite.MLKEM768_X25519, b"\x64\x7a")):
        key = world.sealing_key("one", suite)
        assert sha256(number + key.public).digest() == key.kid == hpke.kid_of(suite, key.public)
