"""Three algorithms with strict keys and signatures, and a pre-authentication encoding that keeps documents apart."""

from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import signing
from schemas.signing import POLICIES, PUBLIC_SIZE, SIGNATURE_SIZE, Algorithm, PrivateKey
from tests.examples import examples

P = 2**255 - 19
N_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
EVERY = pytest.mark.parametrize("algorithm", list(Algorithm))


def ed25519(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


@EVERY
def test_what_a_key_signs_its_public_half_verifies(algorithm: Algorithm) -> None:
    key = PrivateKey.generate(algorithm)
    signature = key.sign(b"message")
    assert SIGNATURE_SIZE[algorithm] == len(signature)
    assert PUBLIC_SIZE[algorithm] == len(key.public)
    assert signing.verify(algorithm, key.public, signature, b"message")


@EVERY
def test_another_message_is_not_verified(algorithm: Algorithm, world: Any) -> None:
    key = world.signing_key("one", algorithm)
    assert not signing.verify(algorithm, key.public, key.sign(b"message"), b"massage")


@EVERY
def test_another_key_does_not_verify(algorithm: Algorithm, world: Any) -> None:
    signature = world.signing_key("one", algorithm).sign(b"message")
    assert not signing.verify(algorithm, world.signing_key("two", algorithm).public, signature, b"message")


@EVERY
@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + b"\x00", lambda s: b"", lambda s: bytes(len(s))])
def test_a_signature_of_another_length_or_of_zeros_is_not_verified(
    algorithm: Algorithm, change: Any, world: Any
) -> None:
    key = world.signing_key("one", algorithm)
    assert not signing.verify(algorithm, key.public, change(key.sign(b"message")), b"message")


@EVERY
@pytest.mark.parametrize("other", list(Algorithm))
def test_a_key_of_another_algorithm_does_not_verify(algorithm: Algorithm, other: Algorithm, world: Any) -> None:
    key = world.signing_key("one", algorithm)
    signed = signing.verify(other, key.public, key.sign(b"message"), b"message")
    assert signed == (algorithm is other)


@EVERY
def test_a_key_survives_being_written_down(algorithm: Algorithm) -> None:
    key = PrivateKey.generate(algorithm)
    again = PrivateKey.from_raw(algorithm, key.to_raw())
    assert 32 == len(key.to_raw())
    assert (key.public, key.kid) == (again.public, again.kid)
    assert signing.verify(algorithm, key.public, again.sign(b"message"), b"message")


@EVERY
def test_a_key_never_shows_its_secret(algorithm: Algorithm, world: Any) -> None:
    key = world.signing_key("one", algorithm)
    assert f"PrivateKey({algorithm.name}, kid={key.kid.hex()[:16]})" == repr(key)


@EVERY
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_private_key_of_another_length_is_refused(algorithm: Algorithm, size: int, world: Any) -> None:
    assert "signing.private-key" == world.code_of(lambda: PrivateKey.from_raw(algorithm, bytes(size)))


@pytest.mark.parametrize("scalar", [0, N_P256, 2**256 - 1])
def test_a_p256_scalar_outside_the_group_is_refused(scalar: int, world: Any) -> None:
    raw = scalar.to_bytes(32, "big")
    assert "signing.private-key" == world.code_of(lambda: PrivateKey.from_raw(Algorithm.ECDSA_P256, raw))


@EVERY
def test_a_generated_key_may_stand_in_a_directory(algorithm: Algorithm) -> None:
    for _ in range(8):
        signing.check_public(algorithm, PrivateKey.generate(algorithm).public)


@EVERY
@pytest.mark.parametrize("change", [lambda k: k[:-1], lambda k: k + b"\x00", lambda k: b""])
def test_a_public_key_of_another_length_is_refused(algorithm: Algorithm, change: Any, world: Any) -> None:
    raw = change(world.signing_key("one", algorithm).public)
    assert "signing.public-key-length" == world.code_of(lambda: signing.check_public(algorithm, raw))


def edwards_add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    d = -121665 * pow(121666, -1, P) % P
    (x1, y1), (x2, y2) = one, two
    cross = d * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + cross, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - cross, -1, P) % P,
    )


def small_order_points() -> set[tuple[int, int]]:
    """All points of order dividing 8, found by doubling: those from which three doublings lead to the neutral one."""
    d = -121665 * pow(121666, -1, P) % P
    root_of_minus_one = pow(2, (P - 1) // 4, P)
    eighth = signing._ORDER_8_Y
    square = (eighth * eighth - 1) * pow(d * eighth * eighth + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * root_of_minus_one % P
    generator = (x, eighth)
    points, point = set(), (0, 1)
    for _ in range(8):
        points.add(point)
        point = edwards_add(point, generator)
    return points


def test_the_small_order_points_are_eight_and_each_encoding_of_them_is_refused(world: Any) -> None:
    points = small_order_points()
    assert 8 == len(points)
    # with the wrong sign too: for x = 0 that is a second encoding of the same point
    for raw in (ed25519(y, sign) for _, y in points for sign in (0, 1)):
        assert "signing.small-order-key" == world.code_of(partial(signing.check_public, Algorithm.ED25519, raw))


def test_under_a_small_order_key_the_library_alone_accepts_one_signature_for_every_message() -> None:
    # why the check is there: R = neutral point, S = 0, key = neutral point
    signature = ed25519(1) + bytes(32)
    assert signing.verify(Algorithm.ED25519, ed25519(1), signature, b"one message")
    assert signing.verify(Algorithm.ED25519, ed25519(1), signature, b"another")


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_non_canonical_ed25519_key_is_refused(y: int, sign: int, world: Any) -> None:
    raw = ed25519(y, sign)
    assert "signing.non-canonical-key" == world.code_of(lambda: signing.check_public(Algorithm.ED25519, raw))


def test_a_y_that_is_on_no_point_of_the_curve_is_refused(world: Any) -> None:
    assert "signing.off-curve-key" == world.code_of(lambda: signing.check_public(Algorithm.ED25519, ed25519(2)))


def test_ed25519_refuses_a_signature_with_s_plus_the_order(world: Any) -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    key = world.signing_key("one")
    signature = key.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + order
    assert not signing.verify(Algorithm.ED25519, key.public, signature[:32] + s.to_bytes(32, "little"), b"message")


@pytest.mark.parametrize("lead", [0x00, 0x02, 0x03, 0x05, 0x06, 0x07])
def test_a_p256_point_in_another_form_is_refused(lead: int, world: Any) -> None:
    raw = bytes((lead,)) + world.signing_key("one", Algorithm.ECDSA_P256).public[1:]
    assert "signing.off-curve-key" == world.code_of(lambda: signing.check_public(Algorithm.ECDSA_P256, raw))


def test_a_p256_point_off_the_curve_is_refused(world: Any) -> None:
    raw = bytearray(world.signing_key("one", Algorithm.ECDSA_P256).public)
    raw[-1] ^= 1
    assert "signing.off-curve-key" == world.code_of(lambda: signing.check_public(Algorithm.ECDSA_P256, bytes(raw)))


def test_both_halves_of_a_p256_signature_are_full_width(world: Any) -> None:
    key = world.signing_key("one", Algorithm.ECDSA_P256)
    signature = key.sign(b"message")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert 0 < r < N_P256
    assert 0 < s < N_P256


def test_a_p256_signature_is_accepted_with_either_s(world: Any) -> None:
    # documented: no signature is an identifier here, so a second valid one gains nothing
    key = world.signing_key("one", Algorithm.ECDSA_P256)
    signature = key.sign(b"message")
    other = N_P256 - int.from_bytes(signature[32:], "big")
    twin = signature[:32] + other.to_bytes(32, "big")
    assert signing.verify(Algorithm.ECDSA_P256, key.public, twin, b"message")


def test_a_key_id_is_the_hash_of_algorithm_and_key(world: Any) -> None:
    for algorithm in Algorithm:
        key = world.signing_key("one", algorithm)
        assert sha256(bytes([algorithm]) + key.public).digest() == key.kid == signing.kid_of(algorithm, key.public)


def test_the_policies_are_those_of_the_protocol() -> None:
    ed, ml, p256 = Algorithm.ED25519, Algorithm.ML_DSA_44, Algorithm.ECDSA_P256
    assert (1, 2, 3) == (ed.value, ml.value, p256.value)
    assert {1: {ed}, 2: {ml}, 3: {p256}, 4: {ed, ml}, 5: {p256, ml}} == dict(POLICIES)


def test_the_encoding_to_sign_is_the_one_of_dsse() -> None:
    # the example of the DSSE specification
    assert b"DSSEv1 29 http://example.com/HelloWorld 11 hello world" == signing.pae(
        "http://example.com/HelloWorld", b"hello world"
    )


def test_lengths_in_the_encoding_count_bytes() -> None:
    assert b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9" == signing.pae("é", "é".encode())


@given(st.tuples(st.text(max_size=8), st.binary(max_size=8)), st.tuples(st.text(max_size=8), st.binary(max_size=8)))
@examples(200)
def test_two_documents_never_have_one_encoding(one: tuple[str, bytes], two: tuple[str, bytes]) -> None:
    assert (one == two) == (signing.pae(*one) == signing.pae(*two))
