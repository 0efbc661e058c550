"""The sftp connector against Debian's OpenSSH: its sftp-server renames, resumes, and has no word for a full disk."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import pytest

from connectors.contract import Retry
from connectors.description import Case
from connectors.file import server as module
from connectors.file.server import Server
from connectors.file.session import Session
from connectors.file.settings import SftpSettings
from connectors.file.sftp import SftpConnector
from connectors.journal import Batch
from connectors.kit import cases
from connectors.kit.rig import Rig
from tests.systems.sshd import Sshd


def rig_of(sshd: Sshd) -> type[Rig]:
    """The kit's system is this server."""

    class OpenSshRig(Rig):
        connector = SftpConnector
        plays = frozenset({Case.PEER_AWAY, Case.WRONG_CREDENTIALS})

        async def __aenter__(self) -> Self:
            (self.place / "in").mkdir()
            self.away = False
            return self

        def settings(self) -> dict[str, Any]:
            told: dict[str, Any] = {"host": "127.0.0.1", "port": 9 if self.away else sshd.port, "user": sshd.user}
            told |= {"key_file": str(sshd.key_file), "host_keys": [sshd.host_key], "folder": str(self.place / "in")}
            return told | {"journal": str(self.place / "journal.sqlite"), "marker": ".ok"}

        def held(self) -> Sequence[str]:
            files = sorted((self.place / "in").glob("*.csv"))
            assert len(files) == len(list((self.place / "in").glob("*.ok")))
            return [line.split(";")[0] for file in files for line in file.read_text("utf-8").splitlines()[1:]]

        @contextmanager
        def inflicted(self, case: Case) -> Iterator[None]:
            authorized, self.away = sshd.folder / "authorized", case is Case.PEER_AWAY
            text = authorized.read_text()
            if case is Case.WRONG_CREDENTIALS:
                authorized.write_text("")
            yield
            authorized.write_text(text)
            self.away = False

    return OpenSshRig


@pytest.mark.parametrize(
    "case",
    [case for case in Case if case not in cases.INFLICTED or case in {Case.PEER_AWAY, Case.WRONG_CREDENTIALS}],
)
def test_the_kit_passes_on_openssh(case: Case, sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    cases.play(case, rig_of(sshd), tmp_path / "case")


def server_of(sshd: Sshd, folder: Path) -> Server:
    told = {"host": "127.0.0.1", "port": sshd.port, "user": sshd.user, "key_file": sshd.key_file}
    settings = SftpSettings(**told, host_keys=(sshd.host_key,), folder=str(folder), journal=folder / "none")
    return Server(Session.of(settings), settings)


@pytest.mark.asyncio
async def test_a_file_goes_on_where_a_killed_connection_left_it(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, offsets = b"".join(number.to_bytes(3, "big") for number in range(1_500_000)), list[int]()
    real = Server._put

    async def put(self: Server, path: str, part: bytes, offset: int) -> None:
        if len(offsets) == 2:  # what serves this connection dies in the middle of the third part
            offsets.append(offset)
            await real(self, path, part[: len(part) // 2], offset)
            _kill_session(sshd)
        offsets.append(offset)
        await real(self, path, part, offset)

    monkeypatch.setattr(Server, "_put", put)
    server = server_of(sshd, tmp_path)
    await server.hide("big.bin", content)
    await server.close()
    assert content == (tmp_path / ".big.bin.tmp").read_bytes()
    assert 3 == offsets.count(module.PART_BYTES * 2)  # begun, lost, begun again
    assert 0 not in offsets[1:]


def _kill_session(sshd: Sshd) -> None:
    """End the process that serves the connection: the one whose parent is the listening server's."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = status.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parents = status.with_name("stat").read_text().rsplit(")", 1)[1].split()[1]
            above = Path(f"/proc/{parents}/cmdline").read_bytes()
        except OSError:
            continue
        if told.startswith("sshd") and str(sshd.folder).encode() in above:
            os.kill(int(status.parent.name), signal.SIGKILL)


@pytest.mark.asyncio
async def test_a_name_that_is_there_is_refused_by_the_server_itself(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_of(sshd, tmp_path)
    await server.hide("a.csv", b"ours")
    (tmp_path / "a.csv").write_bytes(b"theirs")

    async def only_hidden(self: Server, path: str) -> bool:
        return path.endswith(".tmp")

    monkeypatch.setattr(Server, "_exists", only_hidden)
    with pytest.raises(Retry, match=r"sftp.write"):
        await server.show(Batch(1, "a.csv", sha256(b"ours").digest()))
    await server.close()
    assert b"theirs" == (tmp_path / "a.csv").read_bytes()


@pytest.mark.asyncio
async def test_a_full_disk_is_known_by_the_room_that_is_left(sshd: Sshd, tmp_path: Path) -> None:
    server = server_of(sshd, tmp_path)
    (tmp_path / ".a.csv.tmp").symlink_to("/dev/full")  # what is written there fails as on a full disk

    async def begun(path: str, confirmed: int) -> int:
        return 0

    server._begun = begun  # type: ignore[method-assign]
    with pytest.raises(Retry, match=r"sftp.write"):
        await server.hide("a.csv", b"x")
    failed = server._ssh.SFTPFailure("")
    assert ("sftp.write", "sftp.full") == tuple([(await server._why(failed, size)).code for size in (1, 1 << 60)])
    await server.close()
