"""Every command is a look or an act; every act of administration leaves its entries in the ledger, or says why not.

A new command without a row fails.
"""

import ast
import inspect
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from joserfc.jwk import OKPKey

from broker.cli.app import app
from schemas.entry import Entry
from tests.faults.day import MEALS
from tests.program import Program, move_in
from tests.world import YANN

LOOKS: Final = {
    *("audit check", "audit consistency", "audit export", "audit prove", "audit verify", "config check", "config show"),
    *("dead list", "dead show", "epoch list", "explain", "fsck", "mapping list", "mapping test", "monitor"),
    *("mapping new", "mapping preview"),
    *(
        "party list",
        "subscribe list",
        "token keys",
        "token list",
        "witness list",
        "top",
        "type check",
        "type list",
        "type new",
    ),
    *("clock show", "keys unknown list"),
    *(
        "rule list",
        "purpose list",
        "hold list",
        "completion",
        "person schema",
        "type show",
        "webhook attempts",
        "webhook list",
        "topics list",
        "topics plan",
        "witness list",
    ),
    *(
        "token uses",
        "party busiest",
        "party signed",
        "subscribe released",
        "party behind",
        "backup",
        "doctor",
        "endings show",
        "ledger show",
        "receipt directory",
    ),
    *("operator acts", "operator list", "operator whoami", "approvals"),
    *("protect list", "protect looks", "protect request"),
    *("connector list", "connector describe", "connector check", "connector test", "connector new"),
}
"""They change nothing; the look at a citizen's file is an act."""

APART: Final = {
    *("demo", "sandbox", "simulate", "conformance cases", "conformance run", "source new-key", "source serve"),
    *("witness init", "witness serve", "receipt verify", "deploy write", "deploy logins", "operator key", "logout"),
}
"""They work elsewhere: in a home that they make and throw away, at a source's, a witness's, an administration's."""

UNCHANGED: Final = {
    "clock accept": "tests/unit/broker/cli/test_cli_home_id.py::test_a_clock_is_shown_and_accepted",
    "keys lock": "tests/unit/broker/cli/test_cli_home_id.py::test_a_home_is_locked_and_opens_with_the_new_passphrase",
    "keys unknown destroy": "tests/unit/broker/cli/test_cli_home_id.py::"
    "test_a_key_that_no_book_knows_is_told_everywhere_and_destroyed_by_name",
    "migrate": "here",
    "prune": "here",
    **dict.fromkeys(
        ("protect add", "protect notice", "protect lift", "protect keep"),
        "tests/unit/broker/cli/test_cli_protecting.py::test_no_list_of_acts_says_who_is_protected",
    ),
    "purpose add": "here",  # as the next one
    "rule ask": "here",  # a request; it allows nothing before its approval
    "subscribe pause": "here",  # the approval stands; what waits is planned, and the log says who paused
    "subscribe resume": "here",
    "webhook prove": "here",
    "webhook rotate": "here",
    "login": "tests/unit/broker/cli/test_cli_login.py::test_whoever_signs_in_acts_until_the_session_ends",
    "approve-restore": "tests/unit/broker/cli/test_cli_approvals.py::test_a_restore_takes_a_yes_in_a_file",
    "restore": "tests/drills/test_restore.py::"
    "test_a_backup_that_knows_the_whole_ledger_is_put_back_and_everything_goes_on",
    "endings replay": "tests/unit/broker/test_endings.py::"  # an entry for each that it completes, as the act's own
    "test_a_revocation_that_was_written_and_not_committed_is_obeyed_and_completed",
    "move": "tests/unit/broker/test_move.py::"
    "test_what_waited_in_the_old_one_is_delivered_from_the_new_one_and_the_ledger_goes_on",
    "move-log": "tests/unit/broker/log/test_log_move.py::test_every_record_keeps_its_offset_and_the_old_log_is_closed",
    "topics apply": "tests/contract/test_topic_plan.py::"
    "test_what_is_planned_is_made_once_and_a_change_behind_its_back_is_seen",
    "topics begin-again": "tests/unit/broker/topics/test_inlet.py::"
    "test_a_topic_that_was_made_anew_or_cut_is_its_sources_trouble_until_it_is_read_again",
}
"""They change nothing that the ledger tells of: by the test named, or by the one below, which looks."""

FOLLOWS: Final = {
    "init": "here",
    "declare": "here",
    "run": "here",
    "serve": "tests/unit/broker/cli/test_cli_serve.py::test_what_was_declared_is_routed_and_asked_to_stop_it_ends_well",
}
"""Each thing that they bring about has its entry, when it happens."""

WITHOUT: Final = {*APART, *UNCHANGED, *FOLLOWS}
"""Acts without an entry of their own."""

ACTS: Final = {
    "party edit": {"party_changed"},
    "party add": {"party_added", "key_added", "policy_set", "right_granted"},
    "party add-key": {"key_added"},
    "party allow": {"right_granted"},
    "party forbid": {"right_ended"},
    "party policy": {"policy_set", "key_added"},
    "party rotate": {"key_added"},
    "party revoke-key": {"key_revoked"},
    "subscribe": {"subscription_approved"},
    "subscribe approve": {"subscription_approved"},
    "subscribe end": {"subscription_ended"},
    "rule approve": {"rule_approved"},
    "rule end": {"rule_ended"},
    "purpose approve": {"purpose_approved"},
    "rule narrow": {"rule_narrowed"},
    "object": {"objected"},
    "unobject": {"objection_withdrawn"},
    "repair": {"granted"},
    "cancel": {"retracted"},
    "recall": {"retracted"},
    "hold stop": {"retracted"},
    "representation add": {"representation_started"},
    "representation list": {"viewed"},
    "representation show": {"viewed"},
    "representation end": {"representation_ended"},
    "identity link": {"link_asked"},
    "identity confirm": {"link_confirmed"},
    "identity list": {"viewed"},
    "identity refuse": {"link_ended"},
    "identity unlink": {"link_ended"},
    "code": {"code_given"},
    "channel add": {"channel_added"},
    "channel list": {"viewed"},
    "channel remove": {"channel_ended"},
    "token issue": {"key_added"},
    "token revoke": {"key_revoked"},
    "token pin": {"key_added"},
    "token unpin": {"key_revoked"},
    "token follow": {"key_added"},
    "token unfollow": {"key_revoked"},
    "epoch rotate": {"key_added"},
    "epoch destroy": {"epoch_destroyed"},
    "grant": {"granted"},
    "grants": {"viewed"},
    "acknowledge": {"viewed"},
    "person report": {"viewed"},
    "protect show": {"viewed"},
    "track": {"viewed"},
    "person export": {"viewed"},
    "person erase": {"erased"},
    "pause": {"changed"},
    "resume": {"changed"},
    "narrow": {"changed"},
    "revoke": {"revoked"},
    "topics allow": {"key_added"},
    "topics end": {"key_revoked"},
    "webhook add": {"key_added"},
    "webhook end": {"key_revoked"},
    "audit disclose": {"disclosed"},
    "export": {"disclosed"},
    "operator add": {"operator_added"},
    "operator change": {"operator_changed"},
    "operator end": {"operator_ended"},
    "operator recover": {"operator_added"},
    "approve": {"acted"},
    "refuse": {"acted"},
    "ledger succeed": {"ledger_opened"},
}
ELSEWHERE: Final = {
    "audit disclose",
    "dead replay",
    "epoch destroy",
    "ledger succeed",
    "party add-key",
    "party revoke-key",
    "repair",
    "subscribe approve",
    *("approve", "refuse", "operator add", "operator change", "operator end", "operator recover"),
}
"""Done by tests of their own, which look at the entries: test_deadletters, test_key_epochs, test_cli_parties,
test_cli_disclosures, test_cli_ledger, test_cli_operators, test_cli_repair and test_cli_approvals."""

ROOT: Final = Path(__file__).parents[4]
NEW: Final = "urn:unefois:archive"
NEW_HOOK: Final = "urn:unefois:caf"
MOVED: Final = "address.changed"


def commands() -> Iterator[str]:
    """Every command that a person can type, groups that do something by themselves included."""

    def walk(one: Any, words: tuple[str, ...]) -> Iterator[str]:
        below = getattr(one, "commands", None)
        if words and (below is None or getattr(one, "invoke_without_command", False)):
            yield " ".join(words)
        for name, each in (below or {}).items():
            yield from walk(each, (*words, name))

    yield from walk(typer.main.get_command(app), ())


def kinds(home: Path) -> list[str]:
    """Of every entry, oldest first."""
    with closing(sqlite3.connect(home / "unefois.db")) as database:
        rows = database.execute(
            "SELECT entry, kind FROM ledger_entries LEFT JOIN ledger_openings USING (leaf) ORDER BY id"
        ).fetchall()
    opened = ((Entry.decode(entry).open, kind) for entry, kind in rows)
    return [kind if facts is None else facts.kind.value for facts, kind in opened]


def test_every_command_is_a_look_or_an_act_with_its_entry() -> None:
    rows = [LOOKS, WITHOUT, set(ACTS) | {"dead replay"}]
    assert set(commands()) == set().union(*rows)
    assert sum(map(len, rows)) == len(set().union(*rows))


def test_an_act_leaves_the_entries_that_the_table_names(
    unefois: Program, elise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNEFOIS_MESSAGE_EMAIL", "console")
    seen: set[str] = set()

    def act(name: str, *words: object) -> dict[str, Any]:
        before = len(kinds(unefois.home))
        told = unefois.told(*name.split(" "), *words)
        assert ACTS[name] <= set(kinds(unefois.home)[before:]), (name, kinds(unefois.home)[before:])
        seen.add(name)
        return told

    about = ("--name", "Archives", "--sector", "archive", "--address", "1 rue A", "--contact", "a@b.example")
    act("party add", NEW, *about, "--retention", "un an", "--suite", "x25519", "--publishes", MOVED)
    act("party rotate", NEW)
    act("party allow", NEW, "person.died")
    act("party forbid", NEW, "--yes")
    act("party policy", NEW, "4")
    jwk = tmp_path / "client.jwk"
    jwk.write_text(json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=False)))
    pinned = act("token pin", NEW, jwk, "--scope", "read")
    act("token unpin", pinned["id"])
    act("token follow", NEW, "https://127.0.0.1/jwks.json", "--scope", "read")
    act("token unfollow", NEW)
    issued = act("token issue", NEW, "--scope", "read", "--days", "1")
    act("token revoke", issued["id"])
    wish = ("--recipient", NEW, "--type", MOVED, "--purpose", "health-insurance")
    asked = act("subscribe", *wish, "--field", "subject", "--field", "new_address", "--legal-reference", "CSS, art. L1")
    given = act("grant", "--person", elise, *wish, "--field", "subject", "--field", "new_address")
    act("grants", "--person", elise)
    act("person report", "--person", elise)
    act("protect show", "--person", elise)
    act("person export", tmp_path / "elise-export.json", "--person", elise)
    grant = given["grant"]["id"]
    act("pause", grant)
    act("resume", grant)
    act("narrow", grant, "--field", "subject")
    act("revoke", grant)
    lawful = unefois.told("rule", "ask", *wish, "--field", "new_address", "--article", "CSS, art. L1")["id"]
    (tmp_path / "meals.json").write_text(json.dumps(MEALS))
    act("purpose approve", unefois.told("purpose", "add", tmp_path / "meals.json")["id"])
    act("rule approve", lawful)
    act("rule narrow", lawful, "--until", "2040-12-31")
    act("object", lawful, "--person", elise)
    act("unobject", lawful, "--person", elise)
    act("rule end", lawful)
    received = unefois.told("declare", move_in(tmp_path), "--type", MOVED)["declaration"]
    unefois.told("run", "--once")
    act("acknowledge", received, tmp_path / "paper.json")
    act("track", received)
    act("cancel", unefois.told("declare", move_in(tmp_path), "--type", MOVED)["declaration"])
    recalled = act("recall", unefois.told("declare", move_in(tmp_path), "--type", MOVED)["declaration"])
    act("hold stop", recalled["retraction"]["notice"], "--person", elise)
    tutor = tmp_path / "tutor.json"
    tutor.write_text(json.dumps(json.loads(elise.read_text("utf-8")) | {"given_names": ["Yann"]}))
    ground = ("--measure", "guardianship", "--proof", "TJ Rennes 25/01234")
    acting = act("representation add", "--representative", tutor, "--person", elise, *ground)["representation"]["id"]
    act("representation list", "--person", elise)
    act("representation show", acting)
    act("representation end", acting)
    renamed = tmp_path / "renamed.json"
    renamed.write_text(json.dumps(json.loads(elise.read_text()) | {"family_name": "Moreau"}))
    two = ("--old", elise, "--new", renamed, "--evidence", "2026/123")
    act("identity refuse", act("identity link", *two)["id"], "--person", renamed)
    link = unefois.told("identity", "link", *two)["id"]
    act("identity confirm", link)
    act("identity list", "--person", elise)
    act("identity unlink", link)
    act("code", "--person", elise)
    (tmp_path / "address").write_text("elise@example.fr")
    held = act("channel add", "email", "--person", elise, "--address", tmp_path / "address")
    act("channel list", "--person", elise)
    act("channel remove", held["channel"]["id"], "--person", elise)
    yann = tmp_path / "yann.json"
    yann.write_text(json.dumps(YANN))
    act("channel add", "email", "--person", yann, "--address", tmp_path / "address")
    act("person erase", "--person", yann, "--yes")
    act("subscribe end", asked["id"])
    hook = act("webhook add", NEW, "https://archive.example.fr/unefois")
    act("webhook end", hook["id"])
    act("topics allow", NEW, "--principal", "archive", "--receives")
    act("topics end", NEW)
    act("party edit", NEW, "--contact", "archives@x.example")
    act("epoch rotate", "gate")
    act("export", tmp_path / "export")
    assert 0 == unefois.run("fsck").exit_code
    assert set(ACTS) - ELSEWHERE == seen


def defined(node: str) -> bool:
    """Whether there is such a test."""
    file, _, name = node.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return any(getattr(each, "name", None) == name for each in ast.walk(tree))


@pytest.mark.parametrize("command", sorted(UNCHANGED | FOLLOWS))
def test_who_has_no_entry_names_a_test_that_there_is(command: str) -> None:
    node = (UNCHANGED | FOLLOWS)[command]
    assert node == "here" or defined(node)


@pytest.mark.parametrize("command", sorted(APART))
def test_who_works_apart_does_not_open_the_home_that_it_is_called_with(command: str) -> None:
    one: Any = typer.main.get_command(app)
    for word in command.split():
        one = one.commands[word]
    source = inspect.getsource(inspect.unwrap(one.callback))
    assert [] == [name for name in ("at_home(", "open_home(") if name in source]


def test_who_changes_nothing_that_the_ledger_tells_of_adds_no_entry(unefois: Program) -> None:
    hook = unefois.told("webhook", "add", NEW_HOOK, "https://caf.example.fr/unefois")["id"]
    subscription = unefois.told("subscribe", "list")["subscriptions"][0]["id"]
    before = kinds(unefois.home)
    for words in (
        *(("migrate",), ("prune",), ("webhook", "rotate", hook), ("webhook", "prove", hook)),
        *(("subscribe", "pause", subscription), ("subscribe", "resume", subscription)),
    ):
        unefois.told(*words)
        assert before == kinds(unefois.home), words
    assert 0 == unefois.run("fsck").exit_code


def test_what_is_brought_about_has_its_entry_when_it_happens(unefois: Program, elise: Path, move: Path) -> None:
    assert {"party_added", "key_added"} <= set(kinds(unefois.home)), "init"
    before = len(kinds(unefois.home))
    unefois.told("declare", move, "--type", "address.changed")
    assert [] == kinds(unefois.home)[before:], "it waits in the log"
    unefois.told("run", "--once")
    assert "received" in kinds(unefois.home)[before:]
