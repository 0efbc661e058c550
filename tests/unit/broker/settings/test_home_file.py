"""The home's settings file: written once, whole, private, and read back as what was chosen."""

import os
import stat
from pathlib import Path

import pytest

from broker.settings.choices import load
from broker.settings.home_file import write_settings
from broker.settings.sources import FILE
from schemas.errors import Refused, Unavailable


def test_what_is_written_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    name = 'Ville de "Nantes" \\ Loire-Atlantique, été'

    assert write_settings(tmp_path / "home", {"name": name, "signature_policy": 4, "hpke_suite": "x25519"})

    read = load(home=tmp_path / "home")
    assert (name, 4, "X25519") == (read.name, read.signature_policy, read.hpke_suite.name)


def test_the_file_and_its_folder_are_their_owners_alone(tmp_path: Path) -> None:
    write_settings(tmp_path / "home", {"name": "x"})

    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "home", tmp_path / "home" / FILE)]
    assert [0o700, 0o600] == modes
    assert [FILE] == os.listdir(tmp_path / "home")


def test_a_file_that_is_there_is_the_operators(tmp_path: Path) -> None:
    write_settings(tmp_path, {"name": "first"})

    with pytest.raises(Refused, match=r"home-file\.exists"):
        write_settings(tmp_path, {"name": "second"})

    assert not write_settings(tmp_path, {})
    assert "first" == load(home=tmp_path).name


def test_a_character_that_does_not_show_is_refused_with_the_settings_name(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        write_settings(tmp_path, {"name": "a\nb = 1"})

    assert ("home-file.control-character", "/name") == (refused.value.code, refused.value.pointer)
    assert [] == os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match=r"home-file\.away"):
        write_settings(tmp_path / "file" / "home", {})
