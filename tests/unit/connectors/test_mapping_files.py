"""Mapping files by name: packaged ones, and an agency's own from the folder that the caller names."""

from pathlib import Path

import pytest

from connectors.mapping_files import find, loaded, named
from schemas.errors import Refused

OWN = b"{name: own, version: 1, event_type: fr.unefois.name.changed.v1, direction: out, fields: {a: record.capacity}}"


@pytest.mark.parametrize("name", ["commune-table", "commune-table.out", "commune-table.out.yaml"])
def test_a_packaged_mapping_is_found_with_or_without_its_endings(name: str, tmp_path: Path) -> None:
    assert "commune-table" == find(name, tmp_path).name


def test_a_file_of_ones_own_is_found_from_the_folder_named(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "m.yaml").write_bytes(OWN)

    assert "own" == find("maps/m.yaml", tmp_path).name == find(str(tmp_path / "maps/m.yaml"), Path()).name


def test_a_name_without_a_slash_is_never_a_file_that_happens_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(OWN)

    with pytest.raises(Refused, match=r"mapping\.no-such-file"):
        find("m.yaml", tmp_path)


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        find("commune-tabel.out.yaml", tmp_path)

    assert ("commune-tabel.out.yaml", "commune-table.out.yaml") == (
        refused.value.details["file"],
        refused.value.details["near"],
    )


def test_a_mistake_in_a_file_is_told_with_its_name() -> None:
    with pytest.raises(Refused) as refused:
        loaded(b"{name: own}", "m.yaml")

    assert ("mapping.malformed", "m.yaml") == (refused.value.code, refused.value.details["file"])


def test_a_refusal_keeps_its_type_code_place_and_details_when_it_gets_a_file() -> None:
    class Worse(Refused):
        """Of a kind of its own."""

    fault = named(Worse("table.missing", "/table", near="t"), "a.yaml")

    assert (Worse, "table.missing", "/table", {"near": "t", "file": "a.yaml"}) == (
        type(fault),
        fault.code,
        fault.pointer,
        fault.details,
    )
