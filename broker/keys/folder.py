"""A private folder: files that only their owner can reach, written whole or not at all.

Refuses: a folder or file that another account owns or could open; symbolic links, which could lead a secret elsewhere.
Keeps: a file with a name is complete and durable; a name that is taken is never overwritten; once `shred` returned, the
name is gone and the file's bytes were overwritten in place.

Overwriting reaches the file's own blocks. A copy-on-write or journalling file system, a solid-state disk and a backup
may keep older ones: that is why keys whose destruction matters come in epochs, and why a passphrase can be set.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from broker.observability.crashpoints import mark
from schemas.errors import Refused, Unavailable

FILE_BYTES = 16384

_UNFINISHED = ".unfinished"
_SHREDDED = ".shredded"
# Never through a link, never blocked by a named pipe, never inherited by a child process.
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PrivateFolder:
    """One folder, mode 0700, with files of mode 0600. Made when it is not there; its parent must exist.

    Everything here raises Refused `keys.readable-by-others`, `keys.foreign-owner`, `keys.symbolic-link`; Unavailable
    `keys.away`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with faults():
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
                # Crash here: an empty private folder, which the next start takes as it is.
                _sync(path.parent)
            _check(os.lstat(path), stat.S_ISDIR)
            with self.alone():
                pass  # finishes what a crash left half done

    def names(self) -> tuple[str, ...]:
        """The name of every file, in no order."""
        with faults():
            return tuple(name for name in os.listdir(self.path) if not name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """The file's content, at most 16 KiB, or None when there is no such file."""
        with faults():
            _check(os.lstat(self.path), stat.S_ISDIR)
            try:
                descriptor = os.open(self.path / name, os.O_RDONLY | _SAFELY)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                _check(os.fstat(descriptor), stat.S_ISREG)
                return file.read(FILE_BYTES)

    def write(self, name: str, content: bytes) -> bool:
        """True once the file is durable; False, and nothing changed, when the name is taken."""
        with faults(), self.alone() as folder:
            if os.path.lexists(self.path / name):
                return False
            self._finish(name, content, folder)
            mark("keys.written")
            # Crash here: the secret is kept, the caller does not know, and finds it by its name.
            return True

    def replace(self, name: str, content: bytes) -> None:
        """The file of this name, made where there was none, has another content: whole or not at all, and durable.

        The old bytes are overwritten where they were, unless a crash comes before that.
        """
        with faults(), self.alone() as folder, ExitStack() as held:
            old = None
            with suppress(FileNotFoundError):
                old = held.enter_context(open(os.open(self.path / name, os.O_WRONLY | _SAFELY), "wb"))
                _check(os.fstat(old.fileno()), stat.S_ISREG)
            self._finish(name, content, folder)
            mark("keys.replaced")
            # Crash here: the new content is there; the old bytes lie on the disk as those of a deleted file do.
            if old is not None:
                old.write(bytes(os.fstat(old.fileno()).st_size))
                old.flush()
                os.fsync(old.fileno())

    def shred(self, name: str) -> None:
        """Take the name away, then overwrite and remove the file. Nothing to do when there is no such file."""
        with faults(), self.alone() as folder:
            with suppress(FileNotFoundError):
                _check(os.lstat(self.path / name), stat.S_ISREG)
                os.rename(self.path / name, self.path / _SHREDDED)
                os.fsync(folder)
            mark("keys.shredded")
            # Crash here: the name is gone, so nobody reads it; the next writer or start overwrites what is left.
            self._remove(_SHREDDED, folder)

    def _finish(self, name: str, content: bytes, folder: int) -> None:
        """Write beside the name, then take it."""
        descriptor = os.open(self.path / _UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        mark("keys.unfinished")
        # Crash here: a file without its name, which nobody reads; the next writer takes it away.
        os.rename(self.path / _UNFINISHED, self.path / name)
        os.fsync(folder)

    @contextmanager
    def alone(self) -> Iterator[int]:
        """One writer at a time, over processes, who first finishes what the last one could not.

        Gives the folder's descriptor. The lock ends with the process, however it ends.
        """
        _check(os.lstat(self.path), stat.S_ISDIR)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | _SAFELY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self._remove(_UNFINISHED, folder)
            self._remove(_SHREDDED, folder)
            yield folder
        finally:
            os.close(folder)

    def _remove(self, name: str, folder: int) -> None:
        try:
            descriptor = os.open(self.path / name, os.O_WRONLY | _SAFELY)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "wb") as file:
            found = os.fstat(descriptor)
            _check(found, stat.S_ISREG)
            file.write(bytes(found.st_size))
            file.flush()
            os.fsync(descriptor)
        mark("keys.overwritten")
        # Crash here: zeros without a name; the next writer or start takes them away.
        os.unlink(self.path / name)
        os.fsync(folder)


def _check(found: os.stat_result, is_right: Callable[[int], bool]) -> None:
    if not is_right(found.st_mode):
        raise Refused("keys.symbolic-link")
    if found.st_uid != os.geteuid():
        raise Refused("keys.foreign-owner", owner=found.st_uid, expected=os.geteuid())
    if found.st_mode & 0o077:
        raise Refused("keys.readable-by-others", mode=f"{stat.S_IMODE(found.st_mode):04o}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def faults() -> Iterator[None]:
    """What the operating system says, as a fault: Refused `keys.symbolic-link`; Unavailable `keys.away`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise Refused("keys.symbolic-link") from None
        raise Unavailable("keys.away", error=errno.errorcode.get(error.errno or 0, "?")) from None
