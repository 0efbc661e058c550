"""repair: a citizen's number is read from a file, goes to one administration, and the declaration comes again."""

import asyncio
import json
from pathlib import Path

from broker.services.repairing import TYPE
from broker.settings.choices import load
from broker.setup.opening import open_home
from connectors.contract import Answered, Applied, Outcome
from schemas.names import Reason
from tests.program import Program, grant_and_declare
from tests.unit.broker.cli.test_cli_acts import ACTS, kinds
from tests.world import PORTAL, RENNES

SECRET = "7654321-CANARY"


def taken(unefois: Program, outcome: Outcome) -> int:
    """Rennes takes what waits and answers. Returns how much that was."""

    async def work() -> int:
        async with open_home(load(home=unefois.home)) as home:
            inbox = home.inbox(RENNES)
            locked = (await inbox.pull(10)).locked
            for one in locked:
                await inbox.acknowledge(one.delivery_id, outcome)
            return len(locked)

    return asyncio.run(work())


def unknown(unefois: Program, elise: Path, move: Path) -> str:
    """Rennes may hear of numbers and has not found her. Returns the declaration's id."""
    unefois.told("party", "allow", PORTAL, "person.reference")
    unefois.told(
        *("subscribe", "--recipient", RENNES, "--type", TYPE, "--purpose", "local-services", "--field", "subject"),
        *("--field", "number", "--field", "repairs", "--legal-reference", "CRPA, art. L114-8"),
    )
    declared = grant_and_declare(unefois, elise, move, "subject", "new_address")
    unefois.told("run", "--once")
    assert 1 == taken(unefois, Answered(Reason.UNKNOWN_PERSON))
    return declared


def test_a_number_is_added_and_the_declaration_comes_again(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    declared = unknown(unefois, elise, move)
    (tmp_path / "number.txt").write_text(f"{SECRET}\n")
    words = ("repair", declared, "--to", RENNES, "--person", elise, "--number-kind", "compte famille")
    words += ("--number", tmp_path / "number.txt")  # type: ignore[assignment]
    assert "To complete" in unefois.run("track", declared).stdout
    before = kinds(unefois.home)

    shown = unefois.told(*words, "--dry-run")
    assert (None, 3) == (shown["repaired"], shown["outlook"]["tries_left"])
    assert before == kinds(unefois.home)

    done = unefois.told(*words)
    assert ACTS["repair"] <= set(kinds(unefois.home)[len(before) :])
    assert 1 == done["repaired"]["number_of_try"]
    assert SECRET not in json.dumps(done)
    assert "repair.under-way" == unefois.error(*words, code=3)["code"]

    unefois.told("run", "--once")
    assert 1 == taken(unefois, Applied())  # the number
    unefois.told("run", "--once")
    assert 1 == taken(unefois, Applied())  # the declaration
    assert "repair.nothing" in unefois.run(*words).output
    (step,) = [one for one in unefois.told("track", declared)["steps"] if one["recipient"] == RENNES]
    assert "done" == step["progress"]
    assert 0 == unefois.run("fsck").exit_code
    assert not [file for file in unefois.home.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def test_the_outcome_of_a_repair_is_read(unefois: Program, elise: Path, move: Path) -> None:
    declared = unknown(unefois, elise, move)
    words = ("repair", declared, "--to", RENNES, "--person", elise, "--number-kind", "compte", "--number", "-")

    told = unefois.run(*words, typed="7654321").stdout

    assert "tries left" in told
    assert "2" in told
    assert "7654321" not in told
