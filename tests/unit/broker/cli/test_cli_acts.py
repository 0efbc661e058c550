"""Every command is a look or an act; every act of administration leaves its entries in the ledger, or says why not.

A new command without a row fails.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import typer
from joserfc.jwk import OKPKey

from broker.cli.app import app
from schemas.entry import Entry
from tests.program import Program

LOOKS: Final = {
    *("audit check", "audit consistency", "audit export", "audit prove", "audit verify", "config check", "config show"),
    *("dead list", "dead show", "epoch list", "explain", "fsck", "mapping list", "mapping test", "monitor"),
    *(
        "party list",
        "subscribe list",
        "token keys",
        "token list",
        "witness list",
        "top",
        "track",
        "type check",
        "type list",
    ),
    *("type show", "webhook attempts", "webhook list", "topics list", "topics plan", "witness list"),
}
"""They change nothing; the look at a citizen's file is an act."""

WITHOUT: Final = {
    "demo": "a home of its own, which it throws away",
    "sandbox": "a home of its own",
    "source new-key": "at the source's side: the broker hears of it by party add-key",
    "source serve": "at the source's side",
    "witness init": "at a witness's side",
    "witness serve": "at a witness's side",
    "run": "the machine: each thing that it does has its entry",
    "serve": "the machine, likewise",
    "init": "the first entries are those of the home that it makes",
    "migrate": "the tables' form; what is in them stays",
    "move": "another database with the same rows, ledger included",
    "prune": "the retentions of the settings, which upkeep obeys every hour as well",
    "webhook prove": "a challenge to a server; the attempt is kept beside it",
    "webhook rotate": "keys that are derived from the webhook's id and a number",
    "topics apply": "at Kafka: what it makes follows from entries that are there",
    "topics begin-again": "where a source's topic goes on: each declaration has its entries",
    "move-log": "another place with the same records",
    "conformance cases": "at an administration's side",
    "conformance run": "sandboxes of its own, which it throws away",
    "subscribe pause": "the approval stands; what waits is in the ledger as planned, and the log says who paused",
    "subscribe resume": "likewise",
    "declare": "received when it is routed; the source has the signed receipt",
}
"""Acts without an entry of their own, and why."""

ACTS: Final = {
    "party add": {"party_added", "key_added", "policy_set", "right_granted"},
    "party add-key": {"key_added"},
    "party rotate": {"key_added"},
    "party revoke-key": {"key_revoked"},
    "subscribe": {"subscription_approved"},
    "subscribe approve": {"subscription_approved"},
    "subscribe end": {"subscription_ended"},
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
    "pause": {"changed"},
    "resume": {"changed"},
    "narrow": {"changed"},
    "revoke": {"revoked"},
    "topics allow": {"key_added"},
    "topics end": {"key_revoked"},
    "webhook add": {"key_added"},
    "webhook end": {"key_revoked"},
}
ELSEWHERE: Final = {"dead replay", "epoch destroy", "party add-key", "party revoke-key", "subscribe approve"}
"""Done by tests of their own, which look at the entries: test_deadletters, test_key_epochs, test_cli_parties."""

NEW: Final = "urn:unefois:archive"
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
        rows = database.execute("SELECT entry FROM ledger_entries ORDER BY id").fetchall()
    return [Entry.decode(row[0]).kind.value for row in rows]


def test_every_command_is_a_look_or_an_act_with_its_entry() -> None:
    rows = [LOOKS, set(WITHOUT), set(ACTS) | {"dead replay"}]
    assert set(commands()) == set().union(*rows)
    assert sum(map(len, rows)) == len(set().union(*rows))


def test_an_act_leaves_the_entries_that_the_table_names(unefois: Program, elise: Path, tmp_path: Path) -> None:
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
    grant = given["grant"]["id"]
    act("pause", grant)
    act("resume", grant)
    act("narrow", grant, "--field", "subject")
    act("revoke", grant)
    act("subscribe end", asked["id"])
    hook = act("webhook add", NEW, "https://archive.example.fr/unefois")
    act("webhook end", hook["id"])
    act("topics allow", NEW, "--principal", "archive", "--receives")
    act("topics end", NEW)
    act("epoch rotate", "gate")
    assert 0 == unefois.run("fsck").exit_code
    assert set(ACTS) - ELSEWHERE == seen
