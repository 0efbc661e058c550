"""Consent keys at rest."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent.keyring import unwrap, wrap
from schemas.errors import Corrupt
from schemas.names import GrantId

KEY = bytes(range(32))
EPOCH_KEY = b"e" * 32
GRANT = GrantId(b"g" * 16)
NONCE = b"n" * 12


def wrapped() -> bytes:
    return wrap(KEY, GRANT, 7, EPOCH_KEY, NONCE)


def test_a_wrapped_key_opens_under_its_epoch_key() -> None:
    assert KEY == unwrap(wrapped(), GRANT, 7, EPOCH_KEY)


def test_the_bytes_are_those_of_the_architecture() -> None:
    bound_to = b"unefois/consent-key/v1\x00" + GRANT + b"\x00\x00\x00\x07"
    assert NONCE + AESGCM(EPOCH_KEY).encrypt(NONCE, KEY, bound_to) == wrapped()
    assert 60 == len(wrapped())


def test_a_wrapped_key_shows_nothing_of_the_key() -> None:
    assert KEY[:8] not in wrapped()


@pytest.mark.parametrize("place", range(60))
def test_one_bit_changed_anywhere_and_it_stays_shut(place: int) -> None:
    changed = bytearray(wrapped())
    changed[place] ^= 1
    with pytest.raises(Corrupt) as corrupt:
        unwrap(bytes(changed), GRANT, 7, EPOCH_KEY)
    assert "keyring.cannot-unwrap" == corrupt.value.code


@pytest.mark.parametrize(
    ("grant", "epoch", "epoch_key"),
    [(GrantId(b"h" * 16), 7, EPOCH_KEY), (GRANT, 8, EPOCH_KEY), (GRANT, 7, b"f" * 32)],
    ids=["another grant", "another epoch", "another epoch key"],
)
def test_a_key_moved_to_another_place_stays_shut(grant: GrantId, epoch: int, epoch_key: bytes) -> None:
    with pytest.raises(Corrupt) as corrupt:
        unwrap(wrapped(), grant, epoch, epoch_key)
    assert "keyring.cannot-unwrap" == corrupt.value.code
    assert {"grant": grant.hex(), "epoch": epoch} == corrupt.value.details


@pytest.mark.parametrize("broken", [b"", wrapped()[:-1], wrapped() + b"\x00"], ids=["empty", "short", "long"])
def test_a_wrapped_key_of_another_length_is_corrupt(broken: bytes) -> None:
    with pytest.raises(Corrupt) as corrupt:
        unwrap(broken, GRANT, 7, EPOCH_KEY)
    assert "keyring.cannot-unwrap" == corrupt.value.code


@pytest.mark.parametrize(
    ("key", "epoch", "epoch_key", "nonce"),
    [
        (KEY[:31], 7, EPOCH_KEY, NONCE),
        (KEY, 7, EPOCH_KEY, NONCE + b"n"),
        (KEY, 7, EPOCH_KEY[:16], NONCE),
        (KEY, -1, EPOCH_KEY, NONCE),
        (KEY, 2**32, EPOCH_KEY, NONCE),
    ],
    ids=["key", "nonce", "epoch key", "epoch below", "epoch above"],
)
def test_a_programs_mistake_is_not_wrapped(key: bytes, epoch: int, epoch_key: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|u32"):
        wrap(key, GRANT, epoch, epoch_key, nonce)
