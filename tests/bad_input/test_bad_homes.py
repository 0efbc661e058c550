"""A home that does not open, for its passphrase, permissions or version: told with a remedy, and left as it is."""

import hashlib
import os
import shutil
import sqlite3
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from broker.keys import file as key_file
from broker.keys import lock as key_lock
from broker.settings.choices import load
from schemas.errors import Refused
from tests.bad_input.person import Person
from tests.bad_input.telling import LANGUAGES, chain, sentences_of

NOBODY = 65534
PHRASE = "Zibeline-und-Quenouillard"


@pytest.fixture
def locked(person: Person, monkeypatch: pytest.MonkeyPatch) -> Person:
    """A home whose keys are locked with a passphrase: the same keys, kept anew. (Cheap to guess, for tests.)"""
    monkeypatch.setattr(key_lock, "SCRYPT_LOG2_N", 4)
    keys = person.home / "keys"
    plain = key_file.FileKeys.open(keys, os.urandom)
    held = {(kind, name): plain.read(kind, name) for kind in key_file.KeyKind for name in plain.names(kind)}
    shutil.rmtree(keys)
    closed = key_file.FileKeys.open(keys, os.urandom, PHRASE)
    for (kind, name), secret in held.items():
        closed.write(kind, name, secret)
    return person


def told_everywhere(person: Person, code: str, pointer: str = "", exit_code: int = 3) -> None:
    """Commands that open the home end in this fault."""
    for words in (("fsck",), ("declare", person.file, "--type", "address.changed")):
        person.is_told(words, code, pointer, exit_code=exit_code)


class TestPassphrase:
    def test_a_wrong_one_is_told_and_the_right_one_opens(self, locked: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", PHRASE.lower())
        told_everywhere(locked, "keys.wrong-passphrase")
        assert PHRASE.lower() not in locked.program.run("fsck").output

        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", PHRASE)
        locked.declares()

    def test_none_where_one_is_needed_is_told(self, locked: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        told_everywhere(locked, "keys.passphrase-needed")

        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", PHRASE)
        locked.declares()

    def test_one_where_none_is_needed_is_told(self, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", PHRASE)
        told_everywhere(person, "keys.not-locked")

        monkeypatch.delenv("UNEFOIS_KEYS_PASSPHRASE")
        person.declares()

    def test_a_file_that_is_not_there_is_told_by_the_setting(
        self, locked: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(tmp_path / "phrase"))
        told_everywhere(locked, "settings.secret-file", "/keys_passphrase")

        (tmp_path / "phrase").write_text(PHRASE + "\n")
        locked.declares()

    def test_a_file_in_another_encoding_is_told_and_hangs_on_no_exception(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "phrase").write_bytes(PHRASE.encode() + b"\xe9")
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(tmp_path / "phrase"))

        with pytest.raises(Refused) as caught:
            load(home=tmp_path)

        assert "settings.secret-file" == caught.value.code
        said = "".join(traceback.format_exception(caught.value)) + "".join(map(repr, chain(caught.value)))
        assert "Zibeline" not in said


class TestPermissions:
    @pytest.mark.parametrize(
        ("place", "more"),
        [(".", 0o040), ("ledger", 0o004), ("ledger/ledger", 0o020)],
        ids=["store-group", "folder-others", "key-group-writes"],
    )
    def test_keys_that_others_can_reach_are_not_used(self, person: Person, place: str, more: int) -> None:
        path = person.home / "keys" / place
        mode = path.stat().st_mode
        path.chmod(mode | more)

        fault = person.is_told(("fsck",), "keys.readable-by-others", exit_code=3)

        assert f"{(mode | more) & 0o7777:04o}" == fault.details["mode"]
        path.chmod(mode)
        person.declares()

    def test_keys_of_another_account_are_not_used(self, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "geteuid", lambda: os.getuid() + 1)
            fault = person.is_told(("fsck",), "keys.foreign-owner", exit_code=3)

        assert (os.getuid(), os.getuid() + 1) == (fault.details["owner"], fault.details["expected"])
        person.declares()

    def test_keys_behind_a_link_are_not_used(self, person: Person) -> None:
        keys = person.home / "keys"
        keys.rename(person.home / "elsewhere")
        keys.symlink_to(person.home / "elsewhere")

        person.is_told(("fsck",), "keys.symbolic-link", exit_code=3)

        keys.unlink()
        (person.home / "elsewhere").rename(keys)
        person.declares()

    def test_a_database_that_this_account_may_not_open_is_told(self, person: Person) -> None:
        with as_nobody(person) as stranger:
            for language in LANGUAGES:
                shown = stranger.program.run("fsck", "--home", stranger.home, "--lang", language)
                assert 4 == shown.exit_code
                assert shown.stderr.startswith("store.cannot-open")
                assert "PermissionError" in shown.stderr
                assert "Traceback" not in shown.output
        person.declares()

    def test_a_folder_in_the_place_of_the_database_is_told(self, person: Person) -> None:
        kept = person.database.rename(person.home / "kept")
        person.database.mkdir()
        for language in LANGUAGES:
            shown = person.program.run("fsck", "--lang", language)
            assert 4 == shown.exit_code
            assert shown.stderr.startswith("store.cannot-open")
        person.database.rmdir()
        kept.rename(person.database)
        person.declares()


@contextmanager
def as_nobody(person: Person) -> Iterator[Person]:
    """The keys are the caller's own, the database is somebody else's. Root, who may open anything, becomes nobody."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(person.home, home)
        for path in home.rglob("*") if root else ():
            os.chown(path, NOBODY, NOBODY)
        for path in home.glob("unefois.db*"):
            path.chmod(0o400 if root else 0o000)
            if root:
                os.chown(path, 0, 0)
        for path in (Path(folder), home):
            path.chmod(0o755)
        if root:
            os.seteuid(NOBODY)
        try:
            yield Person(home, person.file)
        finally:
            if root:
                os.seteuid(0)


class TestVersion:
    def test_a_home_of_a_newer_version_is_told_and_left_as_it_is(self, person: Person) -> None:
        found = _version(person, "9999")
        before = _digest(person.database)

        for words in (("run", "--once"), ("init",), ("declare", person.file, "--type", "address.changed")):
            fault = person.is_told(words, "store.newer-version", exit_code=3)
            assert "9999" == fault.details["found"]

        assert before == _digest(person.database)
        _version(person, found)
        person.declares()

    def test_a_home_of_an_older_version_is_told_what_brings_it_up_to_date(self, person: Person) -> None:
        _version(person, "0015")

        fault = person.is_told(("fsck",), "store.not-migrated", exit_code=3)

        assert "0015" == fault.details["found"]
        assert all("unefois migrate" in sentences_of(fault, language)[1] for language in LANGUAGES)

    def test_a_setting_of_a_newer_version_is_told_by_its_name(self, person: Person) -> None:
        file = person.home / "unefois.toml"
        kept = file.read_text()
        file.write_text(kept + "colour = 7\n")

        person.is_told(("fsck",), "settings.unknown", "/colour", exit_code=3)

        file.write_text(kept)
        person.declares()

    def test_a_key_store_of_a_newer_version_is_told(self, locked: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", PHRASE)
        lock = locked.home / "keys" / "lock"
        kept = lock.read_bytes()
        lock.write_bytes(kept.replace(b"unefois-lock/1", b"unefois-lock/2"))

        locked.is_told(("fsck",), "keys.damaged", exit_code=5)

        lock.write_bytes(kept)
        locked.declares()

    def test_a_database_of_another_program_is_told(self, person: Person, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
            connection.execute("CREATE TABLE residents (name TEXT)")
        shutil.copy(tmp_path / "other.db", person.database)

        person.is_told(("init",), "store.not-ours", exit_code=3)


def _version(person: Person, revision: str) -> str:
    """Write another revision into the database; returns the one before."""
    with closing(sqlite3.connect(person.database)) as connection, connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    told: str = found
    return told


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
