"""Pinning: an agency's memory of the directory: which one it believed last, that none comes back, and that the next one
follows from it.

Refuses: whatever `schemas.directory_note` refuses.
Keeps: the file is whole or not there, and durable before the directory is used: after a crash the agency believes
nothing older than before it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from schemas import directory_note
from schemas.directory import Directory
from schemas.directory_note import Pinned
from schemas.errors import Unavailable
from schemas.note import Note, VerifierKey


class Pin:
    """The directory of one broker, by the key of its ledger, remembered in a file."""

    def __init__(self, log: VerifierKey, file: Path) -> None:
        self._log = log
        self._file = file

    def take(self, content: str, signed: str) -> Directory:
        """Believe a directory and its note, as `GET /v1/directory:signed` gives them.

        Raises Refused: `directory.*`, `note.*`. Raises Unavailable `directory.cannot-pin`.
        """
        pinned = self._pinned()
        directory, now = directory_note.verify(content, Note.parse(signed.encode()), self._log, pinned)
        if now != pinned:
            self._keep(now)
        return directory

    @property
    def version(self) -> int | None:
        """Of the directory that was believed last; None before the first. Raises as `take` does."""
        pinned = self._pinned()
        return None if pinned is None else pinned.version

    def follow(self, notes: Iterable[str]) -> None:
        """Take one link after the other, as `GET /v1/directory/notes` gives them, each from the one before.

        What was followed stays: the next directory has to go on from there. Raises Refused: `directory.*`, `note.*`.
        """
        pinned = self._pinned()
        if pinned is None:
            return
        for signed in notes:
            pinned = directory_note.follow(Note.parse(signed.encode()), self._log, pinned)
            self._keep(pinned)

    def _pinned(self) -> Pinned | None:
        try:
            return Pinned.parse(self._file.read_text("ascii", "replace"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable("directory.cannot-pin", error=type(error).__name__) from None

    def _keep(self, now: Pinned) -> None:
        unfinished = self._file.with_name(f"{self._file.name}.unfinished")
        try:
            with unfinished.open("w", encoding="ascii") as file:
                file.write(now.encode())
                file.flush()
                os.fsync(file.fileno())
            # Crash here: the pin before is kept; the same directory is taken again.
            unfinished.replace(self._file)
        except OSError as error:
            raise Unavailable("directory.cannot-pin", error=type(error).__name__) from None
