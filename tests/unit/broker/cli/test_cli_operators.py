"""The broker's own people: nobody is asked until one has an account; then each act has its person, role and entry."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

from broker.access import roles
from broker.access.roles import Role
from broker.cli.app import app
from broker.ledger.acting import Act, message
from schemas.errors import Refused
from schemas.signing import Algorithm, verify
from tests.program import Program
from tests.unit.broker.cli.test_cli_acts import ACTS, APART, FOLLOWS, UNCHANGED, commands, kinds
from tests.world import CAF

MOVED = "address.changed"


class People:
    """Accounts of a home, each with a key file of their name."""

    def __init__(self, unefois: Program, folder: Path) -> None:
        self.unefois = unefois
        self.folder = folder

    def key(self, name: str) -> Path:
        """Of somebody, who may have no account."""
        return self.folder / f"{name}.key"

    def public(self, name: str) -> str:
        """The line about their key, which is made where it is not there."""
        told: str = self.unefois.told("operator", "key", self.key(name))["key"]
        return told

    def add(self, name: str, *wanted: str, by: str | None = None) -> dict[str, Any]:
        """An account, by somebody who has one."""
        words = [word for role in wanted for word in ("--role", role)]
        acting = () if by is None else ("--as", self.key(by))
        return self.unefois.told("operator", "add", name, *words, "--key", self.public(name), *acting)

    def told(self, name: str, *words: object) -> dict[str, Any]:
        """What a command answers to somebody."""
        return self.unefois.told(*words, "--as", self.key(name))

    def refused(self, name: str, *words: object) -> str:
        """The code with which a command refuses somebody."""
        code: str = self.unefois.error(*words, "--as", self.key(name), code=3)["code"]
        return code


@pytest.fixture
def people(unefois: Program, tmp_path: Path) -> People:
    """Nobody yet."""
    return People(unefois, tmp_path)


@pytest.fixture
def anne(people: People) -> People:
    """Anne runs the broker."""
    people.add("anne", "operator")
    return people


def rows(home: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / "unefois.db")) as database:
        return database.execute(statement).fetchall()


def change(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "unefois.db")) as database:
        database.executescript(statement)


class TestTheTable:
    def test_every_command_is_in_just_one_set_and_no_set_names_another(self) -> None:
        sets = [roles.APART, roles.MACHINE, set(roles.ALLOWED), {roles.RECOVER, roles.LOGIN}]
        listed = [name for each in sets for name in each]

        assert len(listed) == len(set(listed))
        assert set(commands()) - set(listed) == set()
        assert set(listed) - set(commands()) - {roles.LOGIN} == set()

    def test_what_takes_two_or_leaves_no_entry_is_somebodys(self) -> None:
        assert set(roles.ALLOWED) >= roles.TWO | roles.ALONE

    def test_what_works_elsewhere_asks_nobody(self) -> None:
        assert roles.APART >= APART

    def test_an_auditor_and_a_support_do_nothing_that_leaves_an_entry_but_disclose_and_look(self) -> None:
        acts = set(ACTS) | set(UNCHANGED) | set(FOLLOWS) | {"dead replay"}
        for role in (Role.AUDITOR, Role.SUPPORT):
            assert {act for act in acts if role in roles.ALLOWED.get(act, ())} <= {"audit disclose", "track"}

    def test_what_the_table_does_not_name_is_nobodys(self) -> None:
        assert roles.asks("something new")
        with pytest.raises(Refused) as caught:
            roles.check("something new", frozenset(Role))
        assert "operators.not-allowed" == caught.value.code


class TestBeforeTheFirst:
    def test_nobody_is_asked(self, unefois: Program) -> None:
        unefois.told("party", "allow", CAF, "person.died")
        assert "acted" not in kinds(unefois.home)
        assert {"operator": None} == unefois.told("operator", "whoami")

    def test_the_first_runs_the_broker_or_nobody_could_add_another(self, people: People) -> None:
        words = ("operator", "add", "anne", "--role", "auditor", "--key", people.public("anne"))
        assert "operators.first" == people.unefois.error(*words, code=3)["code"]

    def test_the_key_file_is_private_and_its_public_half_is_told_again(self, people: People) -> None:
        first = people.public("anne")
        assert 0o600 == people.key("anne").stat().st_mode & 0o777
        assert first == people.public("anne")
        assert people.key("anne").read_text().split()[1] not in first


class TestWhoActs:
    def test_without_a_key_nothing_is_done_or_shown(self, anne: People) -> None:
        for words in (("party", "list"), ("party", "allow", CAF, "person.died"), ("operator", "list")):
            assert "operators.who" == anne.unefois.error(*words, code=3)["code"]

    def test_a_stranger_s_key_is_nobody_s(self, anne: People) -> None:
        anne.public("eve")
        assert "operators.unknown-key" == anne.refused("eve", "party", "list")

    def test_a_role_does_what_is_its_own_and_no_more(self, anne: People, elise: Path) -> None:
        anne.add("sam", "support", by="anne")
        anne.add("dora", "dpo", by="anne")

        assert anne.told("sam", "dead", "list")
        assert "operators.not-allowed" == anne.refused("sam", "grants", "--person", elise)
        assert "operators.not-allowed" == anne.refused("sam", "party", "allow", CAF, "person.died")
        assert {"grants": [], "objections": []} == anne.told("dora", "grants", "--person", elise)
        assert "operators.not-allowed" == anne.refused("anne", "grants", "--person", elise)

    def test_the_key_can_be_a_setting(self, anne: People, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_OPERATOR_KEY", str(anne.key("anne")))
        assert "anne" == anne.unefois.told("operator", "whoami")["operator"]["name"]

    def test_a_key_that_others_may_read_is_refused(self, anne: People) -> None:
        anne.key("anne").chmod(0o644)
        assert "key-file.open-to-others" == anne.refused("anne", "party", "list")

    def test_units_and_timers_ask_nobody(self, anne: People, tmp_path: Path) -> None:
        for words in (("run", "--once"), ("fsck",), ("migrate",), ("prune",), ("backup", tmp_path / "backup")):
            anne.unefois.told(*words)

    def test_what_opens_no_home_asks_too(self, anne: People, tmp_path: Path) -> None:
        anne.unefois.told("backup", tmp_path / "backup")
        anne.add("sam", "support", by="anne")
        for words in (("restore", tmp_path / "backup"), ("endings", "replay"), ("move-log",)):
            assert "operators.who" == anne.unefois.error(*words, code=3)["code"], words
            assert "operators.not-allowed" == anne.refused("sam", *words), words


class TestTheActor:
    def test_an_act_and_its_person_stand_in_one_transaction_signed(self, anne: People) -> None:
        anne.told("anne", "party", "allow", CAF, "person.died")

        (leaf, document, signature) = rows(anne.unefois.home, "SELECT leaf, act, signature FROM operator_acts")[0]
        act = Act.decode(document)
        assert ("party allow", "anne") == (act.act, act.operator)
        assert verify(Algorithm.ED25519, bytes.fromhex(anne.public("anne").split()[1]), signature, message(document))
        (entry,) = act.entries
        told = rows(anne.unefois.home, "SELECT leaf FROM ledger_entries ORDER BY id DESC LIMIT 2")
        assert {(entry,), (leaf,)} == set(told)
        assert ["right_granted", "acted"] == kinds(anne.unefois.home)[-2:]
        (shown,) = anne.told("anne", "operator", "acts")["acts"]
        assert ("anne", "party allow", ["right_granted"]) == (shown["operator"], shown["act"], shown["kinds"])
        assert 0 == anne.unefois.run("fsck").exit_code

    def test_a_look_at_a_person_names_who_looked_and_not_the_person(self, anne: People, elise: Path) -> None:
        anne.add("dora", "dpo", by="anne")
        anne.told("dora", "grants", "--person", elise)

        assert ["viewed", "acted"] == kinds(anne.unefois.home)[-2:]
        documents = " ".join(one for (one,) in rows(anne.unefois.home, "SELECT act FROM operator_acts"))
        assert "dora" in documents
        assert not any(word in documents for word in ("lise", "Martin", str(elise)))

    def test_an_act_without_an_entry_is_told_before_it_is_done(self, anne: People) -> None:
        one = anne.told("anne", "subscribe", "list")["subscriptions"][0]["id"]
        anne.told("anne", "subscribe", "pause", one)
        assert "acted" == kinds(anne.unefois.home)[-1]
        assert "subscribe pause" == anne.told("anne", "operator", "acts")["acts"][0]["act"]

    def test_a_look_leaves_nothing(self, anne: People) -> None:
        before = kinds(anne.unefois.home)
        anne.told("anne", "party", "list")
        assert before == kinds(anne.unefois.home)

    def test_an_act_whose_person_was_taken_away_is_found(self, anne: People) -> None:
        anne.told("anne", "party", "allow", CAF, "person.died")
        change(anne.unefois.home, "DELETE FROM operator_acts")
        found = anne.unefois.run("fsck", "--json")
        checks = {one["check"] for one in json.loads(found.stdout)["findings"]}
        assert {"operators.act", "operators.nobody"} == checks

    def test_an_act_that_is_ascribed_to_another_is_found(self, anne: People) -> None:
        anne.add("bob", "operator", by="anne")
        anne.told("anne", "party", "allow", CAF, "person.died")
        change(anne.unefois.home, """UPDATE operator_acts SET act = replace(act, '"anne"', '"bob"')""")
        found = json.loads(anne.unefois.run("fsck", "--json").stdout)["findings"]
        assert "operators.act" in {one["check"] for one in found}


class TestChanges:
    def test_another_role_another_key_and_the_end(self, anne: People) -> None:
        anne.add("bob", "operator", by="anne")
        changed = anne.told("anne", "operator", "change", "bob", "--role", "auditor")
        assert ["auditor"] == changed["roles"]
        assert "operators.not-allowed" == anne.refused("bob", "party", "allow", CAF, "person.died")
        anne.told("anne", "operator", "change", "bob", "--key", anne.public("bobs-new-key"))
        assert "operators.unknown-key" == anne.refused("bob", "party", "list")
        assert "bob" == anne.told("bobs-new-key", "operator", "whoami")["operator"]["name"]
        assert anne.told("anne", "operator", "end", "bob")["ended_at"]
        assert "operators.unknown-key" == anne.refused("bobs-new-key", "party", "list")
        assert ["operator_changed", "acted", "operator_ended", "acted"] == kinds(anne.unefois.home)[-4:]
        assert 0 == anne.unefois.run("fsck").exit_code

    def test_a_name_serves_once_and_a_key_one_person(self, anne: People) -> None:
        anne.add("bob", "support", by="anne")
        anne.told("anne", "operator", "end", "bob")
        words = ("operator", "add", "--role", "support", "--key")
        assert "operators.name-taken" == anne.refused("anne", *words, anne.public("new"), "bob")
        assert "operators.key-taken" == anne.refused("anne", *words, anne.public("anne"), "carl")

    def test_somebody_always_runs_the_broker(self, anne: People) -> None:
        assert "operators.last" == anne.refused("anne", "operator", "end", "anne")
        assert "operators.last" == anne.refused("anne", "operator", "change", "anne", "--role", "auditor")

    def test_when_nobody_s_key_is_left_whoever_holds_the_home_begins_again_and_the_ledger_says_so(
        self, anne: People
    ) -> None:
        anne.key("anne").unlink()
        anne.unefois.told("operator", "recover", "anne.again", "--key", anne.public("again"))
        (shown,) = anne.told("again", "operator", "acts")["acts"]
        assert (None, "operator recover", ["operator_added"]) == (shown["operator"], shown["act"], shown["kinds"])
        assert 0 == anne.unefois.run("fsck").exit_code


class TestInsiders:
    """Whoever writes to the database, and has no key of the house."""

    def test_a_row_that_was_slipped_in_is_nobody_s(self, anne: People) -> None:
        public = anne.public("eve").split()[1]
        statement = (
            "INSERT INTO operators (id, roles, public, version, added_at, changed_at, row_version, seal) "
            f"SELECT 'eve', roles, x'{public}', 1, added_at, changed_at, 1, seal FROM operators"
        )
        change(anne.unefois.home, statement)
        assert "operators.unknown-key" == anne.refused("eve", "party", "list")

    def test_a_row_whose_key_was_replaced_is_nobody_s(self, anne: People) -> None:
        change(anne.unefois.home, f"UPDATE operators SET public = x'{anne.public('eve').split()[1]}'")
        assert "operators.unknown-key" == anne.refused("eve", "party", "list")

    def test_without_rows_the_home_is_not_one_without_accounts(self, anne: People) -> None:
        change(anne.unefois.home, "DELETE FROM operators")
        assert "operators.who" == anne.unefois.error("party", "list", code=3)["code"]

    def test_yesterday_s_row_does_not_bring_a_role_back(self, anne: People) -> None:
        anne.add("bob", "operator", by="anne")
        columns = "roles, version, changed_at, row_version, hex(seal)"
        (before,) = rows(anne.unefois.home, f"SELECT {columns} FROM operators WHERE id = 'bob'")
        anne.told("anne", "operator", "change", "bob", "--role", "support")
        anne.told("anne", "party", "list")  # else the next start would write the journal's word again
        statement = "UPDATE operators SET roles = '{}', version = {}, changed_at = {}, row_version = {}, seal = x'{}'"
        change(anne.unefois.home, f"{statement.format(*before)} WHERE id = 'bob'")
        assert "operators.unknown-key" == anne.refused("bob", "party", "list")
        found = json.loads(anne.unefois.run("fsck", "--json").stdout)["findings"]
        assert "endings.contradicted" in {one["check"] for one in found}

    def test_a_backup_from_before_brings_no_ended_account_back_and_loses_none(
        self, anne: People, tmp_path: Path
    ) -> None:
        anne.add("bob", "operator", by="anne")
        anne.unefois.told("backup", tmp_path / "backup")
        anne.told("anne", "operator", "end", "bob")
        anne.add("carl", "support", by="anne")
        anne.told("anne", "restore", tmp_path / "backup", "--yes")
        assert "operators.unknown-key" == anne.refused("bob", "party", "list")
        names = {one["name"]: one["ended_at"] for one in anne.told("carl", "operator", "list")["operators"]}
        assert {"anne", "bob", "carl"} == set(names)
        assert names["bob"]
        assert 0 == anne.unefois.run("fsck").exit_code


def test_every_command_takes_a_key() -> None:
    def options(one: Any) -> set[str]:
        return {opt for param in one.params for opt in param.opts}

    whole = typer.main.get_command(app)
    for words in commands():
        one: Any = whole
        for word in words.split(" "):
            one = one.commands[word]
        assert "--as" in options(one), words


def test_config_check_says_who_is_missing(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    def problems() -> set[str]:
        return {one["code"] for one in people.unefois.told("config", "check")["problems"]}

    assert "operators.none" in problems()
    people.add("anne", "operator", "approver")
    assert {"operators.none", "approvals.not-demanded", "approvals.too-few"}.isdisjoint(problems())
    people.add("bob", "approver", by="anne")
    assert "approvals.not-demanded" in problems()
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "true")
    assert "approvals.not-demanded" not in problems()
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "false")
    people.told("anne", "operator", "end", "bob")
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "true")
    assert "approvals.too-few" in problems()
