"""audit: prove one fact, check it offline with nothing but the contract, verify all of it, export it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas import receipt
from schemas.facts import FactKind
from schemas.note import KeyType, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from tests.announced import announce
from tests.program import FIELDS, Program, elise_in, grant_and_declare, host, move_in
from tests.world import RENNES

ROOT = Path(__file__).parents[4]


@dataclass(frozen=True)
class Life:
    """A declaration that arrived in Rennes: the home where it did, its id, the ledger exported, a receipt."""

    home: Path
    declared: str
    log: Path
    proof: Path


@pytest.fixture(scope="module")
def life(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Lived once; each test has a copy."""
    folder = tmp_path_factory.mktemp("life")
    shutil.copytree(furnished, folder / "home")
    program = Program(folder / "home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNEFOIS_HOME", str(program.home))
        patched.setenv("LANG", "C.UTF-8")
        announce(patched)
        host(program, folder)
        declared = grant_and_declare(program, elise_in(folder), move_in(folder), *FIELDS)
        program.told("run", "--once")
        program.told("audit", "export", folder / "log")
        proof = program.run("audit", "prove", declared, "--kind", "applied").stdout
    (folder / "receipt.txt").write_text(proof)
    return Life(program.home, declared, folder / "log", folder / "receipt.txt")


@pytest.fixture
def lived(bare: Program, life: Life) -> str:
    """The declaration's id, and the home is one where it arrived."""
    shutil.copytree(life.home, bare.home)
    return life.declared


@pytest.fixture
def log(life: Life, tmp_path: Path) -> Path:
    """The ledger, exported."""
    shutil.copytree(life.log, tmp_path / "log")
    return tmp_path / "log"


@pytest.fixture
def proof(life: Life, tmp_path: Path) -> Path:
    """The receipt of the declaration's application in Rennes."""
    shutil.copy(life.proof, tmp_path / "receipt.txt")
    return tmp_path / "receipt.txt"


def key_of(unefois: Program) -> VerifierKey:
    return VerifierKey.parse(unefois.told("audit", "verify")["key"])


class TestProve:
    def test_what_is_printed_is_the_receipt_and_nothing_else(self, log: Path, proof: Path) -> None:
        checked = receipt.check(proof.read_text(), VerifierKey.parse((log / "vkey").read_text().strip()))

        assert (FactKind.APPLIED, RENNES) == (checked.facts.kind, checked.facts.recipient)

    def test_declaration_delivery_and_grant_can_be_proven(self, bare: Program, lived: str) -> None:
        (step,) = [each for each in bare.told("track", lived)["steps"] if each["recipient"] == RENNES]

        for id_, kind in ((lived, "applied"), (step["delivery"], "applied"), (step["grant"], "granted")):
            proof = bare.told("audit", "prove", id_)["receipt"]
            assert kind == receipt.check(proof, key_of(bare)).facts.kind.value

    def test_the_receipt_is_in_the_chosen_language(self, bare: Program, lived: str) -> None:
        assert bare.run("audit", "prove", lived, "--lang", "fr").stdout.startswith("Reçu Unefois, version 2\n")

    def test_what_cannot_be_proven_is_refused(self, bare: Program, lived: str) -> None:
        assert "proofs.unknown-id" == bare.error("audit", "prove", "0" * 32, code=3)["code"]
        assert "proofs.no-such-fact" == bare.error("audit", "prove", lived, "--kind", "revoked", code=3)["code"]
        assert "cli.usage" == bare.error("audit", "prove", lived, "--kind", "lost", code=2)["code"]
        assert "cli.usage" == bare.error("audit", "prove", "mine", code=2)["code"]


class TestCheck:
    def test_a_receipt_is_checked_with_the_key_or_a_file_that_holds_it(
        self, bare: Program, log: Path, proof: Path
    ) -> None:
        for key in (log / "vkey", (log / "vkey").read_text().strip()):
            told = bare.told("audit", "check", proof, "--key", key)
            assert (True, "applied", RENNES) == (told["valid"], told["facts"]["kind"], told["facts"]["recipient"])
        shown = bare.run("audit", "check", proof, "--key", log / "vkey").stdout
        assert "Verified: unefois.example/ledger, entry " in shown
        assert RENNES in shown

    def test_one_letter_changed_proves_nothing_and_is_code_1(self, bare: Program, log: Path, proof: Path) -> None:
        proof.write_text(proof.read_text().replace("the recipient has recorded", "the recipient has regarded"))

        result = bare.run("audit", "check", proof, "--key", log / "vkey")

        assert (1, "") == (result.exit_code, result.stdout)
        assert result.stderr.startswith("receipt.meaning-differs\n")

    def test_another_ledger_s_key_proves_nothing(self, bare: Program, proof: Path) -> None:
        key = VerifierKey.of("other.example/log", PrivateKey.generate(Algorithm.ED25519)).text

        result = bare.run("audit", "check", proof, "--key", key)

        assert 1 == result.exit_code
        assert result.stderr.startswith("checkpoint.other-log\n")

    def test_a_key_that_is_none_is_refused(self, bare: Program, proof: Path) -> None:
        assert "note.key-malformed" == bare.error("audit", "check", proof, "--key", "a+b+c", code=3)["code"]
        assert "cli.cannot-read" == bare.error("audit", "check", proof, "--key", "none", code=3)["code"]

    def test_witnesses_that_are_asked_for_must_have_signed(self, bare: Program, log: Path, proof: Path) -> None:
        result = bare.run("audit", "check", proof, "--key", log / "vkey", "--needed", "1", "--json")

        assert 1 == result.exit_code
        assert "checkpoint.quorum-impossible" == json.loads(result.stderr)["error"]["code"]

    def test_it_imports_the_contract_and_the_command_line_and_nothing_else_of_ours(
        self, log: Path, proof: Path
    ) -> None:
        code = (
            "import json, sys\n"
            "from broker.cli.app import main\n"
            "sys.argv[1:] = json.loads(sys.stdin.read())\n"
            "try:\n    main()\n"
            "except SystemExit as ended:\n    assert ended.code == 0, ended.code\n"
            "print(json.dumps(sorted(sys.modules)))\n"
        )
        words = ["audit", "check", str(proof), "--key", str(log / "vkey"), "--json"]

        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(words),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )

        assert "" == done.stderr
        loaded = json.loads(done.stdout.splitlines()[-1])
        ours = [name for name in loaded if name.partition(".")[0] in {"broker", "consent", "connectors"}]
        assert [] == [name for name in ours if name != "broker" and not name.startswith("broker.cli")]
        assert {"sqlalchemy", "alembic", "httpx2"}.isdisjoint(loaded)


class TestVerify:
    def test_the_home_s_own_ledger_is_verified(self, bare: Program, lived: str) -> None:
        told = bare.told("audit", "verify")

        assert (True, True, "unefois.example/ledger", []) == (
            told["valid"],
            told["key_pinned"],
            told["origin"],
            told["findings"],
        )

    def test_an_exported_ledger_is_verified_without_a_home(self, bare: Program, log: Path) -> None:
        told = bare.told("audit", "verify", log)

        assert (True, False) == (told["valid"], told["key_pinned"])
        assert "The key comes from the folder itself" in bare.run("audit", "verify", log).stdout
        pinned = bare.run("audit", "verify", log, "--key", told["key"])
        assert "The key comes from the folder itself" not in pinned.stdout
        assert "Verified: all is well." in pinned.stdout

    def test_one_byte_changed_is_found_and_code_1(self, bare: Program, log: Path) -> None:
        (bundle,) = (log / "tile/entries/000.p").iterdir()
        content = bytearray(bundle.read_bytes())
        content[-1] ^= 1
        bundle.write_bytes(content)

        result = bare.run("audit", "verify", log)

        assert 1 == result.exit_code
        assert "✗ tiles.hash-differs" in result.stdout
        assert not json.loads(bare.run("audit", "verify", log, "--json").stdout)["valid"]

    def test_a_folder_without_a_ledger_is_refused(self, bare: Program, tmp_path: Path) -> None:
        assert "audits.no-log" == bare.error("audit", "verify", tmp_path, code=3)["code"]


class TestExport:
    def test_it_is_brought_up_to_date(self, bare: Program, lived: str, log: Path, elise: Path, tmp_path: Path) -> None:
        bare.told("grants", "--person", elise)

        told = bare.told("audit", "export", log)

        assert told["before"] + 1 == told["size"]
        assert (log / "vkey").read_text() == f"{told['key']}\n"
        shown = bare.run("audit", "export", tmp_path / "other").stdout
        assert told["key"] in shown


class TestConsistency:
    def test_the_ledger_only_grew_since_the_checkpoint_before_a_size_or_a_file(
        self, bare: Program, lived: str, log: Path, elise: Path
    ) -> None:
        bare.told("grants", "--person", elise)

        for words in ((), ("3",), (log / "checkpoint",)):
            told = bare.told("audit", "consistency", *words)
            assert told["consistent"]
            assert told["old"]["size"] < told["new"]["size"]
        assert "The ledger only grew.\n" in bare.run("audit", "consistency").stdout

    def test_another_past_is_code_1(self, bare: Program, lived: str, log: Path) -> None:
        text = (log / "checkpoint").read_text()
        (log / "checkpoint").write_text(text.replace("unefois.example/ledger\n", "unefois.example/log\n", 1))

        result = bare.run("audit", "consistency", log / "checkpoint")

        assert (1, "") == (result.exit_code, result.stdout)

    def test_a_size_that_never_was_is_refused(self, bare: Program, lived: str) -> None:
        assert "proofs.size" == bare.error("audit", "consistency", "100000", code=3)["code"]


def test_the_witnesses_of_our_own_ledger_are_listed_with_what_waits(
    unefois: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = unefois.told("witness", "list")
    key = VerifierKey.of("witness.example/0", PrivateKey.generate(Algorithm.ED25519), KeyType.COSIGNATURE_ED25519)
    monkeypatch.setenv("UNEFOIS_WITNESSES", f"{key.text} https://witness.example")
    monkeypatch.setenv("UNEFOIS_WITNESS_QUORUM", "1")
    told = unefois.told("witness", "list")
    size, nothing = told["size"], {"size": 0, "at": None, "behind": told["size"]}

    assert {"size": size, "witnessed": None, "quorum": 0, "witnesses": []} == alone
    assert (0, 1) == (told["witnessed"], told["quorum"])
    assert [{"name": key.name, "url": "https://witness.example", "key": key.text, **nothing}] == told["witnesses"]
    assert key.name in unefois.run("witness", "list").stdout
