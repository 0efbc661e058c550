"""An SSH server in this process, below one folder, that can be made to behave badly: the other side of `SftpRig`.

Refuses: another user and password than those of the rig. Keeps: nothing outside of its folder is seen.
"""

import asyncio
from pathlib import Path
from typing import Any, Final, Self

import asyncssh

from connectors.description import Case

_USER: Final = "unefois"
_PASSWORD: Final = "open sesame"  # noqa: S105
_HERE: Final = "127.0.0.1"


class SftpServed:
    """A server on this machine, below one folder. `case`: how it behaves; `refuses`: what it does not know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.case: Case | None = None
        self.refuses: frozenset[str] = frozenset()
        self.written = 0
        """Bytes, of all files."""
        self.breaks_at: int | None = None
        """So many bytes, and the connection breaks, once."""
        self.go = asyncio.Event()
        self._key = asyncssh.generate_private_key("ssh-ed25519")

    async def __aenter__(self) -> Self:
        self._server = await asyncssh.listen(
            _HERE,
            0,
            server_host_keys=[self._key],
            server_factory=lambda: _Door(self),
            sftp_factory=lambda channel: _Folder(self, channel),
        )
        self.port = self._server.get_port()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def host_key(self) -> str:
        """The public key, as the settings want it."""
        return self._key.export_public_key().decode().strip()


class _Door(asyncssh.SSHServer):
    def __init__(self, served: SftpServed) -> None:
        self._served = served

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        good = (username, password) == (_USER, _PASSWORD)
        return good and self._served.case is not Case.WRONG_CREDENTIALS


class _Folder(asyncssh.SFTPServer):
    def __init__(self, served: SftpServed, channel: Any) -> None:
        super().__init__(channel, chroot=str(served.folder).encode())
        self._served = served

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if self._served.case is Case.TRUNCATED_ANSWER:
            self._break(super().write(file_obj, offset, data[: len(data) // 2]))
        done: int = super().write(file_obj, offset, data)  # type: ignore[assignment]
        self._served.written += done
        if self._served.breaks_at is not None and self._served.written >= self._served.breaks_at:
            self._served.breaks_at = None
            self._break()
        return done

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._known("rename")
        if self._served.case is Case.SLOW_PEER:
            await self._served.go.wait()
        if self._is_there(newpath):
            raise asyncssh.SFTPFailure("")
        super().rename(oldpath, newpath)
        if self._served.case is Case.ANSWER_LOST:
            self._break()

    def remove(self, path: bytes) -> None:
        self._known("remove")
        super().remove(path)

    def scandir(self, path: bytes) -> Any:
        self._known("list")
        return super().scandir(path)

    def _is_there(self, path: bytes) -> bool:
        return Path(self.map_path(path).decode()).exists()

    def _known(self, operation: str) -> None:
        if operation in self._served.refuses:
            raise asyncssh.SFTPOpUnsupported("")

    def _break(self, _: object = None) -> None:
        self.channel.get_extra_info("connection").abort()
        raise asyncssh.SFTPFailure("")
