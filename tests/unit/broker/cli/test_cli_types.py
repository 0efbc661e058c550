"""type: what can be declared, and whether a schema may follow another."""

import json
import re
from pathlib import Path

import pytest

from schemas.catalogue import builtin
from tests.program import Program

MOVED = builtin().schemas[0].schema.raw


def test_every_type_is_listed_without_a_home(bare: Program) -> None:
    told = bare.told("type", "list")["types"]

    assert [one.event_type for one in builtin().newest] == [one["event_type"] for one in told]
    assert "Changement d'adresse" in bare.run("type", "list", "--lang", "fr").stdout


@pytest.mark.parametrize("name", ["address.changed", "fr.unefois.address.changed.v1"])
def test_a_type_is_shown_field_by_field_by_its_short_or_full_name(bare: Program, name: str) -> None:
    told = bare.told("type", "show", name)

    assert list(builtin().newest[0].names) == [each["name"] for each in told["fields"]]
    assert {"subject": "personal"}.items() <= {each["name"]: each["sensitivity"] for each in told["fields"]}.items()
    shown = bare.run("type", "show", name).stdout
    assert "communes in clear" in shown
    assert "new_address" in shown


def test_each_field_is_told_with_its_path_its_limits_and_its_symbols(bare: Program) -> None:
    told = {each["name"]: each for each in bare.told("type", "show", "address.changed/1")["fields"]}
    city = next(each for each in told["new_address"]["fields"] if each["name"] == "city")

    assert ("/new_address/city", "string", 100, False) == (
        *(city[name] for name in ("path", "type", "max_length", "optional")),
    )
    assert "tenant" in [each["symbol"] for each in told["occupancy"]["symbols"]]
    shown = bare.run("type", "show", "address.changed", "--lang", "fr").stdout
    assert re.search(r"^  /new_address/city +texte, 1 à 100 caractères +Ville$", shown, re.M)
    assert re.search(r"^ +tenant +Locataire$", shown, re.M)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("address.changed/3", "catalogue.unknown-version"),
        ("address.moved", "catalogue.unknown-type"),
        ("Address", "name.event-type"),
    ],
)
def test_a_type_that_does_not_exist_is_refused(bare: Program, name: str, code: str) -> None:
    assert code == bare.error("type", "show", name, code=3)["code"]


class TestCheck:
    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        path = tmp_path / "old.avsc"
        path.write_bytes(MOVED)
        return path

    def test_the_same_schema_may_follow(self, bare: Program, old: Path) -> None:
        assert {"may_follow": True, "breaks": []} == bare.told("type", "check", old, old)
        assert "This schema may follow the other.\n" == bare.run("type", "check", old, old).stdout

    def test_what_may_not_follow_is_told_with_each_place_and_code_1(
        self, bare: Program, old: Path, tmp_path: Path
    ) -> None:
        changed = json.loads(MOVED)
        changed["fields"] = [each for each in changed["fields"] if each["name"] != "occupants"]
        new = tmp_path / "new.avsc"
        new.write_text(json.dumps(changed))

        result = bare.run("type", "check", old, new, "--json")

        assert 1 == result.exit_code
        told = json.loads(result.stdout)
        assert not told["may_follow"]
        assert all({"code", "pointer", "message", "remedy"} == set(each) for each in told["breaks"])
        assert told["breaks"][0]["code"] in bare.run("type", "check", old, new).stdout

    def test_what_is_no_schema_is_refused(self, bare: Program, old: Path, tmp_path: Path) -> None:
        (tmp_path / "new.avsc").write_text("{}")

        assert bare.error("type", "check", old, tmp_path / "new.avsc", code=3)["code"].startswith("avro.")

    def test_a_file_that_is_not_there_is_refused_by_its_name(self, bare: Program, old: Path, tmp_path: Path) -> None:
        error = bare.error("type", "check", old, tmp_path / "none.avsc", code=3)

        assert ("cli.cannot-read", "FileNotFoundError") == (error["code"], error["details"]["error"])
