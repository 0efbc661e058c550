"""The sftp connector: whole files on a server that is away, full, slow, false, or can do little."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import pytest_asyncio

from connectors.contract import Applied, Ground, Retry, checked
from connectors.file import server as module
from connectors.file.server import Server
from connectors.file.session import Session
from connectors.file.settings import SftpSettings
from connectors.file.sftp import SftpConnector
from connectors.journal import Journal
from connectors.kit.sftp_rig import SftpRig
from schemas.delivery import VerifiedDelivery
from schemas.errors import Corrupt, Refused

TARGETS = ("NOM", "VILLE")
NAME = "unefois-20261102-000001.csv"
HIDDEN = f".{NAME}.tmp"


class Crash(Exception):
    """The process dies here."""


class Remote:
    """A server's folder, and a connector that can be opened again and again on it."""

    def __init__(self, rig: SftpRig, ground: Ground) -> None:
        self.rig, self.ground = rig, ground
        self.path = rig.place / "server" / "in"

    async def open(self, **settings: Any) -> SftpConnector:
        return await SftpConnector.open(self.rig.settings() | settings, TARGETS, self.ground)

    async def run(self, *written: tuple[VerifiedDelivery, str], **settings: Any) -> list[str | None]:
        connector = await self.open(**settings)
        try:
            references = [await connector.write(one, {"NOM": name, "VILLE": "Rennes"}) for one, name in written]
            await connector.flush()
        finally:
            await connector.close()
        return references

    async def refused(self, *written: tuple[VerifiedDelivery, str], **settings: Any) -> str:
        with pytest.raises(Retry) as caught:
            await self.run(*written, **settings)
        return caught.value.code

    def names(self) -> list[str]:
        return sorted(each.name for each in self.path.iterdir())

    def rows(self) -> list[str]:
        files = sorted(self.path.glob("*.csv"))
        return [line.partition(";")[0] for file in files for line in file.read_text("utf-8").splitlines()[1:]]


@pytest_asyncio.fixture
async def remote(tmp_path: Path, ground: Ground) -> AsyncIterator[Remote]:
    async with SftpRig(tmp_path) as rig:
        yield Remote(rig, ground)


@asynccontextmanager
async def dying(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> AsyncIterator[None]:
    """The process dies before or after one step."""
    real = getattr(owner, name)

    def died(*told: Any) -> None:
        if after:
            real(*told)
        raise Crash

    async def died_waiting(*told: Any) -> None:
        if after:
            await real(*told)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, died if owner is Journal else died_waiting)
        try:
            yield
        except Crash:
            return
    raise AssertionError("the process lives on")


@pytest.mark.asyncio
async def test_a_run_gives_one_whole_file_that_is_found_when_it_was_taken(
    remote: Remote, declared: Callable[..., VerifiedDelivery]
) -> None:
    delivery = declared()
    assert [f"{NAME}:2"] == await remote.run((delivery, "Aubépin"))
    assert b"NOM;VILLE\r\nAub\xc3\xa9pin;Rennes\r\n" == (remote.path / NAME).read_bytes()
    (remote.path / NAME).unlink()
    assert [f"{NAME}:2"] == await remote.run((delivery, "Aubépin"))
    assert [] == remote.names()


@pytest.mark.asyncio
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "step"),
    [(Server, "hide"), (Journal, "record"), (Server, "_rename"), (Server, "_mark"), (Journal, "publish")],
)
async def test_a_crash_at_any_step_leaves_each_row_exactly_once(
    owner: Any, step: str, after: bool, remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = declared(), declared()
    async with dying(monkeypatch, owner, step, after=after):
        await remote.run((one, "one"), marker=".ok")
    await remote.run((one, "one"), (two, "two"), marker=".ok")
    assert ["one", "two"] == sorted(remote.rows())
    files = {name for name in remote.names() if name.endswith(".csv")}
    assert sorted(files | {f"{name}.ok" for name in files}) == remote.names()


@pytest.mark.asyncio
async def test_a_lost_connection_is_made_again_and_the_file_continued(
    remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 1000)
    remote.rig.served.breaks_at = 2500
    name = "x" * 8000
    await remote.run((declared(), name))
    assert [name] == remote.rows()
    assert 8000 < remote.rig.served.written < 8000 + 1000 + 100
    assert [NAME] == remote.names()


@pytest.mark.asyncio
async def test_a_server_with_another_key_hears_nothing(
    remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(asyncssh.SSHServer, "begin_auth", lambda self, user: heard.append(user) or True)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    assert "sftp.host-key" == await remote.refused((declared(), "one"), host_keys=[other])
    assert ([], []) == (heard, remote.names())
    await remote.run((declared(), "one"), host_keys=[other, remote.rig.served.host_key])
    assert (["unefois"], ["one"]) == (heard, remote.rows())


@pytest.mark.asyncio
async def test_the_users_own_ssh_files_count_for_nothing(
    remote: Remote, declared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  Port 9\n  HostName nowhere.invalid\n  User other\n")
    (tmp_path / ".ssh" / "known_hosts").write_text("* ssh-ed25519 none\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    await remote.run((declared(), "one"))
    assert ["one"] == remote.rows()


@pytest.mark.asyncio
async def test_where_the_server_renames_nothing_it_is_said_and_a_marker_does(remote: Remote, declared: Any) -> None:
    one, two = declared(), declared()
    remote.rig.served.refuses = frozenset({"rename"})
    assert "sftp.no-rename" == await remote.refused((one, "one"))
    assert [HIDDEN] == remote.names()
    remote.rig.served.refuses = frozenset({"rename", "remove", "list"})
    told = {"complete": "marker", "marker": ".ok", "journal": str(remote.rig.place / "second")}
    await remote.run((two, "two"), **told)
    assert [HIDDEN, NAME, f"{NAME}.ok"] == remote.names()
    assert ["two"] == remote.rows()


@pytest.mark.asyncio
@pytest.mark.parametrize(("owner", "step"), [(Journal, "record"), (Server, "_mark"), (Journal, "publish")])
@pytest.mark.parametrize("after", [False, True])
async def test_by_a_marker_alone_no_row_is_lost_and_none_is_marked_twice(
    owner: Any, step: str, after: bool, remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"complete": "marker", "marker": ".ok"}
    one = declared()
    async with dying(monkeypatch, owner, step, after=after):
        await remote.run((one, "one"), **told)
    await remote.run((one, "one"), **told)
    marked = [remote.path / name.removesuffix(".ok") for name in remote.names() if name.endswith(".ok")]
    assert [b"NOM;VILLE\r\none;Rennes\r\n"] == [file.read_bytes() for file in marked]


@pytest.mark.asyncio
async def test_a_name_that_is_there_is_never_replaced(
    remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = declared()
    async with dying(monkeypatch, Server, "_rename", after=False):
        await remote.run((delivery, "one"))
    (remote.path / NAME).write_text("theirs")
    assert "file.name-taken" == await remote.refused()

    async def nobody(*_: Any) -> bool:  # it comes between our look and our rename: the server itself refuses
        return _[-1].endswith(".tmp")

    with monkeypatch.context() as patch:
        patch.setattr(Server, "_exists", nobody)
        assert "sftp.write" == await remote.refused()
    assert "theirs" == (remote.path / NAME).read_text()
    (remote.path / NAME).unlink()
    await remote.run()
    assert ["one"] == remote.rows()


@pytest.mark.asyncio
async def test_a_hidden_file_that_was_changed_stops_us(
    remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dying(monkeypatch, Server, "_rename", after=False):
        await remote.run((declared(), "one"))
    (remote.path / HIDDEN).write_text("NOM;VILLE\r\nother;Rennes\r\n")
    with pytest.raises(Corrupt, match=r"file.temporary-changed"):
        await remote.run()


@pytest.mark.asyncio
async def test_only_our_own_forgotten_hidden_files_are_removed(remote: Remote) -> None:
    for name in (HIDDEN, ".other.csv.tmp", f"{NAME}.tmp"):
        (remote.path / name).write_text("x")
    await remote.run()
    assert [".other.csv.tmp", f"{NAME}.tmp"] == remote.names()


@pytest.mark.asyncio
async def test_what_is_not_whole_lies_in_a_folder_of_its_own_where_one_is_named(
    remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote.path.parent / "part").mkdir()
    delivery = declared()
    async with dying(monkeypatch, Server, "_rename", after=False):
        await remote.run((delivery, "one"), upload_folder="/part")
    assert ([], [HIDDEN]) == (remote.names(), [one.name for one in (remote.path.parent / "part").iterdir()])
    await remote.run((delivery, "one"), upload_folder="/part")
    assert ["one"] == remote.rows()
    with pytest.raises(Refused, match=r"sftp.folder at /upload_folder"):
        await remote.open(upload_folder="/none")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "room", "code"),
    [
        (asyncssh.SFTPFailure, 0, "sftp.full"),
        (asyncssh.SFTPFailure, 9, "sftp.write"),
        (asyncssh.SFTPPermissionDenied, 0, "sftp.write"),
    ],
)
async def test_a_server_that_has_no_room_is_waited_for_and_it_is_said_why(
    error: type[asyncssh.SFTPError], room: int, code: str, remote: Remote, declared: Any, monkeypatch: Any
) -> None:
    delivery = declared()

    def full(*_: Any) -> int:
        raise error("Zzyzx")

    with monkeypatch.context() as patch:
        patch.setattr(asyncssh.SFTPServer, "write", full)
        disk = asyncssh.SFTPVFSAttrs(bsize=1, frsize=10, bavail=room)
        patch.setattr(asyncssh.SFTPServer, "statvfs", lambda *_: disk)
        assert code == await remote.refused((delivery, "one"))
    assert [] == remote.rows()
    await remote.run((delivery, "one"))
    assert ["one"] == remote.rows()


@pytest.mark.asyncio
async def test_nothing_is_found_before_it_is_whole_and_then_it_is(remote: Remote, declared: Any) -> None:
    delivery, connector = declared(), await remote.open()
    await connector.write(delivery, {"NOM": "one", "VILLE": None})
    assert None is await connector.find(delivery.delivery_id)
    await connector.flush()
    assert Applied(f"{NAME}:2") == await connector.find(delivery.delivery_id)
    await connector.close()
    await connector.close()


class TestAKey:
    def of(self, path: Path) -> Session:
        host = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        told = {"host": "a", "user": "u", "host_keys": [host], "folder": "/", "journal": "j", "key_file": str(path)}
        return Session.of(checked(SftpSettings, told))

    def test_is_read_from_a_file_that_nobody_else_may_read(self, tmp_path: Path) -> None:
        path, made = tmp_path / "key", asyncssh.generate_private_key("ssh-ed25519")
        path.write_bytes(made.export_private_key())
        path.chmod(0o640)
        with pytest.raises(Refused, match=r"source.open-to-others at /key_file"):
            self.of(path)
        path.chmod(0o600)
        self.of(path)
        path.write_bytes(made.export_private_key("pkcs8-pem", passphrase="a"))
        with pytest.raises(Refused, match=r"sftp.key at /key_file"):
            self.of(path)
        path.unlink()
        with pytest.raises(Refused, match=r"source.no-file at /key_file"):
            self.of(path)


@pytest.mark.asyncio
async def test_a_server_that_shows_nothing_of_what_is_put_there_gets_its_marker_all_the_same(
    remote: Remote, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hidden(*_: Any) -> bool:
        return False

    monkeypatch.setattr(Server, "_exists", hidden)
    await remote.run((declared(), "one"), complete="marker", marker=".ok")
    assert [NAME, f"{NAME}.ok"] == remote.names()
