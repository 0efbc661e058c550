"""Four eyes: one asks, another says yes to just that, the first does it, once; a restore has its yes in a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.unit.broker.cli.test_cli_acts import kinds
from tests.unit.broker.cli.test_cli_operators import People, change, rows
from tests.world import CAF, YANN

ALLOW = ("party", "allow", CAF, "person.died")


@pytest.fixture
def people(unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    """Anne runs the broker, Bob and Carl are second pairs of eyes; from now on two are needed."""
    people = People(unefois, tmp_path)
    people.add("anne", "operator", "approver")
    people.add("bob", "approver", by="anne")
    people.add("carl", "operator", "approver", by="anne")
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "true")
    return people


def asked(people: People, name: str, *words: object) -> str:
    """The id of the request that a command makes instead of doing it."""
    error = people.unefois.error(*words, "--as", people.key(name), code=3)
    assert "approvals.asked" == error["code"], error
    request: str = error["details"]["id"]
    return request


def granted(people: People) -> int:
    return kinds(people.unefois.home).count("right_granted")


def found(people: People) -> set[str]:
    told: list[dict[str, Any]] = json.loads(people.unefois.run("fsck", "--json").stdout)["findings"]
    return {one["check"] for one in told}


def test_one_asks_another_approves_and_the_first_does_it_once(people: People) -> None:
    before = granted(people)
    request = asked(people, "anne", *ALLOW)
    assert request == asked(people, "anne", *ALLOW), "asked twice, it is one request"
    assert before == granted(people)
    (waiting,) = people.told("bob", "approvals")["approvals"]
    assert (request, "party allow", "anne") == (waiting["id"], waiting["act"], waiting["asked_by"])
    assert {"party": CAF, "event_type": "person.died"} == waiting["arguments"]

    people.told("bob", "approve", request)
    people.told("anne", *ALLOW)

    assert before + 1 == granted(people)
    act = next(one for one in people.told("anne", "operator", "acts")["acts"] if one["act"] == "party allow")
    assert ("anne", request, "bob") == (act["operator"], act["request"]["id"], act["request"]["by"])
    assert [] == people.told("bob", "approvals")["approvals"]
    people.told("anne", "party", "forbid", CAF, "person.died", "--yes")  # what protects takes one
    assert request != asked(people, "anne", *ALLOW), "a yes serves once"
    assert set() == found(people)


def test_nobody_approves_their_own_nor_without_the_role(people: People) -> None:
    request = asked(people, "anne", *ALLOW)
    assert "approvals.own" == people.refused("anne", "approve", request)
    assert "approvals.own" == people.refused("anne", "refuse", request)
    operator = asked(people, "carl", "operator", "add", "dora", "--role", "operator", "--key", people.public("dora"))
    people.told("bob", "approve", operator)
    people.add("dora", "operator", by="carl")
    assert "operators.not-allowed" == people.refused("dora", "approve", request)


def test_another_word_or_another_person_is_another_act(people: People) -> None:
    people.told("bob", "approve", asked(people, "anne", *ALLOW))
    before = granted(people)
    asked(people, "anne", "party", "allow", CAF, "vehicle.sold")
    asked(people, "carl", *ALLOW)
    assert before == granted(people)


def test_what_was_refused_is_not_done_and_may_be_asked_for_again(people: People) -> None:
    request = asked(people, "anne", *ALLOW)
    people.told("bob", "refuse", request)
    assert "approvals.decided" == people.refused("bob", "approve", request)
    assert request != asked(people, "anne", *ALLOW)


def test_an_approval_ends_with_the_account_that_gave_it(people: People) -> None:
    people.told("bob", "approve", asked(people, "anne", *ALLOW))
    people.told("anne", "operator", "end", "bob")  # what protects takes one
    assert "approvals.not-approved" == people.refused("anne", *ALLOW)


def test_who_writes_to_the_database_approves_nothing(people: People) -> None:
    request = asked(people, "anne", *ALLOW)
    change(
        people.unefois.home,
        "UPDATE approval_requests SET state = 'approved', decided_by = 'bob', decided_at = 9000000000000",
    )
    before = granted(people)
    assert request != asked(people, "anne", *ALLOW)
    assert before == granted(people)
    assert {"rows.unsigned", "operators.request"} == found(people)


def test_a_yes_that_was_used_does_not_come_back_with_its_row(people: People) -> None:
    people.told("bob", "approve", asked(people, "anne", *ALLOW))
    (kept,) = rows(people.unefois.home, "SELECT row_version, hex(seal) FROM approval_requests")
    people.told("anne", *ALLOW)
    people.told("anne", "party", "forbid", CAF, "person.died", "--yes")
    version, seal = kept
    put_back = f"UPDATE approval_requests SET state = 'approved', row_version = {version}, seal = x'{seal}'"
    change(people.unefois.home, put_back)
    asked(people, "anne", *ALLOW)


def test_approving_at_once_takes_two_and_asking_for_an_administration_one(people: People) -> None:
    wish = ("subscribe", "--recipient", CAF, "--type", "person.died", "--purpose", "family-benefits")
    field = ("--field", "subject")
    asked(people, "anne", *wish, *field, "--legal-reference", "CSS, art. L1")
    assert "asked" == people.told("anne", *wish, *field)["status"]


def test_an_erasure_takes_two_a_look_before_it_one_and_it_is_of_just_that_person(
    people: People, elise: Path, tmp_path: Path
) -> None:
    words = ("operator", "add", "dora", "--role", "dpo", "--key", people.public("dora"))
    people.told("bob", "approve", asked(people, "anne", *words))
    people.add("dora", "dpo", by="anne")
    yann = tmp_path / "yann.json"
    yann.write_text(json.dumps(YANN))

    assert people.told("dora", "person", "erase", "--person", elise, "--dry-run")["nothing_left"]
    assert "operators.not-allowed" == people.refused("anne", "person", "erase", "--person", elise, "--yes")
    people.told("bob", "approve", asked(people, "dora", "person", "erase", "--person", elise, "--yes"))
    asked(people, "dora", "person", "erase", "--person", yann, "--yes")
    assert people.told("dora", "person", "erase", "--person", elise, "--yes")["nothing_left"]
    assert set() == found(people)


def test_a_restore_takes_a_yes_in_a_file(people: People, tmp_path: Path) -> None:
    backup, file = tmp_path / "backup", tmp_path / "yes.json"
    people.unefois.told("backup", backup)
    before = kinds(people.unefois.home)
    words = ("restore", backup, "--yes")
    assert "approvals.restore-alone" == people.refused("anne", *words)

    people.told("bob", "approve-restore", backup, file, "--for", "anne", "--yes")

    assert "approvals.not-approved" == people.refused("carl", *words, "--approval", file), "for another"
    assert "approvals.not-approved" == people.refused("anne", "restore", backup, "--approval", file), "otherwise"
    assert before == kinds(people.unefois.home)
    people.told("anne", *words, "--approval", file)
    people.told("anne", "approve-restore", backup, tmp_path / "own.json", "--for", "anne", "--yes")
    assert "approvals.not-approved" == people.refused("anne", *words, "--approval", tmp_path / "own.json")


def test_where_it_is_off_one_does_it(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "false")
    before = granted(people)
    people.told("anne", *ALLOW)
    assert before + 1 == granted(people)
