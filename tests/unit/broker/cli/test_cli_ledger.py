"""`unefois ledger`: which ledger this is, which it follows, and its successor."""

from pathlib import Path

import pytest

from broker.cli.exits import Exit
from tests.program import Program

FIRST, NEXT = "unefois.example/ledger", "log.nantes.example/second"


@pytest.fixture
def lost(unefois: Program, elise: Path, tmp_path: Path) -> Program:
    """A home whose ledger's end is lost."""
    unefois.told("backup", tmp_path / "kept")
    unefois.told("token", "issue", "urn:unefois:portal", "--scope", "publish")
    unefois.told("audit", "export", tmp_path / "log")
    assert Exit.FINDINGS == unefois.run("restore", tmp_path / "kept", "--ledger-lost", "--yes").exit_code
    return unefois


def test_it_tells_what_the_ledger_is_called_and_that_it_follows_none(unefois: Program) -> None:
    told = unefois.told("ledger", "show")

    assert (FIRST, [], None) == (told["origin"], told["follows"], told["stands_still"])
    assert told["size"] == told["signed"] > 0
    assert (
        "ledger.no-successor-needed" == unefois.error("ledger", "succeed", "--origin", NEXT, code=Exit.REFUSED)["code"]
    )


def test_a_lost_ledger_gets_its_successor_and_every_command_names_both(lost: Program, tmp_path: Path) -> None:
    before = lost.told("ledger", "show")
    assert ("ledger.needs-successor", True) == (before["stands_still"]["code"], before["size"] < before["signed"])
    assert "ledger succeed" in before["stands_still"]["remedy"]
    assert "settings.invalid" == lost.error("ledger", "succeed", "--origin", "https://x", code=Exit.REFUSED)["code"]
    assert "ledger.name-used" == lost.error("ledger", "succeed", "--origin", FIRST, code=Exit.REFUSED)["code"]

    done = lost.told("ledger", "succeed", "--origin", NEXT)

    (old,) = done["follows"]
    assert (True, False, NEXT, before["size"] + 1) == (
        done["done"],
        done["settings_agree"],
        done["origin"],
        done["size"],
    )
    assert (FIRST, before["signed"], before["size"], before["signed"] - before["size"]) == (
        old["origin"],
        old["size"],
        old["kept"],
        old["lost"],
    )
    assert "home.other-origin" == lost.error("fsck", code=Exit.REFUSED)["code"]
    (lost.home / "unefois.toml").write_text(f'ledger_origin = "{NEXT}"\n')
    again = lost.told("ledger", "succeed", "--origin", NEXT)
    assert (False, True) == (again["done"], again["settings_agree"])
    assert {"clean": True, "findings": [], "follows": [old]} == lost.told("fsck")
    assert [old] == lost.told("audit", "verify")["follows"] == lost.told("ledger", "show")["follows"]
    words = (
        f"follows {FIRST}: {old['size']} entries, of which {old['kept']} stand here again and {old['lost']} are lost"
    )
    for command in (("fsck",), ("ledger", "show"), ("audit", "verify"), ("ledger", "succeed", "--origin", NEXT)):
        assert words in lost.run(*command).stdout.splitlines(), command
