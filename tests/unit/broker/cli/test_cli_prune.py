"""prune: told before it is done, and done once."""

import sqlite3

from tests.program import Program


def test_what_would_go_is_counted_and_then_goes(unefois: Program) -> None:
    with sqlite3.connect(unefois.home / "unefois.db") as database:
        database.execute("INSERT INTO spent_assertions VALUES ('urn:unefois:caf', zeroblob(32), 1)")
    database.close()
    told = unefois.told("prune", "--dry-run")
    assert (True, 1) == (told["dry_run"], told["rows"]["spent_assertions"])
    assert "spent_assertions  1" in unefois.run("prune", "--dry-run").stdout
    assert 1 == unefois.told("prune")["rows"]["spent_assertions"]
    assert "Nothing to do." in unefois.run("prune").stdout
