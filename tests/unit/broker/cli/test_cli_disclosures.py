"""An auditor is given a file by one command, and judges the exported ledger with it, without a home."""

from pathlib import Path

from broker.cli.exits import Exit
from connectors import key_files
from schemas.hpke import SealingKey, Suite
from tests.program import Program, grant_and_declare, host

AUDITOR = "urn:fr:siret:11000101300017"


def test_an_auditor_verifies_with_a_file_that_the_ledger_tells_of(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    host(unefois, tmp_path)
    grant_and_declare(unefois, elise, move, "subject", "new_address")
    unefois.told("run", "--once")
    key, own = SealingKey.generate(Suite.X25519), tmp_path / "auditor.key"
    key_files.write(own, key)
    about = (
        "--name",
        "Cour",
        "--sector",
        "audit",
        "--address",
        "13 rue C",
        "--contact",
        "c@d.example",
        "--retention",
        "-",
    )
    unefois.told("party", "add", AUDITOR, *about)
    unefois.told("party", "add-key", AUDITOR, key_files.public(key))
    sealed, log = tmp_path / "sealed.json", tmp_path / "log"

    told = unefois.told("audit", "disclose", "--from", "2026-01-01", "--to", "2126-01-01", "--for", AUDITOR, sealed)
    unefois.told("audit", "export", log)

    given = ("audit", "verify", log, "--openings", sealed)
    assert told["openings"] > 3
    assert unefois.told(*given, "--opening-key", own)["valid"]
    assert (
        "cli.cannot-write"
        == unefois.error(
            "audit",
            "disclose",
            "--from",
            "2026-01-01",
            "--to",
            "2126-01-01",
            "--for",
            AUDITOR,
            sealed,
            code=Exit.REFUSED,
        )["code"]
    )
    assert Exit.USAGE == unefois.run(*given).exit_code
    other = tmp_path / "other.key"
    key_files.write(other, SealingKey.generate(Suite.X25519))
    assert "disclosure.other-key" == unefois.error(*given, "--opening-key", other, code=Exit.REFUSED)["code"]
