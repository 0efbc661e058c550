"""Presence: who has a key folder open, so that its passphrase is changed under nobody.

Refuses: to change a passphrase while a process has the folder open, which would go on writing under the old key; to
open a folder whose passphrase is being changed.
Keeps: a lock of the operating system (flock) on a folder of its own, which ends with its process, however it ends.
"""

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from broker.keys.folder import faults
from schemas.errors import Refused, Unavailable

FOLDER: Final = "in-use"


class Presence:
    """Somebody is here, for as long as this object lives."""

    def __init__(self, keys: Path, *, alone: bool = False) -> None:
        """`alone`: to change the passphrase.

        Raises Refused `keys.in-use`; Unavailable `keys.being-locked`, `keys.away`.
        """
        with faults():
            with suppress(FileExistsError):
                (keys / FOLDER).mkdir(mode=0o700)
            descriptor = os.open(keys / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._end = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            self.end()
            if alone:
                raise Refused("keys.in-use") from None
            raise Unavailable("keys.being-locked") from None

    @contextmanager
    def unless_refused(self) -> Iterator[None]:
        """Gone at once when the block fails, whoever keeps the exception."""
        try:
            yield
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Gone, before the object is."""
        self._end()
