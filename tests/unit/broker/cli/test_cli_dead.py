"""dead: what failed is listed, explained, and tried again under the consent of today."""

import json
import sqlite3
from pathlib import Path

import pytest

from schemas import catalogue
from tests.program import Program, grant_and_declare, host
from tests.world import RENNES


def rejected(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> str:
    """A delivery that Rennes rejected, for a field that its mapping reads was not granted. Returns its grant."""
    host(unefois, tmp_path)
    declared = grant_and_declare(unefois, elise, move, "subject")
    assert 1 == unefois.told("run", "--once")["rejected"]
    (step,) = [each for each in unefois.told("track", declared)["steps"] if each["recipient"] == RENNES]
    grant: str = step["grant"]
    return grant


def test_nothing_failed_nothing_is_listed(unefois: Program) -> None:
    assert [] == unefois.told("dead", "list")["dead_letters"]


def test_a_dead_letter_is_told_with_its_code_and_what_it_means(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    rejected(unefois, elise, move, tmp_path)

    (letter,) = unefois.told("dead", "list")["dead_letters"]

    assert ("delivery", "mapping", "mapping.withheld", RENNES) == (
        letter["stage"],
        letter["reason"],
        letter["code"],
        letter["recipient"],
    )
    told = unefois.told("dead", "show", letter["number"])
    assert letter.items() <= told.items()
    assert told["message"]
    assert told["remedy"]
    assert "mapping.withheld" in unefois.run("dead", "list").stdout
    assert told["message"] in unefois.run("dead", "show", letter["number"]).stdout


def test_track_names_the_letter_of_a_delivery_that_was_set_aside_until_it_is_replayed(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    host(unefois, tmp_path)
    declared = grant_and_declare(unefois, elise, move, "subject")
    unefois.told("run", "--once")

    assert [1] == [each["letter"] for each in unefois.told("track", declared)["steps"] if each["recipient"] == RENNES]
    assert "dead letter 1: `unefois dead show 1`" in unefois.run("track", declared).stdout
    unefois.told("dead", "replay", 1)
    assert {None} == {each["letter"] for each in unefois.told("track", declared)["steps"]}


def test_track_says_that_the_router_has_set_one_aside_and_why(
    unefois: Program, elise: Path, move: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = grant_and_declare(unefois, elise, move, "subject")
    assert None is unefois.told("track", declared)["parked"]
    with monkeypatch.context() as before:
        before.setattr(catalogue, "builtin", lambda: catalogue.Catalogue(()))  # the router is of a version before
        unefois.told("run", "--once")

    told = unefois.told("track", declared)
    parked = told["parked"]
    assert (1, "catalogue.unknown-schema", None) == (parked["letter"], parked["code"], told["routed_at"])
    assert "dead letter 1 (catalogue.unknown-schema)" in unefois.run("track", declared).stdout
    unefois.told("dead", "replay", 1)
    told = unefois.told("track", declared)
    assert (None, True) == (told["parked"], told["routed_at"] is not None)


def test_a_replay_obeys_today_s_consent(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
    grant = rejected(unefois, elise, move, tmp_path)
    (letter,) = unefois.told("dead", "list")["dead_letters"]
    unefois.told("revoke", grant)

    told = unefois.told("dead", "replay", letter["number"])

    assert {"number": letter["number"], "on_its_way": False, "reason": "revoked"} == told
    assert [] == unefois.told("dead", "list")["dead_letters"]
    assert 1 == len(unefois.told("dead", "list", "--replayed")["dead_letters"])
    assert unefois.told("fsck")["clean"]


def test_what_stays_withheld_is_told_in_words(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
    unefois.told("revoke", rejected(unefois, elise, move, tmp_path))

    assert "Withheld: revoked.\n" == unefois.run("dead", "replay", "1").stdout


def test_what_is_allowed_meanwhile_goes_on_its_way(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
    rejected(unefois, elise, move, tmp_path)
    mapping = unefois.home / "agencies" / "small.mapping"
    mapping.write_text(mapping.read_text().replace(", rue: record.new_address.street", ""))
    (unefois.home / "agencies" / "rennes.yaml").write_text(
        (unefois.home / "agencies" / "rennes.yaml").read_text().replace('"table": "t"', '"table": "t2"')
    )

    assert "On its way.\n" == unefois.run("dead", "replay", "1").stdout
    assert 1 == unefois.told("run", "--once")["applied"]


def test_a_number_that_is_none_is_refused(unefois: Program) -> None:
    for verb in ("show", "replay"):
        assert "dead.unknown" == unefois.error("dead", verb, "7", code=3)["code"]


def test_a_code_of_somebody_else_s_connector_has_no_sentence_and_is_no_fault(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    rejected(unefois, elise, move, tmp_path)
    database = sqlite3.connect(unefois.home / "unefois.db")
    with database:
        database.execute("UPDATE dead_letters SET code = 'soap.fault'")
    database.close()

    told = json.loads(unefois.run("dead", "show", "1", "--json").stdout)

    assert ("soap.fault", None) == (told["code"], told["message"])
