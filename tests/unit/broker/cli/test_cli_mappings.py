"""mapping: a file's own tests and static checks, for whoever writes one."""

import json
from pathlib import Path

import pytest

from connectors.mapping import packaged
from tests.program import Program
from tests.world import RENNES

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


def test_a_preview_has_the_grounds_of_a_partys_subscription_and_of_its_rule(unefois: Program, own: Path) -> None:
    (mine,) = [one for one in unefois.told("subscribe", "list")["subscriptions"] if one["recipient"] == RENNES]

    told = unefois.told("mapping", "preview", own, "--party", RENNES)

    assert {"subject": "consent"} == {
        read["field"]: read["ground"] for one in told["targets"] for read in one["reads"] if read["granted"]
    }
    assert sorted(set(mine["fields"]) - {"subject", "occupants"}) == told["unused"]
    shown = unefois.run("mapping", "preview", own, "--party", RENNES, "--lang", "fr").stdout
    assert "nom   ← subject ← consentement" in shown
    rule = ("--recipient", RENNES, "--type", mine["event_type"], "--purpose", mine["purpose"], "--field", "subject")
    asked = unefois.told("rule", "ask", *rule, "--article", "CGCT, art. L1")
    unefois.told("rule", "approve", asked["id"])
    assert "nom   ← subject ← CGCT, art. L1" in unefois.run("mapping", "preview", own, "--party", RENNES).stdout
    for words in (
        ("--party", "urn:none"),
        ("--party", RENNES, "--purpose", "x"),
        ("--party", RENNES, "--granted", "a"),
    ):
        assert "cli.usage" == unefois.error("mapping", "preview", own, *words, code=2)["code"]


def test_a_preview_flags_what_a_file_would_lose(bare: Program, own: Path, tmp_path: Path) -> None:
    (sample := tmp_path / "sample.json").write_text(json.dumps({"subject": {"family_name": "Łukasz"}, "occupants": 2}))
    words = ("--sample", sample, "--encoding", "iso-8859-1", "--width", "nom=3")

    told = bare.told("mapping", "preview", own, *words)

    assert ([{"nom": "ŁUKASZ", "gens": 2}], 1, 1) == (told["rows"], told["lost"], told["cut"])
    assert "ŁUKASZ  ⚠ 1 letter(s) lost  ⚠ 3 character(s) too many" in bare.run("mapping", "preview", own, *words).stdout
    assert "cli.usage" == bare.error("mapping", "preview", own, "--width", "nom", code=2)["code"]
    assert 1 == bare.run("mapping", "preview", own, "--granted", "occupants").exit_code


def test_a_first_mapping_is_printed_for_a_sample(bare: Program, tmp_path: Path) -> None:
    (sample := tmp_path / "sample.csv").write_text("NOM;QUOI\nRoux;x\n")

    shown = bare.run("mapping", "new", "ours", "--from", sample, "--type", "address.changed").stdout

    (path := tmp_path / "ours.out.yaml").write_text(shown)
    assert ["the catalogue's sample"] == [one["name"] for one in bare.told("mapping", "test", path)["tests"]]
    assert "QUOI: ?" in bare.told("mapping", "new", "ours", "--from", sample, "--type", "address.changed")["mapping"]
    missing = ("mapping", "new", "ours", "--from", tmp_path / "none", "--type", "address.changed")
    assert "mapping.no-sample" == bare.error(*missing, code=3)["code"]
