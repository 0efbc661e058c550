"""Who only looks gets no secret: each such command works where there is none, and changes nothing."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer

from broker.access.roles import LOOKS
from broker.cli import session
from broker.cli.app import app
from broker.cli.frame import Choices
from broker.cli.session import looks
from broker.ports import KeyKind
from broker.settings.choices import load
from broker.setup.roles import LOOKING
from tests.docs.pages import DOCS
from tests.program import Program, grant_and_declare
from tests.world import RENNES

MOVED = "address.changed"
ABSENT = {"webhook attempts": "webhooks.unknown"}
"""What there is not here, and is said without a secret."""
SECRET = frozenset(KeyKind) - frozenset(LOOKING)


@pytest.fixture
def lived(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> Program:
    """A home with something of everything that these commands show, an account of an auditor, and no secret."""
    told = unefois.told
    grant_and_declare(unefois, elise, move, "subject", "new_address")
    told("token", "issue", RENNES, "--scope", "receive")
    told("epoch", "rotate", "consent")
    wish = ("--recipient", RENNES, "--type", MOVED, "--purpose", "local-services", "--field", "subject")
    asked = told("rule", "ask", *wish, "--article", "A 1")
    told("rule", "approve", asked["id"])
    for name, role in (("anne", "operator"), ("aude", "auditor")):
        line = told("operator", "key", tmp_path / f"{name}.key")["key"]
        by = () if name == "anne" else ("--as", tmp_path / "anne.key")
        told("operator", "add", name, "--role", role, "--key", line, *by)
    for kind in SECRET:
        shutil.rmtree(unefois.home / "keys" / kind.value, ignore_errors=True)
    return unefois


def rows(home: Path) -> list[str]:
    """Everything that its database holds."""
    with closing(sqlite3.connect(home / "unefois.db")) as database:
        return list(database.iterdump())


FIELDS = "{NOM: record.subject.family_name}"
OWN = f"{{name: own, version: 1, event_type: fr.unefois.{MOVED}.v1, direction: out, fields: {FIELDS}}}"


def line(home: Path, act: str) -> list[str]:
    """How a command is given here."""
    with closing(sqlite3.connect(home / "unefois.db")) as database:
        (token,) = database.execute("SELECT lower(hex(id)) FROM api_tokens").fetchone()
    more = {"token uses": [token], "top": ["--once"], "webhook attempts": ["1" * 32]}
    (own := home / "own.yaml").write_text(OWN)
    more["mapping preview"] = [str(own), "--party", RENNES]
    return [*act.split(), *more.get(act, ())]


def test_each_works_without_a_secret_and_changes_nothing(lived: Program, tmp_path: Path) -> None:
    before, wrong = rows(lived.home), []
    for act in sorted(LOOKS):
        done = lived.run(*line(lived.home, act), "--as", tmp_path / "aude.key", "--json")
        if act in ABSENT:
            assert ABSENT[act] in done.stderr
        elif (0, "") != (done.exit_code, done.stderr):
            wrong.append((act, done.stderr))
    assert [] == wrong
    assert before == rows(lived.home)
    assert set() == {kind.value for kind in SECRET} & {path.name for path in (lived.home / "keys").iterdir()}


def test_whatever_else_is_refused_where_the_secrets_are_not(lived: Program, elise: Path, tmp_path: Path) -> None:
    for given in (("grants", "--person", elise), ("track", "0" * 32), ("party", "list")):
        assert lived.error(*given, "--as", tmp_path / "aude.key", code=3)["code"].startswith("keys.")


def test_every_look_is_a_command() -> None:
    def named(one: object, before: str = "") -> Iterator[str]:
        for name, each in one.commands.items():  # type: ignore[attr-defined]
            yield f"{before}{name}"
            if hasattr(each, "commands"):
                yield from named(each, f"{before}{name} ")

    assert set() == LOOKS - set(named(typer.main.get_command(app)))


def test_a_session_is_checked_with_a_secret_so_it_gets_them(
    unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "chosen", Choices)
    here = load(home=unefois.home, session_file=tmp_path / "session")
    assert looks(here, "rule list")
    (tmp_path / "session").write_text("{}")
    assert not looks(here, "rule list")
    assert looks(load(home=unefois.home, session_file=tmp_path / "session", operator_key=tmp_path / "k"), "rule list")


def test_the_page_for_operators_names_just_these() -> None:
    page = (DOCS / "operate.md").read_text("utf-8")
    (told,) = re.findall(r"^Commands that only look get no secret: (.*?) open the folders", page, re.M | re.S)

    assert set(LOOKS) == set(re.findall(r"`([^`]+)`", told))
