"""migrate: the tables become those of this version, once, and --check only tells."""

import shutil
import sqlite3

from broker.store import migrate
from tests.program import Program


def test_a_database_that_is_up_to_date_needs_nothing(unefois: Program) -> None:
    told = {
        "from": migrate.head(),
        "to": migrate.head(),
        "adopted": True,
        "done": False,
        "signed": 0,
        "unsigned": [],
        "carried": None,
    }
    assert told == unefois.told("migrate")
    assert told == unefois.told("migrate", "--check")


def test_an_empty_database_is_told_then_upgraded_then_needs_nothing(unefois: Program) -> None:
    (unefois.home / "unefois.db").unlink()
    shutil.rmtree(unefois.home / "keys")  # beside keys that were used it would be refused: test_cli_home_id.py
    (unefois.home / "keys").mkdir(mode=0o700)

    asked = unefois.run("migrate", "--check")
    assert (1, f"To do: from - to {migrate.head()}.\n") == (asked.exit_code, asked.stdout)
    again = unefois.run("migrate", "--check")
    assert asked.stdout == again.stdout

    assert f"Done: from - to {migrate.head()}.\n" == unefois.run("migrate").stdout
    assert f"Nothing to do: revision {migrate.head()}.\n" == unefois.run("migrate").stdout


def test_a_database_of_a_newer_version_is_refused_and_stays_as_it_is(unefois: Program) -> None:
    database = sqlite3.connect(unefois.home / "unefois.db")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()

    for words in (("migrate",), ("migrate", "--check")):
        assert "store.newer-version" == unefois.error(*words, code=3)["code"]

    assert [("9999",)] == database.execute("SELECT version_num FROM alembic_version").fetchall()
    database.close()


def test_a_home_that_nobody_made_is_told(bare: Program) -> None:
    assert "cli.no-home" == bare.error("migrate", code=3)["code"]


def _said(unefois: Program, *words: str) -> tuple[int, str]:
    result = unefois.run(*words)
    return result.exit_code, result.stdout
