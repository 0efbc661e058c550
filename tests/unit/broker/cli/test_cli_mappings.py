"""mapping: a file's own tests and static checks, for whoever writes one."""

import json
from pathlib import Path

import pytest

from connectors.mapping import packaged
from tests.program import Program

OWN = """
name: own
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields:
  nom: upper(record.subject.family_name)
  gens: withheld_or(record.occupants, '?')
tests:
  - name: a name in capitals
    given: {record: {subject: {family_name: Aubépin}, occupants: 3}}
    expect: {nom: AUBÉPIN, gens: 3}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("name", sorted(packaged()))
def test_every_packaged_mapping_passes_its_tests(bare: Program, name: str) -> None:
    told = bare.told("mapping", "test", name)

    assert told["tests"]
    assert all(each["passed"] for each in told["tests"])
    assert name in bare.told("mapping", "list")["mappings"]
    assert name in bare.run("mapping", "list").stdout


def test_a_file_of_ones_own_is_tested(bare: Program, own: Path) -> None:
    told = bare.told("mapping", "test", own)

    assert ("own", "out", ["a name in capitals"]) == (
        told["mapping"],
        told["direction"],
        [each["name"] for each in told["tests"]],
    )
    assert "✓ a name in capitals\n" == bare.run("mapping", "test", own).stdout


def test_a_test_that_fails_is_code_1_with_the_difference(bare: Program, own: Path) -> None:
    own.write_text(OWN.replace("expect: {nom: AUBÉPIN", "expect: {nom: Aubépin"))

    result = bare.run("mapping", "test", own)

    assert 1 == result.exit_code
    assert "✗ a name in capitals\n    nom: 'Aubépin' expected, 'AUBÉPIN' got\n" == result.stdout


def test_a_field_that_will_not_be_granted_is_code_1_where_the_mapping_needs_it(bare: Program, own: Path) -> None:
    result = bare.run("mapping", "test", own, "--granted", "household", "--json")

    assert 1 == result.exit_code
    told = json.loads(result.stdout)
    assert [("mapping.not-granted", "/fields/nom")] == [(each["code"], each["pointer"]) for each in told["problems"]]
    assert ["household"] == told["unread"]
    assert "Granted, never read: household" in bare.run("mapping", "test", own, "--granted", "household").stdout
    assert [] == bare.told("mapping", "test", own, "--granted", "subject")["problems"]


def test_a_field_that_does_not_exist_is_code_1(bare: Program, own: Path) -> None:
    own.write_text(OWN.replace("record.subject.", "record.sbject.").replace("tests:", "tests: []\nx:").split("x:")[0])

    result = bare.run("mapping", "test", own)

    assert 1 == result.exit_code
    assert "mapping.unknown-field  /fields/nom" in result.stdout
    assert "This file has no tests." in result.stdout


def test_a_file_that_is_no_mapping_is_refused_with_its_name(bare: Program, own: Path) -> None:
    own.write_text("name: own\n")

    error = bare.error("mapping", "test", own, code=3)

    assert ("mapping.malformed", str(own)) == (error["code"], error["details"]["file"])


def test_a_name_that_is_none_is_refused_with_the_nearest(bare: Program) -> None:
    error = bare.error("mapping", "test", "tax-tabel.out.yaml", code=3)

    assert ("mapping.no-such-file", "tax-table.out.yaml") == (error["code"], error["details"]["near"])
