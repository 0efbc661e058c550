"""The kit's file: what is wrong in it is told by its place, and never by its value."""

import json
from pathlib import Path
from typing import Any

import pytest

from broker.lab.conformance.config import load
from broker.lab.conformance.observed import read
from broker.lab.conformance.run import KNOWN
from schemas.errors import Refused
from tests.program import Program

GOOD: dict[str, Any] = {"version": 1, "receiver": {"command": ["true"], "observe": {"file": "seen.json"}}}


def refused(folder: Path, told: object) -> tuple[str, str]:
    path = folder / "kit.yaml"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    with pytest.raises(Refused) as found:
        load(path, KNOWN)
    return found.value.code, found.value.pointer


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "kit.yaml"
    path.write_text(json.dumps(GOOD))
    config = load(path, KNOWN)

    assert config.receiver is not None
    assert ("forever", 200) == (config.receiver.runs, config.receiver.batch)
    assert (20, 10) == (config.patience_seconds, config.acknowledge_seconds)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"version": 2}, "/version"),
        ({"receiver": None}, ""),
        ({"unknown": 1}, "/unknown"),
        ({"patience_seconds": 0}, "/patience_seconds"),
        ({"acknowledge_seconds": 0}, "/acknowledge_seconds"),
        ({"listen": "0.0.0.0:80"}, "/listen"),
        ({"receiver": {"command": [], "observe": {"file": "x"}}}, "/receiver/command"),
        ({"receiver": {"command": ["x"]}}, "/receiver/observe"),
        ({"receiver": {"command": ["x"], "observe": {}}}, "/receiver/observe"),
        ({"receiver": {"command": ["x"], "observe": {"file": "x", "command": ["y"]}}}, "/receiver/observe"),
        ({"receiver": {"command": ["x"], "observe": {"url": "https://elsewhere.example"}}}, "/receiver/observe/url"),
        ({"receiver": {**GOOD["receiver"], "batch": 501}}, "/receiver/batch"),
        ({"receiver": {**GOOD["receiver"], "fields": ["subject"]}}, "/receiver"),
        ({"source": {"command": "a string"}}, "/source/command"),
        ({"portal": {"command": []}}, "/portal/command"),
        ({"portal": {"command": ["x"], "url": "y"}}, "/portal/url"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(tmp_path: Path, changes: dict[str, Any], pointer: str) -> None:
    assert ("conformance.config", pointer) == refused(tmp_path, {**GOOD, **changes})


def test_a_case_that_does_not_exist_cannot_be_skipped(tmp_path: Path) -> None:
    assert ("conformance.unknown-case", "/skip") == refused(tmp_path, {**GOOD, "skip": {"no-such": "why"}})


@pytest.mark.parametrize("text", ["[1", "- a list", "", "a: 1" + " " * 70_000, "!!python/object:os.system {}"])
def test_what_is_no_configuration_is_told(tmp_path: Path, text: str) -> None:
    assert "conformance.not-yaml" == refused(tmp_path, text)[0]


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b"{}",
        b'{"applied": 1, "held": []}',
        b'{"applied": [1], "held": []}',
        b'{"applied": [], "held": [1]}',
    ],
)
def test_what_a_system_says_in_another_form_is_no_evidence(told: bytes) -> None:
    with pytest.raises(Refused) as found:
        read(told)
    assert "conformance.observed" == found.value.code


def test_people_and_values_are_found_in_any_words_and_in_one_object_only() -> None:
    seen = read(b'{"applied": ["A", "a"], "held": [{"NOM": "KITAB", "voie": "RUE KITCD"}, {"nom": "kitef"}]}')

    assert 2 == seen.times("a")
    assert seen.shows("kitab", "kitcd")
    assert not seen.shows("kitef", "kitcd")


def test_the_command_refuses_what_it_cannot_read_and_lists_its_cases(tmp_path: Path) -> None:
    program = Program(tmp_path)
    missing = program.error("conformance", "run", "--config", tmp_path / "none.yaml", code=3)
    unknown = program.error("conformance", "run", "--config", tmp_path / "none.yaml", "--case", "no-such", code=3)

    assert ("conformance.no-file", "conformance.unknown-case") == (missing["code"], unknown["code"])
    assert KNOWN == {one["case"] for one in program.told("conformance", "cases")["cases"]}


def test_a_program_that_cannot_be_started_is_told_in_each_case(tmp_path: Path) -> None:
    config = tmp_path / "kit.yaml"
    config.write_text(json.dumps({"version": 1, "source": {"command": [str(tmp_path / "none")]}}))
    result = Program(tmp_path).run("conformance", "run", "--config", config, "--case", "source-signature", "--json")
    (case,) = json.loads(result.stdout)["cases"]

    assert 1 == result.exit_code
    assert ["not-observable"] == [one["finding"] for one in case["findings"]]
    assert "conformance.command" in case["findings"][0]["wrong"]
