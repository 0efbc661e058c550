"""`unefois protect`: said, said again, on a notice by two, lifted by two, kept; and who may read what."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.program import Program, move_in
from tests.unit.broker.cli.test_cli_operators import People
from tests.world import CAF, ELISE, YANN

HERE = ("--place", "35238")


@pytest.fixture
def yann(tmp_path: Path) -> Path:
    """The identity of somebody else."""
    file = tmp_path / "yann.json"
    file.write_text(json.dumps(YANN), encoding="utf-8")
    return file


@pytest.fixture
def people(unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    """Anne runs the broker, Bob approves, Dora is the DPO; from now on two are needed."""
    people = People(unefois, tmp_path)
    people.add("anne", "operator", "approver")
    people.add("bob", "approver", by="anne")
    people.add("dora", "dpo", by="anne")
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "true")
    return people


def dump(home: Path) -> str:
    """Everything that the database holds, as text."""
    with sqlite3.connect(home / "unefois.db") as base:
        return "\n".join(base.iterdump())


def test_it_is_said_said_again_lifted_and_kept(unefois: Program, elise: Path, yann: Path) -> None:
    first = unefois.told("protect", "add", "--person", elise, *HERE, "--housemate", yann)
    assert {"protected": True, "lifts_at": None} == first
    assert first == unefois.told("protect", "add", "--person", elise, *HERE, "--until", "2036-01-01")
    shown = unefois.told("protect", "show", "--person", elise)["protection"]
    assert (["35238"], None, "self") == (shown["places"], shown["until"], shown["given_by"])
    assert None is not unefois.told("protect", "lift", "--person", elise)["lifts_at"]
    assert "protection.lifting" == unefois.error("protect", "lift", "--person", elise, code=3)["code"]
    assert None is unefois.told("protect", "keep", "--person", elise)["lifts_at"]
    assert None is unefois.told("protect", "show", "--person", yann)["protection"]


def test_what_is_looked_at_of_a_protected_person_is_in_the_dpos_list_and_of_nobody_else(
    unefois: Program, elise: Path, yann: Path, tmp_path: Path
) -> None:
    unefois.told("protect", "add", "--person", elise, *HERE)
    for person in (elise, yann):
        unefois.told("grants", "--person", person)
        unefois.told("person", "report", "--person", person)

    unefois.told("track", unefois.told("declare", move_in(tmp_path), "--type", "address.changed")["declaration"])

    looks = unefois.told("protect", "looks")["looks"]

    (listed,) = unefois.told("protect", "list")["protections"]
    assert [listed["number"]] * 3 == [one["number"] for one in looks]
    assert [] == unefois.told("protect", "looks", "--since", "9000-01-01")["looks"]


def test_a_notice_takes_two_and_is_read_by_who_approves_alone(people: People, elise: Path) -> None:
    words = ("protect", "notice", "PR Rennes 2026/114", "--person", elise, *HERE)
    error = people.unefois.error(*words, "--as", people.key("anne"), code=3)
    assert "approvals.asked" == error["code"]
    request = error["details"]["id"]
    assert request == people.unefois.error(*words, "--as", people.key("anne"), code=3)["details"]["id"]
    (waiting,) = people.told("bob", "approvals")["approvals"]
    assert ["sealed"] == list(waiting["arguments"])
    assert "operators.not-allowed" == people.refused("anne", "protect", "list")
    shown = people.told("bob", "protect", "request", request)["request"]
    assert ("PR Rennes 2026/114", ["35238"]) == (shown["reference"], shown["place"])
    people.told("bob", "approve", request)

    people.told("anne", *words)

    (one,) = people.told("dora", "protect", "list")["protections"]
    assert ("PR Rennes 2026/114", ["anne", "bob"]) == (one["notice"], one["by"])
    assert "approvals.asked" == people.refused("anne", *words), "a yes serves once"


def test_one_alone_lifts_nothing(people: People, elise: Path) -> None:
    people.told("anne", "protect", "add", "--person", elise, *HERE)
    assert "approvals.asked" == people.refused("anne", "protect", "lift", "--person", elise)
    assert "operators.not-allowed" == people.refused("bob", "protect", "lift", "--person", elise)
    assert "operators.not-allowed" == people.refused("anne", "protect", "show", "--person", elise)
    assert None is people.told("dora", "protect", "list")["protections"][0]["lifts_at"]


def test_no_list_of_acts_says_who_is_protected(people: People, elise: Path) -> None:
    """Nor a row, nor the log, nor the doctor, nor what the journal counts: of what was typed nothing is in clear."""
    consent = ("--type", "address.changed", "--purpose", "family-benefits", "--field", "subject")
    people.told("anne", "grant", "--person", elise, "--recipient", CAF, *consent)
    people.told("anne", "protect", "add", "--person", elise, *HERE, "--party", CAF)
    assert ["revoked"] == [one["status"] for one in people.told("dora", "grants", "--person", elise)["grants"]]
    words = ("protect", "notice", "PR Rennes 2026/114", "--person", elise, *HERE)
    request = people.unefois.error(*words, "--as", people.key("anne"), code=3)["details"]["id"]
    people.told("bob", "approve", request)
    people.told("anne", *words)

    held = dump(people.unefois.home)

    assert "2026/114" not in held
    assert str(elise) not in held
    acts = people.told("anne", "operator", "acts")["acts"]
    assert [] == [one for one in acts if one["act"] == "protect add"]
    assert {0} == {len(one["entries"]) for one in acts if one["act"].startswith("protect")}
    counted = people.told("anne", "endings", "show")["objects"]
    assert set() == {"protections", "housemates"} & set(counted)
    doctor = people.unefois.run("doctor", "--json", "--as", people.key("anne")).stdout
    assert "protect" not in doctor


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("protect", "add"), "protection.nowhere"),
        (("protect", "add", "--place", "00000"), "areas.unknown"),
        (("protect", "add", *HERE, "--until", "2001-01-01"), "protection.until"),
        (("protect", "add", *HERE, "--reason", "He hits me"), "protection.reason"),
        (("protect", "notice", " ", *HERE), "protection.reference"),
        (("protect", "lift"), "protection.none"),
        (("protect", "lift", "--given-by", "agent-12"), "protection.not-self"),
        (("protect", "keep"), "protection.none"),
    ],
)
def test_bad_input(unefois: Program, elise: Path, words: tuple[str, ...], code: str) -> None:
    assert code == unefois.error(*words, "--person", elise, code=3)["code"]


def test_in_words(unefois: Program, elise: Path) -> None:
    assert "protégée" in unefois.run("protect", "add", "--person", elise, *HERE, "--lang", "fr").stdout
    assert "35238" in unefois.run("protect", "list").stdout
    assert ELISE["family_name"] not in unefois.run("protect", "list").stdout
