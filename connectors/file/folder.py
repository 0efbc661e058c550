"""Folder: files under a hidden name, then under their own, by rename; durable with the entries of the folder.

Refuses: to replace a file of the same name; a hidden file that is not what was written.
Keeps: what is not ours stays where it is.
"""

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from connectors.contract import Retry
from connectors.file.place import free, to_its_end
from connectors.file.settings import FileSettings, is_ours
from connectors.journal import Batch
from schemas.errors import Corrupt


class Folder:
    """A folder on this machine; a `Place`."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings

    async def is_taken(self, name: str) -> bool:
        """By looking."""
        return await to_its_end(lambda: any(path.exists() for path in self._places(name)))

    async def hide(self, name: str, content: bytes) -> None:
        """On the disk, with the folder's entry."""
        await to_its_end(self._hide, name, content)

    async def show(self, batch: Batch) -> None:
        """By rename."""
        await to_its_end(self._show, batch)

    async def forget(self, names: Collection[str]) -> None:
        """Hidden names are `.NAME.tmp`."""
        await to_its_end(self._forget, names)

    async def listed(self) -> Sequence[str]:
        """Files alone."""
        return await to_its_end(lambda: sorted(one.name for one in self._answers.iterdir() if one.is_file()))

    async def read(self, name: str, limit: int) -> bytes:
        """From its beginning."""
        return await to_its_end(self._read, name, limit)

    async def aside(self, name: str, report: bytes) -> None:
        """By rename."""
        await to_its_end(self._aside, name, report)

    async def close(self) -> None:
        """Nothing is held."""

    @property
    def _answers(self) -> Path:
        told = self._settings.acknowledgement
        return self._settings.folder if told is None or told.folder is None else Path(told.folder)

    def _read(self, name: str, limit: int) -> bytes:
        with (self._answers / name).open("rb") as file:
            return file.read(limit)

    def _aside(self, name: str, report: bytes) -> None:
        ending = free(lambda one: (self._answers / f"{name}{one}").exists(), bool(report))
        if report:
            (self._answers / f"{name}{ending}.report").write_bytes(report)
        # Crash here: the same report is written again.
        (self._answers / name).rename(self._answers / f"{name}{ending}")

    def _hide(self, name: str, content: bytes) -> None:
        path = self._temporary(name)
        path.unlink(missing_ok=True)
        mode = int(self._settings.permissions, 8)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        self._sync()

    def _show(self, batch: Batch) -> None:
        temporary, final = self._temporary(batch.name), self._settings.folder / batch.name
        if temporary.exists():
            if sha256(temporary.read_bytes()).digest() != batch.digest:
                raise Corrupt("file.temporary-changed", number=batch.number)
            if final.exists():
                raise Retry("file.name-taken", number=batch.number)
            temporary.rename(final)
        # Crash here: the name is there or taken already, and the next `show` makes the marker.
        self._sync()
        self._mark(final)

    def _mark(self, final: Path) -> None:
        """The marker of a file that is there. One that was taken already had its marker, or needs none any more.

        Crash after it: it is there, and the next `show` makes none.
        """
        *_, marker = self._places(final.name)
        if marker != final and final.exists():
            with suppress(FileExistsError):
                mode = int(self._settings.permissions, 8)
                os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
                marker.chmod(mode)  # whatever the umask is
            self._sync()

    def _forget(self, names: Collection[str]) -> None:
        known = {self._temporary(name) for name in names}
        for path in self._settings.folder.glob(".*.tmp"):
            if path not in known and is_ours(path.name, f".{self._settings.name}.tmp"):
                path.unlink(missing_ok=True)

    def _places(self, name: str) -> tuple[Path, ...]:
        """The file of this name, and its marker where there is one."""
        final, ending = self._settings.folder / name, self._settings.marker
        return (final,) if ending is None else (final, final.with_name(name + ending))

    def _temporary(self, name: str) -> Path:
        return self._settings.folder / f".{name}.tmp"

    def _sync(self) -> None:
        descriptor = os.open(self._settings.folder, os.O_RDONLY)
        try:
            # Some network file systems know no fsync of a folder; their rename is as durable as they make it.
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_writable(folder: Path) -> bool:
    """Whether files can be put there."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
