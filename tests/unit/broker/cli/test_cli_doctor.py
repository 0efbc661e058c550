"""doctor: how a home is, whatever is wrong with it, and nothing that tells of a person."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.maintenance.last import BACKUP, CHECK
from broker.runtime import doctor as doctors
from broker.settings.choices import load
from tests.program import FIELDS, Program, grant_and_declare, host
from tests.sqlite_rows import change
from tests.unit.broker.cli.test_cli_serve import serving
from tests.world import CAF, ELISE

GIB = 1 << 30
NEVER = {"doctor.never-checked", "doctor.never-backed-up"}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room, and nobody else's process at the usual address."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (100 * GIB, 40 * GIB, 60 * GIB))
    monkeypatch.setenv("UNEFOIS_LISTEN", "none")


def look(unefois: Program, *words: str) -> dict[str, Any]:
    """What it tells, as JSON; its exit code says whether that is well."""
    result = unefois.run("doctor", "--json", *words)
    assert "" == result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    assert (0 if told["healthy"] else 1) == result.exit_code
    assert told["healthy"] is not any(one["attention"] for one in told["findings"])
    return told


def attention(told: dict[str, Any]) -> set[str]:
    return {one["code"] for one in told["findings"] if one["attention"]}


def test_a_home_that_was_checked_and_backed_up_needs_no_attention(unefois: Program, tmp_path: Path) -> None:
    assert NEVER == attention(look(unefois))
    assert unefois.told("fsck")["clean"]
    unefois.told("backup", tmp_path / "monday")

    told = look(unefois)
    assert set() == attention(told)
    assert {} == told["fsck"]["findings"]
    assert told["figures"]["ledger_entries"] == told["backup"]["ledger_entries"]
    assert told["libraries"]["cryptography"]
    assert {"sqlite"} == {told["database"]["kind"]}
    assert "Nothing needs attention." in unefois.run("doctor").stdout
    assert "Rien ne demande d'attention." in unefois.run("doctor", "--lang", "fr").stdout


def test_a_look_changes_nothing(unefois: Program) -> None:
    def files() -> dict[Path, bytes]:
        """Without those that SQLite makes whenever somebody reads."""
        found = (path for path in sorted(unefois.home.rglob("*")) if path.is_file() and path.name[-4:] != "-shm")
        return {path: path.read_bytes() for path in found}

    look(unefois)
    before = files()
    look(unefois)
    assert before == files()


def test_settings_are_told_where_they_differ_and_without_what_is_nobodys_business(
    unefois: Program, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("four words that nobody guesses")
    lines = ['name = "Chez Élise"', 'contact = "jeanne@example.fr"', "lease_seconds = 61", "delivery_attempts = 48"]
    (unefois.home / "unefois.toml").write_text("\n".join(lines) + f'\nendings_folder = "{unefois.home}/endings"\n')

    told = look(unefois)
    assert {"name": "(set)", "contact": "(set)", "lease_seconds": 61, "listen": "none"} == told["settings"]
    assert "jeanne" not in json.dumps(told)
    assert str(unefois.home) not in json.dumps(told)


def test_what_was_found_and_what_is_old_is_told_without_its_place(unefois: Program, tmp_path: Path) -> None:
    unefois.told("backup", tmp_path / "monday")
    change(unefois.home, "UPDATE signing_keys SET valid_from = valid_from + 1")
    assert 1 == unefois.run("fsck").exit_code

    told = look(unefois)
    assert {"doctor.check-found"} <= attention(told)
    assert 0 < sum(told["fsck"]["findings"].values())
    age(unefois, days=3)
    assert {"doctor.old-check", "doctor.old-backup", "doctor.check-found"} <= attention(look(unefois))


def age(unefois: Program, *, days: int) -> None:
    """Let the notes be so old."""
    for name in (CHECK, BACKUP):
        path = unefois.home / "endings" / name
        told = json.loads(path.read_text())
        path.write_text(json.dumps(told | {"at": told["at"] - days * 86_400_000}))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"at": "yesterday"}', '{"at": 1, "findings": 2}'])
def test_a_note_that_cannot_be_read_is_none(unefois: Program, tmp_path: Path, damage: str) -> None:
    for name in (CHECK, BACKUP):
        (unefois.home / "endings" / name).write_text(damage)

    assert NEVER == attention(look(unefois))


def test_without_its_database_it_says_so_and_says_the_rest(
    unefois: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unefois.told("fsck")
    unefois.told("backup", tmp_path / "monday")
    monkeypatch.setenv("UNEFOIS_DATABASE_URL", "postgresql+asyncpg://unefois:hunter2@127.0.0.1:1/unefois")

    told = look(unefois)
    assert "store.away" in attention(told)
    assert None is told["figures"]
    assert (told["fsck"]["findings"], told["database"]["version"]) == ({}, "?")
    assert {"home", "keys_folder", "endings_folder"} == set(told["disks"])
    assert "hunter2" not in json.dumps(told)


def test_without_its_kafka_it_says_so_and_says_the_rest(
    unefois: Program, elise: Path, move: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(unefois, elise.parent)
    grant_and_declare(unefois, elise, move, *FIELDS)
    unefois.told("run", "--once")
    whole = look(unefois)["figures"]
    for name, told in {"LOG": "kafka", "KAFKA_BOOTSTRAP": "127.0.0.1:1", "KAFKA_SECURITY": "plaintext"}.items():
        monkeypatch.setenv(f"UNEFOIS_{name}", told)

    told = look(unefois)
    assert ["kafka.away"] == [one["code"] for one in told["findings"] if one["code"].startswith("kafka.")]
    assert ({}, None) == (told["figures"]["lag"], told["figures"]["inlet_lag"])
    same = {"ledger_entries", "dead_letters", "webhooks", "letters", "expiring", "unknown_keys", "clock_believed"}
    assert {each: whole[each] for each in same} == {each: told["figures"][each] for each in same}
    assert (told["database"]["kind"], None) == ("sqlite", told["backup"])
    (waiting,) = [one for one in unefois.run("doctor").stdout.splitlines() if "to be routed" in one]
    assert "-" == waiting.split()[-1]


def test_without_a_home_or_with_settings_that_cannot_be_read_it_says_what_it_can(bare: Program) -> None:
    assert "cli.no-home" in attention(look(bare))
    assert not bare.home.exists()

    bare.home.mkdir()
    (bare.home / "unefois.toml").write_text("lease_seconds = 1\nno_such = 2\n")
    told = look(bare)
    assert {"settings.invalid", "settings.unknown"} <= attention(told)
    assert (None, {}) == (told["figures"], told["settings"])
    assert told["libraries"]


@pytest.mark.proof
def test_beside_a_broker_that_runs_it_tells_what_that_one_says_of_itself(
    unefois: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNEFOIS_LISTEN")
    with serving() as (_, address):
        monkeypatch.setenv("UNEFOIS_LISTEN", address.removeprefix("http://"))
        told = look(unefois)

    assert (told["version"], told["commit"]) == (told["process"]["version"], told["process"]["commit"])
    assert {"database", "log", "ledger", "clock", "work"} == set(told["process"]["checks"])
    assert None is look(unefois)["process"]


def test_a_full_disk_and_waiting_work_need_attention(
    unefois: Program, elise: Path, move: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant_and_declare(unefois, elise, move, *FIELDS)
    unefois.told("token", "issue", CAF, "--scope", "read", "--days", "3")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (100 * GIB, 95 * GIB, 5 * GIB))

    told = look(unefois)
    assert {"doctor.disk", "doctor.nobody-routes", "doctor.expiring"} <= attention(told)
    (soon,) = [one for one in told["findings"] if one["code"] == "doctor.expiring"]
    assert f"In 2 days {CAF} loses its last token read." == soon["message"]


def test_dead_letters_are_told_by_their_code_and_nobodys_own_words(
    unefois: Program, elise: Path, move: Path, tmp_path: Path
) -> None:
    grant_and_declare(unefois, elise, move, *FIELDS)
    host(unefois, tmp_path)
    change(tmp_path / "town.db", "CREATE TABLE t (nom VARCHAR(1), rue TEXT)")
    unefois.run("run", "--once")

    told = look(unefois)
    (letter,) = told["figures"]["letters"]
    assert ("delivery", 1) == (letter["stage"], letter["count"])
    assert letter["code"].startswith("table.")
    assert "doctor.letters" in attention(told)
    change(unefois.home, "UPDATE dead_letters SET code = 'Élise Martin'")
    (letter,) = look(unefois)["figures"]["letters"]
    assert doctors.ANOTHERS == letter["code"]


def test_nothing_of_a_citizen_is_in_it(unefois: Program, elise: Path, move: Path, tmp_path: Path) -> None:
    declaration = grant_and_declare(unefois, elise, move, *FIELDS)
    host(unefois, tmp_path)
    change(tmp_path / "town.db", "CREATE TABLE t (nom VARCHAR(1), rue TEXT)")
    unefois.run("run", "--once")
    unefois.run("fsck")
    (grant,) = unefois.told("grants", "--person", elise)["grants"]
    canaries = [declaration, grant["id"], *(str(one) for one in ELISE.values()), "Élise", "Monnaie", "35238"]
    for table, column in (
        ("grants", "subject"),
        ("deliveries", "id"),
        ("deliveries", "tag"),
        ("submissions", "subject"),
    ):
        canaries += [row[0].hex() for row in change(unefois.home, f"SELECT {column} FROM {table}") if row[0]]

    said = "".join(unefois.run("doctor", *words).output for words in ((), ("--json",), ("--lang", "fr")))
    assert [] == [canary for canary in canaries if canary in said or canary.replace("-", "") in said]


def test_what_is_not_installed_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctors, "LIBRARIES", ("cryptography", "no-such-library"))

    assert ["cryptography"] == list(doctors._libraries())


def test_the_time_of_a_note_is_the_homes_own(unefois: Program) -> None:
    unefois.told("fsck")
    told = datetime.fromisoformat(look(unefois)["fsck"]["at"])

    assert abs(datetime.fromisoformat(look(unefois)["at"]) - told) < timedelta(days=1)
    assert told.tzinfo == UTC
    assert load(home=unefois.home).listen == "none"
