"""Server: files in a folder of an SFTP server, under a hidden name, then their own; or under their own, and marked.

    rename   1 `.NAME.tmp`, created anew: what an older connection of ours may still write goes into no file of a name
             2 lost in the middle: connected again, and continued after what the server has confirmed
             3 its size is looked at, it is on the server's disk where the server can say so, then it is renamed
    marker   1 the file under its own name, written from its beginning each time
             2 the empty marker, whoever has taken what before: a taker takes each name once

Refuses: to replace a file of the same name, where the server renames; a hidden file that is not what was written.
Keeps: after an unknown end it is looked at what is there, and nothing is guessed.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from connectors.contract import Retry
from connectors.file.place import free
from connectors.file.session import Session
from connectors.file.settings import SftpSettings, is_ours
from connectors.journal import Batch
from schemas.errors import Corrupt, Refused

if TYPE_CHECKING:
    from asyncssh import SFTPClient

PART_BYTES: Final = 1024 * 1024
"""What is confirmed at once; a lost connection costs no more."""
CONNECTED_AGAIN: Final = 2
"""How often one file is continued on another connection before its deliveries wait."""


class Server:
    """A folder of an SFTP server; a `Place`."""

    def __init__(self, session: Session, settings: SftpSettings) -> None:
        self._session = session
        self._settings = settings
        self._ssh = session.ssh
        self._fresh: set[bytes] = set()

    async def look(self) -> None:
        """Are the folders there? Raises Refused("sftp.folder") with the pointer, Retry."""
        wanted = {"/folder": self._settings.folder, "/upload_folder": self._settings.upload_folder}
        for pointer, folder in wanted.items():
            if folder is not None and not await self._is_folder(folder):
                raise Refused("sftp.folder", pointer)

    async def is_taken(self, name: str) -> bool:
        """By looking."""
        for path in (self._final(name), *self._marker(name)):
            if await self._exists(path):
                return True
        return False

    async def hide(self, name: str, content: bytes) -> None:
        """Durable as far as the server says. Raises Retry("sftp.full", "sftp.write", "sftp.lost")."""
        path, confirmed = self._hidden(name), 0
        for again in range(CONNECTED_AGAIN, -1, -1):
            try:
                confirmed = await self._begun(path, confirmed)
                while confirmed < len(content):
                    part = content[confirmed : confirmed + PART_BYTES]
                    await self._put(path, part, confirmed)
                    confirmed += len(part)
                await self._ended(path, len(content))
            except Retry as fault:
                if fault.code != "sftp.lost" or not again:
                    raise
            except self._ssh.SFTPError as error:
                raise await self._why(error, len(content)) from None
            else:
                self._fresh.add(sha256(content).digest())
                return

    async def show(self, batch: Batch) -> None:
        """By rename, or by the marker. Raises Retry("file.name-taken", "sftp.no-rename", "sftp.write", "sftp.lost")."""
        try:
            if self._settings.complete == "rename":
                await self._rename(batch)
            await self._mark(batch)
        except self._ssh.SFTPError as error:
            raise await self._why(error, 0) from None
        self._fresh.discard(batch.digest)

    async def forget(self, names: Collection[str]) -> None:
        """Hidden names are `.NAME.tmp`. Under its own name a file is not known from one that was taken: it stays."""
        if self._settings.complete == "marker":
            return
        folder = self._settings.upload_folder or self._settings.folder
        known = {f".{name}.tmp" for name in names}
        with suppress(self._ssh.SFTPError):  # a server that lists nothing: they lie there, and nobody takes them
            for name in await self._session.do(lambda sftp: sftp.listdir(folder)):
                if name not in known and is_ours(name, f".{self._settings.name}.tmp"):
                    path = f"{folder}/{name}"
                    await self._session.do(lambda sftp, path=path: sftp.remove(path))  # type: ignore[misc]

    async def listed(self) -> Sequence[str]:
        """Of a server that lists."""
        try:
            return sorted(await self._session.do(lambda sftp: sftp.listdir(self._answers)))
        except self._ssh.SFTPError as error:
            raise Retry("sftp.read", kind=type(error).__name__) from None

    async def read(self, name: str, limit: int) -> bytes:
        """From its beginning."""

        async def read(sftp: "SFTPClient") -> bytes:
            async with sftp.open(f"{self._answers}/{name}", "rb") as file:
                return await file.read(limit)

        try:
            return await self._session.do(read)
        except self._ssh.SFTPError as error:
            raise Retry("sftp.read", kind=type(error).__name__) from None

    async def aside(self, name: str, report: bytes) -> None:
        """By rename; the report first."""
        path, there = f"{self._answers}/{name}", set(await self.listed())
        ending = free(lambda one: f"{name}{one}" in there, bool(report))
        try:
            if report:
                await self._create(f"{path}{ending}.report", "wb")
                await self._put(f"{path}{ending}.report", report, 0)
            # Crash here: the same report is written again.
            await self._session.do(lambda sftp: sftp.rename(path, f"{path}{ending}"))
        except self._ssh.SFTPError as error:
            raise await self._why(error, len(report)) from None

    async def close(self) -> None:
        """Say goodbye."""
        await self._session.close()

    @property
    def _answers(self) -> str:
        told = self._settings.acknowledgement
        return self._settings.folder if told is None or told.folder is None else told.folder

    async def _begun(self, path: str, confirmed: int) -> int:
        """A new file, or the one that was begun; how many of its bytes are there for sure."""
        if self._settings.complete == "marker":
            await self._create(path, "wb")
            return 0
        with suppress(self._ssh.SFTPNoSuchFile):
            if confirmed and await self._size(path) >= confirmed:
                return confirmed
            await self._session.do(lambda sftp: sftp.remove(path))
        await self._create(path, "xb")
        return 0

    async def _create(self, path: str, mode: str) -> None:
        async def create(sftp: "SFTPClient") -> None:
            async with sftp.open(path, mode):
                pass

        await self._session.do(create)

    async def _put(self, path: str, part: bytes, offset: int) -> None:
        async def put(sftp: "SFTPClient") -> None:
            async with sftp.open(path, self._ssh.FXF_WRITE, encoding=None) as file:
                await file.write(part, offset)

        await self._session.do(put)

    async def _ended(self, path: str, size: int) -> None:
        async def ended(sftp: "SFTPClient") -> None:
            async with sftp.open(path, self._ssh.FXF_WRITE, encoding=None) as file:
                with suppress(self._ssh.SFTPOpUnsupported):
                    await file.fsync()

        await self._session.do(ended)
        if await self._size(path) != size:
            raise Retry("sftp.write", kind="size")

    async def _size(self, path: str) -> int:
        return (await self._session.do(lambda sftp: sftp.stat(path))).size or 0

    async def _rename(self, batch: Batch) -> None:
        hidden, final = self._hidden(batch.name), self._final(batch.name)
        if not await self._exists(hidden):
            return  # renamed before, whether we heard of it or not
        if batch.digest not in self._fresh and await self._digest(hidden) != batch.digest:
            raise Corrupt("file.temporary-changed", number=batch.number)
        if await self._exists(final):
            raise Retry("file.name-taken", number=batch.number)
        try:
            # Not `posix_rename`, which replaces: a name that was given meanwhile is refused by the server itself.
            await self._session.do(lambda sftp: sftp.rename(hidden, final))
        except self._ssh.SFTPOpUnsupported:
            raise Retry("sftp.no-rename", "/complete") from None
        # Crash here: the name is there or taken already, and the next `show` makes the marker.

    async def _mark(self, batch: Batch) -> None:
        """Crash after it: it is there, and the next `show` makes none, or the same."""
        for marker in self._marker(batch.name):
            alone = self._settings.complete == "marker"
            if alone or (await self._exists(self._final(batch.name)) and not await self._exists(marker)):
                await self._create(marker, "wb")

    async def _digest(self, path: str) -> bytes:
        found, at = sha256(), 0

        async def part(sftp: "SFTPClient") -> bytes:
            async with sftp.open(path, "rb") as file:
                return await file.read(PART_BYTES, at)

        while read := await self._session.do(part):
            found.update(read)
            at += len(read)
        return found.digest()

    async def _exists(self, path: str) -> bool:
        try:
            await self._session.do(lambda sftp: sftp.lstat(path))
        except self._ssh.SFTPNoSuchFile:
            return False
        return True

    async def _is_folder(self, path: str) -> bool:
        try:
            return await self._session.do(lambda sftp: sftp.isdir(path))
        except self._ssh.SFTPError:
            return False

    async def _why(self, error: Exception, wanted: int) -> Retry:
        """What the server's refusal of a write means. Version 3 of the protocol knows no full disk: it is looked at."""
        if isinstance(error, self._ssh.SFTPNoSpaceOnFilesystem | self._ssh.SFTPQuotaExceeded):
            return Retry("sftp.full")
        if isinstance(error, self._ssh.SFTPFailure):
            with suppress(self._ssh.SFTPError, Retry):
                disk = await self._session.do(lambda sftp: sftp.statvfs(self._settings.folder))
                if disk.bavail * disk.frsize < wanted:
                    return Retry("sftp.full")
        return Retry("sftp.write", kind=type(error).__name__)

    def _final(self, name: str) -> str:
        return f"{self._settings.folder}/{name}"

    def _hidden(self, name: str) -> str:
        if self._settings.complete == "marker":
            return self._final(name)
        return f"{self._settings.upload_folder or self._settings.folder}/.{name}.tmp"

    def _marker(self, name: str) -> tuple[str, ...]:
        return () if self._settings.marker is None else (f"{self._final(name)}{self._settings.marker}",)
