"""Private keys in files: nobody else reads them, none is written over, and the public line leads back to them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors import key_files
from schemas.errors import Refused
from schemas.hpke import Suite
from schemas.signing import Algorithm


def test_there_is_a_kind_for_every_algorithm_and_every_suite() -> None:
    assert {*Algorithm, *Suite} == {*key_files.KINDS.values()}


@pytest.mark.parametrize("kind", key_files.KINDS)
def test_a_key_is_kept_and_read_again(kind: str, tmp_path: Path) -> None:
    made, path = key_files.new(kind), tmp_path / "a.key"
    key_files.write(path, made)

    assert made.to_raw() == key_files.read(path).to_raw()
    assert (key_files.KINDS[kind], made.public) == key_files.parse_public(key_files.public(made))
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(tmp_path.iterdir())
    assert made.to_raw().hex() not in key_files.public(made)


def test_a_key_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    first = key_files.new("ed25519")
    key_files.write(tmp_path / "a.key", first)

    with pytest.raises(Refused) as refused:
        key_files.write(tmp_path / "a.key", key_files.new("ed25519"))

    assert "key-file.exists" == refused.value.code
    assert first.to_raw() == key_files.read(tmp_path / "a.key").to_raw()
    assert ["a.key"] == [each.name for each in tmp_path.iterdir()]


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)
        path.chmod(0o600)

    return write


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "key-file.unreadable"),
        (Path.mkdir, "key-file.unreadable"),
        (_text(""), "key-file.malformed"),
        (_text("rsa 00"), "key-file.malformed"),
        (_text("ed25519 zz"), "key-file.malformed"),
        (_text("ed25519 00"), "key-file.malformed"),
        (_text("x25519 00"), "key-file.malformed"),
        (_text("ed25519 é"), "key-file.malformed"),
        (lambda path: path.write_text("ed25519 00") and path.chmod(0o640), "key-file.open-to-others"),
    ],
)
def test_a_file_that_is_no_private_key_is_refused(make: Callable[[Path], None], code: str, tmp_path: Path) -> None:
    make(tmp_path / "a.key")

    with pytest.raises(Refused) as refused:
        key_files.read(tmp_path / "a.key")

    assert code == refused.value.code


def test_a_key_is_not_taken_for_the_other_use(tmp_path: Path) -> None:
    key_files.write(tmp_path / "sign", key_files.new("ed25519"))
    key_files.write(tmp_path / "seal", key_files.new("x25519"))

    for read, name in ((key_files.sealing_key, "sign"), (key_files.signing_key, "seal")):
        with pytest.raises(Refused) as refused:
            read(tmp_path / name)
        assert "key-file.not-for-this" == refused.value.code


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        key_files.new("rsa")

    assert "key-file.kind" == refused.value.code
