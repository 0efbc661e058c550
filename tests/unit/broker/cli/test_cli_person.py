"""person report, receipt: what a person asks for, and what they can check without us."""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from broker.cli.session import write_new
from broker.services.person_schema import schema
from broker.settings.sources import PREFIX
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.names import EventType
from tests.program import FIELDS, Program, grant_and_declare, host
from tests.sqlite_rows import change
from tests.world import ELISE, RENNES


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


class TestExport:
    def test_it_writes_one_file_for_its_owner_alone_and_counts_what_is_in_it(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        handed_over(unefois, elise, move, tmp_path)
        file = tmp_path / "me.json"

        told = unefois.told("person", "export", file, "--person", elise)
        written = json.loads(file.read_text("utf-8"))
        assert [] == list(Draft202012Validator(schema()).iter_errors(written))
        assert (0o600, written["entry"]) == (file.stat().st_mode & 0o777, told["entry"])
        assert {name: len(rows) for name, rows in written["held"].items()}.items() <= told["counts"].items()
        assert (1, 1, True) == (told["counts"]["declarations"], told["counts"]["deliveries"], told["held"])

    def test_a_file_that_is_there_is_not_written_over_and_nobody_looked(
        self, unefois: Program, elise: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "me.json"
        file.write_text("mine")

        error = unefois.error("person", "export", file, "--person", elise, code=3)
        assert ("cli.file-exists", "mine") == (error["code"], file.read_text())
        assert [] == unefois.told("person", "report", "--person", elise)["looks"]

    def test_of_a_full_disk_nothing_is_left(
        self, unefois: Program, elise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("broker.cli.session.os.fsync", full)
        with pytest.raises(Refused) as refused:
            write_new(tmp_path / "me.json", b"{}")
        assert ("cli.cannot-write", []) == (refused.value.code, list(tmp_path.glob("me.json*")))

    @pytest.mark.parametrize(
        ("wrong", "code", "pointer"),
        [
            ({"birthdate": "1985-13-41"}, "identity.birthdate", "/birthdate"),
            ({"birthplace": "44"}, "identity.birthplace", "/birthplace"),
        ],
    )
    def test_a_half_typed_identity_is_refused_at_its_place_and_no_file_is_made(
        self, unefois: Program, tmp_path: Path, wrong: dict[str, str], code: str, pointer: str
    ) -> None:
        (tmp_path / "half.json").write_text(json.dumps(ELISE | wrong))
        file = tmp_path / "me.json"

        for words in (("export", file), ("erase", "--yes"), ("erase", "--dry-run")):
            error = unefois.error("person", *words, "--person", tmp_path / "half.json", code=3)
            assert (code, pointer) == (error["code"], error["pointer"])
        assert not file.exists()

    def test_of_somebody_unknown_the_file_says_that_nothing_is_held(
        self, unefois: Program, elise: Path, tmp_path: Path
    ) -> None:
        said = unefois.run("person", "export", tmp_path / "me.json", "--person", elise, "--lang", "fr").stdout

        assert "Rien n'est conservé sur cette personne." in said
        assert {"held": False} == json.loads((tmp_path / "me.json").read_text("utf-8"))["person"]


class TestErase:
    def test_a_dry_run_and_the_deed_tell_the_same_in_both_languages(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        handed_over(unefois, elise, move, tmp_path)

        before = unefois.told("person", "erase", "--person", elise, "--dry-run")
        said = unefois.run("person", "erase", "--person", elise, "--dry-run", "--lang", "fr").stdout
        done = unefois.told("person", "erase", "--person", elise, "--yes")
        assert (before["gone"], True, False) == (done["gone"], before["dry_run"], done["dry_run"])
        assert 1 == done["gone"]["declarations"]
        assert all(word in said for word in ("serait effacé", "Ce qui reste, et pourquoi", "RGPD", "jours"))
        assert 0 == unefois.run("fsck").exit_code
        assert unefois.told("person", "erase", "--person", elise, "--yes")["nothing_left"]
        again = unefois.run("person", "erase", "--person", elise, "--yes", "--lang", "en").stdout
        assert "Nothing is left to erase." in again
        assert "What stays, and why:" in again

    def test_it_asks_first(self, unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
        handed_over(unefois, elise, move, tmp_path)

        assert 0 != unefois.run("person", "erase", "--person", elise, typed="n\n").exit_code
        assert 1 == unefois.told("person", "erase", "--person", elise, "--dry-run")["gone"]["declarations"]

    def test_what_is_on_its_way_is_waited_for(self, unefois: Program, elise: Path, move: Path) -> None:
        grant_and_declare(unefois, elise, move, *FIELDS)

        error = unefois.error("person", "erase", "--person", elise, "--yes", code=3)
        assert ("rights.under-way", "/person", {"count": 1}) == (error["code"], error["pointer"], error["details"])
        said = unefois.run("person", "erase", "--person", elise, "--dry-run", "--lang", "fr").stdout
        assert "1 éléments sont en route" in said

    def test_neither_command_tells_a_value(self, unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
        handed_over(unefois, elise, move, tmp_path)
        said = unefois.run("person", "export", tmp_path / "me.json", "--person", elise).output
        said += (tmp_path / "me.json").read_text("utf-8")
        said += unefois.run("person", "erase", "--person", elise, "--yes").output

        assert [] == [value for value in ("Élise", "Martin", "Monnaie", "1985-04-12", "44109") if value in said]


class TestAcknowledge:
    def test_a_paper_is_written_and_verifies_offline(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        declaration = handed_over(unefois, elise, move, tmp_path)
        paper, pdf, directory = tmp_path / "paper.json", tmp_path / "paper.pdf", tmp_path / "directory.json"
        told = unefois.told("acknowledge", declaration, paper, "--pdf", pdf, "--record", move)
        directory.write_text(json.dumps(unefois.told("receipt", "directory")))
        key = unefois.told("ledger", "show")["key"]
        words = ("receipt", "verify", paper, "--directory", directory, "--key", key)

        assert (declaration, 1, "as-stated") == (told["number"], told["recipients"], told["values"])
        assert pdf.read_bytes().startswith(b"%PDF-1.7")
        assert (True, declaration) == (unefois.told(*words)["valid"], unefois.told(*words)["number"])
        assert "Vérifié" in unefois.run(*words, "--lang", "fr").stdout
        paper.write_text(paper.read_text().replace(declaration, "01a20d6d-8cc8-7fcf-a033-9cfabd964ce8"))
        assert "acknowledgement.differs" == unefois.error(*words, code=1)["code"]
        again = unefois.error("acknowledge", declaration, tmp_path / "new", "--pdf", pdf, code=3)
        assert "cli.file-exists" == again["code"]
        assert not (tmp_path / "new").exists()
