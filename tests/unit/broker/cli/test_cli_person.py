"""person report, receipt: what a person asks for, and what they can check without us."""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from broker.settings.sources import PREFIX
from schemas.catalogue import builtin
from schemas.names import EventType
from tests.program import FIELDS, Program, grant_and_declare, host
from tests.sqlite_rows import change
from tests.world import RENNES


def handed_over(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> str:
    """Rennes has Élise's move. Returns the declaration's id."""
    declaration = grant_and_declare(unefois, elise, move, *FIELDS)
    host(unefois, tmp_path)
    unefois.told("run", "--once")
    return declaration


class TestReport:
    def test_it_tells_who_got_what_when_and_on_which_ground(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        declaration = handed_over(unefois, elise, move, tmp_path)
        (grant,) = unefois.told("grants", "--person", elise)["grants"]

        told = unefois.told("person", "report", "--person", elise)
        (one,) = told["handed_over"]
        assert (RENNES, declaration, "consent") == (one["recipient"], one["declaration"], one["basis"])
        assert (grant["id"], grant["version"], "applied") == (one["grant"], one["grant_version"], one["outcome"])
        assert set(FIELDS) == set(one["fields"]) == set(one["field_labels"])
        assert {"fr", "en"} == set(one["event_label"])
        rows = change(unefois.home, "SELECT leaf FROM ledger_openings WHERE kind = 'released'")
        assert [one["entry"]] == [leaf.hex() for (leaf,) in rows]
        assert unefois.told("audit", "prove", one["delivery"], "--kind", "released")["receipt"]
        assert ["viewed"] == [look["kind"] for look in told["looks"]]
        assert {told["broker"], RENNES} <= set(told["parties"])
        assert told["parties"][RENNES]["retention"]

    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("fr", ["Transmis (1)", "consentement", "Vos droits s'exercent", "enregistré", "Consultations"]),
            ("en", ["Handed over (1)", "consent", "You exercise your rights", "recorded", "Looks at your file"]),
        ],
    )
    def test_it_is_read_in_both_languages_with_the_words_of_the_type(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path, language: Any, words: list[str]
    ) -> None:
        handed_over(unefois, elise, move, tmp_path)

        said = unefois.run("person", "report", "--person", elise, "--lang", language).stdout
        event = builtin().by_type(EventType("fr.unefois.address.changed.v1"))
        labels = [each.label[language] for each in event.fields if each.name in FIELDS]
        assert [] == [word for word in (*words, event.label[language], *labels) if word not in said]

    def test_it_tells_no_value(self, unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
        handed_over(unefois, elise, move, tmp_path)

        said = unefois.run("person", "report", "--person", elise, "--json").stdout
        said += unefois.run("person", "report", "--person", elise).stdout
        assert [] == [value for value in ("Élise", "Martin", "Monnaie", "1985-04-12", "44109") if value in said]

    def test_of_somebody_unknown_there_is_nothing_but_the_look(self, unefois: Program, elise: Path) -> None:
        told = unefois.told("person", "report", "--person", elise)

        parts = ("handed_over", "under_way", "withheld", "declared", "consents", "looks")
        assert [[]] * len(parts) == [told[part] for part in parts]
        assert [told["entry"]] == [
            look["entry"] for look in unefois.told("person", "report", "--person", elise)["looks"]
        ]


class TestReceipt:
    @pytest.fixture
    def kept(self, unefois: Program, elise: Path, tmp_path: Path) -> Path:
        """What a citizen keeps: a receipt, the directory, the ledger's key."""
        folder = tmp_path / "kept"
        folder.mkdir()
        unefois.told(
            *("grant", "--person", elise, "--recipient", RENNES, "--type", "address.changed"),
            *("--purpose", "local-services", "--field", "subject", "--receipt", folder / "consent.json"),
        )
        (folder / "directory.json").write_text(unefois.run("receipt", "directory").stdout)
        (folder / "vkey").write_text(unefois.told("ledger", "show")["key"])
        return folder

    def words(self, kept: Path) -> tuple[object, ...]:
        return (
            *("receipt", "verify", kept / "consent.json"),
            *("--directory", kept / "directory.json", "--key", kept / "vkey"),
        )

    def test_it_is_verified_without_a_home_a_network_or_a_database(self, kept: Path) -> None:
        plain = {name: told for name, told in os.environ.items() if not name.startswith(PREFIX)}
        program = (
            "import socket, sqlite3, sys\n"
            "def never(*a, **k): raise SystemExit('no network, no database')\n"
            "socket.socket.connect = never; sqlite3.connect = never\n"
            "from broker.cli.app import main; main()"
        )
        command = [sys.executable, "-c", program, *map(str, self.words(kept)), "--json"]
        done = subprocess.run(
            command, env=plain | {"HOME": str(kept / "nobody")}, capture_output=True, text=True, check=False
        )

        assert (0, "") == (done.returncode, done.stderr)
        told = json.loads(done.stdout)
        assert (True, RENNES, ["subject"], "active") == (
            told["valid"],
            told["recipient"],
            told["fields"],
            told["status"],
        )

    @pytest.mark.parametrize("part", ["payload", "sig"])
    def test_a_byte_that_was_changed_is_found(self, unefois: Program, kept: Path, part: str) -> None:
        path = kept / "consent.json"
        envelope = json.loads(path.read_bytes())
        holder = envelope if part == "payload" else envelope["signatures"][0]
        raw = bytearray(b64decode(holder[part]))
        raw[len(raw) // 2] ^= 1
        holder[part] = b64encode(raw).decode()
        path.write_text(json.dumps(envelope))

        assert "consent-receipt.signature" == unefois.error(*self.words(kept), code=1)["code"]

    def test_a_directory_that_was_changed_is_found(self, unefois: Program, kept: Path) -> None:
        path = kept / "directory.json"
        path.write_text(path.read_text().replace("urn:unefois:caf", "urn:unefois:cnf"))

        assert unefois.error(*self.words(kept), code=1)["code"].startswith("directory.")

    def test_another_ledgers_key_believes_nothing(self, unefois: Program, kept: Path) -> None:
        key = (kept / "vkey").read_text().strip()
        (kept / "vkey").write_text(key.replace("unefois.example", "another.example"))

        assert "note" in unefois.run(*self.words(kept)).stderr

    def test_a_signed_directory_wants_the_key_that_was_pinned_and_a_bare_one_is_believed(
        self, unefois: Program, kept: Path
    ) -> None:
        words = ("receipt", "verify", kept / "consent.json", "--directory", kept / "directory.json")
        assert 2 == unefois.run(*words).exit_code
        bare = json.loads((kept / "directory.json").read_text())["directory"]
        (kept / "directory.json").write_text(bare)

        assert unefois.told(*words)["valid"]
        assert "Vérifié" in unefois.run(*words, "--lang", "fr").stdout

    def test_a_key_of_somebody_else_in_the_directory_certifies_nothing(self, unefois: Program, kept: Path) -> None:
        """As if a party's key had signed: the broker's entry is another party's."""
        told = json.loads(json.loads((kept / "directory.json").read_text())["directory"])
        kid = json.loads((kept / "consent.json").read_text())["signatures"][0]["keyid"]
        (entry,) = [one for one in told["signing"] if kid in one.values()]
        entry["party"] = RENNES
        (kept / "directory.json").write_text(json.dumps(told, indent=1) + "\n")
        words = ("receipt", "verify", kept / "consent.json", "--directory", kept / "directory.json")

        assert "directory.key-of-another-party" == unefois.error(*words, code=1)["code"]
