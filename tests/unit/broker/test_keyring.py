"""The epochs of a keyring: a key that came since is found, one that never was is none, one that went is asked later."""

import pytest

from broker.keys.keyring import Epochs, Keyring
from broker.ports import KeyKind
from schemas.errors import Unavailable
from tests.memory import MemoryKeys

KEYS = {epoch: bytes([epoch]) * 32 for epoch in range(1, 6)}


def test_an_epoch_that_was_opened_since_is_found_and_what_lived_at_first_stays() -> None:
    keys = MemoryKeys()
    keys.write(KeyKind.CONSENT_EPOCH, "1", KEYS[1])
    epochs = Keyring(keys).consent_epochs()
    assert (None, [1], 1) == (epochs.get(2), list(epochs), len(epochs))

    keys.write(KeyKind.CONSENT_EPOCH, "2", KEYS[2])
    keys.destroy(KeyKind.CONSENT_EPOCH, "1")

    assert (KEYS[2], KEYS[1], None) == (epochs.get(2), epochs.get(1), epochs.get(3))
    assert {2: KEYS[2]} == dict(Keyring(keys).consent_epochs())


def test_one_that_is_over_or_never_was_is_none() -> None:
    living = {2: KEYS[2], 4: KEYS[4]}
    epochs = Epochs(lambda: dict(living))
    assert [None] * 5 == [epochs.get(epoch) for epoch in (-1, 0, 1, 3, 5)]


def test_one_that_came_and_went_meanwhile_is_asked_for_again_later() -> None:
    living = {1: KEYS[1]}
    epochs = Epochs(lambda: dict(living))
    living.clear()
    living[3] = KEYS[3]
    with pytest.raises(Unavailable) as away:
        epochs.get(2)
    assert "registry.epoch-key-missing" == away.value.code
    assert (KEYS[1], KEYS[3]) == (epochs.get(1), epochs.get(3))
