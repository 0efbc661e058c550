"""Manifests of version 2 are read and written as the vectors have them, which were made by hand."""

import json
from hashlib import sha256
from typing import Any

import pytest

from schemas.assurance import Provenance
from schemas.errors import Refused
from schemas.manifest import Manifest
from tests.vectors.stated import FOLDER, made

VECTORS = json.loads((FOLDER / "manifest-v2.json").read_text("utf-8"))


def test_the_file_is_what_its_generator_makes() -> None:
    assert made() == VECTORS


@pytest.mark.parametrize("told", VECTORS["good"], ids=lambda told: told["assurance"])
def test_a_statement_is_read_and_written_back(told: dict[str, Any]) -> None:
    payload = bytes.fromhex(told["payload"])

    manifest = Manifest.decode(payload)

    assert Provenance.read(told["assurance"], told["quality"], told["channel"]) == manifest.provenance
    assert payload == manifest.encode()
    assert told["digest"] == sha256(payload).hexdigest()


@pytest.mark.parametrize("name", VECTORS["bad"])
def test_what_is_wrong_is_refused_in_its_place(name: str) -> None:
    told = VECTORS["bad"][name]

    with pytest.raises(Refused) as refused:
        Manifest.decode(bytes.fromhex(told["payload"]))

    assert (told["code"], told["pointer"]) == (refused.value.code, refused.value.pointer)
