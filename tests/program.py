"""The program `unefois` as tests call it, and what they do with it again and again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from broker.cli.app import asked
from tests.world import ELISE, RENNES

FIELDS = ("subject", "new_address", "effective_date")
"""What Rennes asks for, and needs."""


@dataclass
class Program:
    """The program `unefois` with one home."""

    home: Path

    def run(self, *words: object, typed: str | None = None) -> Result:
        """Call it."""
        line = [str(word) for word in words]
        return CliRunner().invoke(asked(line), line, input=typed)

    def told(self, *words: object) -> dict[str, Any]:
        """Its answer as JSON; it has to succeed."""
        result = self.run(*words, "--json")
        assert (0, "") == (result.exit_code, result.stderr), result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def error(self, *words: object, code: int) -> dict[str, Any]:
        """Its error as JSON; it has to end with this exit code."""
        result = self.run(*words, "--json")
        assert (code, "") == (result.exit_code, result.stdout), result.output
        error: dict[str, Any] = json.loads(result.stderr)["error"]
        return error


def elise_in(folder: Path) -> Path:
    """A file with a citizen's pivot identity."""
    path = folder / "elise.json"
    path.write_text(json.dumps(ELISE))
    return path


def move_in(folder: Path) -> Path:
    """A file with Élise's move from Nantes to Rennes, without the fields that may be left out."""
    address = {"housenumber": "12", "street": "rue de la Monnaie", "postcode": "35000", "city": "Rennes"}
    record = {
        "subject": ELISE,
        "capacity": "self",
        "effective_date": "2026-12-01",
        "new_address": {**address, "commune": "35238", "country": "99100", "lines": []},
        "old_commune": "44109",
        "new_commune": "35238",
        "new_country": "99100",
        "household": [],
        "vehicles": [],
        "occupants": 1,
    }
    path = folder / "move.json"
    path.write_text(json.dumps(record))
    return path


def host(unefois: Program, tmp_path: Path) -> None:
    """Let Rennes be hosted, with a table of its own."""
    folder = unefois.home / "agencies"
    folder.mkdir()
    settings = {"url": f"sqlite+aiosqlite:///{tmp_path / 'town.db'}", "table": "t", "create": True}
    (folder / "small.mapping").write_text(
        "{name: small, version: 1, event_type: fr.unefois.address.changed.v1, direction: out,"
        " fields: {nom: record.subject.family_name, rue: record.new_address.street}}"
    )
    route = {"mapping": "./small.mapping", "connector": "table", "settings": settings}
    (folder / "rennes.yaml").write_text(json.dumps({"party": RENNES, "routes": [route]}))


def grant_and_declare(unefois: Program, elise: Path, move: Path, *fields: str) -> str:
    """Élise lets Rennes know, and declares. Returns the declaration's id."""
    words = [word for field in fields for word in ("--field", field)]
    unefois.told(
        *("grant", "--person", elise, "--recipient", RENNES, "--type", "address.changed"),
        *("--purpose", "local-services", *words),
    )
    declared: str = unefois.told("declare", move, "--type", "address.changed")["declaration"]
    return declared
