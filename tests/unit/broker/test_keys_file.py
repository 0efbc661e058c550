"""Keys in files: what is refused, what a crash leaves, what a passphrase protects."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import broker
from broker.keys import lock
from broker.keys.file import FileKeys
from broker.keys.folder import PrivateFolder
from broker.ports import KeyKind
from schemas.errors import Corrupt, Fault, Refused, Unavailable

SECRET = b"CANARY secret of 32 bytes length"
ROOT = Path(broker.__file__).parents[1]


def counted() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SCRYPT_LOG2_N", 4)


def opened(folder: Path, passphrase: str | None = None) -> FileKeys:
    return FileKeys.open(folder / "keys", counted(), passphrase)


def place(folder: Path) -> Path:
    return folder / "keys" / "gate" / "1"


def fault_of(call: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as raised:
        call()
    return raised.value


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_folders_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        opened(tmp_path, "p").write(KeyKind.GATE, "1", SECRET)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").rglob("*") if path.is_file()}
    folders = {
        path.stat().st_mode & 0o777 for path in [tmp_path / "keys", *(tmp_path / "keys").iterdir()] if path.is_dir()
    }
    assert ({0o600}, {0o700}) == (modes, folders)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    keys = opened(tmp_path)
    keys.write(KeyKind.GATE, "1", SECRET)
    place(tmp_path).chmod(mode)
    refused = fault_of(lambda: keys.read(KeyKind.GATE, "1"))
    assert ("keys.readable-by-others", f"{mode:04o}") == (refused.code, refused.details["mode"])


@pytest.mark.parametrize("folder", ["keys", "keys/gate"])
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o710, 0o701])
def test_a_folder_that_others_can_reach_is_refused(tmp_path: Path, folder: str, mode: int) -> None:
    opened(tmp_path)
    (tmp_path / folder).chmod(mode)
    assert "keys.readable-by-others" == fault_of(lambda: opened(tmp_path)).code


def test_a_folder_that_is_opened_to_others_later_is_refused_too(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    keys.write(KeyKind.GATE, "1", SECRET)
    place(tmp_path).parent.chmod(0o755)
    assert "keys.readable-by-others" == fault_of(lambda: keys.read(KeyKind.GATE, "1")).code
    assert "keys.readable-by-others" == fault_of(lambda: keys.write(KeyKind.GATE, "2", SECRET)).code
    assert "keys.readable-by-others" == fault_of(lambda: keys.destroy(KeyKind.GATE, "1")).code


def test_a_folder_of_another_account_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    refused = fault_of(lambda: opened(tmp_path))
    assert ("keys.foreign-owner", me) == (refused.code, refused.details["owner"])


def test_a_folder_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "keys").symlink_to(tmp_path / "elsewhere")
    assert "keys.symbolic-link" == fault_of(lambda: opened(tmp_path)).code


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"")
    (tmp_path / "keys").chmod(0o600)
    assert "keys.symbolic-link" == fault_of(lambda: opened(tmp_path)).code


def test_a_file_behind_a_link_is_neither_read_nor_destroyed_nor_overwritten(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    elsewhere.chmod(0o600)
    place(tmp_path).symlink_to(elsewhere)
    assert "keys.symbolic-link" == fault_of(lambda: keys.read(KeyKind.GATE, "1")).code
    assert "keys.symbolic-link" == fault_of(lambda: keys.destroy(KeyKind.GATE, "1")).code
    assert "keys.exists" == fault_of(lambda: keys.write(KeyKind.GATE, "1", SECRET)).code
    assert b"precious" == elsewhere.read_bytes()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_plain_file_is_refused_and_never_waited_for(
    tmp_path: Path, make: Callable[[Path, int], None]
) -> None:
    keys = opened(tmp_path)
    make(place(tmp_path), 0o600)
    assert "keys.symbolic-link" == fault_of(lambda: keys.read(KeyKind.GATE, "1")).code
    assert "keys.symbolic-link" == fault_of(lambda: keys.destroy(KeyKind.GATE, "1")).code


def test_a_missing_parent_is_unavailable_by_the_systems_own_name(tmp_path: Path) -> None:
    fault = fault_of(lambda: FileKeys.open(tmp_path / "none" / "keys", counted()))
    assert (Unavailable, "keys.away", "ENOENT") == (type(fault), fault.code, fault.details["error"])


def test_a_plain_secret_is_in_its_file_and_a_locked_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    opened(tmp_path / "a").write(KeyKind.GATE, "1", SECRET)
    opened(tmp_path / "b", "p").write(KeyKind.GATE, "1", SECRET)
    assert (True, False) == (SECRET in contents(tmp_path / "a"), SECRET in contents(tmp_path / "b"))


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_a_secret_is_there_after_reopening(tmp_path: Path, passphrase: str | None) -> None:
    opened(tmp_path, passphrase).write(KeyKind.GATE, "1", SECRET)
    assert SECRET == opened(tmp_path, passphrase).read(KeyKind.GATE, "1")


@pytest.mark.parametrize("wrong", ["P", "p "])
def test_another_passphrase_is_refused(tmp_path: Path, wrong: str) -> None:
    opened(tmp_path, "p")
    fault = fault_of(lambda: opened(tmp_path, wrong))
    assert (Refused, "keys.wrong-passphrase") == (type(fault), fault.code)


def test_an_accent_is_the_same_however_the_keyboard_writes_it(tmp_path: Path) -> None:
    opened(tmp_path, "\u00e9t\u00e9").write(KeyKind.GATE, "1", SECRET)
    assert SECRET == opened(tmp_path, "e\u0301te\u0301").read(KeyKind.GATE, "1")


@pytest.mark.parametrize("nothing", ["", " ", "\t\n", "\u00a0"])
def test_a_passphrase_of_nothing_locks_nothing_and_makes_no_folder(tmp_path: Path, nothing: str) -> None:
    fault = fault_of(lambda: opened(tmp_path, nothing))
    assert (Refused, "keys.empty-passphrase") == (type(fault), fault.code)
    assert [] == list(tmp_path.iterdir())


def test_a_locked_store_needs_a_passphrase(tmp_path: Path) -> None:
    opened(tmp_path, "p")
    assert "keys.passphrase-needed" == fault_of(lambda: opened(tmp_path)).code


def test_a_passphrase_does_not_pretend_to_lock_what_lies_there_plain(tmp_path: Path) -> None:
    opened(tmp_path).write(KeyKind.GATE, "1", SECRET)
    assert "keys.not-locked" == fault_of(lambda: opened(tmp_path, "p")).code


def test_two_processes_that_lock_a_new_store_agree_on_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = lock._new_lock

    def late(passphrase: str, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        monkeypatch.setattr(lock, "_new_lock", made)
        opened(tmp_path, passphrase).write(KeyKind.GATE, "1", SECRET)
        return made(passphrase, entropy)

    monkeypatch.setattr(lock, "_new_lock", late)
    assert SECRET == opened(tmp_path, "p").read(KeyKind.GATE, "1")


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_every_changed_byte_of_a_file_is_seen(tmp_path: Path, passphrase: str | None) -> None:
    keys = opened(tmp_path, passphrase)
    keys.write(KeyKind.GATE, "1", SECRET)
    content = place(tmp_path).read_bytes()
    for index in range(len(content)):
        place(tmp_path).write_bytes(content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :])
        fault = fault_of(lambda: keys.read(KeyKind.GATE, "1"))
        assert (Corrupt, "keys.damaged") == (type(fault), fault.code)


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_a_file_cut_short_or_grown_is_seen(tmp_path: Path, passphrase: str | None) -> None:
    keys = opened(tmp_path, passphrase)
    keys.write(KeyKind.GATE, "1", SECRET)
    content = place(tmp_path).read_bytes()
    for damaged in (b"", content[:10], content[:-1], content + b"\x00"):
        place(tmp_path).write_bytes(damaged)
        assert "keys.damaged" == fault_of(lambda: keys.read(KeyKind.GATE, "1")).code


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_a_file_moved_under_another_name_is_seen(tmp_path: Path, passphrase: str | None) -> None:
    keys = opened(tmp_path, passphrase)
    keys.write(KeyKind.GATE, "1", SECRET)
    place(tmp_path).rename(place(tmp_path).with_name("2"))
    assert "keys.damaged" == fault_of(lambda: keys.read(KeyKind.GATE, "2")).code


def test_a_damaged_lock_is_seen(tmp_path: Path) -> None:
    opened(tmp_path, "p")
    lock = tmp_path / "keys" / "lock"
    content = lock.read_bytes()
    costly = content.replace(b"unefois-lock/1 \x04", b"unefois-lock/1 \x1f")
    for damaged in (b"", content[:-1], content + b"\x00", b"X" + content[1:], costly):
        lock.write_bytes(damaged)
        fault = fault_of(lambda: opened(tmp_path, "p"))
        assert (Corrupt, "keys.damaged") == (type(fault), fault.code)


def test_two_locked_files_share_no_nonce(tmp_path: Path) -> None:
    keys = opened(tmp_path, "p")
    for name in ("1", "2"):
        keys.write(KeyKind.GATE, name, SECRET)
    start = len(b"unefois-key/1 locked ")
    nonces = {path.read_bytes()[start : start + 12] for path in place(tmp_path).parent.iterdir()}
    assert 2 == len(nonces)


def test_a_destroyed_secrets_bytes_are_overwritten_where_they_lay(tmp_path: Path) -> None:
    keys = opened(tmp_path)
    keys.write(KeyKind.GATE, "1", SECRET)
    with place(tmp_path).open("rb") as kept_open:
        size = os.fstat(kept_open.fileno()).st_size
        keys.destroy(KeyKind.GATE, "1")
        assert bytes(size) == kept_open.read()


CRASH = """
import sys
from pathlib import Path
from broker.keys.file import FileKeys
from broker.ports import KeyKind
keys = FileKeys.open(Path(sys.argv[1]), bytes)
keys.write(KeyKind.GATE, "1", b"CANARY secret of 32 bytes length")
keys.destroy(KeyKind.GATE, "1")
"""


def crash(folder: Path, at: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CRASH, str(folder / "keys")], cwd=ROOT, env={"UNEFOIS_CRASH_AT": at}, check=False
    )
    assert -9 == ended.returncode


def test_a_write_killed_before_its_name_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    crash(tmp_path, "keys.unfinished")
    assert SECRET in contents(tmp_path)
    keys = opened(tmp_path)
    assert (False, ()) == (SECRET in contents(tmp_path), keys.names(KeyKind.GATE))
    keys.write(KeyKind.GATE, "1", SECRET)
    assert SECRET == keys.read(KeyKind.GATE, "1")


def test_a_write_killed_after_its_name_is_kept(tmp_path: Path) -> None:
    crash(tmp_path, "keys.written")
    assert SECRET == opened(tmp_path).read(KeyKind.GATE, "1")


@pytest.mark.parametrize("at", ["keys.shredded", "keys.overwritten"])
def test_a_destruction_that_was_killed_is_finished_by_the_next_start(tmp_path: Path, at: str) -> None:
    crash(tmp_path, at)
    keys = opened(tmp_path)
    assert "keys.missing" == fault_of(lambda: keys.read(KeyKind.GATE, "1")).code
    assert (False, []) == (SECRET in contents(tmp_path), list(place(tmp_path).parent.iterdir()))


def test_writers_of_two_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    folders = [PrivateFolder(tmp_path / "keys") for _ in range(2)]
    told: list[bool] = []

    def fill(folder: PrivateFolder) -> None:
        told.extend(folder.write(str(number), b"x") for number in range(50))

    threads = [threading.Thread(target=fill, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([False] * 50 + [True] * 50, 50) == (sorted(told), len(folders[0].names()))
