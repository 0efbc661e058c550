"""Whose database, whose keys: what the program does where the two are not one home's, and where one of them changed."""

import asyncio
import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from broker.keys.file import FileKeys
from broker.ports import KeyKind
from broker.settings.check import check
from broker.settings.choices import load
from broker.setup import preflight
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.setup.roles import ProcessRole
from broker.store import migrate
from broker.store.access_tables import webhooks
from schemas.errors import Refused
from tests.program import Program
from tests.world import CAF

COMMANDS = (("init",), ("migrate",), ("run", "--once"), ("fsck",), ("epoch", "rotate", "consent"), ("top", "--once"))


def kept(folder: Path) -> dict[str, str]:
    """Every file of a folder, with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def at(database: Path) -> str:
    return f"sqlite+aiosqlite:///{database}"


def refusal(program: Program, *words: str) -> str:
    """The code that a command is refused with."""
    code: str = program.error(*words, code=3)["code"]
    return code


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another home's database."""
    folder = tmp_path / "other"
    asyncio.run(create_home(load(home=folder, database_url=at(folder / "unefois.db"))))
    return folder / "unefois.db"


class TestWrongDatabase:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_another_homes_database_is_refused_and_neither_side_is_touched(
        self, unefois: Program, other: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys, rows = kept(unefois.home / "keys"), kept(other.parent)
        monkeypatch.setenv("UNEFOIS_DATABASE_URL", at(other))

        assert "home.other-database" == refusal(unefois, *words)

        assert keys == kept(unefois.home / "keys")
        assert rows[other.name] == kept(other.parent)[other.name]

    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    @pytest.mark.parametrize("migrated", [False, True], ids=["no-tables", "empty-tables"])
    def test_an_empty_database_beside_keys_that_were_used_is_refused_and_no_key_is_destroyed(
        self, unefois: Program, tmp_path: Path, words: tuple[str, ...], migrated: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        empty, keys = tmp_path / "empty.db", kept(unefois.home / "keys")
        if migrated:
            asyncio.run(migrate.upgrade(at(empty)))
        monkeypatch.setenv("UNEFOIS_DATABASE_URL", at(empty))

        assert "home.empty-database" == refusal(unefois, *words)

        assert keys == kept(unefois.home / "keys")

    def test_a_database_beside_an_empty_key_folder_is_refused_and_no_key_is_made(
        self, unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_FOLDER", str(tmp_path / "keys"))
        before = kept(unefois.home)["unefois.db"]

        assert "home.no-keys" == refusal(unefois, "init")

        assert {} == kept(tmp_path / "keys")
        assert before == kept(unefois.home)["unefois.db"]

    @pytest.mark.parametrize("role", [one.value for one in ProcessRole if one is not ProcessRole.ALL])
    def test_a_process_of_any_role_on_an_empty_key_folder_is_told_that_its_keys_are_not_there(
        self, unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
    ) -> None:
        (tmp_path / "keys").mkdir(mode=0o700)
        monkeypatch.setenv("UNEFOIS_KEYS_FOLDER", str(tmp_path / "keys"))
        monkeypatch.setenv("UNEFOIS_ENDINGS_FOLDER", str(tmp_path / "endings"))  # as on another machine

        told = unefois.run("serve", "--role", role, "--listen", "none", "--json")

        assert (3, True) == (told.exit_code, '"home.no-keys"' in told.stderr)

        assert set(kept(tmp_path / "keys")) <= {"endings/journal"}

    def test_init_again_changes_no_key(self, unefois: Program) -> None:
        before = kept(unefois.home / "keys")
        for _ in range(2):
            unefois.told("init")
        assert before == kept(unefois.home / "keys")

    def test_config_check_says_it(self, unefois: Program, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_DATABASE_URL", at(other))

        shown = unefois.run("config", "check", "--json")

        assert 1 == shown.exit_code
        assert "home.other-database" in shown.stdout


class TestOrigin:
    def test_a_name_that_was_changed_after_init_is_refused(
        self, unefois: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UNEFOIS_LEDGER_ORIGIN", "other.example/ledger")

        for words in COMMANDS:
            assert "home.other-origin" == refusal(unefois, *words)
        assert "home.other-origin" in unefois.run("config", "check", "--json").stdout

    def test_a_placeholder_is_not_served_where_others_rely_on_it(
        self, unefois: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "home.placeholder-origin" == refusal(unefois, "serve", "--listen", "0.0.0.0:0")

        monkeypatch.setenv("UNEFOIS_TRUSTED_PROXIES", "127.0.0.1")
        assert "home.placeholder-origin" == refusal(unefois, "serve", "--listen", "127.0.0.1:0")


class TestEmptySecret:
    @pytest.mark.parametrize("told", ["", "\n", "  \t\n", "\u00a0"], ids=["empty", "break", "blank", "no-break"])
    def test_a_passphrase_of_nothing_is_refused_and_no_home_is_made(
        self, bare: Program, tmp_path: Path, told: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "phrase").write_text(told)
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(tmp_path / "phrase"))

        assert "settings.empty-secret" == refusal(bare, "init")

        monkeypatch.delenv("UNEFOIS_KEYS_PASSPHRASE_FILE")
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", told)
        assert "settings.empty-secret" == refusal(bare, "init")
        assert not (tmp_path / "home" / "keys").exists()


class TestAdoption:
    """A home of a version before this one has no home id on either side."""

    @pytest.fixture
    def before(self, unefois: Program) -> Program:
        shutil.rmtree(unefois.home / "keys" / "home", ignore_errors=True)
        with closing(sqlite3.connect(unefois.home / "unefois.db")) as base, base:
            base.execute("DELETE FROM meta")
        return unefois

    def test_it_is_told_to_migrate_and_then_it_opens(self, before: Program) -> None:
        assert "home.not-adopted" == refusal(before, "fsck")
        assert 1 == before.run("migrate", "--check").exit_code

        before.told("migrate")

        assert {"clean": True, "findings": [], "follows": []} == before.told("fsck")
        assert 0 == before.run("migrate", "--check").exit_code

    def test_keys_of_another_home_are_not_adopted(
        self, before: Program, other: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.rmtree(other.parent / "keys" / "home", ignore_errors=True)
        with closing(sqlite3.connect(other)) as base, base:
            base.execute("DELETE FROM meta")
        monkeypatch.setenv("UNEFOIS_DATABASE_URL", at(other))
        keys, rows = kept(before.home / "keys"), kept(other.parent)

        for words in (("migrate",), ("init",)):
            assert "home.unproven" == refusal(before, *words)

        assert keys == kept(before.home / "keys")
        assert rows[other.name] == kept(other.parent)[other.name]

    def test_a_name_that_its_ledger_does_not_have_is_not_adopted(
        self, before: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UNEFOIS_LEDGER_ORIGIN", "other.example/ledger")

        assert "home.other-origin" == refusal(before, "migrate")

    @pytest.mark.parametrize("lost", ["keys", "database"])
    def test_one_side_that_lost_it_is_refused_until_it_is_proven_again(self, unefois: Program, lost: str) -> None:
        if lost == "keys":
            shutil.rmtree(unefois.home / "keys" / "home")
        else:
            with closing(sqlite3.connect(unefois.home / "unefois.db")) as base, base:
                base.execute("DELETE FROM meta WHERE name = 'home-id'")

        for words in (("fsck",), ("run", "--once")):
            assert "home.not-adopted" == refusal(unefois, *words)
        unefois.told("migrate")
        assert {"clean": True, "findings": [], "follows": []} == unefois.told("fsck")


class TestPlaceholder:
    @pytest.mark.parametrize(
        "told",
        [
            {"listen": "0.0.0.0:8470"},
            {"trusted_proxies": ("10.0.0.1/32",)},
            {"mail_server": "mx:25", "mail_from": "a@b.example"},
        ],
        ids=["listen", "proxy", "mail"],
    )
    def test_config_check_tells_what_serve_refuses(self, tmp_path: Path, told: dict[str, Any]) -> None:
        def found(**more: Any) -> list[tuple[str, bool]]:
            here = load(home=tmp_path, **more)
            return [(one.fault.code, one.serious) for one in check(here) if one.key == "ledger_origin"]

        assert [("home.placeholder-origin", True)] == found(**told)
        assert [("settings.placeholder", False)] == found()
        assert [] == found(ledger_origin="log.example.fr/unefois", **told)

    @pytest.mark.parametrize(("url", "refused"), [("https://caf.example/hook", True), ("http://127.0.0.1:9/", False)])
    def test_a_webhook_of_others_is_somebody_who_relies_on_it(self, unefois: Program, url: str, refused: bool) -> None:
        asyncio.run(hooked(unefois.home, url))

        async def begin() -> None:
            async with open_home(load(home=unefois.home)) as home:
                await preflight.check_name(home)

        if not refused:
            asyncio.run(begin())
            return
        with pytest.raises(Refused, match=r"home\.placeholder-origin"):
            asyncio.run(begin())


async def hooked(home: Path, url: str) -> None:
    row: dict[str, Any] = dict.fromkeys(("created_at", "changed_at", "version", "told_seq", "waiting", "attempts"), 0)
    more = {"id": bytes(16), "party": CAF, "url": url, "symmetric": 0, "status": "active", "reminders": 0}
    async with open_home(load(home=home)) as opened, opened.store.begin() as tx:
        await tx.execute(insert(webhooks), row | more)


def test_a_key_that_no_book_knows_is_told_everywhere_and_destroyed_by_name(unefois: Program) -> None:
    FileKeys.open(unefois.home / "keys", os.urandom).write(KeyKind.CONSENT_EPOCH, "77", bytes(32))

    unefois.run("run", "--once")
    assert {"unknown": [{"kind": "consent-epoch", "name": "77"}]} == unefois.told("keys", "unknown", "list")
    assert "keys.orphan" in unefois.run("fsck").stdout
    assert "keys.unknown" in unefois.run("config", "check", "--json").stdout
    assert 2 == unefois.run("keys", "unknown", "destroy", "77", "--json").exit_code
    assert {"destroyed": "77", "kind": "consent-epoch"} == unefois.told("keys", "unknown", "destroy", "77", "--yes")
    assert "epochs.unknown" == refusal(unefois, "keys", "unknown", "destroy", "1", "--yes")
    assert {"unknown": []} == unefois.told("keys", "unknown", "list")
    assert {"clean": True, "findings": [], "follows": []} == unefois.told("fsck")


def test_a_home_is_locked_and_opens_with_the_new_passphrase(
    unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, told in (("one", "four words of one\n"), ("two", "four words of two"), ("none", " \n")):
        (tmp_path / name).write_text(told)
    lock = ("keys", "lock", "--passphrase-file")
    assert "keys.empty-passphrase" == refusal(unefois, *lock, str(tmp_path / "none"))

    assert unefois.told(*lock, tmp_path / "one")["sealed"] > 10
    assert "keys.passphrase-needed" == refusal(unefois, "fsck")
    monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(tmp_path / "one"))
    unefois.told(*lock, tmp_path / "two")
    assert "keys.wrong-passphrase" == refusal(unefois, "fsck")
    unefois.told(*lock, tmp_path / "one", "--old-passphrase-file", tmp_path / "two")

    assert {"clean": True, "findings": [], "follows": []} == unefois.told("fsck")


def test_a_clock_is_shown_and_accepted(unefois: Program) -> None:
    assert unefois.told("clock", "show")["believed"]
    with closing(sqlite3.connect(unefois.home / "unefois.db")) as base, base:
        base.execute("UPDATE meta SET value = '1000' WHERE name = 'clock-believed'")

    shown = unefois.run("clock", "show")
    assert (1, True) == (shown.exit_code, "The clock is not believed." in shown.stdout)
    assert "clock.ahead" in unefois.run("config", "check", "--json").stdout
    assert "clock.ahead" == refusal(unefois, "epoch", "rotate", "consent")
    assert "clock.ahead" == refusal(unefois, "prune")
    assert 3 == unefois.run("run", "--once").exit_code

    assert unefois.told("clock", "accept")["now"]["believed"]
    assert 0 == unefois.run("run", "--once").exit_code
