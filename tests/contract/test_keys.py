"""The promises of the key store port, held against every adapter."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.keys import lock
from broker.keys.file import FileKeys
from broker.ports import SECRET_BYTES, KeyKind, KeyStore
from schemas.errors import Fault
from tests.memory import MemoryKeys

SECRET = b"\x00CANARY secret\xff"


def counted() -> Callable[[int], bytes]:
    """Bytes that never repeat."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


@pytest.fixture(params=["memory", "file", "locked-file"])
def keys(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyStore:
    monkeypatch.setattr(lock, "SCRYPT_LOG2_N", 4)
    if request.param == "memory":
        return MemoryKeys()
    return FileKeys.open(tmp_path / "keys", counted(), "passphrase" if request.param == "locked-file" else None)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Fault) as raised:
        call()
    assert "CANARY" not in f"{raised.value} {raised.value!r}"
    return raised.value.code


class TestKeyStore:
    def test_a_secret_comes_back_as_it_was_written(self, keys: KeyStore) -> None:
        for size in (1, 32, SECRET_BYTES):
            secret = bytes(range(256)) * (size // 256 + 1)
            keys.write(KeyKind.GATE, f"epoch-{size}", secret[:size])
            assert secret[:size] == keys.read(KeyKind.GATE, f"epoch-{size}")

    def test_kinds_do_not_mix(self, keys: KeyStore) -> None:
        for number, kind in enumerate(KeyKind):
            keys.write(kind, "same-name", bytes([number]))
        assert list(range(len(KeyKind))) == [keys.read(kind, "same-name")[0] for kind in KeyKind]
        keys.destroy(KeyKind.GATE, "same-name")
        assert "keys.missing" == code_of(lambda: keys.read(KeyKind.GATE, "same-name"))
        assert ("same-name",) == keys.names(KeyKind.SIGNING)

    def test_names_are_sorted_and_complete(self, keys: KeyStore) -> None:
        assert () == keys.names(KeyKind.PSEUDONYM)
        for name in ("b", "a.2", "10", "a_1"):
            keys.write(KeyKind.PSEUDONYM, name, b"s")
        assert ("10", "a.2", "a_1", "b") == keys.names(KeyKind.PSEUDONYM)

    def test_a_secret_is_never_overwritten(self, keys: KeyStore) -> None:
        keys.write(KeyKind.LEDGER, "log", b"first")
        assert "keys.exists" == code_of(lambda: keys.write(KeyKind.LEDGER, "log", SECRET))
        assert b"first" == keys.read(KeyKind.LEDGER, "log")

    def test_a_destroyed_secret_is_gone(self, keys: KeyStore) -> None:
        keys.write(KeyKind.CONSENT_EPOCH, "1", SECRET)
        keys.destroy(KeyKind.CONSENT_EPOCH, "1")
        assert "keys.missing" == code_of(lambda: keys.read(KeyKind.CONSENT_EPOCH, "1"))
        assert () == keys.names(KeyKind.CONSENT_EPOCH)

    def test_destroying_what_is_not_there_finishes_an_interrupted_destruction(self, keys: KeyStore) -> None:
        keys.destroy(KeyKind.CONSENT_EPOCH, "1")
        assert () == keys.names(KeyKind.CONSENT_EPOCH)

    def test_a_secret_that_was_never_written_is_missing(self, keys: KeyStore) -> None:
        assert "keys.missing" == code_of(lambda: keys.read(KeyKind.SIGNING, "none"))

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../x", "a/b", "a..b", ".hidden", "-a", "a-", "Upper", "é", "a b", "a\n", "a\x00", "a" * 129],
    )
    def test_a_name_cannot_lead_out_of_the_store(self, keys: KeyStore, name: str) -> None:
        assert "keys.name" == code_of(lambda: keys.write(KeyKind.SIGNING, name, SECRET))
        assert "keys.name" == code_of(lambda: keys.read(KeyKind.SIGNING, name))
        assert "keys.name" == code_of(lambda: keys.destroy(KeyKind.SIGNING, name))
        keys.write(KeyKind.SIGNING, "a" * 128, SECRET)

    @pytest.mark.parametrize("size", [0, SECRET_BYTES + 1])
    def test_a_secret_has_a_bounded_size(self, keys: KeyStore, size: int) -> None:
        assert "keys.size" == code_of(lambda: keys.write(KeyKind.SIGNING, "a", bytes(size)))

    def test_the_store_shows_no_secret_of_itself(self, keys: KeyStore) -> None:
        keys.write(KeyKind.SIGNING, "a", SECRET)
        assert "CANARY" not in repr(keys)
