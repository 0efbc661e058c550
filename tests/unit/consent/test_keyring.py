"""Consent keys at rest."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent.keyring import Bound, Kept, unwrap, wrap
from schemas.errors import Corrupt
from schemas.names import GrantId, Instant

KEY = bytes(range(32))
KEPT = Kept(KEY, Instant(5_000_000_000_000))
EPOCH_KEY = b"e" * 32
GRANT = GrantId(b"g" * 16)
NONCE = b"n" * 12
DIGEST = b"d" * 32
BOUND = Bound(GRANT, DIGEST, 7)


def wrapped() -> bytes:
    return wrap(KEPT, BOUND, EPOCH_KEY, NONCE)


UNDATED = Kept(KEY, None, dated=False)


@pytest.mark.parametrize("kept", [KEPT, Kept(KEY, None), UNDATED], ids=["with an end", "without", "from before"])
def test_a_wrapped_key_opens_under_its_epoch_key_with_its_end(kept: Kept) -> None:
    assert kept == unwrap(wrap(kept, BOUND, EPOCH_KEY, NONCE), BOUND, EPOCH_KEY)


def test_the_bytes_are_those_of_the_architecture() -> None:
    place, until = GRANT + DIGEST + b"\x00\x00\x00\x07", (5_000_000_000_000).to_bytes(8, "big")
    sealed = AESGCM(EPOCH_KEY).encrypt(NONCE, KEY + until, b"unefois/consent-key/v3\x00" + place)
    before = AESGCM(EPOCH_KEY).encrypt(NONCE, KEY, b"unefois/consent-key/v2\x00" + place)
    endless = AESGCM(EPOCH_KEY).encrypt(NONCE, KEY + b"\xff" * 8, b"unefois/consent-key/v3\x00" + place)
    assert NONCE + sealed == wrapped()
    assert NONCE + before == wrap(UNDATED, BOUND, EPOCH_KEY, NONCE)
    assert NONCE + endless == wrap(Kept(KEY, None), BOUND, EPOCH_KEY, NONCE)
    assert (68, 60) == (len(wrapped()), len(NONCE + before))


def test_a_wrapped_key_shows_nothing_of_the_key() -> None:
    assert KEY[:8] not in wrapped()


@pytest.mark.parametrize("place", range(68))
def test_one_bit_changed_anywhere_and_it_stays_shut(place: int) -> None:
    changed = bytearray(wrapped())
    changed[place] ^= 1
    with pytest.raises(Corrupt) as corrupt:
        unwrap(bytes(changed), BOUND, EPOCH_KEY)
    assert "keyring.cannot-unwrap" == corrupt.value.code


@pytest.mark.parametrize(
    ("bound", "epoch_key"),
    [
        (replace(BOUND, grant_id=GrantId(b"h" * 16)), EPOCH_KEY),
        (replace(BOUND, digest=b"e" * 32), EPOCH_KEY),
        (replace(BOUND, epoch=8), EPOCH_KEY),
        (BOUND, b"f" * 32),
    ],
    ids=["another grant", "another version", "another epoch", "another epoch key"],
)
def test_a_key_moved_to_another_place_stays_shut(bound: Bound, epoch_key: bytes) -> None:
    with pytest.raises(Corrupt) as corrupt:
        unwrap(wrapped(), bound, epoch_key)
    assert "keyring.cannot-unwrap" == corrupt.value.code
    assert {"grant": bound.grant_id.hex(), "epoch": bound.epoch} == corrupt.value.details


@pytest.mark.parametrize(
    "broken", [b"", wrapped()[:-1], wrapped() + b"\x00", wrapped()[:-8]], ids=["empty", "short", "long", "cut"]
)
def test_a_wrapped_key_of_another_length_is_corrupt(broken: bytes) -> None:
    with pytest.raises(Corrupt) as corrupt:
        unwrap(broken, BOUND, EPOCH_KEY)
    assert "keyring.cannot-unwrap" == corrupt.value.code


@pytest.mark.parametrize(
    ("key", "bound", "epoch_key", "nonce"),
    [
        (KEY[:31], BOUND, EPOCH_KEY, NONCE),
        (KEY, BOUND, EPOCH_KEY, NONCE + b"n"),
        (KEY, BOUND, EPOCH_KEY[:16], NONCE),
        (KEY, replace(BOUND, epoch=-1), EPOCH_KEY, NONCE),
        (KEY, replace(BOUND, epoch=2**32), EPOCH_KEY, NONCE),
        (KEY, replace(BOUND, digest=DIGEST[:31]), EPOCH_KEY, NONCE),
    ],
    ids=["key", "nonce", "epoch key", "epoch below", "epoch above", "digest"],
)
def test_a_programs_mistake_is_not_wrapped(key: bytes, bound: Bound, epoch_key: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|u32"):
        wrap(Kept(key, None), bound, epoch_key, nonce)
