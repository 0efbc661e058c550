"""A stranger's first walk, in processes of its own, from nothing to a proof that holds offline."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.announced import site
from tests.world import RENNES

ROOT = Path(__file__).parents[4]
PARTY = ("--address", "1 rue X", "--contact", "c@x.example", "--retention", "2 ans")
FIELDS = [word for name in ("subject", "new_address", "effective_date") for word in ("--field", name)]


class Stranger:
    """Types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: told for name, told in os.environ.items() if not name.startswith(("UNEFOIS_", "LC_"))}
        path = os.pathsep.join((str(ROOT), str(site(folder / "site"))))
        self.environment = kept | {"PYTHONPATH": path, "UNEFOIS_HOME": str(folder / "home"), "LANG": "C.UTF-8"}

    def types(self, *words: object) -> str:
        """A command; it has to succeed, and to say nothing on stderr."""
        done = subprocess.run(
            [sys.executable, "-m", "broker", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr), done.stdout
        return done.stdout

    def told(self, *words: object) -> dict[str, Any]:
        """The answer as JSON."""
        answer: dict[str, Any] = json.loads(self.types(*words, "--json"))
        return answer


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    return Stranger(tmp_path)


@pytest.mark.proof
def test_the_first_walk(stranger: Stranger, elise: Path, move: Path, tmp_path: Path) -> None:
    key = stranger.told("init", "--name", "Essai", "--ledger-origin", "log.essai.example/unefois")["key"]
    stranger.types(
        *("party", "add", "urn:unefois:portal", "--name", "Portail", "--sector", "portal", *PARTY),
        *("--kind", "portal", "--publishes", "address.changed", "--suite", "none"),
    )
    stranger.types("party", "add", RENNES, "--name", "Ville de Rennes", "--sector", "commune", *PARTY)
    stranger.types(
        *("subscribe", "--recipient", RENNES, "--type", "address.changed", "--purpose", "local-services", *FIELDS),
        *("--territory", "35238", "--legal-reference", "CGCT, art. L2121-29"),
    )
    stranger.types(
        *("grant", "--person", elise, "--recipient", RENNES, "--type", "address.changed"),
        *("--purpose", "local-services", *FIELDS, "--receipt", "consent.json"),
    )
    declared = stranger.told("declare", move, "--type", "address.changed")["declaration"]

    assert 1 == stranger.told("run", "--once")["routed"]
    (step,) = stranger.told("track", declared)["steps"]
    assert (RENNES, "sent") == (step["recipient"], step["progress"])
    assert stranger.told("audit", "verify")["valid"]
    (tmp_path / "receipt.txt").write_text(stranger.types("audit", "prove", declared))
    stranger.types("audit", "export", "log")
    assert f"{key}\n" == (tmp_path / "log" / "vkey").read_text()
    shown = stranger.types("audit", "check", "receipt.txt", "--key", "log/vkey")
    assert re.search(r"Verified: log\.essai\.example/unefois, entry \d+ / \d+\n", shown)
    assert "All is well.\n" == stranger.types("fsck")


def test_asked_to_stop_the_running_machine_ends_well(stranger: Stranger) -> None:
    stranger.types("init")
    with subprocess.Popen(
        [sys.executable, "-m", "broker", "run"], stdout=subprocess.PIPE, text=True, env=stranger.environment
    ) as running:
        assert running.stdout is not None
        assert "Running, 0 hosted administrations.\n" == running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        assert 0 == running.wait(timeout=30)


def test_help_needs_nothing_heavy() -> None:
    heavy = ["alembic", "sqlalchemy", "pydantic", "cryptography", "fastavro", "jmespath", "stdnum", "httpx2"]
    code = (
        "import sys\n"
        "from broker.cli.app import main\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**os.environ}, check=False
    )

    assert "[]\n" == done.stderr
