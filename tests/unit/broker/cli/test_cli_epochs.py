"""epoch: keys that come in epochs are listed, rotated, and a closed one destroyed for good, not by a slip."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

from broker.cli.exits import Exit
from broker.settings.choices import load
from broker.setup.opening import open_home
from tests.program import FIELDS, Program, grant_and_declare
from tests.signed import resign


def epochs(unefois: Program) -> dict[str, Any]:
    return unefois.told("epoch", "list")


def test_both_kinds_are_listed(unefois: Program, elise: Path, move: Path) -> None:
    grant_and_declare(unefois, elise, move, "subject")

    told = epochs(unefois)

    assert (1, [(1, 1, None)]) == (
        len(told["gate"]),
        [(each["epoch"], each["keys"], each["destroyed_at"]) for each in told["consent"]],
    )
    assert told["gate"][0]["kid"] in unefois.run("epoch", "list").stdout


def test_the_gate_s_next_key_gives_the_one_before_an_end(unefois: Program) -> None:
    told = unefois.told("epoch", "rotate", "gate")

    first, second = epochs(unefois)["gate"]
    assert (told["kid"], None) == (second["kid"], second["closed_at"])
    assert first["closed_at"] is not None


def test_the_consents_next_key_ends_the_one_before(unefois: Program, elise: Path, move: Path) -> None:
    grant_and_declare(unefois, elise, move, "subject")

    assert {"epoch": "consent", "rewrapped": 1} == unefois.told("epoch", "rotate", "consent")

    first, second = epochs(unefois)["consent"]
    assert (0, 1) == (first["keys"], second["keys"])
    assert first["destroyed_at"] is not None
    assert unefois.told("fsck")["clean"]


def test_a_rotation_is_told_in_words(unefois: Program) -> None:
    assert "Keys wrapped anew: 0\n" == unefois.run("epoch", "rotate", "consent").stdout
    assert unefois.run("epoch", "rotate", "gate", "--lang", "fr").stdout.startswith("Nouvelle clé : ")


def test_a_key_that_sources_still_seal_to_is_not_destroyed(unefois: Program) -> None:
    (only,) = epochs(unefois)["gate"]

    assert "epochs.still-open" == unefois.error("epoch", "destroy", only["kid"], "--yes", code=3)["code"]


def test_destroying_asks_first(unefois: Program) -> None:
    (only,) = epochs(unefois)["gate"]

    result = unefois.run("epoch", "destroy", only["kid"], typed="n\n")

    assert result.exit_code != 0
    assert "Destroy for ever?" in result.stderr


def test_a_closed_key_is_destroyed(unefois: Program) -> None:
    (unefois.home / "unefois.toml").write_text("gate_overlap_days = 1\n")
    (old,) = epochs(unefois)["gate"]
    unefois.told("epoch", "rotate", "gate")
    close(unefois, old["kid"])

    assert {"destroyed": old["kid"]} == unefois.told("epoch", "destroy", old["kid"], "--yes")

    assert epochs(unefois)["gate"][0]["destroyed_at"] is not None
    assert "epochs.unknown" == unefois.error("epoch", "destroy", "00" * 32, "--yes", code=3)["code"]


def close(unefois: Program, kid: str) -> None:
    """As if its overlap were over."""
    database = sqlite3.connect(unefois.home / "unefois.db")
    with database:
        database.execute("UPDATE gate_epochs SET closed_at = opened_at WHERE kid = ?", (bytes.fromhex(kid),))
        database.execute("UPDATE sealing_keys SET valid_to = valid_from WHERE kid = ?", (bytes.fromhex(kid),))
    database.close()

    async def signed() -> None:
        async with open_home(load(home=unefois.home)) as home:
            await resign(home)

    asyncio.run(signed())


def test_a_kind_that_is_none_is_a_mistake_of_the_command_line(unefois: Program) -> None:
    assert "cli.usage" == json.loads(unefois.run("epoch", "rotate", "door", "--json").stderr)["error"]["code"]


def test_a_stolen_gate_key_is_closed_at_once_and_can_be_destroyed(unefois: Program, elise: Path, move: Path) -> None:
    (stolen,) = [one["kid"] for one in unefois.told("epoch", "list")["gate"]]
    unefois.told("epoch", "rotate", "gate", "--overlap-days", 0)
    grant_and_declare(unefois, elise, move, *FIELDS)  # sealed to the new one

    unefois.told("epoch", "destroy", stolen, "--yes")
    assert 1 == unefois.told("run", "--once")["routed"]
    assert unefois.told("fsck")["clean"]
    assert "cli.usage" == unefois.error("epoch", "rotate", "consent", "--overlap-days", 0, code=Exit.USAGE)["code"]
