"""subscribe: asked for, approved on a legal ground, listed, ended."""

from typing import Any

import pytest

from tests.program import Program
from tests.world import CAF, CPAM

ASK = ("subscribe", "--recipient", CPAM, "--type", "bank-account.changed", "--purpose", "health-insurance")
FIELDS = ("--field", "subject", "--field", "iban")


def listed(unefois: Program) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = unefois.told("subscribe", "list")["subscriptions"]
    return found


def test_what_is_asked_waits_for_its_approval(unefois: Program) -> None:
    asked = unefois.told(*ASK, *FIELDS)

    assert ("asked", None, None) == (asked["status"], asked["approved_at"], asked["legal_reference"])
    approved = unefois.told("subscribe", "approve", asked["id"], "--legal-reference", "CSS, art. L161-17")
    assert ("approved", "CSS, art. L161-17") == (approved["status"], approved["legal_reference"])
    assert approved in listed(unefois)


def test_with_its_legal_reference_it_is_approved_at_once(unefois: Program) -> None:
    told = unefois.told(*ASK, *FIELDS, "--legal-reference", "CSS, art. L161-17")

    assert ("approved", ["iban", "subject"], None) == (told["status"], told["fields"], told["territories"])
    assert unefois.told("fsck")["clean"]


def test_an_approval_that_fails_leaves_no_request_behind(unefois: Program) -> None:
    before = listed(unefois)

    error = unefois.error(*ASK, *FIELDS, "--legal-reference", " ", code=3)

    assert "policy.subscription-legal-reference" == error["code"]
    assert before == listed(unefois)


def test_territories_are_those_of_the_option(unefois: Program) -> None:
    told = unefois.told(
        *("subscribe", "--recipient", CAF, "--type", "address.changed", "--purpose", "housing-support"),
        *("--field", "subject", "--territory", "35238", "--territory", "44109"),
    )

    assert ["35238", "44109"] == told["territories"]


def test_after_its_end_nothing_more_is_received(unefois: Program) -> None:
    first = listed(unefois)[0]

    ended = unefois.told("subscribe", "end", first["id"])

    assert (first["id"], "ended") == (ended["id"], ended["status"])
    assert "subscribing.ended" == unefois.error("subscribe", "end", first["id"], code=3)["code"]


def test_it_is_paused_and_goes_on(unefois: Program) -> None:
    first = listed(unefois)[0]
    paused = unefois.told("subscribe", "pause", first["id"])

    assert (first["id"], True) == (paused["id"], paused["paused_at"] is not None)
    assert paused in listed(unefois)
    assert paused["paused_at"] in unefois.run("subscribe", "list").stdout
    assert first == unefois.told("subscribe", "resume", first["id"])
    unefois.told("subscribe", "end", first["id"])
    assert "subscribing.ended" == unefois.error("subscribe", "pause", first["id"], code=3)["code"]


@pytest.mark.parametrize("left_out", ["--recipient", "--type", "--purpose", "--field"])
def test_what_is_needed_is_named_where_it_is_left_out(unefois: Program, left_out: str) -> None:
    words = [*ASK, "--field", "subject"]
    at = words.index(left_out)

    error = unefois.error(*words[:at], *words[at + 2 :], code=2)

    assert left_out in error["message"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--field", "iban", "--field", "ibam"), "subscribing.unknown-field"),
        (("--field", "iban", "--territory", "35238"), "subscribing.no-territories"),
    ],
)
def test_what_does_not_exist_is_refused(unefois: Program, words: tuple[str, ...], code: str) -> None:
    assert code == unefois.error(*ASK, *words, code=3)["code"]


@pytest.mark.parametrize(
    ("territory", "code", "said"),
    [("BRE", "areas.unknown", "R53"), ("20004", "areas.former", "2A004"), ("35999", "areas.unknown", "35999")],
)
def test_a_territory_that_does_not_exist_is_refused_at_once(
    unefois: Program, territory: str, code: str, said: str
) -> None:
    words = ["address.changed" if word == "bank-account.changed" else word for word in ASK]

    error = unefois.error(*words, "--field", "subject", "--territory", "44109", "--territory", territory, code=3)

    assert (code, "/territories") == (error["code"], error["pointer"])
    assert said in error["message"] + error["remedy"]


def test_an_id_that_is_none_is_a_mistake_of_the_command_line(unefois: Program) -> None:
    assert "cli.usage" == unefois.error("subscribe", "end", "first", code=2)["code"]


def test_the_list_for_people_tells_everything(unefois: Program) -> None:
    shown = unefois.run("subscribe", "list", "--lang", "fr").stdout

    for one in listed(unefois):
        assert one["id"] in shown
    assert len(listed(unefois)) - 1 == shown.count("\n\n")
    assert "partout" in shown


@pytest.mark.parametrize(
    ("words", "least"),
    [
        ((), ("substantial", "declared")),
        (("--least-assurance", "high", "--least-quality", "certified"), ("high", "certified")),
        (("--least-assurance", "low"), ("substantial", "declared")),
    ],
)
def test_who_subscribes_to_bank_accounts_asks_for_certainty_and_may_ask_for_more(
    unefois: Program, words: tuple[str, ...], least: tuple[str, str]
) -> None:
    told = unefois.told(*ASK, *FIELDS, *words)

    assert least == (told["least_assurance"], told["least_quality"])
    assert least[0] in unefois.run("subscribe", "list").stdout


@pytest.mark.parametrize("option", ["assurance", "quality"])
def test_a_word_that_is_none_is_refused_with_its_place(unefois: Program, option: str) -> None:
    error = unefois.error(*ASK, *FIELDS, f"--least-{option}", "sure", code=3)

    assert ("assurance.unknown", f"/least_{option}") == (error["code"], error["pointer"])
