"""prune: told before it is done, and done once."""

import sqlite3

from tests.program import Program


def test_what_would_go_is_counted_and_then_goes(unefois: Program) -> None:
    with sqlite3.connect(unefois.home / "unefois.db") as database:
        party = database.execute("SELECT id FROM parties").fetchone()[0]
        row = (party, bytes(32), bytes(32), 1)
        database.execute("INSERT INTO kept_answers (party, key, request, at) VALUES (?, ?, ?, ?)", row)
    database.close()
    told = unefois.told("prune", "--dry-run")
    assert (True, 1) == (told["dry_run"], told["rows"]["kept_answers"])
    assert "kept_answers  1" in unefois.run("prune", "--dry-run").stdout
    assert 1 == unefois.told("prune")["rows"]["kept_answers"]
    assert "Nothing to do." in unefois.run("prune").stdout
