"""explain, declare, track: who would get what, saying it once, and how far it got."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.program import FIELDS, Program, grant_and_declare, host
from tests.world import BANK, CAF, CPAM, ELISE, MOVED, PORTAL, RENNES


def declare(unefois: Program, move: Path, *words: object) -> dict[str, Any]:
    return unefois.told("declare", move, "--type", "address.changed", *words)


def changed(move: Path, **changes: Any) -> Path:
    path = move.with_name("changed.json")
    path.write_text(json.dumps(json.loads(move.read_text()) | changes))
    return path


class TestExplain:
    def test_everybody_who_asked_has_a_line_with_what_they_would_get_or_why_not(
        self, unefois: Program, elise: Path, move: Path
    ) -> None:
        grant_and_declare(unefois, elise, move, *FIELDS)

        told = unefois.told("explain", move, "--type", "address.changed")

        lines = {line["recipient"]: line for line in told["lines"]}
        assert (True, ["subject", "effective_date", "new_address"], ["consent"], None) == (
            lines[RENNES]["permitted"],
            lines[RENNES]["fields"],
            lines[RENNES]["basis"],
            lines[RENNES]["reason"],
        )
        assert {CAF: "no-grant", CPAM: "no-grant"} == {
            line["recipient"]: line["reason"] for line in told["lines"] if not line["permitted"]
        }

    def test_it_is_said_in_sentences(self, unefois: Program, move: Path) -> None:
        shown = unefois.run("explain", move, "--type", "address.changed", "--lang", "fr").stdout

        assert "- caf ne recevra rien pour « Prestations familiales »." in shown

    def test_nothing_is_written(self, unefois: Program, move: Path) -> None:
        before = unefois.told("audit", "verify")["size"]

        unefois.told("explain", move, "--type", "address.changed")

        assert before == unefois.told("audit", "verify")["size"]
        assert 0 == unefois.told("run", "--once")["routed"]

    def test_where_nobody_asked_it_says_so(self, unefois: Program, tmp_path: Path) -> None:
        for subscription in unefois.told("subscribe", "list")["subscriptions"]:
            unefois.told("subscribe", "end", subscription["id"])
        bank = {"subject": ELISE, "capacity": "self", "effective_date": "2026-12-01", "holder": "E", "joint": True}
        bank |= {"iban": "FR7630006000011234567890189", "uses": ["payments"]}
        (tmp_path / "bank.json").write_text(json.dumps({"event_type": BANK, "record": bank}))

        assert "Nobody has asked for this type" in unefois.run("explain", tmp_path / "bank.json").stdout


class TestDeclare:
    def test_what_is_declared_is_kept_and_has_its_receipt(self, unefois: Program, move: Path, tmp_path: Path) -> None:
        told = declare(unefois, move, "--receipt", tmp_path / "intake.json")

        assert (MOVED, PORTAL, False, []) == (
            told["event_type"],
            told["source"],
            told["repeated"],
            told["warnings"],
        )
        assert told["receipt"] == (tmp_path / "intake.json").read_text()
        assert 1 == unefois.told("run", "--once")["routed"]

    def test_yaml_reads_like_json(self, unefois: Program, move: Path, tmp_path: Path) -> None:
        record = json.loads(move.read_text())
        (tmp_path / "move.yaml").write_text(yaml.safe_dump({"event_type": str(MOVED), "record": record}))

        assert MOVED == unefois.told("declare", tmp_path / "move.yaml")["event_type"]

    def test_the_file_may_be_piped_in(self, unefois: Program, move: Path) -> None:
        result = unefois.run("declare", "-", "--type", "address.changed", typed=move.read_text())

        assert 0 == result.exit_code

    def test_a_correction_names_what_it_puts_right(self, unefois: Program, elise: Path, move: Path) -> None:
        first = grant_and_declare(unefois, elise, move, *FIELDS)
        unefois.told("run", "--once")
        record = json.loads(move.read_text())
        better = changed(move, new_address=record["new_address"] | {"housenumber": "14"})

        second = declare(unefois, better, "--corrects", first)["declaration"]
        unefois.told("run", "--once")

        told = unefois.told("track", second)
        assert first == told["corrects"]
        assert [RENNES] == [step["recipient"] for step in told["steps"] if step["progress"] != "withheld"]

    def test_the_same_id_is_the_same_declaration_and_with_other_content_is_refused(
        self, unefois: Program, move: Path
    ) -> None:
        id_ = "01a20dce-3751-7856-9d3b-c59e92991efd"
        first, again = (declare(unefois, move, "--id", id_) for _ in range(2))
        assert first | {"repeated": True} == again

        other = changed(move, occupants=2)
        error = unefois.error("declare", other, "--type", "address.changed", "--id", id_, code=3)

        assert "intake.id-reused" == error["code"]

    def test_what_to_look_at_is_told_and_not_refused(self, unefois: Program, move: Path) -> None:
        household = [{"relation": "child", "identity": ELISE | {"birthplace": None}}]
        file = changed(move, household=household, occupants=2)

        (warning,) = declare(unefois, file)["warnings"]

        assert ("values.no-birthplace", "/household/0/identity/birthplace") == (warning["code"], warning["pointer"])
        shown = unefois.run("declare", file, "--type", "address.changed").stdout
        assert "! /household/0/identity/birthplace" in shown

    @pytest.mark.parametrize(
        ("changes", "code", "pointer"),
        [
            ({"effective_date": "demain"}, "values.date", "/effective_date"),
            ({"occupants": "one"}, "avro.wrong-type", "/occupants"),
            ({"colour": "blue"}, "avro.unknown-field", "/colour"),
            ({"subject": ELISE | {"family_name": "Мартин"}}, "identity.alphabet", "/subject/family_name"),
        ],
    )
    def test_a_wrong_field_is_told_by_its_place_and_never_by_its_value(
        self, unefois: Program, move: Path, changes: dict[str, Any], code: str, pointer: str
    ) -> None:
        result = unefois.run("declare", changed(move, **changes), "--type", "address.changed", "--json")

        assert 3 == result.exit_code
        error = json.loads(result.stderr)["error"]
        assert (code, pointer) == (error["code"], error["pointer"])
        for value in ("demain", "blue", "Martin", "Мартин"):
            assert value not in result.output

    def test_every_wrong_field_is_told_at_once(self, unefois: Program, move: Path) -> None:
        file = changed(move, effective_date="demain", colour="blue", phone="06", subject=ELISE | {"birthdate": "?"})

        for command in ("declare", "explain"):
            error = unefois.error(command, file, "--type", "address.changed", code=3)
            assert error["errors"][0] == {name: each for name, each in error.items() if name != "errors"}
            assert [
                ("avro.unknown-field", "/colour"),
                ("values.partial-date", "/subject/birthdate"),
                ("values.date", "/effective_date"),
                ("values.phone", "/phone"),
            ] == [(each["code"], each["pointer"]) for each in error["errors"]]

        shown = unefois.run("declare", file, "--type", "address.changed", "--lang", "fr").stderr
        assert ["avro.unknown-field  /colour", "values.phone  /phone"] == shown.splitlines()[::9]
        assert "  Ceci n'est pas un numéro de téléphone au format international." in shown
        assert "Martin" not in shown

    @pytest.mark.parametrize(
        "words",
        [
            ("--set", "a=b"),
            ("--type", "address.changed", "--mapping", "publik-address-changed"),
            ("--mapping", "publik-address-changed", "--set", "effective-date"),
            ("--mapping", "publik-address-changed", "--set", "a=1", "--set", "a=2"),
        ],
    )
    def test_words_that_do_not_go_together_are_a_mistake_of_the_command_line(
        self, unefois: Program, move: Path, words: tuple[str, ...]
    ) -> None:
        assert "cli.usage" == unefois.error("declare", move, *words, code=2)["code"]

    def test_another_source_is_named_where_it_must_be(self, unefois: Program, move: Path) -> None:
        error = unefois.error("declare", move, "--type", "address.changed", "--source", CAF, code=3)

        assert "directory.not-entitled" == error["code"]

    def test_a_file_that_is_too_large_is_refused_before_it_is_read(self, unefois: Program, tmp_path: Path) -> None:
        (tmp_path / "large").write_bytes(b" " * (4 * 1024 * 1024 + 1))

        error = unefois.error("declare", tmp_path / "large", "--type", "address.changed", code=3)

        assert "cli.file-too-large" == error["code"]

    def test_a_receipt_that_cannot_be_written_is_told(self, unefois: Program, move: Path, tmp_path: Path) -> None:
        words = ("declare", move, "--type", "address.changed", "--receipt", tmp_path / "no" / "r.json")

        assert "cli.cannot-write" == unefois.error(*words, code=3)["code"]


class TestTrack:
    def test_before_it_is_routed_it_waits(self, unefois: Program, move: Path) -> None:
        declared = declare(unefois, move)["declaration"]

        assert (None, []) == (
            unefois.told("track", declared)["routed_at"],
            unefois.told("track", declared)["steps"],
        )
        assert "waits in the log" in unefois.run("track", declared).stdout

    def test_each_administration_has_its_progress_in_words(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        host(unefois, tmp_path)
        declared = grant_and_declare(unefois, elise, move, *FIELDS)
        unefois.told("run", "--once")

        steps = {step["recipient"]: step for step in unefois.told("track", declared)["steps"]}

        assert ("done", ["subject", "effective_date", "new_address"]) == (
            steps[RENNES]["progress"],
            steps[RENNES]["fields"],
        )
        assert ("withheld", "no-grant") == (steps[CAF]["progress"], steps[CAF]["reason"])
        shown = unefois.run("track", declared, "--lang", "fr").stdout
        assert "Traitée" in shown
        assert "Retenue" in shown

    @pytest.mark.parametrize(("id_", "code"), [("0" * 32, "tracking.unknown"), ("x", "name.declaration-id")])
    def test_what_nobody_declared_is_refused(self, unefois: Program, id_: str, code: str) -> None:
        assert code == unefois.error("track", id_, code=3)["code"]
