"""An SQLite file that one process has for itself: how ends, outbox and journal are opened.

Refuses: a second process, as long as the first has it open; a file of a newer version, or of somebody else.
Keeps: a commit is on the disk when it returns (rollback journal, `synchronous=EXTRA`). A file of an older version is
brought to this one in one transaction: a crash leaves the one or the other.
"""

import os
import sqlite3
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from schemas.errors import Refused, Unavailable

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DISK: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})


class Wrong(Enum):
    """Why there is no connection; whoever asked says it with a code of its own."""

    IN_USE = "in-use"
    DISK = "disk"
    UNREADABLE = "unreadable"


def opened(path: Path | None, steps: Sequence[str], *pragmas: str, private: bool = False) -> sqlite3.Connection | Wrong:
    """Open or create it, and keep others out until it is closed; None: in memory, for tests.

    `steps`: the statements that make version 1 of nothing, version 2 of version 1, and so on. `pragmas`: further ones,
    as `secure_delete = ON`. `private`: who makes the file lets its owner alone read it.
    """
    connection = None
    try:
        if private and path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        name = ":memory:" if path is None else path
        connection = sqlite3.connect(name, timeout=0.2, isolation_level=None, check_same_thread=False)
        # EXCLUSIVE keeps the lock of the first write until the connection ends, even by kill -9.
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = DELETE", "synchronous = EXTRA", *pragmas):
            connection.execute(f"PRAGMA {pragma}")
        if _brought(connection, steps):
            return connection
        wrong = Wrong.UNREADABLE
    except (sqlite3.DatabaseError, OSError) as error:
        wrong = judged(error)
    if connection is not None:
        connection.close()
    return wrong


def journal(path: Path, steps: Sequence[str], *pragmas: str) -> sqlite3.Connection:
    """As `opened`, for what a connector remembers of its work.

    Raises Unavailable("journal.in-use") while another process has it, "journal.disk" for a disk that is full or fails,
    Refused("journal.unreadable") for what is none.
    """
    connection = opened(path, steps, *pragmas)
    if connection is Wrong.IN_USE:
        raise Unavailable("journal.in-use")
    if connection is Wrong.DISK:
        raise Unavailable("journal.disk")
    if isinstance(connection, Wrong):
        raise Refused("journal.unreadable")
    return connection


def _brought(connection: sqlite3.Connection, steps: Sequence[str]) -> bool:
    """The file is of this version now; False for one that this program does not know."""
    connection.execute("BEGIN EXCLUSIVE")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for step in steps[version:]:
        for statement in step.split(";"):
            connection.execute(statement)
    if version < len(steps):
        connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.execute("COMMIT")
    return version <= len(steps)


def judged(error: Exception) -> Wrong:
    """What an error of SQLite means."""
    code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.Error) else -1
    if code in _BUSY:
        return Wrong.IN_USE
    return Wrong.DISK if code in _DISK else Wrong.UNREADABLE
