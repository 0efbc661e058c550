"""The passphrase of a key folder: set, changed, and killed at every write on the way."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.keys import lock
from broker.keys.file import FileKeys
from broker.observability import crashpoints
from broker.ports import KeyKind
from schemas.errors import Fault, Refused, Unavailable

SECRETS = {(KeyKind.GATE, "1"): b"CANARY gate", (KeyKind.SIGNING, "a"): b"CANARY signing", (KeyKind.HOME, "id"): b"16"}
OLD, NEW = "four old words here", "four new words there"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SCRYPT_LOG2_N", 4)


def made(folder: Path, passphrase: str | None) -> Path:
    keys = FileKeys.open(folder / "keys", os.urandom, passphrase)
    for (kind, name), secret in SECRETS.items():
        keys.write(kind, name, secret)
    return folder / "keys"


def read(folder: Path, passphrase: str | None) -> dict[tuple[KeyKind, str], bytes]:
    keys = FileKeys.open(folder, os.urandom, passphrase)
    return {(kind, name): keys.read(kind, name) for kind in KeyKind for name in keys.names(kind)}


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Fault) as raised:
        call()
    return raised.value.code


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("was", [None, OLD])
def test_a_folder_is_locked_anew_and_only_the_new_passphrase_opens_it(tmp_path: Path, was: str | None) -> None:
    keys = made(tmp_path, was)

    assert len(SECRETS) == FileKeys.change_passphrase(keys, os.urandom, was, NEW)

    assert read(keys, NEW) == SECRETS
    assert b"CANARY" not in contents(keys)
    expected = "keys.passphrase-needed" if was is None else "keys.wrong-passphrase"
    assert expected == code_of(lambda: read(keys, was))
    assert 3 == FileKeys.change_passphrase(keys, os.urandom, NEW, OLD)
    assert read(keys, OLD) == SECRETS


def test_what_was_locked_with_nothing_by_an_earlier_version_is_locked_with_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(lock, "refuse_empty", lambda _: None)
        keys = made(tmp_path, "")
    assert "keys.empty-passphrase" == code_of(lambda: read(keys, ""))

    FileKeys.change_passphrase(keys, os.urandom, "", NEW)

    assert read(keys, NEW) == SECRETS


def test_a_wrong_old_passphrase_and_an_empty_new_one_change_nothing(tmp_path: Path) -> None:
    keys = made(tmp_path, OLD)
    before = contents(keys)

    assert "keys.wrong-passphrase" == code_of(lambda: FileKeys.change_passphrase(keys, os.urandom, "other", NEW))
    assert "keys.passphrase-needed" == code_of(lambda: FileKeys.change_passphrase(keys, os.urandom, None, NEW))
    assert "keys.empty-passphrase" == code_of(lambda: FileKeys.change_passphrase(keys, os.urandom, OLD, " \n"))

    assert before == contents(keys)


def test_nobody_changes_it_under_a_process_that_has_the_folder_open(tmp_path: Path) -> None:
    keys = made(tmp_path, OLD)
    other = FileKeys.open(keys, os.urandom, OLD)

    assert "keys.in-use" == code_of(lambda: FileKeys.change_passphrase(keys, os.urandom, OLD, NEW))

    assert SECRETS[KeyKind.GATE, "1"] == other.read(KeyKind.GATE, "1")
    del other
    FileKeys.change_passphrase(keys, os.urandom, OLD, NEW)


def test_nobody_opens_a_folder_whose_passphrase_is_being_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, begin, told = made(tmp_path, OLD), lock.begin_change, []

    def meanwhile(*arguments: object) -> lock.Keys:
        with pytest.raises(Unavailable) as away:
            FileKeys.open(keys, os.urandom, OLD)
        told.append(away.value.code)
        return begin(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(lock, "begin_change", meanwhile)
    FileKeys.change_passphrase(keys, os.urandom, OLD, NEW)

    assert ["keys.being-locked"] == told


class Trap:
    """Closes at the n-th passage of any crash point."""

    def __init__(self, passages: int) -> None:
        self.passages, self.left = passages, 1

    @property
    def name(self) -> "Trap":
        return self

    def __eq__(self, passing: object) -> bool:
        self.passages -= 1
        return self.passages == 0

    __hash__ = None  # type: ignore[assignment]


def killed(keys: Path, was: str | None, passages: int) -> bool:
    """Whether a process that changes the passphrase was killed, rather than came to its end."""
    pid = os.fork()
    if pid == 0:
        try:
            crashpoints._trap = Trap(passages)  # type: ignore[assignment]
            FileKeys.change_passphrase(keys, os.urandom, was, NEW)
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in {0, -signal.SIGKILL}
    return code != 0


@pytest.mark.parametrize("was", [None, OLD])
def test_killed_at_any_write_one_of_the_two_opens_everything_and_the_same_call_finishes(
    tmp_path: Path, was: str | None
) -> None:
    passages = 0
    while True:
        passages += 1
        (tmp_path / str(passages)).mkdir()
        keys = made(tmp_path / str(passages), was)
        if not killed(keys, was, passages):
            break
        by_old = opened_by(keys, was)
        if by_old is None:
            assert read(keys, NEW) == SECRETS
            written = FileKeys.open(keys, os.urandom, NEW)  # and a broker may work on like this
            written.write(KeyKind.GATE, "2", b"CANARY later")
            del written
        assert by_old in (None, SECRETS)
        if by_old is None:
            assert code_of(lambda keys=keys: FileKeys.change_passphrase(keys, os.urandom, was, "a third"))  # type: ignore[misc]
        FileKeys.change_passphrase(keys, os.urandom, was, NEW) if by_old else again(keys, was)

        assert read(keys, NEW) == SECRETS | ({} if by_old else {(KeyKind.GATE, "2"): b"CANARY later"})
        assert b"CANARY" not in contents(keys)
        assert not (keys / lock.NEXT).exists()
    assert passages > 12


def opened_by(keys: Path, was: str | None) -> dict[tuple[KeyKind, str], bytes] | None:
    try:
        return read(keys, was)
    except Refused as fault:
        if fault.code not in {"keys.lock-unfinished", "keys.wrong-passphrase", "keys.passphrase-needed"}:
            raise
        return None


def again(keys: Path, was: str | None) -> None:
    """The same call; where it had done everything but say so, the new passphrase is that of now."""
    try:
        FileKeys.change_passphrase(keys, os.urandom, was, NEW)
    except Refused:
        FileKeys.change_passphrase(keys, os.urandom, NEW, NEW)
