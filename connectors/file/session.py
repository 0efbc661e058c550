"""Session: one connection to an SFTP server, made when it is needed, dropped when anything is doubtful.

Refuses: a server that shows another key than those of the settings; it never reads the user's own ssh files or agent.
Keeps: nobody waits longer than `timeout_s` for one step. What a server says in words is not passed on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from connectors.contract import Retry
from connectors.file.settings import SftpSettings
from schemas.errors import Refused

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection

T = TypeVar("T")
KEY_BYTES: Final = 64 * 1024


class Session:
    """Made by `Session.of`. One call after the other."""

    def __init__(self, ssh: Any, settings: SftpSettings, host_keys: list[Any], client_keys: list[Any] | None) -> None:
        self.ssh = ssh
        """The package asyncssh: whoever sends no files over SFTP need not install it."""
        self._settings = settings
        self._host_keys = host_keys
        self._client_keys = client_keys
        self._connection: SSHClientConnection | None = None
        self._client: SFTPClient | None = None

    @classmethod
    def of(cls, settings: SftpSettings) -> "Session":
        """Read the keys; nothing is connected yet. Raises Refused("connector.package", "sftp.*", "source.*")."""
        try:
            import asyncssh
        except ImportError:
            raise Refused("connector.package", package="asyncssh") from None
        host_keys = []
        for number, text in enumerate(settings.host_keys):
            try:
                host_keys.append(asyncssh.import_public_key(text))
            except (asyncssh.KeyImportError, ValueError):
                raise Refused("sftp.host-key-form", f"/host_keys/{number}") from None
        path = settings.key_file
        client_keys = None if path is None else [_private_key(asyncssh, path)]
        return cls(asyncssh, settings, host_keys, client_keys)

    async def do(self, work: "Callable[[SFTPClient], Awaitable[T]]") -> T:
        """One step, on a connection that is there or is made.

        Raises Retry("sftp.away", "sftp.host-key", "sftp.credentials", "sftp.lost"), and what the server refuses as
        asyncssh's SFTPError.
        """
        client = self._client or await self._connected()
        lost = (self.ssh.SFTPConnectionLost, self.ssh.SFTPNoConnection, self.ssh.SFTPBadMessage)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await work(client)
        except (*lost, self.ssh.DisconnectError, self.ssh.ChannelOpenError, OSError):  # a TimeoutError is one
            self.drop()
        except self.ssh.SFTPError:
            raise
        except BaseException:
            self.drop()  # given up in the middle: what the server still does is done on no connection of ours
            raise
        raise Retry("sftp.lost")

    def drop(self) -> None:
        """Let go of the connection at once."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._client = None

    async def close(self) -> None:
        """Say goodbye. Safe to call twice."""
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            connection.abort()
            await connection.wait_closed()

    async def _connected(self) -> "SFTPClient":
        told, seconds = self._settings, self._settings.timeout_s
        try:
            async with asyncio.timeout(seconds):
                self._connection = await self.ssh.connect(
                    told.host,
                    told.port,
                    username=told.user,
                    password=None if told.password is None else told.password.get_secret_value(),
                    client_keys=self._client_keys,
                    known_hosts=(self._host_keys, [], []),
                    config=None,
                    agent_path=None,
                    gss_auth=False,
                    gss_kex=False,
                    connect_timeout=seconds,
                    login_timeout=seconds,
                )
                self._client = await self._connection.start_sftp_client()
                return self._client
        except self.ssh.HostKeyNotVerifiable:
            fault = Retry("sftp.host-key", "/host_keys")
        except self.ssh.PermissionDenied:
            fault = Retry("sftp.credentials", "/user")
        except (self.ssh.Error, OSError, EOFError):
            fault = Retry("sftp.away")
        except BaseException:
            self.drop()
            raise
        self.drop()
        raise fault


def _private_key(ssh: Any, path: Path) -> Any:
    """Raises Refused("source.no-file", "source.open-to-others", "sftp.key")."""
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            raw = file.read(KEY_BYTES)
    except OSError:
        raise Refused("source.no-file", "/key_file", file=path.name) from None
    if mode & 0o077:
        raise Refused("source.open-to-others", "/key_file", file=path.name)
    try:
        return ssh.import_private_key(raw)
    except (ssh.KeyImportError, ssh.KeyEncryptionError, ValueError):
        raise Refused("sftp.key", "/key_file", file=path.name) from None
