"""`unefois cancel`, `recall`, `hold list`, `hold stop`: what each says to a person and to a program."""

import json
from pathlib import Path

import pytest

from tests.program import Program
from tests.world import ELISE

NOBODY = "0192f3a1-7b2c-7d4e-8f50-61728394a5b6"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A file with Élise's new bank account, without the fields that may be left out."""
    record = {"subject": ELISE, "capacity": "self", "effective_date": "2026-12-01", "joint": False}
    path = tmp_path / "bank.json"
    path.write_text(
        json.dumps(record | {"iban": "FR7630006000011234567890189", "holder": "Élise Martin", "uses": ["payments"]})
    )
    return path


def test_a_declaration_is_cancelled_once_and_the_answer_is_the_same(unefois: Program, move: Path) -> None:
    of = unefois.told("declare", move, "--type", "address.changed")["declaration"]

    first = unefois.told("cancel", of, "--reason", "mistake")
    again = unefois.told("cancel", of)

    assert (of, "cancelled", False) == (
        first["retraction"]["declaration"],
        first["retraction"]["kind"],
        first["repeated"],
    )
    assert first["retraction"] | {"repeated": True} == again["retraction"] | {"repeated": again["repeated"]}
    assert "retractions.cancelled" == unefois.error("recall", of, code=3)["code"]
    assert "Elle l'était déjà." in unefois.run("cancel", of, "--lang", "fr").stdout


def test_a_recall_is_held_and_its_citizen_stops_it(unefois: Program, move: Path, elise: Path) -> None:
    of = unefois.told("declare", move, "--type", "address.changed")["declaration"]
    unefois.run("run", "--once")
    made = unefois.told("recall", of, "--reason", "wrong-person")["retraction"]
    unefois.run("run", "--once")

    (held,) = unefois.told("hold", "list", "--person", elise)["held"]
    assert (made["notice"], of, False) == (held["declaration"], held["recalls"], held["stopped"])
    assert "attend" in unefois.run("hold", "list", "--person", elise, "--lang", "fr").stdout
    told = unefois.told("hold", "stop", held["declaration"], "--person", elise)["retraction"]
    assert ("stopped", "self") == (told["kind"], told["given_by"])
    assert "stopped" in unefois.run("hold", "stop", held["declaration"], "--person", elise).stdout


def test_a_recall_for_a_source_is_the_brokers(unefois: Program, move: Path) -> None:
    of = unefois.told("declare", move, "--type", "address.changed")["declaration"]

    told = unefois.told("recall", of, "--for-source", "--reason", "fraud")["retraction"]

    assert ("recalled", "urn:unefois:broker") == (told["kind"], told["given_by"])
    assert 0 == unefois.run("fsck").exit_code


def test_a_bank_account_waits_and_is_stopped(unefois: Program, bank: Path, elise: Path) -> None:
    of = unefois.told("declare", bank, "--type", "bank-account.changed")["declaration"]
    assert [] == unefois.told("hold", "list", "--person", elise)["held"]  # the router has not seen it
    assert "(nothing)" in unefois.run("hold", "list", "--person", elise).stdout

    assert "stopped" == unefois.told("hold", "stop", of, "--person", elise)["retraction"]["kind"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("cancel", NOBODY), "retractions.unknown"),
        (("cancel", "mine"), "name.declaration-id"),
        (("recall", NOBODY, "--for-source"), "retractions.unknown"),
    ],
)
def test_what_cannot_be_is_refused(unefois: Program, words: tuple[str, ...], code: str) -> None:
    assert code == unefois.error(*words, code=3)["code"]


def test_a_reason_that_is_none_is_refused(unefois: Program, move: Path, elise: Path) -> None:
    of = unefois.told("declare", move, "--type", "address.changed")["declaration"]

    assert "avro.unknown-symbol" == unefois.error("cancel", of, "--reason", "because", code=3)["code"]
    assert "holds.none" == unefois.error("hold", "stop", of, "--person", elise, code=3)["code"]
